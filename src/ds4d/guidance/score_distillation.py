"""Score distillation sampling (SDS) of renderings of unseen views (paper: SDS loss; DreamFusion, Eq. 3)."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ds4d.core import check_ranges
from ds4d.geometry import orbit_cameras
from ds4d.guidance.conditions import VideoConditions
from ds4d.guidance.poses import FOVY_DEG, angles_deg, directions_of, distance_for, relative_poses
from ds4d.guidance.zero123 import Zero123
from ds4d.losses import RenderRequest
from ds4d.types import Cameras, MultiViewVideo, Rendering


@dataclass(frozen=True)
class GuidanceConfig:
    """Score distillation (SDS) from Zero123-XL on unseen views, with STAG4D's schedule.

    Fractions are of all training steps.

    Attributes:
        weight: weight of the SDS loss; 0 disables it. The loss is a sum over latents, others are means over pixels.
        model: folder of Zero123-XL; None searches where `ds4d weights` shows.
        images: number of views rendered per step, distributed over its times; at least one per time.
        guidance_scale: scale of classifier-free guidance.
        min_elevation_deg: lowest elevation of the rendered views, degrees.
        max_elevation_deg: highest elevation of the rendered views, degrees.
        input_view_deg: azimuth from the input view, degrees, up to which the input image is always the condition.
        input_view_probability: probability that the input image is the condition beyond that azimuth; otherwise it is
            the image of the nearest generated view.
        noise_start: lowest and highest noise level at the start, as fractions of the diffusion timesteps.
        noise_end: lowest and highest noise level after annealing, as fractions of the diffusion timesteps.
        anneal_fraction: fraction over which noise levels are annealed.
        sizes: image sizes in pixels, used one after the other; the model resizes them to its own.
        growth_fraction: fraction after which the last size is reached.
        warmup_fraction: fraction over which the weights of all other losses rise from 0.
        half: use half precision on a GPU.
    """

    weight: float = 0.0
    model: Path | None = None
    images: int = 4
    guidance_scale: float = 5.0
    min_elevation_deg: float = -30.0
    max_elevation_deg: float = 30.0
    input_view_deg: float = 30.0
    input_view_probability: float = 0.6
    noise_start: tuple[float, float] = (0.5, 0.95)
    noise_end: tuple[float, float] = (0.02, 0.5)
    anneal_fraction: float = 0.375
    sizes: tuple[int, ...] = (128, 256, 512)
    growth_fraction: float = 0.225
    warmup_fraction: float = 0.25
    half: bool = True

    def __post_init__(self) -> None:
        check_ranges(self, weight="[0, inf)", images="[1, inf)", guidance_scale="[0, inf)", input_view_deg="[0, 180]")
        check_ranges(self, min_elevation_deg="[-90, 90]", max_elevation_deg="[-90, 90]")
        check_ranges(self, input_view_probability="[0, 1]", anneal_fraction="[0, 1]")
        check_ranges(self, growth_fraction="[0, 1]", warmup_fraction="[0, 1]")
        for name in ("noise_start", "noise_end"):
            low, high = getattr(self, name)
            if not 0 <= low <= high <= 1:
                raise ValueError(f"guidance.{name} must be two rising fractions in [0, 1], got {low} and {high}.")
        if self.min_elevation_deg > self.max_elevation_deg:
            raise ValueError(
                f"guidance.min_elevation_deg must not be above max_elevation_deg ({self.max_elevation_deg}), "
                f"got {self.min_elevation_deg}."
            )
        if not self.sizes or min(self.sizes) < 1:
            raise ValueError(f"guidance.sizes must be one or more numbers of pixels, got {self.sizes}.")


@dataclass(frozen=True)
class GuidanceRequest(RenderRequest):
    """Views to render, and what the diffusion model needs to judge them.

    Attributes:
        times: frame of each image.
        views: view whose image is the condition of each image.
        poses: pose of each image relative to that view, as Zero123 takes it.
        timesteps: diffusion timestep (noise level) of each image.
        noise: noise that is added to the latents.
    """

    times: Int[Tensor, " B"]
    views: Int[Tensor, " B"]
    poses: Float[Tensor, "B 4"]
    timesteps: Int[Tensor, " B"]
    noise: Float[Tensor, "B L h w"]

    def at(self, times: slice) -> "GuidanceRequest":
        """The part of the request at some of the step's times."""
        lead = self.backgrounds.shape[:2]
        flat = ("times", "views", "poses", "timesteps", "noise")
        parts = {name: getattr(self, name).unflatten(0, lead)[times].flatten(0, 1) for name in flat}
        return replace(self, cameras=self.cameras[times], backgrounds=self.backgrounds[times], **parts)


