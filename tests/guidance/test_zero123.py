"""Zero123 with tiny random networks in the layout of the public files."""

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
    """A copy that a test may damage."""
    return Path(shutil.copytree(zero123_folder, tmp_path / "model"))


def edit_json(path: Path, **changes: object) -> None:
    write_json(path, {**json.loads(path.read_text()), **changes})


def test_folder_is_complete_but_no_pipeline_of_diffusers(zero123_folder: Path) -> None:
    import diffusers

    assert problems(MODELS["zero123-xl"], zero123_folder) == []
    with pytest.raises((ValueError, AttributeError, ImportError, OSError)):
        diffusers.DiffusionPipeline.from_pretrained(zero123_folder, local_files_only=True)


def test_sizes_are_those_of_the_parts(zero123: Zero123) -> None:
    assert (zero123.image_size, zero123.latent_shape, zero123.num_timesteps) == (32, (4, 8, 8), 1000)
    assert (
        zero123.alphas_cumprod[0] > 0.99
        and zero123.alphas_cumprod[-1] < 0.01
        and (zero123.alphas_cumprod.diff() < 0).all()
    )
    assert not any(parameter.requires_grad for parameter in zero123.parameters())
    assert not any(module.training for module in zero123.modules())


def test_weights_are_those_of_the_files(zero123: Zero123, zero123_folder: Path) -> None:
    parts = {
        "projection": "clip_camera_projection/diffusion_pytorch_model.safetensors",
        "image_encoder": "image_encoder/model.safetensors",
        "vae": "vae/diffusion_pytorch_model.safetensors",
        "unet": "unet/diffusion_pytorch_model.safetensors",
    }
    for name, file in parts.items():
        stored, state = load_file(zero123_folder / file), getattr(zero123, name).state_dict()
        assert all(torch.equal(state[key], value) for key, value in stored.items()), name


def test_pickled_tensors_are_loaded(broken: Path, zero123: Zero123, images: Tensor) -> None:
    folder = broken / "clip_camera_projection"
    torch.save(load_file(folder / "diffusion_pytorch_model.safetensors"), folder / "diffusion_pytorch_model.bin")
    (folder / "diffusion_pytorch_model.safetensors").unlink()
    other = Zero123.load(broken)
    assert torch.equal(other.projection.proj.weight, zero123.projection.proj.weight)


def test_half_precision_variants_are_loaded(tmp_path: Path, zero123_folder: Path, images: Tensor) -> None:
    """A folder that was saved with `variant="fp16"` only."""
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


def test_clip_preprocessing(zero123: Zero123) -> None:
    """Images of CLIP's size need no resizing."""
    side = zero123.image_encoder.config.image_size
    images = torch.rand(2, 3, side, side)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    expected = zero123.image_encoder(pixel_values=(images - mean) / std).image_embeds
    torch.testing.assert_close(zero123.encode_condition(images).embeddings, expected)


def test_only_latents_for_noise_are_scaled(zero123: Zero123, images: Tensor) -> None:
    expected = zero123.vae.encode(2 * images - 1).latent_dist.mean
    torch.testing.assert_close(zero123.encode_condition(images).latents, expected)
    torch.testing.assert_close(zero123.encode(images), expected * 0.18215)


def test_only_encode_is_differentiable(zero123: Zero123, images: Tensor) -> None:
    leaf = images.clone().requires_grad_()
    zero123.encode(leaf).sum().backward()
    assert leaf.grad is not None and leaf.grad.abs().max() > 0
    assert not zero123.encode_condition(leaf).latents.requires_grad


def predict(
    zero123: Zero123, condition: Condition, poses: Tensor, *, timestep: int = 300, scale: float = 5.0
) -> Tensor:
    noisy = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    return zero123.predict_noise(noisy, torch.tensor([timestep, timestep]), condition, poses, scale=5.0)


def test_prediction_depends_on_every_input(zero123: Zero123, images: Tensor, poses: Tensor) -> None:
    condition = zero123.encode_condition(images)
    usual = predict(zero123, condition, poses)
    others = {
        "embedding": predict(zero123, replace(condition, embeddings=condition.embeddings.flip(0)), poses),
        "latents": predict(zero123, replace(condition, latents=condition.latents.flip(0)), poses),
        "pose": predict(zero123, condition, poses.flip(0)),
        "noise": predict(zero123, condition, poses, timestep=700),
    }
    for what, other in others.items():
        assert (usual - other).abs().max() > 1e-4 * usual.abs().max(), what


def test_classifier_free_guidance(zero123: Zero123, images: Tensor, poses: Tensor) -> None:
    """Compared with the UNet itself; token and condition latents are 0 without a condition."""
    condition = zero123.encode_condition(images)
    noisy, steps = torch.randn(2, 4, 8, 8), torch.tensor([20, 900])
    token = zero123.projection.proj(torch.cat((condition.embeddings, poses), dim=1))[:, None]
    given = zero123.unet(torch.cat((noisy, condition.latents), 1), steps, encoder_hidden_states=token).sample
    blank = torch.cat((noisy, torch.zeros_like(noisy)), 1)
    without = zero123.unet(blank, steps, encoder_hidden_states=torch.zeros_like(token)).sample
    for scale in (0.0, 1.0, 5.0):
        found = zero123.predict_noise(noisy, steps, condition, poses, scale=scale)
        torch.testing.assert_close(found, without + scale * (given - without), rtol=1e-4, atol=1e-5)


def test_batch_equals_single_images(zero123: Zero123, images: Tensor, poses: Tensor) -> None:
    noisy, steps = torch.randn(2, 4, 8, 8), torch.tensor([20, 900])
    both = zero123.predict_noise(noisy, steps, zero123.encode_condition(images), poses, scale=5.0)
    for i in range(2):
        one = slice(i, i + 1)
        alone = zero123.predict_noise(
            noisy[one], steps[one], zero123.encode_condition(images[one]), poses[one], scale=5.0
        )
        torch.testing.assert_close(both[one], alone, rtol=1e-4, atol=1e-5)


def test_half_precision_networks_have_float32_outputs(zero123_folder: Path, images: Tensor) -> None:
    half = Zero123.load(zero123_folder, dtype=torch.bfloat16)  # what a CPU computes in half precision
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
    condition = half.encode_condition(images)
    assert condition.embeddings.dtype == condition.latents.dtype == half.encode(images).dtype == torch.float32
    assert half.alphas_cumprod.dtype == torch.float32


def test_mismatched_parts_raise(broken: Path) -> None:
    save_projection(broken, width=10)
    with pytest.raises(ValueError, match="clip_camera_projection"):
        Zero123.load(broken)


def test_other_prediction_type_raises(broken: Path) -> None:
    edit_json(broken / "scheduler" / "scheduler_config.json", prediction_type="v_prediction")
    with pytest.raises(ValueError, match="prediction_type"):
        Zero123.load(broken)


@pytest.mark.parametrize(
    "weights", [{"proj.weight": torch.zeros(12, 12), "proj.bias": torch.zeros(12)}, {"norm.weight": torch.zeros(3)}]
)
def test_projection_of_another_shape_raises(broken: Path, weights: dict[str, Tensor]) -> None:
    save_file(weights, broken / "clip_camera_projection" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(ValueError, match=r"proj\.weight"):
        Zero123.load(broken)
