"""Camera paths, videos, contact sheets, saliency maps and plots of a scene."""

from ds4d.visualize.camera_paths import SIDES as SIDES
from ds4d.visualize.camera_paths import fixed_path as fixed_path
from ds4d.visualize.camera_paths import orbit_path as orbit_path
from ds4d.visualize.comparison import comparison_sheet as comparison_sheet
from ds4d.visualize.comparison import input_image as input_image
from ds4d.visualize.comparison import write_comparison as write_comparison
from ds4d.visualize.config import OutputsConfig as OutputsConfig
from ds4d.visualize.keyframes import Keyframe as Keyframe
from ds4d.visualize.keyframes import read_keyframes as read_keyframes
from ds4d.visualize.loss_plot import plot_losses as plot_losses
from ds4d.visualize.outputs import write_outputs as write_outputs
from ds4d.visualize.overlay import crop_cameras as crop_cameras
from ds4d.visualize.overlay import overlay_video as overlay_video
from ds4d.visualize.overlay import read_source_video as read_source_video
from ds4d.visualize.saliency import saliency_map as saliency_map
from ds4d.visualize.saliency import write_saliency_map as write_saliency_map
from ds4d.visualize.trajectories import Trajectory as Trajectory
from ds4d.visualize.trajectories import fixed_trajectory as fixed_trajectory
from ds4d.visualize.trajectories import input_trajectory as input_trajectory
from ds4d.visualize.trajectories import keyframe_trajectory as keyframe_trajectory
from ds4d.visualize.trajectories import orbit_trajectory as orbit_trajectory
from ds4d.visualize.trajectories import playing_times as playing_times
from ds4d.visualize.videos import OPAQUE as OPAQUE
from ds4d.visualize.videos import SUFFIXES as SUFFIXES
from ds4d.visualize.videos import render_trajectory as render_trajectory
from ds4d.visualize.videos import render_video as render_video
