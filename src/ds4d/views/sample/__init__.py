"""The project's own sample scene: an animated creature, ray-traced exactly, with truth for every view and time."""

from ds4d.views.sample.dataset import SPLITS as SPLITS
from ds4d.views.sample.dataset import SampleConfig as SampleConfig
from ds4d.views.sample.dataset import sample_video as sample_video
from ds4d.views.sample.dataset import write_sample as write_sample
from ds4d.views.sample.drawing import moving_mask as moving_mask
from ds4d.views.sample.drawing import render_sample as render_sample
from ds4d.views.sample.points import surface_points as surface_points
