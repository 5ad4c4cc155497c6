"""Export of scenes: Gaussians, meshes and web pages as files that other programs read."""

from ds4d.export.compressed_ply import read_compressed_ply as read_compressed_ply
from ds4d.export.compressed_ply import write_compressed_ply as write_compressed_ply
from ds4d.export.formats import FORMATS as FORMATS
from ds4d.export.formats import ExportFormat as ExportFormat
from ds4d.export.formats import choose_format as choose_format
from ds4d.export.formats import export_paths as export_paths
from ds4d.export.formats import export_scene as export_scene
from ds4d.export.formats import infer_format as infer_format
from ds4d.export.gltf import write_gltf as write_gltf
from ds4d.export.html import write_html as write_html
from ds4d.export.manifest import MANIFEST as MANIFEST
from ds4d.export.mesh import write_mesh as write_mesh
from ds4d.export.ply import write_ply as write_ply
from ds4d.export.programs import PROGRAMS as PROGRAMS
from ds4d.export.programs import Program as Program
from ds4d.export.splat import write_splat as write_splat
from ds4d.export.splat4d import read_splat4d as read_splat4d
from ds4d.export.splat4d import write_splat4d as write_splat4d
from ds4d.export.spz_sog import read_sog as read_sog
from ds4d.export.spz_sog import read_spz as read_spz
from ds4d.export.spz_sog import write_sog as write_sog
from ds4d.export.spz_sog import write_spz as write_spz
from ds4d.export.tracks import write_tracks as write_tracks
from ds4d.export.usd import write_usd as write_usd
from ds4d.shapes import read_ply as read_ply
from ds4d.shapes import read_splat as read_splat
