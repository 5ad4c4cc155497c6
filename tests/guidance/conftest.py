"""A tiny random Zero123 of the real classes, in the layout of the public files."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ds4d.guidance import Zero123

WIDTH = 12  # of the CLIP embedding
LATENT = 8  # pixels; an image is four times as wide


def save_tiny(folder: Path) -> Path:
    """Saves all parts, and a model_index.json that diffusers cannot load."""
    import diffusers
    import transformers

    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=LATENT, in_channels=8, out_channels=4, block_out_channels=(8, 16), layers_per_block=1,
        cross_attention_dim=WIDTH, attention_head_dim=4, norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3, layers_per_block=1, norm_num_groups=4, latent_channels=4,
        scaling_factor=0.18215,
    )  # fmt: skip
    clip = transformers.CLIPVisionConfig(
        hidden_size=16, projection_dim=WIDTH, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        image_size=24, patch_size=8, initializer_factor=5.0,
    )  # fmt: skip
    scheduler = diffusers.DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    unet.save_pretrained(folder / "unet")
    vae.save_pretrained(folder / "vae")
    transformers.CLIPVisionModelWithProjection(clip).save_pretrained(folder / "image_encoder")
    scheduler.save_pretrained(folder / "scheduler")
    save_projection(folder)
    write_json(
        folder / "feature_extractor" / "preprocessor_config.json", {"image_processor_type": "CLIPImageProcessor"}
    )
    index = {
        "_class_name": "Zero123Pipeline",
        "clip_camera_projection": ["zero123", "CLIPCameraProjection"],
        "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    write_json(folder / "model_index.json", index)
    return folder


def save_projection(folder: Path, width: int = WIDTH, more: int = 4) -> None:
    """Saves the part that is of no class of diffusers."""
    part = folder / "clip_camera_projection"
    settings = {"_class_name": "CLIPCameraProjection", "embedding_dim": width, "additional_embeddings": more}
    write_json(part / "config.json", settings)
    weights = {"proj.weight": torch.randn(width, width + more), "proj.bias": torch.randn(width)}
    save_file(weights, part / "diffusion_pytorch_model.safetensors")


def write_json(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture(scope="session")
def zero123_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("diffusers", reason="needs diffusers (pip install '.[priors]')")
    return save_tiny(tmp_path_factory.mktemp("models") / "zero123-xl")


@pytest.fixture(scope="session")
def zero123(zero123_folder: Path) -> Zero123:
    return Zero123.load(zero123_folder)
