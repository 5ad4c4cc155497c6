"""What every test stands on: fixed seeds, few threads, small scenes, and honest skips."""

import builtins
import gc
import importlib.util
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import trimesh

    from ds4d.config import GenerateConfig
    from ds4d.metrics import Lpips
    from ds4d.weights import PretrainedModel

ROOT = Path(__file__).resolve().parents[1]

# Set before torch and numba are imported: tests share the cores. Compiled kernels are kept where all runs keep them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "2")
os.environ.setdefault("DS4D_CACHE", str(ROOT / ".pytest_cache" / "ds4d"))
# No test finds the pretrained models of the machine it runs on.
os.environ.pop("DS4D_WEIGHTS", None)
os.environ["HF_HUB_CACHE"] = str(ROOT / ".pytest_cache" / "hub")

# Modules are never garbage: the collector is not to look through their millions of objects again and again.
gc.disable()

import shape_checks  # noqa: E402

shape_checks.install()

import av  # noqa: E402
import hypothesis  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from PIL import Image  # noqa: E402

from ds4d.geometry import orbit_cameras, rgb_to_sh  # noqa: E402
from ds4d.types import Cameras, MultiViewVideo, RawGaussians  # noqa: E402

# No deadline: the first call of a kernel compiles it. Derandomised: a test that passes today passes tomorrow.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=50)
hypothesis.settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options for the images in the documentation (see CONTRIBUTING.md)."""
    group = parser.getgroup("screenshots")
    group.addoption("--save-screenshots", metavar="DIR", type=Path, help="where browser tests leave their screenshots")
    group.addoption("--pictured-run", metavar="RUN", type=Path, help="the run they show; a tiny one if not given")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests marked `gpu` where they cannot run, and says what is missing."""
    missing = [
        name
        for name, present in (
            ("a CUDA device", torch.cuda.is_available()),
            ("gsplat (pip install '.[cuda]')", importlib.util.find_spec("gsplat") is not None),
        )
        if not present
    ]
    if missing:
        skip = pytest.mark.skip(reason=f"needs {' and '.join(missing)}")
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(skip)


def pytest_collection_finish() -> None:
    """Turns the garbage collector on, for what is made from now on, which are large batches of small objects."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()


@pytest.fixture(autouse=True)
def _same_randomness() -> None:
    """Global generators start equal in every test, whatever ran before it."""
    if torch.cuda.is_available():
        torch.manual_seed(0)
    else:  # `torch.manual_seed` keeps a traceback of every call for devices that are never used
        torch.default_generator.manual_seed(0)


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded torch generator on the CPU."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded NumPy generator."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real video that the repository does not hold; it may lie beside the checkout as `shared/data`."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"needs the data sets in {path}")
    return path


@pytest.fixture
def tiny_gaussians(generator: torch.Generator) -> RawGaussians:
    """Twelve colored Gaussians (SH degree 1) inside the ball of radius 0.5."""
    count = 12
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    sh = 0.1 * torch.randn(count, 4, 3, generator=generator)
    sh[:, 0] = rgb_to_sh(torch.rand(count, 3, generator=generator))
    return RawGaussians(
        means=0.4 * directions * torch.rand(count, 1, generator=generator),
        quats=torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=-1),
        log_scales=torch.log(0.05 + 0.1 * torch.rand(count, 3, generator=generator)),
        opacity_logits=torch.randn(count, generator=generator),
        sh=sh,
    )


@pytest.fixture
def tiny_cameras() -> Cameras:
    """Three small cameras two units away, none of them square to an axis but the first; not square in pixels."""
    return orbit_cameras([0.0, 100.0, 220.0], [0.0, 20.0, -15.0], fovy_deg=40.0, distance=2.0, width=40, height=32)


class GlbBuilder:
    """A binary glTF file, made piece by piece; `json` is its document."""

    def __init__(self) -> None:
        self._data = bytearray()
        self.json: dict[str, Any] = {"asset": {"version": "2.0"}, "bufferViews": [], "accessors": []}

    def view(self, content: bytes, **extra: Any) -> int:
        """Adds a buffer view and returns its index."""
        self._data += bytes(-len(self._data) % 4)
        view = {"buffer": 0, "byteOffset": len(self._data), "byteLength": len(content), **extra}
        self.json["bufferViews"].append(view)
        self._data += content
        return len(self.json["bufferViews"]) - 1

    def add(self, values: Any, kind: str = "f4", **extra: Any) -> int:
        """Adds an accessor of values (rows, or rows of numbers) and returns its index."""
        rows = np.array(values, f"<{kind}")
        width = rows.shape[1] if rows.ndim > 1 else 1
        self.json["accessors"].append({
            "bufferView": self.view(rows.tobytes()),
            "componentType": {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}[kind],
            "count": len(rows),
            "type": {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}[width],
            **extra,
        })  # fmt: skip
        return len(self.json["accessors"]) - 1

    def write(self, path: Path) -> Path:
        """Writes the file and returns its path."""
        text = json.dumps({**self.json, "buffers": [{"byteLength": len(self._data)}]}).encode()
        text += b" " * (-len(text) % 4)
        binary = bytes(self._data) + bytes(-len(self._data) % 4)
        chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary
        path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
        return path


@pytest.fixture
def glb() -> GlbBuilder:
    """Makes a binary glTF file."""
    return GlbBuilder()


@pytest.fixture
def without_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if PyAV were not installed."""
    real_import = builtins.__import__

    def refuse_av(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "av":
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse_av)


