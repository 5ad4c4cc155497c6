"""A film in, the object alone out: reading, cut-out, framing, and checks of whether it is fit for use."""

from ds4d.video.config import VideoConfig as VideoConfig
from ds4d.video.findings import Finding as Finding
from ds4d.video.framing import FilmPlace as FilmPlace
from ds4d.video.framing import Framing as Framing
from ds4d.video.loading import Inspection as Inspection
from ds4d.video.loading import LoadedVideo as LoadedVideo
from ds4d.video.loading import inspect_video as inspect_video
from ds4d.video.loading import load_video as load_video
from ds4d.video.matting_model import MattingModel as MattingModel
from ds4d.video.matting_model import matting_model_path as matting_model_path
from ds4d.video.sheet import draw_inspection as draw_inspection
