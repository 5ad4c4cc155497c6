"""Kernels that are compiled once and kept on disk."""

import sys
from importlib import import_module
from pathlib import Path

import numba
import pytest

SRC = Path(__file__).parents[2] / "src"
KERNEL_FILES = sorted(path for path in SRC.rglob("*.py") if "from ds4d.core.numba_kernels" in path.read_text())


def test_changed_constant_of_another_file_recompiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that are imported anew, as by another process."""
    (tmp_path / "scaling_kernel.py").write_text(
        "from scaling_constants import FACTOR\n"
        "from ds4d.core.numba_kernels import kernel\n"
        "@kernel()\n"
        "def scaled(x):\n"
        "    return x * FACTOR\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    found = []
    for factor in (3, 3, 5):
        (tmp_path / "scaling_constants.py").write_text(f"FACTOR = {factor}\n")
        for name in ("scaling_constants", "scaling_kernel"):
            monkeypatch.delitem(sys.modules, name, raising=False)
        scaled = import_module("scaling_kernel").scaled
        found.append((scaled(2), sum(scaled.stats.cache_hits.values())))
    assert found == [(6, 0), (6, 1), (10, 0)]


@pytest.mark.parametrize("path", KERNEL_FILES, ids=lambda path: path.stem)
def test_kernels_call_none_of_other_files(path: Path) -> None:
    module = import_module(".".join(path.relative_to(SRC).with_suffix("").parts))
    functions = [value.py_func for value in vars(module).values() if hasattr(value, "py_func")]
    assert functions and {function.__module__ for function in functions} == {module.__name__}
