"""A video in, the object alone out: frames, mattes, framing, and checks of whether it can be used."""

from ds4d.preprocess.config import VideoConfig as VideoConfig
from ds4d.preprocess.findings import Finding as Finding
from ds4d.preprocess.framing import Framing as Framing
from ds4d.preprocess.framing import VideoCrop as VideoCrop
from ds4d.preprocess.loading import Inspection as Inspection
from ds4d.preprocess.loading import LoadedVideo as LoadedVideo
from ds4d.preprocess.loading import inspect_video as inspect_video
from ds4d.preprocess.loading import load_video as load_video
from ds4d.preprocess.mask_sheet import draw_inspection as draw_inspection
