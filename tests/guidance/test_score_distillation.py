"""Score distillation: schedule, cameras, closed form of the gradient, and gradients of the Gaussians."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ds4d.config import GenerateConfig
from ds4d.guidance import GuidanceConfig, GuidanceRequest, ScoreDistillation, Zero123
from ds4d.guidance.poses import FOVY_DEG, angles_deg
from ds4d.pipeline import prepare
from ds4d.rendering import renderer_for
from ds4d.scene import DynamicGaussians
from ds4d.types import MultiViewVideo, Rendering

CPU = torch.device("cpu")
CONFIG = GuidanceConfig(weight=1.0, sizes=(16, 32, 48))


@pytest.fixture
def sds(quick_video: MultiViewVideo, zero123: Zero123) -> ScoreDistillation:
    return ScoreDistillation(CONFIG, zero123, quick_video)


def ask(
    sds: ScoreDistillation, times: list[int] | None = None, *, progress: float = 0.5, seed: int = 0
) -> GuidanceRequest:
    return sds.request(torch.tensor(times or [0, 5]), progress, torch.Generator().manual_seed(seed))


def many(sds: ScoreDistillation, progress: float = 0.5, **changes) -> GuidanceRequest:
    """A request of 400 images of one frame."""
    other = ScoreDistillation(replace(sds.config, images=400, **changes), sds.model, sds.conditions.video)
    return ask(other, [2], progress=progress)


@pytest.mark.parametrize(("times", "shape"), [([3], (1, 4)), ([0, 5], (2, 2)), ([0, 1, 2], (3, 1)), ([0] * 9, (9, 1))])
def test_images_are_distributed_over_times(sds: ScoreDistillation, times: list[int], shape: tuple[int, int]) -> None:
    request = ask(sds, times)
    assert request.cameras.viewmats.shape[:2] == request.backgrounds.shape[:2] == shape
    assert request.times.tolist() == [time for time in times for _ in range(shape[1])]
    assert request.noise.shape == (math.prod(shape), 4, 8, 8)


def test_cameras_have_zero123s_field_of_view_and_the_input_footprint(
    sds: ScoreDistillation, quick_video: MultiViewVideo
) -> None:
    cameras = ask(sds).cameras
    centers = cameras.centers
    front = quick_video.cameras.viewmats[0, 0]
    spans = quick_video.cameras.height / quick_video.cameras.Ks[0, 0, 1, 1] * front[2, 3]
    torch.testing.assert_close(cameras.height / cameras.Ks[..., 1, 1] * centers.norm(dim=-1), spans.expand(2, 2))
    fovy = 2 * torch.atan(cameras.height / 2 / cameras.Ks[..., 1, 1]).rad2deg()
    torch.testing.assert_close(fovy, torch.full((2, 2), FOVY_DEG))


def test_directions_cover_all_azimuths_and_the_elevations(sds: ScoreDistillation) -> None:
    azimuths, elevations = angles_deg(many(sds, min_elevation_deg=-10.0, max_elevation_deg=40.0).cameras.centers[0])
    assert (torch.histc(azimuths, 4, -180, 180) > 70).all()
    assert (torch.histc(elevations, 5, -10, 40) > 50).all()
    assert elevations.min() > -10.01 and elevations.max() < 40.01


def test_input_image_is_the_condition_nearby_and_by_probability(sds: ScoreDistillation) -> None:
    for probability in (0.0, 0.6, 1.0):
        request = many(sds, input_view_probability=probability)
        azimuths = angles_deg(request.cameras.centers[0])[0]
        is_input = request.views == 0
        assert is_input[azimuths.abs() < 29.9].all()
        fraction = is_input[azimuths.abs() > 30.1].float().mean()
        assert fraction == pytest.approx(probability, abs=0.07 if probability == 0.6 else 0)


def test_poses_are_relative_to_the_condition(sds: ScoreDistillation) -> None:
    request = many(sds)
    azimuths, elevations = angles_deg(request.cameras.centers[0])
    rig = sds.conditions.directions[2, request.views]
    rig_azimuths, rig_elevations = angles_deg(rig)
    azimuth, rise = azimuths - rig_azimuths, elevations - rig_elevations
    expected = torch.stack(
        (-rise.deg2rad(), azimuth.deg2rad().sin(), azimuth.deg2rad().cos(), torch.zeros(400)), dim=-1
    )
    torch.testing.assert_close(request.poses, expected, atol=1e-4, rtol=0)
    generated = request.views > 0
    nearness = sds.conditions.directions[2, 1:] @ request.cameras.centers[0, generated].T
    assert torch.equal(request.views[generated], 1 + nearness.argmax(0))


def test_backgrounds_are_white_or_black(sds: ScoreDistillation) -> None:
    backgrounds = many(sds).backgrounds.reshape(-1, 3)
    assert set(backgrounds.flatten().tolist()) == {0.0, 1.0}
    assert (backgrounds == backgrounds[:, :1]).all()
    assert backgrounds[:, 0].mean() == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize(
    ("progress", "low", "high"), [(1e-9, 500, 950), (0.375 / 2, 260, 725), (0.375, 20, 500), (1.0, 20, 500)]
)
def test_noise_levels_are_annealed(sds: ScoreDistillation, progress: float, low: int, high: int) -> None:
    timesteps = many(sds, progress).timesteps
    assert low <= timesteps.min() < low + 12 and high - 12 < timesteps.max() <= high


def test_highest_noise_level_is_the_last_timestep(sds: ScoreDistillation) -> None:
    assert many(sds, noise_end=(1.0, 1.0)).timesteps.unique().tolist() == [999]


@pytest.mark.parametrize(
    ("progress", "size", "factor"),
    [(0.001, 16, 0.004), (0.08, 32, 0.32), (0.2, 48, 0.8), (0.25, 48, 1.0), (1, 48, 1.0)],
)
def test_image_sizes_and_warmup(sds: ScoreDistillation, progress: float, size: int, factor: float) -> None:
    cameras = ask(sds, progress=float(progress)).cameras
    assert (cameras.width, cameras.height) == (size, size)
    assert sds.weight_of_others(float(progress)) == pytest.approx(factor)


def test_fractions_of_zero(quick_video: MultiViewVideo, zero123: Zero123) -> None:
    config = replace(CONFIG, anneal_fraction=0.0, growth_fraction=0.0, warmup_fraction=0.0, noise_end=(0.3, 0.3))
    sds = ScoreDistillation(config, zero123, quick_video)
    request = ask(sds, progress=1e-6)
    assert request.cameras.width == 48 and sds.weight_of_others(1e-6) == 1
    assert request.timesteps.unique().tolist() == [300]


def test_requests_depend_on_the_generator_only(sds: ScoreDistillation) -> None:
    first, second, other = ask(sds), ask(sds), ask(sds, seed=1)
    for name in ("noise", "timesteps", "poses", "views", "backgrounds"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name
    assert torch.equal(first.cameras.viewmats, second.cameras.viewmats)
    assert not torch.equal(first.noise, other.noise) and not torch.equal(first.poses, other.poses)


def rendering(colors: Tensor) -> Rendering:
    alphas = torch.ones(*colors.shape[:2], 1, *colors.shape[-2:])
    return Rendering(colors, alphas, alphas)


@pytest.mark.parametrize("size", [32, 48])
def test_gradient_has_the_closed_form(sds: ScoreDistillation, generator: torch.Generator, size: int) -> None:
    """w(t) (eps_hat - eps) for the latents of each image, backpropagated through the encoder."""
    request = ask(sds)
    colors = torch.rand(2, 2, 3, size, size, generator=generator).requires_grad_()
    loss = sds.loss(request, rendering(colors))
    (found,) = torch.autograd.grad(loss, colors)

    model = sds.model
    images = colors.flatten(0, 1)
    if size != 32:
        images = torch.nn.functional.interpolate(images, (32, 32), mode="bilinear", antialias=True)
    z = 0.18215 * model.vae.encode(2 * images - 1).latent_dist.mode()
    grads = []
    for i in range(4):
        alphabar = torch.linspace(0.00085**0.5, 0.012**0.5, 1000).square().neg().add(1).cumprod(0)[request.timesteps[i]]
        eps = request.noise[i : i + 1]
        noisy = alphabar.sqrt() * z[i : i + 1].detach() + (1 - alphabar).sqrt() * eps
        condition = sds.conditions.at(request.times[i : i + 1], request.views[i : i + 1])
        token = model.projection.proj(torch.cat((condition.embeddings, request.poses[i : i + 1]), 1))[:, None]
        step = request.timesteps[i : i + 1]
        conditional = model.unet(torch.cat((noisy, condition.latents), 1), step, encoder_hidden_states=token).sample
        blank = torch.cat((noisy, torch.zeros_like(noisy)), 1)
        unconditional = model.unet(blank, step, encoder_hidden_states=torch.zeros_like(token)).sample
        grads.append((1 - alphabar) * (unconditional + 5 * (conditional - unconditional) - eps))
    target = (z - torch.cat(grads)).detach()
    expected = 0.5 * (z - target).square().sum() / 4
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)
    (gradient,) = torch.autograd.grad(expected, colors)
    torch.testing.assert_close(found, gradient, rtol=1e-3, atol=1e-5 * gradient.abs().max().item())
    assert gradient.abs().max() > 0


def test_parts_of_a_request_have_their_parts_of_the_gradient(
    sds: ScoreDistillation, generator: torch.Generator
) -> None:
    request = ask(sds, [0, 3, 5])
    latents = torch.randn(3, 4, 8, 8, generator=generator)
    parts = [sds.latent_gradient(latents[rows], request.at(rows)) for rows in (slice(0, 2), slice(2, 3))]
    torch.testing.assert_close(torch.cat(parts), sds.latent_gradient(latents, request))
    assert torch.equal(request.at(slice(2, 3)).cameras.viewmats, request.cameras.viewmats[2:])


def test_perfect_prediction_has_no_gradient(sds: ScoreDistillation, monkeypatch: pytest.MonkeyPatch) -> None:
    request = ask(sds)
    monkeypatch.setattr(sds.model, "predict_noise", lambda *_, **__: request.noise)
    colors = torch.rand(2, 2, 3, 32, 32).requires_grad_()
    loss = sds.loss(request, rendering(colors))
    loss.backward()
    assert loss.item() == 0 and colors.grad is not None and not colors.grad.any()


def test_small_weights_survive_half_precision(zero123_folder, quick_video: MultiViewVideo) -> None:
    """Backpropagation through the encoder precedes the weight: 1e-9 of a half-precision gradient would be 0."""
    half = Zero123.load(zero123_folder, dtype=torch.half)
    sds = ScoreDistillation(CONFIG, half, quick_video)
    colors = torch.rand(2, 2, 3, 32, 32)
    gradients = []
    for weight in (1.0, 1e-9):
        leaf = colors.clone().requires_grad_()
        (weight * sds.loss(ask(sds), rendering(leaf))).backward()
        gradients.append(leaf.grad / weight)
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(gradients[0], gradients[1])


def test_gradients_reach_gaussians_and_deformation_field(
    sds: ScoreDistillation, quick_video: MultiViewVideo, quick_config: GenerateConfig
) -> None:
    scene = prepare(quick_video, quick_config, CPU).scene
    assert scene.field is not None
    with torch.no_grad():  # heads of zeros would let no gradient through to the planes
        for parameter in scene.field.heads.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    rendered = render(scene, ask(sds, [0, 3, 5]), quick_video)
    sds.loss(ask(sds, [0, 3, 5]), rendered).backward()
    assert rendered.info["means2d"].grad is not None
    for name, parameter in [*scene.gaussians.named_parameters(), *scene.field.named_parameters()]:
        if parameter.numel():
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
    assert (scene.gaussians.means.grad.abs().sum(-1) > 0).float().mean() > 0.5  # the others are hidden


def render(scene: DynamicGaussians, request: GuidanceRequest, video: MultiViewVideo) -> Rendering:
    times = video.times[request.times.reshape(request.backgrounds.shape[:2])[:, 0]]
    return renderer_for("cpu").render(scene.at(times), request.cameras, backgrounds=request.backgrounds)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"noise_start": (0.6, 0.5)}, "noise_start"),
        ({"noise_end": (0.0, 1.1)}, "noise_end"),
        ({"min_elevation_deg": 31.0}, "min_elevation_deg"),
        ({"sizes": ()}, "sizes"),
        ({"sizes": (64, 0)}, "sizes"),
    ],
)
def test_inconsistent_settings_raise(changes: dict, name: str) -> None:
    with pytest.raises(ValueError, match=name):
        GuidanceConfig(**changes)
