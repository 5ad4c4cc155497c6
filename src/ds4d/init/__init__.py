"""Scene normalization and the initial Gaussians."""

from ds4d.init.initialization import InitConfig as InitConfig
from ds4d.init.initialization import describe_initialization as describe_initialization
from ds4d.init.initialization import initial_gaussians as initial_gaussians
from ds4d.init.initialization import register_mesh as register_mesh
from ds4d.init.normalize import BALL_RADIUS as BALL_RADIUS
from ds4d.init.normalize import SceneNormalization as SceneNormalization
from ds4d.init.normalize import normalize_scene as normalize_scene
