"""Generated views that the border of their image cuts: what they show there is no evidence of where the object ends."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from ds4d.core import Warned, notify
from ds4d.types import GeneratedViews, MultiViewVideo

_OPAQUE = 128  # of 255
_MIN_CUT = 0.01  # of a side of the image: fewer pixels touch the border by chance
_REACH = 0.06  # of the height: pixels that are this near to a cut get no weight
_WEIGHTS_HEIGHT = 64  # pixels


def cut_frames(video: MultiViewVideo) -> Bool[Tensor, "T V"]:
    """Which images of the generated views the object leaves; False for the input view, whose checks are others."""
    cut = torch.zeros(video.valid.shape, dtype=torch.bool)
    for time, view in video.valid.nonzero().tolist():
        if view == 0:
            continue
        mask = torch.from_numpy(video.frames.read(time, view)[..., 3] >= _OPAQUE)
        rows, columns = mask[[0, -1]].float().mean(1), mask[:, [0, -1]].float().mean(0)
        cut[time, view] = bool(torch.cat((rows, columns)).max() >= _MIN_CUT)
    return cut


def without_cuts(generated: GeneratedViews) -> GeneratedViews:
    """The views with weight 0 around pixels where the border cuts the object, and a warning that names these views."""
    video = generated.video
    cut = cut_frames(video)
    if not cut.any():
        return generated
    counts = {name: int(n) for name, n in zip(video.view_names, cut.sum(0), strict=True) if n}
    text = ", ".join(f"{name} in {count} of {video.num_times} frames" for name, count in counts.items())
    notify(
        Warned(
            "views",
            f"generated views are cut by their own border ({text}): pixels near the cut are left out of the fit. Give "
            "a video with more space around the object, or a smaller --fill.",
        )
    )
    height = _WEIGHTS_HEIGHT
    width = max(1, round(height * video.frames.width / video.frames.height))
    weights = torch.ones(*video.valid.shape, 1, height, width)
    if video.pixel_weights is not None:
        old = video.pixel_weights
        weights = F.interpolate(old.flatten(0, 1), (height, width), mode="bilinear").unflatten(0, old.shape[:2])
    for time, view in cut.nonzero().tolist():
        alpha = torch.from_numpy(video.frames.read(time, view)[..., 3].copy())[None, None]
        weights[time, view] *= 1 - _near_cut((alpha >= _OPAQUE).float(), height, width)[0]
    return replace(generated, video=replace(video, pixel_weights=weights))


def _near_cut(mask: Float[Tensor, "1 1 H W"], height: int, width: int) -> Float[Tensor, "1 1 h w"]:
    """1 near the pixels of the mask that are on the border of the image, at a size in pixels."""
    border = torch.zeros_like(mask)
    border[..., [0, -1], :] = 1
    border[..., [0, -1]] = 1
    radius = max(1, round(_REACH * height))
    small = F.adaptive_max_pool2d(mask * border, (height, width))
    return F.max_pool2d(small, 2 * radius + 1, stride=1, padding=radius)