class ScoreDistillation:
    """The SDS loss of rendered views (`ds4d.losses.ViewLoss`).

    Args:
        config: weight and schedule.
        model: Zero123 on its compute device.
        video: multi-view video with cameras in normalized space.
    """

    name = "sds"

    def __init__(self, config: GuidanceConfig, model: Zero123, video: MultiViewVideo) -> None:
        self.config = config
        self.weight = config.weight
        self.model = model
        self.conditions = VideoConditions(video, model)

    def weight_of_others(self, progress: float) -> float:
        """The factor of the other losses' weights, which rises from 0 to 1 during the warm-up."""
        return min(1.0, progress / self.config.warmup_fraction) if self.config.warmup_fraction else 1.0

    def request(self, times: Int[Tensor, " T"], progress: float, generator: torch.Generator) -> GuidanceRequest:
        """Samples cameras around the object, their conditions, and the noise.

        Args:
            times: frames of the step.
            progress: fraction of training that is done.
            generator: random generator of all samples.
        """
        per_time = max(1, self.config.images // len(times))
        count = len(times) * per_time
        azimuth, elevation, background, condition, level = torch.rand(5, count, generator=generator)
        noise = torch.randn(count, *self.model.latent_shape, generator=generator)
        frames = times.repeat_interleave(per_time)

        offsets = 360 * azimuth - 180
        low, high = self.config.min_elevation_deg, self.config.max_elevation_deg
        elevations = low + elevation * (high - low)
        azimuths = angles_deg(self.conditions.directions[frames, 0])[0] + offsets
        directions = directions_of(azimuths, elevations)
        near_input = (offsets.abs() < self.config.input_view_deg) | (condition < self.config.input_view_probability)
        views = self.conditions.choose(frames, directions, near_input)

        size = self._image_size(progress)
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
            poses=relative_poses(self.conditions.directions[frames, views], directions),
            timesteps=self._timesteps(progress, level),
            noise=noise,
        )

    def loss(self, request: GuidanceRequest, rendering: Rendering) -> Float[Tensor, ""]:
        """Half the squared norm of the SDS gradient of the latents, mean over the images.

            images --encode--> latents z --add noise eps at timestep t--> z_t --predict--> eps_hat
            gradient of the loss for z: w(t) (eps_hat - eps), w(t) = 1 - alphabar_t (DreamFusion, Eq. 3)

        The gradient is that of the equation, which treats the right-hand side as constant.
        """
        colors = rendering.colors.flatten(0, 1)
        size = self.model.image_size
        if colors.shape[-1] != size:
            colors = F.interpolate(colors, (size, size), mode="bilinear", antialias=True)
        # Backpropagation through the encoder is done here, before the loss is weighted: in half precision, a gradient
        # multiplied by a small weight would be rounded to 0.
        images = colors.detach().requires_grad_()
        latents = self.model.encode(images)
        latent_gradient = self.latent_gradient(latents.detach(), request)
        (image_gradient,) = torch.autograd.grad(latents, images, latent_gradient)
        value = 0.5 * latent_gradient.square().sum() / len(images)
        surrogate = (colors * image_gradient).sum() / len(images)
        return value + surrogate - surrogate.detach()

    @torch.no_grad()
    def latent_gradient(self, latents: Float[Tensor, "B L h w"], request: GuidanceRequest) -> Float[Tensor, "B L h w"]:
        """The SDS gradient w(t) (eps_hat - eps) of the latents."""
        device = latents.device
        timesteps, noise = request.timesteps.to(device), request.noise.to(device)
        alphabar = self.model.alphas_cumprod[timesteps][:, None, None, None]
        noisy = alphabar.sqrt() * latents + (1 - alphabar).sqrt() * noise
        condition = self.conditions.at(request.times, request.views)
        scale = self.config.guidance_scale
        predicted = self.model.predict_noise(noisy, timesteps, condition, request.poses.to(device), scale=scale)
        return (1 - alphabar) * (predicted - noise)

    def _image_size(self, progress: float) -> int:
        sizes, growth = self.config.sizes, self.config.growth_fraction
        return sizes[min(len(sizes) - 1, int(progress / growth * len(sizes)))] if growth else sizes[-1]

    def _timesteps(self, progress: float, level: Float[Tensor, " B"]) -> Int[Tensor, " B"]:
        """Diffusion timesteps between the lowest and the highest noise level at this progress, by `level` in [0, 1)."""
        annealed = min(1.0, progress / self.config.anneal_fraction) if self.config.anneal_fraction else 1.0
        pairs = zip(self.config.noise_start, self.config.noise_end, strict=True)
        low, high = (int(self.model.num_timesteps * (start + annealed * (end - start))) for start, end in pairs)
        return (low + level * (high - low + 1)).long().clamp_max(self.model.num_timesteps - 1)
