"""Progress, notices, threads, devices, versions, memory, and settings to and from JSON."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
