"""The first motion of a fit whose object moves far between frames: that of tracks on the input view."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ds4d.core import Adam, tracked
from ds4d.geometry import project_points
from ds4d.scene import Motion
from ds4d.types import MultiViewVideo

_STEPS, _TIMES = 400, 4
_PLANES, _MLP = 2e-2, 2e-3  # learning rates
_MORE_OFTEN = 2.0  # than the middle frame one is sampled that is far from it
_FAR = 0.1  # of the side of the image, in the mean over its pixels


def begin_with_tracks(
    motion: Motion, means: Float[Tensor, "N 3"], video: MultiViewVideo, tracks: Float[Tensor, "T h w 3"]
) -> None:
    """Fits the deformation field to the tracks of canonical Gaussians: each goes with the pixel that it is seen at.

    Gaussians on the far side move with what hides them.

    Args:
        motion: motion before the first step; its field is changed.
        means: centers of the canonical Gaussians, normalized space.
        video: the video, with cameras in normalized space.
        tracks: those of the video's input view.
    """
    shifts = tracked_shifts(means, video, tracks)
    field = motion.field
    planes = list(field.hexplane.parameters())
    others = [*field.trunk.parameters(), *field.heads["means"].parameters()]
    optimizers = {Adam(planes): _PLANES, Adam(others): _MLP}
    generator = torch.Generator().manual_seed(0)
    for step in tracked(range(_STEPS), "following the tracks", _STEPS):
        chosen = torch.randperm(video.num_times, generator=generator)[:_TIMES]
        found = field.changes(means, video.times[chosen])["means"]
        loss = F.smooth_l1_loss(found, shifts[chosen], beta=0.01)
        loss.backward()
        for optimizer, rate in optimizers.items():
            optimizer.step(rate * 0.1 ** (step / _STEPS))


def weights_of_frames(tracks: Float[Tensor, "T h w 3"]) -> Float[Tensor, " T"]:
    """How often each frame is sampled: more often the farther the object is from where it is in the middle frame.

    Frames near the middle one show what all steps train; those far from it, where parts are stretched and turned, are
    learned from their own images alone.
    """
    far = (tracks[..., :2] - tracks[len(tracks) // 2, ..., :2]).norm(dim=-1).flatten(1).mean(1)
    return 1 + _MORE_OFTEN * (far / _FAR).clamp(max=1)


def tracked_shifts(
    means: Float[Tensor, "N 3"], video: MultiViewVideo, tracks: Float[Tensor, "T h w 3"]
) -> Float[Tensor, "T N 3"]:
    """By how much each Gaussian moves from the middle frame to each other one, normalized space."""
    camera = video.cameras[video.middle, :1]
    rotation, K = camera.viewmats[0, :3, :3], camera.Ks[0]
    (pixels,), (depths,) = project_points(means, camera)
    size = K.new_tensor([camera.width, camera.height])
    grid = (2 * pixels / size - 1).expand(len(tracks), 1, -1, -1)
    there = F.grid_sample(tracks.permute(0, 3, 1, 2), grid, padding_mode="border", align_corners=False).squeeze(2).mT
    moved = pixels + (there - there[video.middle])[..., :2] * size
    changes = there[..., 2:] / there[video.middle, :, 2:]
    before, after = (F.pad((place - K[:2, 2]) / K.diagonal()[:2], (0, 1), value=1.0) for place in (pixels, moved))
    return (after * changes - before) * depths[:, None] @ rotation
