"""HexPlane features and heads: how the canonical Gaussians change over time."""

from ds4d.deformation.field import DeformationField as DeformationField
from ds4d.deformation.field import FieldConfig as FieldConfig
from ds4d.deformation.hexplane import HexPlane as HexPlane
from ds4d.deformation.hexplane import HexPlaneConfig as HexPlaneConfig
from ds4d.deformation.root_rotation import RootRotation as RootRotation
