"""ds4d: video in, 4D object out."""

__version__ = "0.1.0"
