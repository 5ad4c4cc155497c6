"""Time and memory of the preset `paper` with networks of their real sizes, by stage and GPU memory.

    python benchmarks/paper_size.py DATA/minions -o out --device cuda        # 8, 12, 16, 24, 40 and 80 GB
    python benchmarks/paper_size.py DATA/minions -o out --device cpu --tiny --frames 3 --steps 4 --view-steps 2

Weights are drawn at random in the real configurations and the real layout (Zero123++, Zero123-XL, DINOv2-L, VGG16), as
time and memory do not depend on what a network has learned. They are made in OUT/weights, some 8 GB, and deleted at the
end unless --keep-weights is given. The views that Zero123++ samples are noise and thrown away; what follows uses those
of the data.

Each stage runs in a process of its own whose allocator is limited to the budget less what CUDA takes by itself. If
memory runs out, the next of the stage's fixes is tried, until one fits. Of the fit, --steps steps are taken with the
schedule of all 8,000 in small: times per step are means, and the last quarter, at the largest images of SDS, is given
as well. Every measurement is a line of OUT/sizes.jsonl, and a killed command continues when it is repeated.
"""

import argparse
import gc
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from machine import machine

from ds4d.config import GenerateConfig
from ds4d.core import choose_device
from ds4d.data import load_views
from ds4d.features import extract_features
from ds4d.io import atomic_path
from ds4d.metrics import Lpips
from ds4d.metrics.lpips import VGG16
from ds4d.multiview.zero123plus import Zero123Plus
from ds4d.multiview.zero123plus.layout import condition_image
from ds4d.pipeline import prepare
from ds4d.presets import paper, tiny
from ds4d.scene import render_rgba
from ds4d.training import StepDone
from ds4d.types import MultiViewVideo
from ds4d.visualize import orbit_path

BUDGETS = (8, 12, 16, 24, 40, 80)  # GB
CONTEXT_GB = 0.6  # of the GPU's memory that CUDA and its libraries take beside the allocator
GB = 1e9
CONDITION_SIZE = 512  # pixels, of the images that Zero123++ is given
ORBIT = 16  # frames of the stage outputs

Change = Callable[[GenerateConfig], GenerateConfig]


def _views(**changes: Any) -> Change:
    def change(config: GenerateConfig) -> GenerateConfig:
        generators = config.views.generators
        networks = replace(generators, zero123plus=replace(generators.zero123plus, **changes))
        return replace(config, views=replace(config.views, generators=networks))

    return change


def _features(**changes: Any) -> Change:
    def change(config: GenerateConfig) -> GenerateConfig:
        return replace(config, features=replace(config.features, dinov2=replace(config.features.dinov2, **changes)))

    return change


def _few_images(config: GenerateConfig) -> GenerateConfig:
    """Two images a step in both stages: LPIPS keeps the activations of each for its gradient."""
    training = replace(config.training, times_per_step=1, static_views=2)
    return replace(config, training=training, guidance=replace(config.guidance, images=1))


def _without_guidance(config: GenerateConfig) -> GenerateConfig:
    return replace(config, guidance=replace(config.guidance, weight=0.0))


# What is tried in turn where memory runs out: the options of `ds4d generate`, and what they change.
FIXES: dict[str, dict[str, Change]] = {
    "views": {
        "": lambda config: config,
        "--zero123plus.offload": _views(offload=True),
        "--zero123plus.offload --zero123plus.batch-size 1": _views(offload=True, batch_size=1),
    },
    "features": {"": lambda config: config, "--features.dinov2.batch-size 1": _features(batch_size=1)},
    "fit": {
        "": lambda config: config,
        "--training.times-per-step 1 --training.static-views 2 --guidance.images 1": _few_images,
        "--guidance.weight 0": _without_guidance,
        "--training.times-per-step 1 --training.static-views 2 --guidance.weight 0": (
            lambda config: _without_guidance(_few_images(config))
        ),
    },
}


@dataclass(frozen=True)
class Measured:
    """One attempt at one stage under one budget.

    Attributes:
        stage: key of `FIXES`.
        budget_gb: memory of the GPU, GB.
        option: options of the attempt.
        seconds: duration by part.
        peak_gb: largest memory of tensors by part, GB; 0 on the CPU.
        reserved_gb: largest memory of the allocator by part, GB.
        error: why it failed; empty if it did not.
    """

    stage: str
    budget_gb: float
    option: str
    seconds: dict[str, float]
    peak_gb: dict[str, float]
    reserved_gb: dict[str, float]
    error: str = ""


