"""Matting: which part of each frame is foreground."""

from ds4d.preprocess.matting.mask_files import read_masks as read_masks
from ds4d.preprocess.matting.mask_fixes import apply_mask_fixes as apply_mask_fixes
from ds4d.preprocess.matting.mask_fixes import read_mask_fixes as read_mask_fixes
from ds4d.preprocess.matting.mattes import Mattes as Mattes
from ds4d.preprocess.matting.mattes import apply_masks as apply_masks
from ds4d.preprocess.matting.mattes import extract_mattes as extract_mattes
from ds4d.preprocess.matting.model import MattingModel as MattingModel
from ds4d.preprocess.matting.model import matting_model_path as matting_model_path
from ds4d.preprocess.matting.video_model import VideoMattingModel as VideoMattingModel
