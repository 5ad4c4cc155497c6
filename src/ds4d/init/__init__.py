"""Where the object is, and the first Gaussians."""

from ds4d.init.placement import BALL_RADIUS as BALL_RADIUS
from ds4d.init.placement import UP_AXES as UP_AXES
from ds4d.init.placement import InitConfig as InitConfig
from ds4d.init.placement import Placement as Placement
from ds4d.init.placement import align_shape as align_shape
from ds4d.init.placement import describe_start as describe_start
from ds4d.init.placement import first_gaussians as first_gaussians
from ds4d.init.placement import place as place
from ds4d.init.point_files import read_points as read_points
from ds4d.init.points import gaussians_from_points as gaussians_from_points
from ds4d.init.points import nearest_rows as nearest_rows
from ds4d.init.points import random_ball as random_ball