class Meter:
    """Time and memory of the parts of a stage."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}
        self.peak_gb: dict[str, float] = {}
        self.reserved_gb: dict[str, float] = {}

    def start(self) -> None:
        """Begins a part."""
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        self._began = time.perf_counter()

    def stop(self, part: str) -> None:
        """Ends it."""
        used = reserved = 0
        if self.device.type == "cuda":
            torch.cuda.synchronize()
            used, reserved = torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()
        self.seconds[part] = round(time.perf_counter() - self._began, 3)
        self.peak_gb[part], self.reserved_gb[part] = round(used / GB, 3), round(reserved / GB, 3)


# ---- networks


def make_weights(folder: Path, version: str, *, is_tiny: bool) -> None:
    """Writes all networks with random weights of half precision; a marker says that they are complete."""
    if (folder / f"complete-{version}").is_file():
        return
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(0)
    _zero123plus(folder / f"zero123plus-{version}", is_tiny)
    _zero123_xl(folder / "zero123-xl", is_tiny)
    _dinov2(folder / "dinov2-large", is_tiny)
    from safetensors.torch import save_file

    stand_in = Lpips.stand_in()
    heads = {f"lin{i}.model.1.weight": getattr(stand_in, f"head{i}") for i in range(len(VGG16.channels))}
    backbone = {name: value for name, value in stand_in.state_dict().items() if name.startswith("features.")}
    for name, file, tensors in (("vgg16", "model", backbone), ("lpips-vgg", "vgg", heads)):
        (folder / name).mkdir(parents=True)
        save_file(tensors, folder / name / f"{file}.safetensors")
    (folder / f"complete-{version}").touch()


def _save(make: Callable[[], Any], folder: Path) -> None:
    """A network with random weights that keep activations small, whatever its own initialization."""
    with torch.device("meta"):  # its own would be drawn one by one, which takes minutes
        network = make()
    network = network.half().to_empty(device="cpu")
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            values = torch.randn(parameter.shape) * (0.5 / parameter[0].numel() ** 0.5)
        else:
            values = torch.full(parameter.shape, float(name.endswith("weight")))
        parameter.data.copy_(values)
    network.save_pretrained(folder, safe_serialization=True)


def _unet(is_tiny: bool, **more: Any) -> Any:
    """The UNet of Stable Diffusion."""
    from diffusers import UNet2DConditionModel

    down, up = ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",), ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    if is_tiny:
        sizes = {"block_out_channels": (8, 16), "down_block_types": down[2:], "up_block_types": up[:2]}
        more |= {"layers_per_block": 1, "norm_num_groups": 4, "cross_attention_dim": 16, "attention_head_dim": 4}
    else:
        sizes = {"block_out_channels": (320, 640, 1280, 1280), "down_block_types": down, "up_block_types": up}
    return UNet2DConditionModel(**sizes, **more)


def _vae(is_tiny: bool) -> Any:
    """The autoencoder of Stable Diffusion."""
    from diffusers import AutoencoderKL

    channels = (8, 8, 8) if is_tiny else (128, 256, 512, 512)
    count, groups = len(channels), {"norm_num_groups": 4} if is_tiny else {}
    return AutoencoderKL(
        block_out_channels=channels, down_block_types=("DownEncoderBlock2D",) * count,
        up_block_types=("UpDecoderBlock2D",) * count, layers_per_block=1 if is_tiny else 2, latent_channels=4,
        scaling_factor=0.18215, **groups,
    )  # fmt: skip


def _clip_vision(is_tiny: bool, *, width: int, layers: int, projection: int) -> Any:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    sizes = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers}
    more = {"num_attention_heads": 16, "image_size": 224, "patch_size": 14, "projection_dim": projection}
    if is_tiny:
        sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
        more = {"num_attention_heads": 2, "image_size": 28, "patch_size": 14, "projection_dim": 16}
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**sizes, **more))


def _clip_text(is_tiny: bool) -> Any:
    """That of OpenCLIP ViT-H/14, without its last layer."""
    from transformers import CLIPTextConfig, CLIPTextModel

    sizes = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 23, "num_attention_heads": 16}
    if is_tiny:
        sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    return CLIPTextModel(CLIPTextConfig(vocab_size=4 if is_tiny else 49_408, max_position_embeddings=77, **sizes))


def _zero123plus(folder: Path, is_tiny: bool) -> None:
    from diffusers import EulerAncestralDiscreteScheduler

    heads = {} if is_tiny else {"attention_head_dim": (5, 10, 20, 20), "cross_attention_dim": 1024}
    _save(lambda: _unet(is_tiny, use_linear_projection=True, sample_size=64, **heads), folder / "unet")
    _save(lambda: _vae(is_tiny), folder / "vae")
    _save(lambda: _clip_vision(is_tiny, width=1280, layers=32, projection=1024), folder / "vision_encoder")
    _save(lambda: _clip_text(is_tiny), folder / "text_encoder")
    EulerAncestralDiscreteScheduler(prediction_type="v_prediction").save_pretrained(folder / "scheduler")
    tokens = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    clip, vae = (28, 32) if is_tiny else (224, 320)
    files = {
        "tokenizer/vocab.json": {"!": 0, "a</w>": 1, "<|startoftext|>": 2, "<|endoftext|>": 3},
        "tokenizer/tokenizer_config.json": {"model_max_length": 77, **tokens, "pad_token": "!"},
        "feature_extractor_clip/preprocessor_config.json": {"size": {"shortest_edge": clip}, "crop_size": clip},
        "feature_extractor_vae/preprocessor_config.json": {
            "size": {"shortest_edge": vae}, "crop_size": vae, "image_mean": [0.5] * 3, "image_std": [0.8] * 3,
        },
        "model_index.json": {"_class_name": "Zero123PlusPipeline", "ramping_coefficients": [0.1] * 77},
    }  # fmt: skip
    _write_json(folder, files)
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")


def _zero123_xl(folder: Path, is_tiny: bool) -> None:
    from diffusers import DDIMScheduler
    from safetensors.torch import save_file

    width = 16 if is_tiny else 768
    heads = {} if is_tiny else {"attention_head_dim": 8, "cross_attention_dim": width}
    _save(lambda: _unet(is_tiny, in_channels=8, sample_size=8 if is_tiny else 32, **heads), folder / "unet")
    _save(lambda: _vae(is_tiny), folder / "vae")
    _save(lambda: _clip_vision(is_tiny, width=1024, layers=24, projection=width), folder / "image_encoder")
    DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear").save_pretrained(
        folder / "scheduler"
    )
    files = {
        "model_index.json": {"_class_name": "Zero123Pipeline"},
        "feature_extractor/preprocessor_config.json": {"image_processor_type": "CLIPImageProcessor"},
        "clip_camera_projection/config.json": {"_class_name": "CLIPCameraProjection"},
    }
    _write_json(folder, files)
    weights = {"proj.weight": torch.randn(width, width + 4) / width**0.5, "proj.bias": torch.zeros(width)}
    save_file(weights, folder / "clip_camera_projection" / "diffusion_pytorch_model.safetensors")


def _dinov2(folder: Path, is_tiny: bool) -> None:
    from transformers import Dinov2Config, Dinov2Model

    sizes = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "image_size": 518}
    if is_tiny:
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 70}
    _save(lambda: Dinov2Model(Dinov2Config(patch_size=14, **sizes)), folder)


def _write_json(folder: Path, files: dict[str, Any]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content), encoding="utf-8")


# ---- stages, each in a process of its own


def config_of(args: argparse.Namespace, weights: Path) -> GenerateConfig:
    """The preset `paper` with DINOv2-L, and as many steps as are taken."""
    config = paper()
    whole = config.training
    static = max(1, round(args.steps * whole.static_steps / whole.total_steps))
    config = replace(
        config,
        training=replace(whole, static_steps=static, dynamic_steps=max(1, args.steps - static)),
        features=replace(
            config.features,
            kind="dinov2",
            cached=False,
            dinov2=replace(config.features.dinov2, model=str(weights / "dinov2-large")),
        ),
    )
    config = _views(version=args.version, folder=weights / f"zero123plus-{args.version}", steps=args.view_steps)(config)
    if (args.data / "transforms_mv.json").is_file():
        config = replace(config, views=replace(config.views, splits=("front", "mv")))
    if args.tiny:
        config = _features(tokens=8)(_views(view_size=64)(config))
        config = replace(
            config,
            views=replace(config.views, size=48),
            field=tiny().field,
            init=replace(tiny().init, num_gaussians=300),
            guidance=replace(config.guidance, sizes=(16, 32)),
        )
    return config


def stage_views(config: GenerateConfig, video: MultiViewVideo, meter: Meter) -> None:
    """Loads Zero123++ and samples the grids of all frames."""
    conditions = [condition_image(video.frames.read(t, 0), CONDITION_SIZE) for t in range(video.num_times)]
    meter.start()
    generator = Zero123Plus(config.views.generators.zero123plus, meter.device)
    grids = generator._grids(conditions, 0)
    meter.stop("views")
    assert len(grids) == video.num_times


def stage_features(config: GenerateConfig, video: MultiViewVideo, meter: Meter) -> None:
    """Loads DINOv2-L and extracts the features of all views."""
    meter.start()
    extract_features(video, config.features, meter.device)
    meter.stop("features")


def stage_fit(config: GenerateConfig, video: MultiViewVideo, meter: Meter) -> None:
    """Initialization with the features and all networks of the losses, the steps, and rendering."""
    features = extract_features(video, config.features, meter.device)
    meter.start()
    trainer = prepare(video, config, meter.device, features)
    meter.stop("init")
    meter.start()
    began, late = time.perf_counter(), 0.0
    total = config.training.total_steps
    for event in trainer.run():
        if isinstance(event, StepDone) and event.step == total - max(1, total // 4):
            late = time.perf_counter()
    ended = time.perf_counter()
    meter.stop("steps")
    meter.seconds["per_step"] = round((ended - began) / total, 4)
    meter.seconds["per_late_step"] = round((ended - late) / max(1, total // 4), 4) if late else 0.0
    meter.start()
    scene = trainer.scene.bake()
    path = orbit_path(ORBIT, elevation_deg=10.0, fovy_deg=33.9, distance=2.0, size=config.outputs.size)
    list(render_rgba(scene, trainer.renderer, path, torch.linspace(0, 1, ORBIT)))
    meter.stop("outputs")


STAGES: dict[str, Callable[[GenerateConfig, MultiViewVideo, Meter], None]] = {
    "views": stage_views,
    "features": stage_features,
    "fit": stage_fit,
}


def attempt(args: argparse.Namespace, stage: str, budget: float, option: str) -> Measured:
    """One attempt in this process, whose allocator is limited before anything is allocated."""
    device = choose_device(args.device)
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, max(0.01, (budget - CONTEXT_GB) * GB / total)))
    config = FIXES[stage][option](config_of(args, args.out / "weights"))
    video = first_frames(load_views(args.data, config.views), args.frames)
    meter, error = Meter(device), ""
    try:
        STAGES[stage](config, video, meter)
    except torch.OutOfMemoryError as reason:
        error = f"out of memory: {str(reason).splitlines()[0]}"
    return Measured(stage, budget, option, meter.seconds, meter.peak_gb, meter.reserved_gb, error)


class _FirstFrames:
    """The `Frames` of the first times."""

    def __init__(self, frames: Any, count: int) -> None:
        self.num_times, self.num_views = count, frames.num_views
        self.width, self.height, self._frames = frames.width, frames.height, frames

    def read(self, time: int, view: int) -> Any:
        return self._frames.read(time, view)


def first_frames(video: MultiViewVideo, count: int) -> MultiViewVideo:
    """The first frames of a video, over all of [0, 1]; all if it has no more."""
    if count >= video.num_times:
        return video
    return replace(
        video,
        frames=_FirstFrames(video.frames, count),
        cameras=video.cameras[:count],
        valid=video.valid[:count],
        times=torch.linspace(0, 1, count),
    )


# ---- all budgets


def in_new_process(args: argparse.Namespace, stage: str, budget: float, option: str) -> Measured:
    """One attempt in a process of its own; being killed, as by a system without memory, is its error.

    Raises:
        RuntimeError: it failed for a reason of its own, which says nothing of memory and stands on standard error.
    """
    words = [sys.executable, __file__, *args.argv, "--stage", stage, "--budget", str(budget), f"--option={option}"]
    environment = {**os.environ, "DS4D_WEIGHTS": str((args.out / "weights").resolve())}
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, env=environment)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode < 0:
        return Measured(stage, budget, option, {}, {}, {}, f"its process was ended by signal {-done.returncode}")
    if done.returncode or not lines:
        raise RuntimeError(f"{stage} failed with status {done.returncode}, not for memory: see above")
    return Measured(**json.loads(lines[-1]))


def measure(
    args: argparse.Namespace, run: Callable[[argparse.Namespace, str, float, str], Measured] = in_new_process
) -> list[Measured]:
    """Every budget and stage by the first fix that fits; measurements that are on file are not repeated."""
    path = args.out / "sizes.jsonl"
    found = read_measured(path)
    with atomic_path(path) as temporary:  # without a line that a killed command left unfinished
        temporary.write_text("".join(json.dumps(asdict(each)) + "\n" for each in found), encoding="utf-8")
    known = {(each.stage, each.budget_gb, each.option): each for each in found}
    for budget in args.budgets:
        for stage, fixes in FIXES.items():
            for option in fixes:
                each = known.get((stage, budget, option))
                if each is None:
                    print(f"{budget:g} GB, {stage} {option}", file=sys.stderr, flush=True)
                    each = run(args, stage, budget, option)
                    found.append(each)
                    with path.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(asdict(each)) + "\n")
                if not each.error:
                    break
    return found


def read_measured(path: Path) -> list[Measured]:
    """The measurements on file."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [Measured(**json.loads(line)) for line in lines if line.endswith("\n")]


