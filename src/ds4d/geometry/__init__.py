"""Cameras and rigs, projection, rotations, bounds, times, spherical harmonics."""

from ds4d.geometry.bounds import camera_focus as camera_focus
from ds4d.geometry.bounds import fit_ball as fit_ball
from ds4d.geometry.bounds import inverse_similarity as inverse_similarity
from ds4d.geometry.bounds import rotation_to_y as rotation_to_y
from ds4d.geometry.bounds import transform_cameras as transform_cameras
from ds4d.geometry.bounds import transform_points as transform_points
from ds4d.geometry.cameras import intrinsics as intrinsics
from ds4d.geometry.cameras import look_at as look_at
from ds4d.geometry.cameras import opencv_to_opengl as opencv_to_opengl
from ds4d.geometry.cameras import opengl_to_opencv as opengl_to_opencv
from ds4d.geometry.cameras import orbit_cameras as orbit_cameras
from ds4d.geometry.projection import project_points as project_points
from ds4d.geometry.rigs import RIGS as RIGS
from ds4d.geometry.rigs import RigView as RigView
from ds4d.geometry.rigs import load_rig as load_rig
from ds4d.geometry.rigs import rig_cameras as rig_cameras
from ds4d.geometry.rotations import matrices_to_quats as matrices_to_quats
from ds4d.geometry.rotations import multiply_quats as multiply_quats
from ds4d.geometry.rotations import quats_to_matrices as quats_to_matrices
from ds4d.geometry.rotations import spread_rotations as spread_rotations
from ds4d.geometry.spherical_harmonics import evaluate_sh as evaluate_sh
from ds4d.geometry.spherical_harmonics import rgb_to_sh as rgb_to_sh
from ds4d.geometry.spherical_harmonics import sh_degree as sh_degree
from ds4d.geometry.times import frame_times as frame_times
from ds4d.geometry.times import nearest_frames as nearest_frames
