"""The images of a video as conditions of Zero123."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ds4d.guidance.poses import footprint, square_image
from ds4d.guidance.zero123 import Condition, Zero123
from ds4d.types import MultiViewVideo


class VideoConditions:
    """The conditions that the images of a video give; each is encoded once, when it is first needed.

    Attributes:
        directions: unit directions from the origin to the cameras, [T, V, 3].
        footprint: footprint of the input view (`ds4d.guidance.poses.footprint`), normalized units.

    Args:
        video: multi-view video with cameras in normalized space.
        model: Zero123 on its compute device.
    """

    def __init__(self, video: MultiViewVideo, model: Zero123) -> None:
        self.video = video
        self.model = model
        cameras = video.cameras
        self.directions = torch.nn.functional.normalize(cameras.centers, dim=-1)
        input_view = cameras.viewmats[video.middle, 0], cameras.Ks[video.middle, 0]
        self.footprint = footprint(*input_view, cameras.width, cameras.height)
        self._encoded: dict[tuple[int, int], Condition] = {}

    def choose(
        self, times: Int[Tensor, " B"], directions: Float[Tensor, "B 3"], prefer_input: Bool[Tensor, " B"]
    ) -> Int[Tensor, " B"]:
        """Chooses the condition view of each rendering: the input view, or the nearest of the generated ones.

        A view without an image at that time is never chosen.

        Args:
            times: frame of each rendering.
            directions: directions of the rendering cameras.
            prefer_input: whether the input view is preferred.
        """
        nearness = torch.einsum("bvc,bc->bv", self.directions[times], directions)
        valid = self.video.valid[times]
        is_input = torch.zeros_like(valid)
        is_input[:, 0] = True
        preferred = valid & (is_input == prefer_input[:, None])
        preferred = torch.where(preferred.any(1, keepdim=True), preferred, valid)
        return nearness.masked_fill(~preferred, -torch.inf).argmax(1)

    def at(self, times: Int[Tensor, " B"], views: Int[Tensor, " B"]) -> Condition:
        """The conditions of B (time, view) pairs."""
        found = [self._encode(time, view) for time, view in zip(times.tolist(), views.tolist(), strict=True)]
        return Condition(torch.cat([one.embeddings for one in found]), torch.cat([one.latents for one in found]))

    def _encode(self, time: int, view: int) -> Condition:
        # One at a time: the batch size decides the last bits, and a resumed run encodes them in other batches.
        if (time, view) not in self._encoded:
            images = self.video.gather(torch.tensor([time]), torch.tensor([view]))
            cameras = self.video.cameras
            square = square_image(
                torch.cat((images.images, images.alphas), dim=1)[0],
                cameras.viewmats[time, view],
                cameras.Ks[time, view],
                footprint=self.footprint,
                size=self.model.image_size,
            )
            device = self.model.alphas_cumprod.device
            self._encoded[time, view] = self.model.encode_condition(square[None].to(device))
        return self._encoded[time, view]
