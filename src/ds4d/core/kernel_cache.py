"""numba's cache of compiled kernels on the disk, of which nothing can end the work.

A file that is missing, damaged, or of other arguments is a miss: the kernel is compiled again and the file replaced.
Where no folder can be written to, kernels are compiled in each process. One notice per process says so.
"""

import hashlib
import io
import itertools
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any

from numba.core import caching, sigutils
from numba.misc.appdirs import AppDirs

from ds4d.core.notices import Warned, notify

_DIGEST_BYTES = hashlib.sha256().digest_size
_FAILURES = itertools.count()  # in this process


def open_cache(function: FunctionType) -> Any:
    """The cache of one kernel for numba's dispatcher; one that keeps nothing if no folder can be used."""
    try:
        return _KernelCache(function)
    except Exception as error:  # a RuntimeError of numba, or whatever the file system answers
        return _NoCache(str(error))


class _NoCache(caching.NullCache):
    """Keeps nothing, and says so when a kernel has been compiled."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def save_overload(self, sig: Any, cres: Any) -> None:
        _warn("No folder for compiled kernels can be written to", self._reason)


class _CheckedFiles(caching.IndexDataCacheFile):
    """The files of one kernel; each ends with a SHA-256, which unpickling does not reach."""

    @contextmanager
    def _open_for_write(self, filepath: str) -> Generator[io.BytesIO, None, None]:
        content = io.BytesIO()
        yield content
        with super()._open_for_write(filepath) as file:
            file.write(content.getvalue() + hashlib.sha256(content.getvalue()).digest())

    def _load_index(self) -> Any:
        _check_digest(Path(self._index_path))
        return super()._load_index()

    def _load_data(self, name: str) -> Any:
        _check_digest(Path(self._data_path(name)))
        return super()._load_data(name)


def _check_digest(path: Path) -> None:
    """Raises ValueError if there is something else than a file that ends with the digest of what stands before."""
    if not path.exists():
        return
    data = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(data[:-_DIGEST_BYTES]).digest() != data[-_DIGEST_BYTES:]:
        raise ValueError(f"{path.name} is damaged")


class _UserFolder(caching.UserWideCacheLocator):
    """The cache folder of the user, if there is one."""

    @classmethod
    def from_function(cls, py_func: FunctionType, py_file: str) -> Any:
        # Without HOME and an entry in passwd, "~" stays as it is, and numba would make a folder of this name.
        known = os.path.isabs(AppDirs(appname="numba", appauthor=False).user_cache_dir)
        return super().from_function(py_func, py_file) if known else None


class _Entries(caching.CompileResultCacheImpl):
    _locator_classes = (caching.UserProvidedCacheLocator, caching.InTreeCacheLocator, _UserFolder)


class _KernelCache(caching.FunctionCache):
    """numba's cache of one function, in which every failure is a miss."""

    _impl_class = _Entries

    def __init__(self, function: FunctionType) -> None:
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = _CheckedFiles(self.cache_path, self._impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            kept = super().load_overload(sig, target_context)
        except Exception as error:  # unpickling can raise anything
            self._give_up(error)
            return None
        # Two processes that compile the same kernel for different arguments may give their files the same name.
        right = kept is None or tuple(kept.signature.args) == tuple(sigutils.normalize_signature(sig)[0])
        return kept if right else None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except Exception as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        _warn(f"Compiled kernels in {self.cache_path} cannot be used", str(error) or type(error).__name__)
        try:
            self.flush()  # a damaged index would also prevent that the kernel is kept anew
        except Exception:
            self.disable()


def _warn(what: str, reason: str) -> None:
    """Gives a notice, the first time in a process: what fails for one kernel usually fails for all."""
    if next(_FAILURES) > 0:
        return
    message = (
        f"{what} ({reason}). They are compiled again, which takes up to a minute. If this is said in every run, set "
        "NUMBA_CACHE_DIR to a folder that can be written to."
    )
    notify(Warned("kernels", message))
