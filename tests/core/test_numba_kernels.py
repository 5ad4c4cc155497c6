"""Kernels that are compiled once and kept on disk."""

import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
KERNEL_FILES = sorted(path for path in SRC.rglob("*.py") if "from ds4d.core.numba_kernels" in path.read_text())


def test_changed_constant_of_another_file_recompiles(tmp_path: Path) -> None:
    (tmp_path / "scaling.py").write_text(
        "from constants import FACTOR\n"
        "from ds4d.core.numba_kernels import kernel\n"
        "@kernel()\n"
        "def scaled(x):\n"
        "    return x * FACTOR\n"
        "print(scaled(2), sum(scaled.stats.cache_hits.values()))\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{SRC}{os.pathsep}{tmp_path}", "PYTHONDONTWRITEBYTECODE": "1"}
    environment["NUMBA_CACHE_DIR"] = str(tmp_path / "cache")
    printed = []
    for factor in (3, 3, 5):
        (tmp_path / "constants.py").write_text(f"FACTOR = {factor}\n")
        command = [sys.executable, str(tmp_path / "scaling.py")]
        printed.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert [line.split() for line in printed] == [["6", "0"], ["6", "1"], ["10", "0"]]


@pytest.mark.parametrize("path", KERNEL_FILES, ids=lambda path: path.stem)
def test_kernels_call_none_of_other_files(path: Path) -> None:
    module = import_module(".".join(path.relative_to(SRC).with_suffix("").parts))
    functions = [value.py_func for value in vars(module).values() if hasattr(value, "py_func")]
    assert functions and {function.__module__ for function in functions} == {module.__name__}
