"""Score distillation: what a diffusion model would change in images from new sides grads the object (paper: SDS).

images -> latents z -> noise eps is added, as much as step t has -> the model says what noise it sees, eps_hat
gradient of the loss for z: w(t) (eps_hat - eps), w(t) = 1 - alphabar_t
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ds4d.core import check_ranges
from ds4d.geometry import orbit_cameras
from ds4d.guidance.conditions import InputConditions
from ds4d.guidance.poses import FOVY_DEG, angles_deg, directions_of, distance_for, relative_poses
from ds4d.guidance.zero123 import Zero123
from ds4d.losses import RenderRequest
from ds4d.types import Cameras, MultiViewVideo, Rendering


@dataclass(frozen=True)
class GuidanceConfig:
    """Score distillation (SDS) from Zero123-XL with STAG4D's schedule; fractions are of the whole training.

    Attributes:
        weight: loss weight; 0 turns score distillation off. Other losses are means over pixels, this one is a sum over
            latents.
        model: folder of the model; by default the one that ds4d weights finds.
        images: number of images rendered per step, distributed over its times, at least one per time.
        scale: scale of classifier-free guidance.
        lowest_deg: lowest elevation of the rendered cameras, degrees.
        highest_deg: highest elevation of the rendered cameras, degrees.
        front_deg: azimuth from the input view, degrees, up to which the input view is always the condition.
        front_chance: probability that the input view is the condition beyond that azimuth; otherwise it is the nearest
            training view.
        noise_first: lowest and highest noise level at the start, as fractions of the model's noise steps.
        noise_last: lowest and highest noise level at the end of `anneal`, as fractions of the model's noise steps.
        anneal: fraction over which the noise levels change from the first to the last.
        sizes: height and width of the rendered images, pixels, in the order in which they are used; images are resized
            to the model's own size.
        size_growth: fraction after which the last size is used; all sizes before it are used equally long.
        lead: fraction over which the weights of the other losses rise from 0 to their values.
        half: use half precision on a GPU; the CPU always uses single precision.
    """

    weight: float = 0.0
    model: Path | None = None
    images: int = 4
    scale: float = 5.0
    lowest_deg: float = -30.0
    highest_deg: float = 30.0
    front_deg: float = 30.0
    front_chance: float = 0.6
    noise_first: tuple[float, float] = (0.5, 0.95)
    noise_last: tuple[float, float] = (0.02, 0.5)
    anneal: float = 0.375
    sizes: tuple[int, ...] = (128, 256, 512)
    size_growth: float = 0.225
    lead: float = 0.25
    half: bool = True

    def __post_init__(self) -> None:
        check_ranges(self, weight="[0, inf)", images="[1, inf)", scale="[0, inf)", front_deg="[0, 180]")
        check_ranges(self, lowest_deg="[-90, 90]", highest_deg="[-90, 90]", front_chance="[0, 1]")
        check_ranges(self, anneal="[0, 1]", size_growth="[0, 1]", lead="[0, 1]")
        for name in ("noise_first", "noise_last"):
            least, most = getattr(self, name)
            if not 0 <= least <= most <= 1:
                raise ValueError(f"{name} must be two rising shares in [0, 1], got {least} and {most}.")
        if self.lowest_deg > self.highest_deg:
            raise ValueError(f"lowest_deg must not be above highest_deg {self.highest_deg}, got {self.lowest_deg}.")
        if not self.sizes or min(self.sizes) < 1:
            raise ValueError(f"sizes must be one or more numbers of pixels, got {self.sizes}.")


@dataclass(frozen=True)
class GuidanceRequest(RenderRequest):
    """Images from new sides, and how they will be judged.

    Attributes:
        times: frame of each image.
        views: the view that is the condition of each.
        poses: from that view's camera to the image's, as Zero123 is told.
        steps: how much noise is added to each.
        noise: that is added.
    """

    times: Int[Tensor, " B"]
    views: Int[Tensor, " B"]
    poses: Float[Tensor, "B 4"]
    steps: Int[Tensor, " B"]
    noise: Float[Tensor, "B L h w"]


class ScoreDistillation:
    """The loss of images from new sides (`ds4d.training.ViewLoss`).

    Args:
        config: the schedule.
        model: on the device where it works.
        video: with cameras in the inner world.
    """

    name = "sds"

    def __init__(self, config: GuidanceConfig, model: Zero123, video: MultiViewVideo) -> None:
        self.config = config
        self.weight = config.weight
        self.model = model
        self.conditions = InputConditions(video, model)

    def weight_of_others(self, progress: float) -> float:
        """What the other losses' weights are multiplied by, rising to 1."""
        return min(1.0, progress / self.config.lead) if self.config.lead else 1.0

    def request(self, times: Int[Tensor, " T"], progress: float, generator: torch.Generator) -> GuidanceRequest:
        """Cameras round the object, what each image starts from, and the noise that it gets.

        Args:
            times: frames of the step.
            progress: share of the fit that is done.
            generator: of all draws.
        """
        per_time = max(1, self.config.images // len(times))
        count = len(times) * per_time
        turn, rise, background, coin, depth = torch.rand(5, count, generator=generator)
        noise = torch.randn(count, *self.model.latent_shape, generator=generator)
        frames = times.repeat_interleave(per_time)

        turns = 360 * turn - 180
        elevations = self.config.lowest_deg + rise * (self.config.highest_deg - self.config.lowest_deg)
        azimuths = angles_deg(self.conditions.directions[frames, 0])[0] + turns
        drawn_from = directions_of(azimuths, elevations)
        near_front = (turns.abs() < self.config.front_deg) | (coin < self.config.front_chance)
        views = self.conditions.choose(frames, drawn_from, near_front)

        size = self._size(progress)
        cameras = orbit_cameras(
            azimuths.tolist(),
            elevations.tolist(),
            fovy_deg=FOVY_DEG,
            distance=distance_for(self.conditions.footprint),
            width=size,
            height=size,
        )
        lead = (len(times), per_time)
        return GuidanceRequest(
            cameras=Cameras(cameras.viewmats.unflatten(0, lead), cameras.Ks.unflatten(0, lead), size, size),
            backgrounds=(background < 0.5).float()[:, None].expand(-1, 3).unflatten(0, lead),
            times=frames,
            views=views,
            poses=relative_poses(self.conditions.directions[frames, views], drawn_from),
            steps=self._steps(progress, depth),
            noise=noise,
        )

    def loss(self, request: GuidanceRequest, rendering: Rendering) -> Float[Tensor, ""]:
        """Half the squared length of the pull on the latents, mean over the images.

        Its gradient for the latents of an image is the pull w(t) (eps_hat - eps) itself, as if that did not depend on
        them (DreamFusion, Eq. 3).
        """
        drawn = rendering.colors.flatten(0, 1)
        size = self.model.image_size
        if drawn.shape[-1] != size:
            drawn = F.interpolate(drawn, (size, size), mode="bilinear", antialias=True)
        # The way back through the model's encoder is gone here, at the pull's own size: in half precision, the small
        # weight of the loss would round it to 0.
        images = drawn.detach().requires_grad_()
        latents = self.model.encode(images)
        pull = self.pull(latents.detach(), request)
        (gradient,) = torch.autograd.grad(latents, images, pull)
        value = 0.5 * pull.square().sum() / len(pull)
        along = (drawn * gradient).sum() / len(pull)
        return value + along - along.detach()

    @torch.no_grad()
    def pull(self, latents: Float[Tensor, "B L h w"], request: GuidanceRequest) -> Float[Tensor, "B L h w"]:
        """w(t) (eps_hat - eps): by how much the noise that the model sees differs from the noise that was added."""
        device = latents.device
        steps, noise = request.steps.to(device), request.noise.to(device)
        kept = self.model.alphas[steps][:, None, None, None]
        noisy = kept.sqrt() * latents + (1 - kept).sqrt() * noise
        condition = self.conditions.at(request.times, request.views)
        predicted = self.model.predict_noise(noisy, steps, condition, request.poses.to(device), scale=self.config.scale)
        return (1 - kept) * (predicted - noise)

    def _size(self, progress: float) -> int:
        sizes, growth = self.config.sizes, self.config.size_growth
        return sizes[min(len(sizes) - 1, int(progress / growth * len(sizes)))] if growth else sizes[-1]

    def _steps(self, progress: float, depth: Float[Tensor, " B"]) -> Int[Tensor, " B"]:
        """Steps of noise, `depth` in [0, 1) between the least and the most of the moment."""
        share = min(1.0, progress / self.config.anneal) if self.config.anneal else 1.0
        pairs = zip(self.config.noise_first, self.config.noise_last, strict=True)
        least, most = (int(self.model.num_steps * (first + share * (last - first))) for first, last in pairs)
        return (least + depth * (most - least + 1)).long().clamp_max(self.model.num_steps - 1)
