"""Compression of frames: bounded quantization errors, and errors for NaN."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ds4d.export.html import pack_frames, unpack_frames
from ds4d.geometry import quats_to_matrices
from ds4d.metrics import psnr
from ds4d.rendering import renderer_for
from ds4d.scene import BakedGaussians
from ds4d.types import RawGaussians
from ds4d.visualize import fixed_path


@pytest.fixture
def frames(tiny_gaussians: RawGaussians, generator: torch.Generator) -> RawGaussians:
    """Five frames of twelve Gaussians that change in everything but their view-dependent color."""
    frames = tiny_gaussians.expand_times(5)

    def perturbed(values: Tensor) -> Tensor:
        return values + 0.1 * torch.randn(values.shape, generator=generator)

    sh = frames.sh.expand(5, -1, -1, -1).clone()
    sh[:, :, 0] = perturbed(sh[:, :, 0])
    return RawGaussians(
        perturbed(frames.means),
        perturbed(frames.quats),
        perturbed(frames.log_scales),
        perturbed(frames.opacity_logits),
        sh,
    )


def _spread(values: Tensor) -> Tensor:
    """The range of each channel, the last axis."""
    flat = values.flatten(0, -2)
    return flat.amax(0) - flat.amin(0)


def test_errors_are_at_most_half_a_step(frames: RawGaussians) -> None:
    back = unpack_frames(pack_frames(frames))
    quats = torch.nn.functional.normalize(frames.quats, dim=-1)
    for name, original, bits in (
        ("means", frames.means, 14),
        ("quats", quats, 9),
        ("log_scales", frames.log_scales, 8),
        ("opacity_logits", frames.opacity_logits[..., None], 8),
        ("sh", frames.sh[:, :, 0], 8),
    ):
        values = getattr(back, name)
        values = {"opacity_logits": values[..., None], "sh": back.sh[:, :, 0]}.get(name, values)
        steps = _spread(original) / (2**bits - 1)
        assert ((values - original).abs() <= 0.501 * steps + 1e-6).all(), name
    rest = frames.sh[0, :, 1:]
    steps = (rest.amax(dim=(0, 2)) - rest.amin(dim=(0, 2))) / 255
    assert ((back.sh[:, :, 1:] - rest).abs() <= 0.501 * steps[:, None] + 1e-6).all()


def test_errors_do_not_accumulate_over_time() -> None:
    count = 300
    means = torch.linspace(0, 1, count)[:, None, None].expand(count, 2, 3) * torch.tensor([1.0, -0.3, 0.01])
    frames = RawGaussians(
        means, torch.ones(count, 2, 4), torch.zeros(count, 2, 3), torch.zeros(count, 2), torch.zeros(2, 1, 3)
    )
    assert (unpack_frames(pack_frames(frames)).means - means).abs().max() <= 0.51 / (2**14 - 1)


def test_packing_twice_changes_nothing(frames: RawGaussians) -> None:
    once = unpack_frames(pack_frames(frames))
    twice = unpack_frames(pack_frames(once))
    for name in ("means", "log_scales", "opacity_logits", "sh"):
        torch.testing.assert_close(getattr(twice, name), getattr(once, name), atol=1e-6, rtol=0)


def test_a_single_frame_without_view_dependence(tiny_gaussians: RawGaussians) -> None:
    frame = replace(tiny_gaussians, sh=tiny_gaussians.sh[:, :1]).expand_times(1)
    back = unpack_frames(pack_frames(frame))
    assert back.sh.shape == (1, 12, 1, 3)
    torch.testing.assert_close(back.means, frame.means, atol=1e-4, rtol=0)


def test_quaternion_signs_are_continuous(frames: RawGaussians) -> None:
    flipped = frames.quats.clone()
    flipped[1::2] *= -1
    back = unpack_frames(pack_frames(replace(frames, quats=flipped)))
    assert ((back.quats[1:] * back.quats[:-1]).sum(-1) > 0).all()
    torch.testing.assert_close(quats_to_matrices(back.quats), quats_to_matrices(frames.quats), atol=0.02, rtol=0)


def test_invisible_extremes_do_not_widen_the_range(frames: RawGaussians) -> None:
    logits, scales = frames.opacity_logits.clone(), frames.log_scales.clone()
    logits[:, 0], scales[:, 0] = -80.0, -40.0
    back = unpack_frames(pack_frames(replace(frames, opacity_logits=logits, log_scales=scales)))
    assert (back.opacity_logits[:, 0].sigmoid() < 1 / 255).all() and (back.log_scales[:, 0].exp() < 2e-4).all()
    assert (back.opacity_logits[:, 1:] - logits[:, 1:]).abs().max() < 16 / 255
    assert (back.log_scales[:, 1:] - scales[:, 1:]).abs().max() < 9 / 255


@pytest.mark.parametrize("name", ["means", "quats", "log_scales", "opacity_logits", "sh"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_refused(frames: RawGaussians, name: str, bad: float) -> None:
    values = getattr(frames, name).clone()
    values.view(-1)[3] = bad
    with pytest.raises(ValueError, match=f"{name} must be finite"):
        pack_frames(replace(frames, **{name: values}))


def test_unsupported_frames_are_refused(frames: RawGaussians, tiny_gaussians: RawGaussians) -> None:
    with pytest.raises(ValueError, match="time axis"):
        pack_frames(tiny_gaussians)
    sh = frames.sh.clone()
    sh[2, 0, 1] += 1
    with pytest.raises(ValueError, match="view-dependent"):
        pack_frames(replace(frames, sh=sh))


def test_error_is_not_visible(finished_run: Path) -> None:
    scene = BakedGaussians.load(finished_run)
    packed = BakedGaussians(unpack_frames(pack_frames(scene.frames)), scene.timeline, scene.world)
    times = torch.tensor([0.0, 0.3, 1.0])
    cameras = fixed_path(3, azimuth_deg=30.0, elevation_deg=20.0, fovy_deg=34.0, distance=2.0, size=128)
    images = []
    for each in (packed, scene):
        rendering = renderer_for("cpu").render(each.at(times), cameras)
        images.append((rendering.colors + 1 - rendering.alphas).flatten(0, 1))
    assert psnr(*images).min() > 50  # dB; rounding images to 8 bits gives 59
