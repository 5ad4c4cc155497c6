"""The decorator of all CPU kernels. Importing this module imports numba, so that only kernel files do."""

import hashlib
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np
from numba import njit

from ds4d.core.kernel_cache import open_cache

# Sums may be reordered to use vector registers, and products fused with sums; NaN and infinity stay exact.
_FAST_MATH = ("arcp", "contract", "nsz", "reassoc")
_CACHE_FORMAT = 3  # files of other formats have other names

# Single-precision constants: a Python number would make numba compute in double precision.
ZERO, HALF, ONE, TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)


def kernel(*, fast_math: bool = True) -> Callable[[FunctionType], Any]:
    """Decorator that compiles a function by numba at its first call and keeps the result on disk.

    numba's disk cache notices changes of the function's own file alone. The constants that are compiled into a kernel
    may come from other files, so this decorator makes them part of the name under which numba finds the result.
    Kernels of other files must not be called, as changes of those would not be noticed.

    Functions whose name begins with an underscore are inlined wherever they are called. numba compiles what is not
    inlined once by itself and once with each caller. The process that compiles would call the first of these, later
    ones, which load the caller from the disk, the other, whose sums can be in another order with fast math: the first
    run after an installation would give other bits than all later ones. Calls also cost as much as small functions:
    projecting Gaussians takes half the time without.

    Args:
        fast_math: whether sums may be reordered and fused with products.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    if fast_math:
        options["fastmath"] = set(_FAST_MATH)

    def compiled(function: FunctionType) -> Any:
        inlined = function.__name__.startswith("_")
        constants = {name: repr(value) for name, value in function.__globals__.items() if _is_constant(name, value)}
        described = repr((sorted(constants.items()), fast_math, _FAST_MATH, inlined, _CACHE_FORMAT))
        function.__qualname__ += f"_{hashlib.sha256(described.encode()).hexdigest()[:12]}"
        dispatcher = njit(forceinline=inlined, **options)(function)
        dispatcher._cache = open_cache(function)
        return dispatcher

    return compiled


def _is_constant(name: str, value: Any) -> bool:
    """Whether a global of a kernel file is a number or a tuple of numbers."""
    values = value if isinstance(value, tuple) else (value,)
    return not name.startswith("__") and all(isinstance(item, int | float | np.generic) for item in values)
