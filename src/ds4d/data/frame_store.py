"""Images of a multi-view video, read from files on demand."""

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np
from jaxtyping import UInt8

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
        cache_bytes: memory for the cache, bytes.
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
        self._capacity = cache_bytes // (4 * width * height)
        self._cache: OrderedDict[Path, UInt8[np.ndarray, "H W 4"]] = OrderedDict()
        self._lock = Lock()

    def read(self, time: int, view: int) -> UInt8[np.ndarray, "H W 4"]:
        """One image: 8-bit RGBA, colors premultiplied by alpha; the array is read-only.

        Raises:
            ValueError: the view has no image at that time, or its file cannot be read.
        """
        path = self.paths[time][view]
        if path is None:
            raise ValueError(f"view {view} must have an image at time index {time}, got none. Check `valid` first.")
        with self._lock:
            if path in self._cache:
                self._cache.move_to_end(path)
                return self._cache[path]
        pixels = self._load(path)
        with self._lock:
            self._cache[path] = pixels
            while len(self._cache) > self._capacity:
                self._cache.popitem(last=False)
        return pixels

    def _load(self, path: Path) -> UInt8[np.ndarray, "H W 4"]:
        rgba = read_rgba(path)
        rgba[rgba[..., 3] < self._alpha_floor] = 0
        pixels = resize_premultiplied(premultiply(rgba), self.width, self.height)
        pixels.flags.writeable = False  # it is shared with the cache
        return pixels
