"""Which versions of what are at work."""

import importlib.metadata
import platform

from ds4d import __version__

# What decides how a fit comes out, and what is drawn and written. Those of the extras are named where they are present.
_PACKAGES = ("torch", "numpy", "numba", "av", "pillow", "gsplat", "transformers", "diffusers", "onnxruntime")


def installed_version(package: str) -> str | None:
    """The version of a package, or None where it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """This program, Python, the system, and the packages that are present, by name."""
    head = {
        "ds4d": __version__,
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }
    return head | {name: version for name in _PACKAGES if (version := installed_version(name))}
