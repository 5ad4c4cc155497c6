"""Reading and writing images and videos, reading glTF, atomic file writes, and a disk cache."""

from ds4d.io.atomic import atomic_path as atomic_path
from ds4d.io.cache import LIMIT_BYTES as LIMIT_BYTES
from ds4d.io.cache import cache_folder as cache_folder
from ds4d.io.cache import read_cached as read_cached
from ds4d.io.cache import write_cached as write_cached
from ds4d.io.contact_sheet import contact_sheet as contact_sheet
from ds4d.io.gif import write_gif as write_gif
from ds4d.io.gltf_document import GltfError as GltfError
from ds4d.io.gltf_reader import GltfModel as GltfModel
from ds4d.io.gltf_reader import read_gltf as read_gltf
from ds4d.io.image_sequence import natural_key as natural_key
from ds4d.io.images import Size as Size
from ds4d.io.images import fit_within as fit_within
from ds4d.io.images import image_size as image_size
from ds4d.io.images import on_white as on_white
from ds4d.io.images import premultiply as premultiply
from ds4d.io.images import read_rgba as read_rgba
from ds4d.io.images import reduced_size as reduced_size
from ds4d.io.images import resize_premultiplied as resize_premultiplied
from ds4d.io.images import spread_colors as spread_colors
from ds4d.io.images import unpremultiply as unpremultiply
from ds4d.io.images import write_png as write_png
from ds4d.io.srgb import to_linear as to_linear
from ds4d.io.srgb import to_srgb as to_srgb
from ds4d.io.video_writer import write_alpha_video as write_alpha_video
from ds4d.io.video_writer import write_video as write_video
