"""Scene normalization and the initial Gaussians."""

from ds4d.init.initialization import InitConfig as InitConfig
from ds4d.init.initialization import describe_initialization as describe_initialization
from ds4d.init.initialization import initial_gaussians as initial_gaussians
from ds4d.init.initialization import register_mesh as register_mesh
from ds4d.init.normalize import BALL_RADIUS as BALL_RADIUS
from ds4d.init.normalize import SceneNormalization as SceneNormalization
from ds4d.init.normalize import normalize_scene as normalize_scene
from ds4d.init.point_files import read_points as read_points
from ds4d.init.points import gaussians_from_points as gaussians_from_points
from ds4d.init.points import nearest_neighbors as nearest_neighbors
from ds4d.init.points import random_ball as random_ball
