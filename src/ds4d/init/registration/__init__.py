"""Where a shape that was reconstructed elsewhere stands in the views."""

from ds4d.init.registration.alignment import Alignment as Alignment
from ds4d.init.registration.alignment import align as align
from ds4d.init.registration.orientation import Turn as Turn
