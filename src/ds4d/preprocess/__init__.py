"""From a video to a clip of the object alone: frame selection, matting, cropping, and input validation."""

from ds4d.preprocess.checks import Finding as Finding
from ds4d.preprocess.config import VideoConfig as VideoConfig
from ds4d.preprocess.crop import CropBox as CropBox
from ds4d.preprocess.crop import VideoCrop as VideoCrop
from ds4d.preprocess.loading import Inspection as Inspection
from ds4d.preprocess.loading import LoadedVideo as LoadedVideo
from ds4d.preprocess.loading import inspect_video as inspect_video
from ds4d.preprocess.loading import load_video as load_video
from ds4d.preprocess.mask_sheet import make_mask_sheet as make_mask_sheet
