"""Versions as they are recorded."""

import platform

import torch

from ds4d import __version__
from ds4d.core import installed_version, versions


def test_all_that_is_present_is_named() -> None:
    found = versions()
    assert (found["ds4d"], found["Python"]) == (__version__, platform.python_version())
    assert found["torch"] == torch.__version__
    assert None not in found.values()


def test_what_is_not_installed_has_none() -> None:
    assert installed_version("no-such-package-here") is None
