"""TSSF: the features of all views, sampled and fused at the Gaussians."""

from ds4d.fusion.point_sampling import PointSamples as PointSamples
from ds4d.fusion.point_sampling import mean_over_views as mean_over_views
from ds4d.fusion.point_sampling import project_to_images as project_to_images
from ds4d.fusion.point_sampling import sample_at_points as sample_at_points
from ds4d.fusion.point_sampling import visibility as visibility
from ds4d.fusion.reduction import pca_projection as pca_projection
from ds4d.fusion.reduction import standardize as standardize
from ds4d.fusion.rules import RULES as RULES
from ds4d.fusion.rules import FusionRule as FusionRule
from ds4d.fusion.tssf import FusionConfig as FusionConfig
from ds4d.fusion.tssf import Tssf as Tssf
