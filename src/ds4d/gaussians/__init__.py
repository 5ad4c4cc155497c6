"""The canonical set: parameters, initialisation, density control."""

from ds4d.gaussians.density import DensityConfig as DensityConfig
from ds4d.gaussians.density import DensityControl as DensityControl
from ds4d.gaussians.density import without_strays as without_strays
from ds4d.gaussians.initialization import gaussians_from_points as gaussians_from_points
from ds4d.gaussians.initialization import nearest_rows as nearest_rows
from ds4d.gaussians.initialization import random_ball as random_ball
from ds4d.gaussians.parameters import GaussianParameters as GaussianParameters
from ds4d.gaussians.parameters import Resampling as Resampling
from ds4d.gaussians.point_files import read_points as read_points
from ds4d.gaussians.visual_hull import HullConfig as HullConfig
from ds4d.gaussians.visual_hull import carve as carve
from ds4d.gaussians.visual_hull import colour_points as colour_points
from ds4d.gaussians.visual_hull import occupied_bounds as occupied_bounds
from ds4d.gaussians.visual_hull import sample_surface as sample_surface
from ds4d.gaussians.visual_hull import surface_voxels as surface_voxels
