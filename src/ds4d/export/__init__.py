"""What is handed on: Gaussians, meshes and web pages as files, plots, camera paths of videos."""

from ds4d.export.animated_glb import write_animated_glb as write_animated_glb
from ds4d.export.camera_paths import SIDES as SIDES
from ds4d.export.camera_paths import fixed_path as fixed_path
from ds4d.export.camera_paths import orbit_path as orbit_path
from ds4d.export.compressed_ply import read_compressed_ply as read_compressed_ply
from ds4d.export.compressed_ply import write_compressed_ply as write_compressed_ply
from ds4d.export.gltf import write_gltf as write_gltf
from ds4d.export.packing import PackedFrames as PackedFrames
from ds4d.export.packing import pack_frames as pack_frames
from ds4d.export.packing import unpack_frames as unpack_frames
from ds4d.export.pictures import plot_losses as plot_losses
from ds4d.export.ply import read_ply as read_ply
from ds4d.export.ply import write_ply as write_ply
from ds4d.export.splat import read_splat as read_splat
from ds4d.export.splat import write_splat as write_splat
from ds4d.export.up_axis import UpAxis as UpAxis
from ds4d.export.up_axis import turned_world as turned_world
from ds4d.export.web_page import write_html as write_html
from ds4d.export.world import into_world as into_world
