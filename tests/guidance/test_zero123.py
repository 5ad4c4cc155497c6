"""Zero123 on tiny random networks: it is read from the real layout, and each thing that it is told matters."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ds4d.guidance import Condition, Zero123
from ds4d.weights import MODELS, problems

from .conftest import save_projection, write_json


@pytest.fixture
def images(generator: torch.Generator) -> Tensor:
    return torch.rand(2, 3, 32, 32, generator=generator)


@pytest.fixture
def poses() -> Tensor:
    return torch.tensor([[0.1, 0.0, 1.0, 0.0], [-0.3, 1.0, 0.0, 0.0]])


@pytest.fixture
def broken(tmp_path: Path, zero123_folder: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(zero123_folder, tmp_path / "model"))


def edit_json(path: Path, **changes: object) -> None:
    write_json(path, {**json.loads(path.read_text()), **changes})


def test_the_folder_counts_as_the_whole_model_and_diffusers_refuses_it(zero123_folder: Path) -> None:
    import diffusers

    assert problems(MODELS["zero123-xl"], zero123_folder) == []
    with pytest.raises((ValueError, AttributeError, ImportError, OSError)):
        diffusers.DiffusionPipeline.from_pretrained(zero123_folder, local_files_only=True)


def test_sizes_follow_from_the_parts(zero123: Zero123) -> None:
    assert (zero123.image_size, zero123.latent_shape, zero123.num_steps) == (32, (4, 8, 8), 1000)
    assert zero123.alphas[0] > 0.99 and zero123.alphas[-1] < 0.01 and (zero123.alphas.diff() < 0).all()
    assert not any(parameter.requires_grad for parameter in zero123.parameters())
    assert not any(module.training for module in zero123.modules())


def test_every_weight_is_that_of_the_files(zero123: Zero123, zero123_folder: Path) -> None:
    parts = {
        "projection": "clip_camera_projection/diffusion_pytorch_model.safetensors",
        "image_encoder": "image_encoder/model.safetensors",
        "vae": "vae/diffusion_pytorch_model.safetensors",
        "unet": "unet/diffusion_pytorch_model.safetensors",
    }
    for name, file in parts.items():
        stored, state = load_file(zero123_folder / file), getattr(zero123, name).state_dict()
        assert all(torch.equal(state[key], value) for key, value in stored.items()), name


def test_pickled_tensors_serve_as_well(broken: Path, zero123: Zero123, images: Tensor) -> None:
    folder = broken / "clip_camera_projection"
    torch.save(load_file(folder / "diffusion_pytorch_model.safetensors"), folder / "diffusion_pytorch_model.bin")
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    other = Zero123.load(broken)
    assert torch.equal(other.projection.proj.weight, zero123.projection.proj.weight)


def test_half_precision_variants_serve_as_well(tmp_path: Path, zero123_folder: Path, images: Tensor) -> None:
    """A folder saved with `variant="fp16"`, which holds no other weights."""
    import diffusers
    import transformers

    folder = tmp_path / "model"
    shutil.copytree(zero123_folder, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    kinds = {
        "unet": diffusers.UNet2DConditionModel,
        "vae": diffusers.AutoencoderKL,
        "image_encoder": transformers.CLIPVisionModelWithProjection,
    }
    for part, kind in kinds.items():
        kind.from_pretrained(zero123_folder / part).half().save_pretrained(folder / part, variant="fp16")
    name = "clip_camera_projection/diffusion_pytorch_model"
    projection = load_file(zero123_folder / f"{name}.safetensors")
    halves = {key: value.half() for key, value in projection.items()}
    save_file(halves, folder / f"{name}.fp16.safetensors")
    assert not [path for path in folder.rglob("*.safetensors") if ".fp16." not in path.name]
    assert problems(MODELS["zero123-xl"], folder) == []
    half, full = Zero123.load(folder), Zero123.load(zero123_folder)
    assert {parameter.dtype for parameter in half.parameters()} == {torch.float32}
    for ours, theirs in zip(half.parameters(), full.parameters(), strict=True):
        assert torch.equal(ours, theirs.half().float())
    torch.testing.assert_close(half.encode(images), full.encode(images), atol=0.02, rtol=0.02)


def test_clip_sees_images_as_its_own_preparation_would(zero123: Zero123) -> None:
    """At CLIP's own size there is nothing to resize: colors by its mean and deviation, then its projection."""
    side = zero123.image_encoder.config.image_size
    images = torch.rand(2, 3, side, side)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    expected = zero123.image_encoder(pixel_values=(images - mean) / std).image_embeds
    torch.testing.assert_close(zero123.look_at(images).embeddings, expected)


