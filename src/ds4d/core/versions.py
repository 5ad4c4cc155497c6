"""Versions of this program and its packages, and the command that installs missing ones."""

import importlib.metadata
import json
import platform
import shlex
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from ds4d import __version__

# Packages that decide what is fitted, rendered and written. Those of the extras are named where they are present.
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


def install_command(extra: str) -> str:
    """The command that adds an extra to this installation, from the checkout it was installed from."""
    source, is_editable = ".", False
    try:
        record = json.loads(importlib.metadata.distribution("ds4d").read_text("direct_url.json") or "{}")
    except importlib.metadata.PackageNotFoundError:
        record = {}
    url = urlparse(record.get("url", ""))
    if url.scheme == "file" and Path(url2pathname(url.path)).is_dir():
        source, is_editable = url2pathname(url.path), record.get("dir_info", {}).get("editable", False)
    return f"pip install {'-e ' * is_editable}{shlex.quote(f'{source}[{extra}]')}"
