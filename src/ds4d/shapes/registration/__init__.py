"""Registration of a mesh of unknown pose and scale to the views."""

from ds4d.shapes.registration.orientation import Orientation as Orientation
from ds4d.shapes.registration.register import Registration as Registration
from ds4d.shapes.registration.register import register_shape as register_shape
