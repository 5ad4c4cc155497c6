"""Loading of score distillation."""

import torch

from ds4d.core import Degraded, notify
from ds4d.guidance.score_distillation import GuidanceConfig, ScoreDistillation
from ds4d.guidance.zero123 import Zero123
from ds4d.types import MultiViewVideo
from ds4d.weights import MODELS, find_model, require_model


def load_guidance(config: GuidanceConfig, video: MultiViewVideo, device: torch.device) -> ScoreDistillation | None:
    """Score distillation for a video; None if its weight is 0 or, with a notice, if the model is not found.

    Args:
        config: weight and schedule.
        video: multi-view video with cameras in normalized space.
        device: compute device of the model.

    Raises:
        ImportError: the model is found, but diffusers or transformers is not installed.
        ValueError: the given folder does not contain the complete model, or a part of it cannot be used.
    """
    if not config.weight:
        return None
    known = MODELS["zero123-xl"]
    path = find_model(known) if config.model is None else require_model(known, config.model)
    if path is None:
        message = (
            f"score distillation is off: the weights of {known.title} were not found. `ds4d weights` shows where they "
            "are searched for and how to get them."
        )
        notify(Degraded("guidance", message))
        return None
    dtype = torch.half if config.half and device.type == "cuda" else torch.float32
    return ScoreDistillation(config, Zero123.load(path, dtype=dtype).to(device), video)
