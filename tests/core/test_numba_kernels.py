"""Kernels that are compiled once and kept on disk."""

import os
import subprocess
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


# Scores as in SSIM, and a kernel that calls it: not inlined, its sums differ in the last bit between the two processes.
SCORE_KERNEL = """
from ds4d.core.numba_kernels import HALF, ONE, ZERO, kernel

@kernel()
def _score(maps, weight):
    result = ZERO
    for x in range(maps.shape[1]):
        bias, energy = maps[1, x] * maps[1, x], maps[0, x] * maps[0, x]
        noise, signal = maps[3, x] - bias, maps[2, x] - energy
        brightness, contrast = HALF * (energy + bias) + ONE, HALF * (signal + noise) + ONE
        luminance, structure = ONE - bias / brightness, ONE - noise / contrast
        result += luminance * structure
        maps[2, x] = structure * weight / brightness - bias * noise
    return result

@kernel()
def score(maps, weight):
    total = ZERO
    for row in range(len(maps)):
        total += _score(maps[row], weight)
    return total
"""
SCORES = """
import hashlib
import numpy as np
from score_kernel import score
maps = np.random.default_rng(0).random((3, 4, 165), dtype=np.float32)
total = np.float32(score(maps, np.float32(0.3)))
print(hashlib.sha256(total.tobytes() + maps.tobytes()).hexdigest())
print(sum(score.stats.cache_hits.values()))
"""


def test_the_process_that_compiles_computes_what_later_ones_do(tmp_path: Path) -> None:
    (tmp_path / "score_kernel.py").write_text(SCORE_KERNEL)
    path = os.pathsep.join((str(SRC), str(tmp_path)))
    environment = os.environ | {"PYTHONPATH": path, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    (cold, misses), (warm, hits) = (
        subprocess.run([sys.executable, "-c", SCORES], env=environment, capture_output=True, text=True, check=True)
        .stdout.split()
        for _ in range(2)
    )  # fmt: skip
    assert (misses, hits) == ("0", "1")
    assert cold == warm


@pytest.mark.parametrize("path", KERNEL_FILES, ids=lambda path: path.stem)
def test_kernels_that_others_call_are_inlined(path: Path) -> None:
    """numba compiles a function once by itself and once with each caller: only one of the two may be there to call."""
    module = import_module(".".join(path.relative_to(SRC).with_suffix("").parts))
    kernels = {name: value for name, value in vars(module).items() if hasattr(value, "py_func")}
    called = {name for kernel in kernels.values() for name in kernel.py_func.__code__.co_names} & kernels.keys()
    for name in called:
        assert kernels[name].targetoptions["forceinline"], name
