"""Shapes from 3D files, and their registration to images."""

from ds4d.shapes.gaussian_files import read_ply as read_ply
from ds4d.shapes.gaussian_files import read_splat as read_splat
from ds4d.shapes.point_files import read_meshes as read_meshes
from ds4d.shapes.point_files import read_points as read_points
from ds4d.shapes.points import gaussians_from_points as gaussians_from_points
from ds4d.shapes.points import nearest_neighbors as nearest_neighbors
from ds4d.shapes.points import random_ball as random_ball
from ds4d.shapes.shape_files import SHAPE_SUFFIXES as SHAPE_SUFFIXES
from ds4d.shapes.shape_files import Shape as Shape
from ds4d.shapes.shape_files import read_shape as read_shape
