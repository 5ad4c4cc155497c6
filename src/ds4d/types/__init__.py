"""Data types that the packages share.

Letters in shapes: T times, V views, N Gaussians, K spherical harmonics, C feature channels, H W pixels, h w feature
cells, B batch; `*T` is an optional leading time axis. Every type checks the shapes of its fields.
"""

from ds4d.types.cameras import Cameras as Cameras
from ds4d.types.cameras import Similarity as Similarity
from ds4d.types.features import DecoupledFeatures as DecoupledFeatures
from ds4d.types.features import FrameFeatures as FrameFeatures
from ds4d.types.gaussians import Gaussians as Gaussians
from ds4d.types.gaussians import RawGaussians as RawGaussians
from ds4d.types.gaussians import Renderer as Renderer
from ds4d.types.gaussians import Rendering as Rendering
from ds4d.types.videos import ArrayFrames as ArrayFrames
from ds4d.types.videos import FrameBatch as FrameBatch
from ds4d.types.videos import Frames as Frames
from ds4d.types.videos import GeneratedViews as GeneratedViews
from ds4d.types.videos import MultiViewVideo as MultiViewVideo
from ds4d.types.videos import PointCloud as PointCloud
from ds4d.types.videos import Video as Video
