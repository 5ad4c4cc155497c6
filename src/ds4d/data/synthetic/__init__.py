"""The synthetic scene: an animated creature, ray-traced exactly, with ground truth for every view and time."""

from ds4d.data.synthetic.dataset import SPLITS as SPLITS
from ds4d.data.synthetic.dataset import SampleConfig as SampleConfig
from ds4d.data.synthetic.dataset import sample_video as sample_video
from ds4d.data.synthetic.dataset import write_sample as write_sample
from ds4d.data.synthetic.rendering import moving_mask as moving_mask
from ds4d.data.synthetic.rendering import render_sample as render_sample
from ds4d.data.synthetic.surface_points import surface_points as surface_points
