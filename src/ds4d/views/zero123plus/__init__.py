"""Zero123++: six views of every frame by a pretrained diffusion model, kept alike over time by STAG4D's anchor.

Sources: Shi et al., Zero123++ (2023); Zeng et al., STAG4D (ECCV 2024), section 3.1. Its weights are CC-BY-NC 4.0.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from ds4d.config import check_ranges, to_dict
from ds4d.imaging import resize_premultiplied
from ds4d.types import GeneratedViews, Video
from ds4d.views.generation import join_views
from ds4d.views.zero123plus.layout import frame_views, square, view_cameras
from ds4d.views.zero123plus.networks import Zero123PlusNetworks
from ds4d.views.zero123plus.sampling import sample_sheets
from ds4d.weights import MODELS, require_model, weights_digest

_VERSION = 1  # of the views for given weights and settings
_CONDITION_SIZE = 512  # pixels along the side of the frames that the networks are shown
_GREY = 127  # what the networks take for background, of 255
