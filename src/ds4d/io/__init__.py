"""Reading and writing images and videos, reading glTF, atomic file writes, and a disk cache."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
