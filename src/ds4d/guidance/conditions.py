"""The images of a clip as conditions of Zero123: where they were taken from, and what it knows of them."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ds4d.guidance.poses import footprint, square_image
from ds4d.guidance.zero123 import Condition, Zero123
from ds4d.types import MultiViewVideo


class InputConditions:
    """What Zero123 may start from: every image of a clip, looked at once, when it is first asked for.

    Args:
        video: with cameras in the inner world.
        model: on the device where it works.
    """

    def __init__(self, video: MultiViewVideo, model: Zero123) -> None:
        self.video = video
        self.model = model
        cameras = video.cameras
        self.directions = torch.nn.functional.normalize(cameras.centers, dim=-1)
        front = (cameras.viewmats[video.middle, 0], cameras.Ks[video.middle, 0])
        self.footprint = footprint(*front, cameras.width, cameras.height)
        self._seen: dict[tuple[int, int], Condition] = {}

    def choose(
        self, times: Int[Tensor, " B"], drawn_from: Float[Tensor, "B 3"], prefers_front: Bool[Tensor, " B"]
    ) -> Int[Tensor, " B"]:
        """The view to start from: the real one where it is preferred and there, else the nearest of the others.

        Args:
            times: frames.
            drawn_from: directions of the cameras whose images are judged.
            prefers_front: whether the real view is wanted.
        """
        nearness = torch.einsum("bvc,bc->bv", self.directions[times], drawn_from)
        there = self.video.valid[times]
        front = torch.zeros_like(there)
        front[:, 0] = True
        wanted = there & (front == prefers_front[:, None])
        wanted = torch.where(wanted.any(1, keepdim=True), wanted, there)
        return nearness.masked_fill(~wanted, -torch.inf).argmax(1)

    def at(self, times: Int[Tensor, " B"], views: Int[Tensor, " B"]) -> Condition:
        """What Zero123 knows of the images of B (time, view) pairs."""
        found = [self._look_at(time, view) for time, view in zip(times.tolist(), views.tolist(), strict=True)]
        return Condition(torch.cat([one.embeddings for one in found]), torch.cat([one.latents for one in found]))

    def _look_at(self, time: int, view: int) -> Condition:
        # One at a time: how many images pass together decides the last bits, and a resumed fit meets them in another
        # company.
        if (time, view) not in self._seen:
            images = self.video.gather(torch.tensor([time]), torch.tensor([view]))
            cameras = self.video.cameras
            square = square_image(
                torch.cat((images.images, images.alphas), dim=1)[0],
                cameras.viewmats[time, view],
                cameras.Ks[time, view],
                footprint=self.footprint,
                size=self.model.image_size,
            )
            self._seen[time, view] = self.model.look_at(square[None].to(self.model.alphas.device))
        return self._seen[time, view]
