"""A film in, the object alone out: reading, cut-out, framing."""

from ds4d.video.config import VideoConfig as VideoConfig
from ds4d.video.framing import Framing as Framing
from ds4d.video.loading import LoadedVideo as LoadedVideo
from ds4d.video.loading import load_video as load_video