@pytest.fixture(scope="session")
def quick_config() -> "GenerateConfig":
    """Settings of a fit that takes seconds and still has everything: both stages, both sizes, growth, checkpoints."""
    from ds4d.config import GenerateConfig
    from ds4d.deformation import FieldConfig, HexPlaneConfig
    from ds4d.geometry import HullConfig
    from ds4d.init import InitConfig
    from ds4d.multiview import ViewsConfig
    from ds4d.training import DensificationConfig, LearningRate, LogConfig, OptimizerConfig, TrainingConfig
    from ds4d.visualize import OutputsConfig

    return GenerateConfig(
        views=ViewsConfig(fps=6.0),
        init=InitConfig(num_gaussians=800, hull=HullConfig(resolution=32)),
        field=FieldConfig(hexplane=HexPlaneConfig(channels=8, resolution=16, multipliers=(1, 2)), width=32),
        training=TrainingConfig(
            static_steps=20,
            dynamic_steps=100,
            times_per_step=2,
            temporal_curriculum=0.2,
            low_resolution_fraction=0.1,
            densification=DensificationConfig(every=30, max_gaussians=900),
            optimizer=OptimizerConfig(
                planes=LearningRate(3e-2, 0.1), mlp=LearningRate(5e-3, 0.2)
            ),  # few steps, so long ones
        ),
        outputs=OutputsConfig(size=32, fps=6.0, seconds=1.0, sheet_size=32, sheet_columns=3),
        log=LogConfig(every=10),
        checkpoint_every=50,
    )


@pytest.fixture(scope="session")
def quick_video() -> MultiViewVideo:
    """Six frames of the sample scene from seven sides, in memory."""
    from ds4d.data.synthetic import SampleConfig, sample_video

    return sample_video(SampleConfig(frames=6, size=48, supersampling=2))


@pytest.fixture(scope="session")
def small_generated_video() -> MultiViewVideo:
    """Five small frames from seven sides, of which those besides the input view count half, as generated views do."""
    from dataclasses import replace

    from ds4d.data.synthetic import SampleConfig, sample_video

    found = sample_video(SampleConfig(frames=5, size=24, supersampling=1))
    weights = torch.full((found.num_views,), 0.5)
    weights[0] = 1
    return replace(found, view_weights=weights)


@pytest.fixture(scope="session")
def creature_mesh(quick_video: MultiViewVideo) -> "trimesh.Trimesh":
    """The sample creature in the middle frame of `quick_video`."""
    return _creature_at(float(quick_video.times[quick_video.middle]))


@pytest.fixture(scope="session")
def creature_at() -> "Callable[[float], trimesh.Trimesh]":
    """The sample creature at a time in [0, 1]."""
    return _creature_at


def _creature_at(time: float) -> "trimesh.Trimesh":
    """The sample creature as a mesh with vertex colors, unlit."""
    import trimesh

    from ds4d.data.synthetic.anatomy import pose_parts
    from ds4d.data.synthetic.creature import JOINTS, PARTS
    from ds4d.data.synthetic.textures import GAMMA

    ball = trimesh.creation.icosphere(subdivisions=2)
    meshes = []
    for part, shape in zip(PARTS, pose_parts(PARTS, JOINTS, time), strict=True):
        painted = (255 * part.texture(ball.vertices.T).clip(0, 1) ** (1 / GAMMA)).round().astype(np.uint8).T
        placed = ball.vertices @ shape[:3, :3].T + shape[:3, 3]
        meshes.append(trimesh.Trimesh(placed, ball.faces, vertex_colors=painted, process=False))
    return trimesh.util.concatenate(meshes)


