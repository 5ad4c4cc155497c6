"""Zero123++: six views of every frame by a pretrained diffusion model, kept alike over time by STAG4D's anchor.

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
    in_videos_shape,
    sheet_cameras,
    shown_frame,
    split_sheet,
    video_camera,
)
from ds4d.multiview.zero123plus.networks import Zero123PlusNetworks
from ds4d.multiview.zero123plus.object_size import fit_nearness
from ds4d.multiview.zero123plus.sampling import sample_sheets
from ds4d.preprocess.matting.model import matting_model_path
from ds4d.types import Cameras, GeneratedViews, MultiViewVideo, Video
from ds4d.weights import MODELS, find_model, require_model, weights_digest

_VERSION = 1  # of the views for given weights and settings
_SHOWN_SIZE = 512  # pixels along the side of the frames that the networks are shown
_NAMES = [view.name for view in RIGS["stag4d"][1:]]


@dataclass(frozen=True)
class Zero123PlusConfig:
    """Which Zero123++ and how it is run.

    Attributes:
        version: v1.1 looks from 30 degrees above and 20 below, and shows the object as large as the video does (STAG4D,
            DS4D); v1.2 looks from 20 above and 10 below and brings every object to one size.
        folder: of the model; that of ds4d weights if None.
        steps: of denoising.
        guidance: how closely the views follow the frame; 1 is not at all pushed.
        anchor: frame whose views those of all others are kept alike to; None: every frame for itself.
        view_size: height and width of a view, pixels; the networks were trained at 320.
        frames_at_once: in the networks; halved for as long as a GPU has too little memory.
        half: whether a GPU computes in half precision; the CPU never does.
        offload: whether each network is on the GPU only while it works.
    """

    version: Literal["v1.1", "v1.2"] = "v1.1"
    folder: Path | None = None
    steps: int = 75
    guidance: float = 4.0
    anchor: int | None = 0
    view_size: int = 320
    frames_at_once: int = 4
    half: bool = True
    offload: bool = False

    def __post_init__(self) -> None:
        check_ranges(
            self,
            steps="[1, 1000]",
            guidance="[1, inf)",
            view_size="[64, inf)",
            frames_at_once="[1, inf)",
        )
        if self.view_size % 64:
            raise ValueError(f"view_size must be a multiple of 64, got {self.view_size}.")
        if self.anchor is not None:
            check_ranges(self, anchor="[0, inf)")


class Zero123Plus:
    """Views by Zero123++.

    Args:
        config: which version, and how.
        device: where it runs; single precision on the CPU, which takes hours for a clip.
        matting_model: onnx file that cuts the views out, the video's own (`VideoConfig`); that of ds4d weights if None.
            Where there is none, the views' gray tells them from their background.

    Raises:
        ValueError: its weights are not there, or not whole.
    """

    Config = Zero123PlusConfig
    uses_matting_model = True

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
        """See `ViewGenerator`; the first call reads all weights."""
        settings = to_dict(self.config)
        for name in ("folder", "frames_at_once", "half", "offload"):
            del settings[name]
        weights = [weights_digest(self.model, self.folder)]
        if self.matting_model:
            weights.append(weights_digest(MODELS["matting"], self.matting_model))
        record = {"name": "zero123plus", "code": _VERSION, "weights": weights, "dtype": str(self.dtype)}
        return json.dumps({**record, **settings})

    @torch.no_grad()
    def generate(self, video: Video, *, seed: int) -> GeneratedViews:
        """See `ViewGenerator`. All noise is drawn on the CPU, so a seed means the same on every device.

        Raises:
            ValueError: the video is shorter than the anchor's place, a frame is empty, or a network is damaged.
        """
        config = self.config
        if config.anchor is not None and config.anchor >= video.num_times:
            raise ValueError(
                f"anchor must be one of the video's frames 0 to {video.num_times - 1}, got {config.anchor}. "
                "Name one of them, or None for no anchor."
            )
        images = [video.frames.read(time, 0) for time in range(video.num_times)]
        side = max(video.frames.width, video.frames.height)
        fronts = heights(np.stack(images)[..., 3]) / side
        if not fronts.all():
            raise ValueError(
                f"frame {int(fronts.argmin())} of the video must show the object, got an empty mask. "
                "Cut it out again, or leave the frame out."
            )
        sheets = self._sheets([shown_frame(image, _SHOWN_SIZE) for image in images], seed)
        tiles = np.stack([split_sheet(sheet) for sheet in sheets])
        views = matte_views(tiles, fronts, _NAMES, same_size=config.version == "v1.1", model=self.matting_model)
        views = in_videos_shape(views, video.frames.width, video.frames.height)
        camera = video_camera(video)
        clip = join_views(video, views, sheet_cameras(camera, config.version), _NAMES)
        if config.version == "v1.2":
            clip = replace(clip, cameras=_fitted_cameras(clip, camera))
        return GeneratedViews(clip)

    def _sheets(self, shown: Sequence[UInt8[np.ndarray, "S S 3"]], seed: int) -> list[UInt8[np.ndarray, "H W 3"]]:
        """The sheet of each frame."""
        config, generator = self.config, torch.Generator().manual_seed(seed)
        networks = Zero123PlusNetworks(self.model, self.folder, self.device, dtype=self.dtype, offload=config.offload)
        latents = sample_sheets(
            networks,
            networks.encode(shown, generator),
            generator,
            height=ROWS * config.view_size,
            width=COLUMNS * config.view_size,
            steps=config.steps,
            guidance=config.guidance,
            anchor=config.anchor,
            frames_at_once=config.frames_at_once,
        )
        return [(sheet * 255).round().byte().movedim(0, -1).cpu().numpy() for sheet in networks.decode(latents)]


def _fitted_cameras(clip: MultiViewVideo, video: Cameras) -> Cameras:
    """The cameras of version 1.2, as near to the object as the silhouettes of some frames say."""
    views = torch.arange(clip.num_views)
    times = sorted({0, clip.middle, clip.num_times - 1})
    alphas = torch.stack([clip.gather(torch.full_like(views, time), views).alphas for time in times])
    rows = heights((alphas[:, :, 0] * 255).byte().flatten(0, 1).numpy()).reshape(len(times), -1)
    shorter, longer = sorted((video.width, video.height))
    guess = float(np.median(rows[:, 1:]) / shorter / (np.median(rows[:, 0]) / longer))
    nearness = fit_nearness(alphas, lambda factor: sheet_cameras(video, "v1.2", factor), guess)
    return sheet_cameras(video, "v1.2", nearness).expand_times(clip.num_times)
