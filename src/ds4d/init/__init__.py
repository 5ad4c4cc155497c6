"""Where the object is, and the first Gaussians."""

from ds4d.init.normalization import BALL_RADIUS as BALL_RADIUS
from ds4d.init.normalization import InitConfig as InitConfig
from ds4d.init.normalization import SceneNormalization as SceneNormalization
from ds4d.init.normalization import describe_start as describe_start
from ds4d.init.normalization import first_gaussians as first_gaussians
from ds4d.init.normalization import normalize_scene as normalize_scene
from ds4d.init.normalization import register_mesh as register_mesh
from ds4d.init.point_files import read_points as read_points
from ds4d.init.points import gaussians_from_points as gaussians_from_points
from ds4d.init.points import nearest_rows as nearest_rows
from ds4d.init.points import random_ball as random_ball