def test_latents_are_scaled_only_where_noise_is_added(zero123: Zero123, images: Tensor) -> None:
    expected = zero123.vae.encode(2 * images - 1).latent_dist.mean
    torch.testing.assert_close(zero123.look_at(images).latents, expected)
    torch.testing.assert_close(zero123.encode(images), expected * 0.18215)


def test_gradients_reach_images_through_the_encoder_alone(zero123: Zero123, images: Tensor) -> None:
    leaf = images.clone().requires_grad_()
    zero123.encode(leaf).sum().backward()
    assert leaf.grad is not None and leaf.grad.abs().max() > 0
    assert not zero123.look_at(leaf).latents.requires_grad


def predict(zero123: Zero123, condition: Condition, poses: Tensor, *, steps: int = 300, scale: float = 5.0) -> Tensor:
    noisy = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    return zero123.predict_noise(noisy, torch.tensor([steps, steps]), condition, poses, scale=scale)


def test_all_that_it_is_told_matters(zero123: Zero123, images: Tensor, poses: Tensor) -> None:
    condition = zero123.look_at(images)
    usual = predict(zero123, condition, poses)
    others = {
        "embedding": predict(zero123, replace(condition, embeddings=condition.embeddings.flip(0)), poses),
        "latents": predict(zero123, replace(condition, latents=condition.latents.flip(0)), poses),
        "pose": predict(zero123, condition, poses.flip(0)),
        "noise": predict(zero123, condition, poses, steps=700),
    }
    for what, other in others.items():
        assert (usual - other).abs().max() > 1e-4 * usual.abs().max(), what


def test_guidance_goes_through_the_conditioned_prediction(zero123: Zero123, images: Tensor, poses: Tensor) -> None:
    """Without a condition both the token and the latents beside the noise are 0; checked against the bare UNet."""
    condition = zero123.look_at(images)
    noisy, steps = torch.randn(2, 4, 8, 8), torch.tensor([20, 900])
    token = zero123.projection.proj(torch.cat((condition.embeddings, poses), dim=1))[:, None]
    given = zero123.unet(torch.cat((noisy, condition.latents), 1), steps, encoder_hidden_states=token).sample
    blank = torch.cat((noisy, torch.zeros_like(noisy)), 1)
    without = zero123.unet(blank, steps, encoder_hidden_states=torch.zeros_like(token)).sample
    for scale in (0.0, 1.0, 5.0):
        found = zero123.predict_noise(noisy, steps, condition, poses, scale=scale)
        torch.testing.assert_close(found, without + scale * (given - without), rtol=1e-4, atol=1e-5)


def test_a_batch_is_what_its_images_are_alone(zero123: Zero123, images: Tensor, poses: Tensor) -> None:
    noisy, steps = torch.randn(2, 4, 8, 8), torch.tensor([20, 900])
    both = zero123.predict_noise(noisy, steps, zero123.look_at(images), poses, scale=5.0)
    for i in range(2):
        one = slice(i, i + 1)
        alone = zero123.predict_noise(noisy[one], steps[one], zero123.look_at(images[one]), poses[one], scale=5.0)
        torch.testing.assert_close(both[one], alone, rtol=1e-4, atol=1e-5)


def test_half_precision_stays_inside(zero123_folder: Path, images: Tensor) -> None:
    half = Zero123.load(zero123_folder, dtype=torch.bfloat16)  # what a CPU computes in half precision
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    condition = half.look_at(images)
    assert condition.embeddings.dtype == condition.latents.dtype == half.encode(images).dtype == torch.float32
    assert half.alphas.dtype == torch.float32


def test_parts_that_do_not_fit_are_refused(broken: Path) -> None:
    save_projection(broken, width=10)
    with pytest.raises(ValueError, match=r"outputs of clip_camera_projection must be 12, got 10"):
        Zero123.load(broken)


def test_another_kind_of_noise_is_refused(broken: Path) -> None:
    edit_json(broken / "scheduler" / "scheduler_config.json", prediction_type="v_prediction")
    with pytest.raises(ValueError, match=r"prediction_type of scheduler must be epsilon, got v_prediction"):
        Zero123.load(broken)


@pytest.mark.parametrize(
    "weights", [{"proj.weight": torch.zeros(12, 12), "proj.bias": torch.zeros(12)}, {"norm.weight": torch.zeros(3)}]
)
def test_a_projection_of_another_shape_is_refused(broken: Path, weights: dict[str, Tensor]) -> None:
    save_file(weights, broken / "clip_camera_projection" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(ValueError, match=r"diffusion_pytorch_model\.safetensors must hold proj\.weight \[C, C \+ 4\]"):
        Zero123.load(broken)
