"""Zero123++: six views of every frame by a pretrained diffusion model, with STAG4D's temporal anchor.

Sources: Shi et al., Zero123++ (2023); Zeng et al., STAG4D (ECCV 2024), section 3.1. Its weights are CC-BY-NC 4.0.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8

from ds4d.core import check_ranges, to_dict
from ds4d.geometry import RIGS
from ds4d.multiview.base import join_views
from ds4d.multiview.zero123plus.gray_background import heights, matte_views
from ds4d.multiview.zero123plus.layout import (
    COLUMNS,
    ROWS,
    condition_image,
    grid_cameras,
    input_camera,
    pad_to_video,
    split_grid,
)
from ds4d.multiview.zero123plus.networks import Zero123PlusNetworks
from ds4d.multiview.zero123plus.object_size import fit_zoom
from ds4d.multiview.zero123plus.sampling import sample_grids
from ds4d.preprocess.matting.model import matting_model_path
from ds4d.types import Cameras, GeneratedViews, MultiViewVideo, Video
from ds4d.weights import MODELS, find_model, require_model, weights_digest

_VERSION = 1  # changes when the same weights and settings give other views
_CONDITION_SIZE = 512  # of the square condition images, pixels
_NAMES = [view.name for view in RIGS["stag4d"][1:]]


@dataclass(frozen=True)
class Zero123PlusConfig:
    """Zero123++ and its sampler.

    Attributes:
        version: v1.1 has elevations of 30 and -20 degrees and keeps the scale of the object (STAG4D, DS4D); v1.2 has 20
            and -10 degrees and normalizes the scale.
        folder: folder of the model; by default the one that ds4d weights finds.
        steps: number of denoising steps.
        guidance: scale of classifier-free guidance; 1 turns it off.
        anchor: index of the frame to whose views those of all frames are kept similar (STAG4D's temporal anchor); None
            samples every frame independently.
        view_size: height and width of a view, pixels; the networks were trained at 320.
        batch_size: number of frames per batch, halved automatically while GPU memory is short.
        half: use half precision on a GPU; the CPU always uses single precision.
        offload: keep each network in main memory while it is not used.
    """

    version: Literal["v1.1", "v1.2"] = "v1.1"
    folder: Path | None = None
    steps: int = 75
    guidance: float = 4.0
    anchor: int | None = 0
    view_size: int = 320
    batch_size: int = 4
    half: bool = True
    offload: bool = False

    def __post_init__(self) -> None:
        check_ranges(
            self,
            steps="[1, 1000]",
            guidance="[1, inf)",
            view_size="[64, inf)",
            batch_size="[1, inf)",
        )
        if self.view_size % 64:
            raise ValueError(f"view_size must be a multiple of 64, got {self.view_size}.")
        if self.anchor is not None:
            check_ranges(self, anchor="[0, inf)")


class Zero123Plus:
    """Views by Zero123++.

    Args:
        config: version and settings.
        device: compute device; the CPU takes hours for a video.
        matting_model: ONNX file of the matting model for the views; by default the one that ds4d weights finds. Without
            one, the views are matted by the gray of their background.

    Raises:
        ValueError: the weights are missing or incomplete.
    """

    Config = Zero123PlusConfig
    uses_matting_model = True
    uses_tracks = False

    @staticmethod
    def is_usable(config: Zero123PlusConfig, device: torch.device) -> tuple[bool, str]:
        """With its weights and a GPU; on a CPU it takes hours."""
        folder = find_model(MODELS[f"zero123plus-{config.version}"], config.folder)
        if folder is None:
            return False, "weights of zero123plus not found, see ds4d weights"
        if device.type == "cpu":
            return False, "zero123plus takes hours on a CPU, use --views zero123plus to run it anyway"
        return True, f"weights from {folder}"

    def __init__(self, config: Zero123PlusConfig, device: torch.device, matting_model: Path | None = None) -> None:
        self.config, self.device = config, device
        self.model = MODELS[f"zero123plus-{config.version}"]
        self.folder = require_model(self.model, config.folder)
        self.matting_model = matting_model_path(matting_model)
        self.dtype = torch.float16 if config.half and device.type == "cuda" else torch.float32

    @cached_property
    def identity(self) -> str:
        """See `ViewGenerator`; the digest of the weights reads them once and is cached."""
        settings = to_dict(self.config)
        for name in ("folder", "batch_size", "half", "offload"):
            del settings[name]
        weights = [weights_digest(self.model, self.folder)]
        if self.matting_model:
            weights.append(weights_digest(MODELS["matting"], self.matting_model))
        record = {"name": "zero123plus", "code": _VERSION, "weights": weights, "dtype": str(self.dtype)}
        return json.dumps({**record, **settings})

    @torch.no_grad()
    def generate(self, video: Video, *, seed: int) -> GeneratedViews:
        """See `ViewGenerator`. All noise is sampled on the CPU, so that a seed means the same on every device.

        Raises:
            ValueError: the anchor is not a frame of the video, the mask of a frame is empty, or a network is damaged.
        """
        config = self.config
        if config.anchor is not None and config.anchor >= video.num_times:
            raise ValueError(
                f"--zero123plus.anchor must be a frame of the video, 0 to {video.num_times - 1}, got {config.anchor}. "
                "Choose one of them, or none."
            )
        images = [video.frames.read(time, 0) for time in range(video.num_times)]
        side = max(video.frames.width, video.frames.height)
        input_heights = heights(np.stack(images)[..., 3]) / side
        if not input_heights.all():
            raise ValueError(
                f"frame {int(input_heights.argmin())} of the video must show the object, got an empty mask. "
                "Correct its mask, or leave the frame out."
            )
        grids = self._grids([condition_image(image, _CONDITION_SIZE) for image in images], seed)
        tiles = np.stack([split_grid(grid) for grid in grids])
        views = matte_views(tiles, input_heights, _NAMES, same_size=config.version == "v1.1", model=self.matting_model)
        views = pad_to_video(views, video.frames.width, video.frames.height)
        camera = input_camera(video)
        joined = join_views(video, views, grid_cameras(camera, config.version), _NAMES)
        if config.version == "v1.2":
            joined = replace(joined, cameras=_fitted_cameras(joined, camera))
        return GeneratedViews(joined)

    def _grids(self, conditions: Sequence[UInt8[np.ndarray, "S S 3"]], seed: int) -> list[UInt8[np.ndarray, "H W 3"]]:
        """The image grid of each frame."""
        config, generator = self.config, torch.Generator().manual_seed(seed)
        networks = Zero123PlusNetworks(self.model, self.folder, self.device, dtype=self.dtype, offload=config.offload)
        latents = sample_grids(
            networks,
            networks.encode(conditions, generator),
            generator,
            height=ROWS * config.view_size,
            width=COLUMNS * config.view_size,
            steps=config.steps,
            guidance=config.guidance,
            anchor=config.anchor,
            batch_size=config.batch_size,
        )
        return [(grid * 255).round().byte().movedim(0, -1).cpu().numpy() for grid in networks.decode(latents)]


def _fitted_cameras(video: MultiViewVideo, camera: Cameras) -> Cameras:
    """The cameras of version 1.2, at the distance at which the masks of some frames agree."""
    views = torch.arange(video.num_views)
    times = sorted({0, video.middle, video.num_times - 1})
    alphas = torch.stack([video.gather(torch.full_like(views, time), views).alphas for time in times])
    rows = heights((alphas[:, :, 0] * 255).byte().flatten(0, 1).numpy()).reshape(len(times), -1)
    shorter, longer = sorted((camera.width, camera.height))
    guess = float(np.median(rows[:, 1:]) / shorter / (np.median(rows[:, 0]) / longer))
    zoom = fit_zoom(alphas, lambda factor: grid_cameras(camera, "v1.2", factor), guess)
    return grid_cameras(camera, "v1.2", zoom).expand_times(video.num_times)
