"""What is handed on: PLY, web pages, contact sheets, plots, and the camera paths of videos."""

from ds4d.export.camera_paths import SIDES as SIDES
from ds4d.export.camera_paths import fixed_path as fixed_path
from ds4d.export.camera_paths import orbit_path as orbit_path
from ds4d.export.packing import PackedFrames as PackedFrames
from ds4d.export.packing import pack_frames as pack_frames
from ds4d.export.packing import unpack_frames as unpack_frames
from ds4d.export.pictures import plot_losses as plot_losses
from ds4d.export.ply import read_ply as read_ply
from ds4d.export.ply import write_ply as write_ply
from ds4d.export.up_axis import UpAxis as UpAxis
from ds4d.export.up_axis import turn_up as turn_up
from ds4d.export.web_page import write_html as write_html
from ds4d.export.world import into_world as into_world
from ds4d.imaging import contact_sheet as contact_sheet
