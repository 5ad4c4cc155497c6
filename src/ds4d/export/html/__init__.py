"""A web page in a single file that plays a scene."""

from ds4d.export.html.packing import PackedFrames as PackedFrames
from ds4d.export.html.packing import pack_frames as pack_frames
from ds4d.export.html.packing import unpack_frames as unpack_frames
from ds4d.export.html.page import write_html as write_html
