"""Images of a multi-view video, read from files on demand."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np
from jaxtyping import UInt8

from ds4d.core import large_array
from ds4d.io import premultiply, read_rgba, resize_premultiplied

_GIBIBYTE = 2**30


class FrameStore:
    """`Frames` in files: premultiplied, resized to one size, with a cache of the most recently used ones.

    Args:
        paths: T rows of V files; None where a view has no image.
        width: width of the resized images, pixels.
        height: height of the resized images, pixels.
        alpha_floor: alphas (of 255) below it are set to 0 before resizing, because generators leave gray pixels with
            an alpha of 1; 0 keeps all.
        cache_bytes: size of the cache, a large array, bytes.
    """

    def __init__(
        self,
        paths: Sequence[Sequence[Path | None]],
        width: int,
        height: int,
        *,
        alpha_floor: int = 0,
        cache_bytes: int = _GIBIBYTE,
    ) -> None:
        self.paths = tuple(tuple(row) for row in paths)
        self.num_times, self.num_views = len(self.paths), len(self.paths[0])
        self.width, self.height = width, height
        self._alpha_floor = alpha_floor
        self._count = sum(path is not None for row in self.paths for path in row)
        self._capacity = min(self._count, cache_bytes // (4 * width * height))
        self._cache = large_array((self._capacity, height, width, 4), np.uint8)
        self._places: OrderedDict[Path, int] = OrderedDict()  # in the cache, the least recently used first
        self._lock = Lock()

    @property
    def in_memory(self) -> bool:
        """Whether all images are in the cache."""
        return len(self._places) == self._count

    def read(self, time: int, view: int) -> UInt8[np.ndarray, "H W 4"]:
        """One image: 8-bit RGBA, colors premultiplied by alpha; the array is read-only.

        Raises:
            ValueError: the view has no image at that time, or its file cannot be read.
        """
        path = self.paths[time][view]
        if path is None:
            raise ValueError(f"view {view} must have an image at time index {time}, got none. Check `valid` first.")
        with self._lock:
            if path in self._places:
                self._places.move_to_end(path)
                return _read_only(self._cache[self._places[path]].copy())  # its place may be given to another
        pixels = self._load(path)
        with self._lock:
            if self._capacity and path not in self._places:
                full = len(self._places) == self._capacity
                place = self._places.popitem(last=False)[1] if full else len(self._places)
                self._cache[place] = pixels
                self._places[path] = place
        return _read_only(pixels)

    def _load(self, path: Path) -> UInt8[np.ndarray, "H W 4"]:
        rgba = read_rgba(path)
        rgba[rgba[..., 3] < self._alpha_floor] = 0
        return resize_premultiplied(premultiply(rgba), self.width, self.height)


def _read_only(pixels: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "H W 4"]:
    pixels.flags.writeable = False
    return pixels