@pytest.fixture(scope="session")
def sample_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same frames, and four unseen views, as files."""
    from ds4d.data.synthetic import SampleConfig, write_sample

    folder = tmp_path_factory.mktemp("sample") / "views"
    write_sample(folder, SampleConfig(frames=6, size=48, supersampling=2))
    return folder


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, sample_folder: Path, quick_config: "GenerateConfig") -> Path:
    """The folder of a whole run on the sample; not to be written into."""
    from ds4d.pipeline import Finished, iter_run

    folder = tmp_path_factory.mktemp("runs") / "run"
    events = list(iter_run(sample_folder, folder, config=quick_config, device="cpu"))
    assert isinstance(events[-1], Finished)
    return folder


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    """A copy of a whole run, for what writes into it."""
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.fixture(scope="session")
def lpips_weights() -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """A random VGG16 by torchvision's names, the same everywhere, and LPIPS' fitted heads."""
    from safetensors.torch import load_file

    script = ROOT / "tests" / "parity" / "make_lpips_cases.py"
    spec = importlib.util.spec_from_file_location(script.stem, script)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    stored = load_file(module.OUT)
    heads = {name.removeprefix("heads."): value for name, value in stored.items() if name.startswith("heads.")}
    return module.backbone(), heads


@pytest.fixture(scope="session")
def lpips(lpips_weights: tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]) -> "Lpips":
    """LPIPS on that VGG16."""
    from ds4d.metrics.lpips import VGG16, Lpips

    return Lpips(*lpips_weights, VGG16)


@pytest.fixture(scope="session")
def tiny_zero123plus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole Zero123++ of tiny random networks of the real classes, in the real layout."""
    transformers = pytest.importorskip("transformers", reason="needs transformers (pip install '.[priors]')")
    diffusers = pytest.importorskip("diffusers", reason="needs diffusers (pip install '.[priors]')")
    folder = tmp_path_factory.mktemp("models") / "zero123plus"
    torch.manual_seed(0)
    diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=4,
    ).save_pretrained(folder / "vae")
    unet = diffusers.UNet2DConditionModel(
        block_out_channels=(8, 8, 16),
        layers_per_block=1,
        # At full size, the real network's first place, attention would take most of the time of all its tests.
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=4,
        use_linear_projection=True,
    )
    for name, weights in unet.named_parameters():
        if ".attn1.to_" in name:
            weights.data *= 4  # what a random network finds by attention is next to nothing
    unet.save_pretrained(folder / "unet")
    scheduler = diffusers.EulerAncestralDiscreteScheduler(prediction_type="v_prediction")
    scheduler.save_pretrained(folder / "scheduler")
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    seeing = transformers.CLIPVisionConfig(image_size=28, patch_size=14, projection_dim=16, **size)
    transformers.CLIPVisionModelWithProjection(seeing).save_pretrained(folder / "vision_encoder")
    reading = transformers.CLIPTextConfig(vocab_size=4, max_position_embeddings=7, **size)
    transformers.CLIPTextModel(reading).save_pretrained(folder / "text_encoder")
    files = {
        "tokenizer/vocab.json": {"!": 0, "a</w>": 1, "<|startoftext|>": 2, "<|endoftext|>": 3},
        "tokenizer/tokenizer_config.json": {
            "model_max_length": 7, "bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>",
            "unk_token": "<|endoftext|>", "pad_token": "!",
        },
        "feature_extractor_clip/preprocessor_config.json": {"size": {"shortest_edge": 28}, "crop_size": 28},
        "feature_extractor_vae/preprocessor_config.json": {
            "size": {"shortest_edge": 32}, "crop_size": 32, "image_mean": [0.5] * 3, "image_std": [0.8] * 3,
        },
        "model_index.json": {
            "_class_name": "Zero123PlusPipeline", "ramping_coefficients": [0.1 * place for place in range(7)],
        },
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    return folder


def _save_outline(model: "PretrainedModel", folder: Path) -> Path:
    for part in model.parts:
        base = folder / part.folder
        base.mkdir(parents=True, exist_ok=True)
        if part.settings:
            (base / part.settings).write_text(json.dumps({key: values[0] for key, values in part.expected.items()}))
        for name in part.files:
            (base / name).write_text("{}")
        if part.weights:
            (base / part.weights[0].replace("*", "any")).write_bytes(b"weights")
    return folder


@pytest.fixture
def save_outline() -> "Callable[[PretrainedModel, Path], Path]":
    """Writes a folder that counts as complete, with expected settings and weights of a few bytes."""
    return _save_outline


RED = (200, 40, 30)


def _disc(
    x: float,
    y: float,
    radius: float,
    *,
    size: tuple[int, int] = (64, 48),
    color: tuple[int, int, int] = RED,
    spot: tuple[int, int, int] | None = None,
) -> np.ndarray:
    """An RGBA image (straight alpha, soft outline) of a disc around (x, y), with a spot of half its radius."""
    width, height = size
    ys, xs = np.mgrid[:height, :width] + 0.5
    distance = np.hypot(xs - x, ys - y)
    alpha = (radius + 0.5 - distance).clip(0, 1)
    inner = (radius / 2 + 0.5 - distance).clip(0, 1)[..., None]
    colors = np.broadcast_to(np.float64(color), (height, width, 3))
    if spot is not None:
        colors = inner * np.float64(spot) + (1 - inner) * colors
    return np.rint(np.dstack((colors, 255 * alpha))).astype(np.uint8)


def _over(rgba: np.ndarray, background: tuple[int, int, int] | np.ndarray) -> np.ndarray:
    """Composites an RGBA image over a background."""
    alpha = rgba[..., 3:] / 255
    return np.rint(alpha * rgba[..., :3] + (1 - alpha) * np.float64(background)).astype(np.uint8)


def _write_video_file(
    path: Path,
    frames: Sequence[np.ndarray],
    *,
    fps: int = 10,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    stamps: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Encodes RGB or RGBA frames; `stamps` are their times in units of 1 / fps if they are not evenly spaced."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=fps, options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.time_base = stream.codec_context.time_base = Fraction(1, fps)
        for index, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgba" if pixels.shape[2] == 4 else "rgb24")
            frame.pts, frame.time_base = index if stamps is None else stamps[index], Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def disc() -> Callable[..., np.ndarray]:
    """Makes an RGBA image of a disc: (x, y, radius, *, size, color, spot)."""
    return _disc


@pytest.fixture
def over() -> Callable[..., np.ndarray]:
    """Composites an RGBA image over a background: (rgba, background) -> RGB."""
    return _over


@pytest.fixture
def write_video_file(tmp_path: Path) -> Callable[..., Path]:
    """Encodes frames as a video file: (name, frames, *, fps, codec, pix_fmt, stamps, options, container_options)."""
    return lambda name, frames, **settings: _write_video_file(tmp_path / name, frames, **settings)


@pytest.fixture
def rolling_disc() -> list[np.ndarray]:
    """Twelve RGBA frames, 64 x 48: a red disc of radius 9 that moves from left to right."""
    return [_disc(14 + 3 * time, 26, 9) for time in range(12)]


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# WebGL without a GPU, and nothing that asks the network for anything.
BROWSER_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run",
]  # fmt: skip


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless Chromium, driven by Playwright, of which a process can hold one only."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install playwright)")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        missing = f"needs one of {', '.join(BROWSERS)} on the path"
        if os.environ.get("DS4D_REQUIRE_BROWSER"):
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=BROWSER_FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def pictured_run(request: pytest.FixtureRequest) -> Path:
    """The folder of the run that screenshots show."""
    return request.config.getoption("--pictured-run") or request.getfixturevalue("finished_run")


SCREENSHOT_BYTES = 200_000  # at most, for images in the repository


@pytest.fixture
def keep_screenshot(request: pytest.FixtureRequest) -> Callable[[str, bytes], None]:
    """Takes a screenshot's name and PNG; writes it, in 256 colors, if that is asked for, and refuses blank ones."""

    def keep(name: str, png: bytes) -> None:
        image = Image.open(BytesIO(png)).convert("RGB")
        assert np.asarray(image).std() > 5, "there is nothing to see"
        small = BytesIO()
        image.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
        assert small.tell() < SCREENSHOT_BYTES
        if folder := request.config.getoption("--save-screenshots"):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{name}.png").write_bytes(small.getvalue())

    return keep
