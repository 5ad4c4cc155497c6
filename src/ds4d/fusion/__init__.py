"""TSSF: the views' features read at the Gaussians and fused."""

from ds4d.fusion.point_sampling import PointReads as PointReads
from ds4d.fusion.point_sampling import project_places as project_places
from ds4d.fusion.point_sampling import sample_at_points as sample_at_points
from ds4d.fusion.point_sampling import visibility as visibility
from ds4d.fusion.reduction import principal_map as principal_map
from ds4d.fusion.reduction import standardize as standardize
from ds4d.fusion.rules import FusionRule as FusionRule
from ds4d.fusion.tssf import RULES as RULES
from ds4d.fusion.tssf import FusionConfig as FusionConfig
from ds4d.fusion.tssf import Tssf as Tssf