def table(found: Sequence[Measured], facts: dict[str, Any]) -> Iterator[str]:
    """The tiers as Markdown."""
    sizes = "tiny networks, whose figures mean nothing" if facts["tiny"] else "networks in their real sizes"
    yield f"Random weights, {sizes}; {json.dumps(facts)}"
    yield ""
    yield "| GPU memory | stage | seconds | peak GB | option |"
    yield "|---:|---|---|---|---|"
    for budget in dict.fromkeys(each.budget_gb for each in found):
        for stage in FIXES:
            tried = [each for each in found if (each.budget_gb, each.stage) == (budget, stage)]
            fits = next((each for each in tried if not each.error), None)
            if fits is None and tried:
                yield f"| {budget:g} | {stage} | - | - | none fits: {tried[-1].error} |"
            elif fits is not None:
                seconds = ", ".join(f"{part} {value:g}" for part, value in fits.seconds.items())
                peaks = ", ".join(f"{part} {value:.1f}" for part, value in fits.peak_gb.items())
                yield f"| {budget:g} | {stage} | {seconds} | {peaks} | {f'`{fits.option}`' if fits.option else '-'} |"


def read_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, and as `argv` the words that they came from."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of views")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--budgets", type=float, nargs="+", default=BUDGETS, metavar="GB")
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--steps", type=int, default=160, help="of the 8,000 of the fit")
    parser.add_argument("--view-steps", type=int, default=75, help="denoising steps of Zero123++")
    parser.add_argument("--version", choices=("v1.1", "v1.2"), default="v1.1", help="of Zero123++")
    parser.add_argument("--tiny", action="store_true", help="tiny networks, to try the command")
    parser.add_argument("--keep-weights", action="store_true")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--budget", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--option", default="", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    args.argv = list(sys.argv[1:] if argv is None else argv)
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Makes the networks, measures, and writes sizes.md; or makes one attempt (`--stage`)."""
    args = read_arguments(argv)
    if args.stage:
        print(json.dumps(asdict(attempt(args, args.stage, args.budget, args.option))))
        return 0
    args.out.mkdir(parents=True, exist_ok=True)
    make_weights(args.out / "weights", args.version, is_tiny=args.tiny)
    found = measure(args)
    names = ("frames", "steps", "view_steps", "version", "tiny")
    facts = {**machine(), **{name: getattr(args, name) for name in names}}
    if choose_device(args.device).type == "cpu":
        facts["budgets"] = "not enforced on the CPU"
    with atomic_path(args.out / "sizes.md") as temporary:
        temporary.write_text("\n".join(table(found, facts)) + "\n", encoding="utf-8")
    if not args.keep_weights:
        shutil.rmtree(args.out / "weights")
    return 0


if __name__ == "__main__":
    sys.exit(main())
