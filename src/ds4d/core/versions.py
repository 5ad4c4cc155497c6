"""Versions of ds4d and of the packages that it uses, and how to install the optional ones."""

import importlib.metadata
import platform

from ds4d import __version__

# Packages that affect results or files; those of extras are listed if they are installed.
_PACKAGES = ("torch", "numpy", "numba", "av", "pillow", "gsplat", "transformers", "diffusers", "onnxruntime")


def installed_version(package: str) -> str | None:
    """The version of a package; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def install_command(extra: str) -> str:
    """The command that installs the packages of an extra; to be run in a checkout, as ds4d is on no package index."""
    return f"pip install '.[{extra}]'"


def versions() -> dict[str, str]:
    """Versions of ds4d, Python, the system, and the installed packages, by name."""
    head = {
        "ds4d": __version__,
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    return head | {name: version for name in _PACKAGES if (version := installed_version(name))}
