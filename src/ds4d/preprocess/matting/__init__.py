"""Mattes: what of each frame belongs to the object."""

from ds4d.preprocess.matting.model import MattingModel as MattingModel
from ds4d.preprocess.matting.model import matting_model_path as matting_model_path
