"""Where a shape that was reconstructed elsewhere stands in the views."""

from ds4d.registration.alignment import Alignment as Alignment
from ds4d.registration.alignment import align as align
from ds4d.registration.turns import Turn as Turn
