"""Guidance as the settings and the weights at hand allow."""

import warnings

import torch

from ds4d.guidance.score_distillation import GuidanceConfig, ScoreDistillation
from ds4d.guidance.zero123 import Zero123
from ds4d.types import MultiViewVideo
from ds4d.weights import MODELS, find_model, require_model


def load_guidance(config: GuidanceConfig, video: MultiViewVideo, device: torch.device) -> ScoreDistillation | None:
    """Score distillation for a clip; None where its weight is 0, and, with a warning, where the model is not at hand.

    Args:
        config: the schedule, and where the model lies if that is named.
        video: with cameras in the inner world.
        device: where the model works.

    Raises:
        ImportError: the model is there, and diffusers or transformers is not installed.
        ValueError: the folder that is named does not hold the model, or a part of it is unfit.
    """
    if not config.weight:
        return None
    known = MODELS["zero123-xl"]
    path = find_model(known) if config.model is None else require_model(known, config.model)
    if path is None:
        warnings.warn(
            f"guidance is off: {known.title} is not at hand. `ds4d weights` says where it is looked for and how to get "
            "it.",
            stacklevel=2,
        )
        return None
    dtype = torch.half if config.half and device.type == "cuda" else torch.float32
    return ScoreDistillation(config, Zero123.load(path, dtype=dtype).to(device), video)
