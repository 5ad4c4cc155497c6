"""What every test stands on: fixed seeds, few threads, small scenes, and honest skips."""

import importlib.util
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ds4d.presets import GenerateConfig

ROOT = Path(__file__).resolve().parents[1]

# Set before torch and numba are imported: tests share the cores, and compiled kernels are kept from run to run.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "2")
os.environ.setdefault("NUMBA_CACHE_DIR", str(ROOT / ".pytest_cache" / "numba"))
os.environ.setdefault("DS4D_CACHE", str(ROOT / ".pytest_cache" / "ds4d"))

import hypothesis  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

from ds4d.geometry import orbit_cameras, rgb_to_sh  # noqa: E402
from ds4d.types import Cameras, MultiViewVideo, RawGaussians  # noqa: E402

# No deadline: the first call of a kernel compiles it. Derandomised: a test that passes today passes tomorrow.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None, max_examples=50)
hypothesis.settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests marked `gpu` where they cannot run, and says what is missing."""
    missing = [
        name
        for name, present in (
            ("a CUDA device", torch.cuda.is_available()),
            ("gsplat (pip install 'ds4d[cuda]')", importlib.util.find_spec("gsplat") is not None),
        )
        if not present
    ]
    if missing:
        skip = pytest.mark.skip(reason=f"needs {' and '.join(missing)}")
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(autouse=True)
def _same_randomness() -> None:
    """Global generators start equal in every test, whatever ran before it."""
    torch.manual_seed(0)


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
    """Real footage that the repository does not hold; it may lie beside the checkout as `shared/data`."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"needs the data sets in {path}")
    return path


@pytest.fixture
def tiny_gaussians(generator: torch.Generator) -> RawGaussians:
    """Twelve coloured Gaussians (SH degree 1) inside the ball of radius 0.5."""
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


@pytest.fixture(scope="session")
def quick_config() -> "GenerateConfig":
    """Settings of a fit that takes seconds and still has everything: both stages, both sizes, growth, checkpoints."""
    from ds4d.deformation import FieldConfig, HexPlaneConfig
    from ds4d.gaussians import DensityConfig, HullConfig
    from ds4d.logs import LogConfig
    from ds4d.outputs import OutputsConfig
    from ds4d.placement import InitConfig
    from ds4d.presets import GenerateConfig
    from ds4d.training import FitConfig, OptimizerConfig, Rate
    from ds4d.views import ViewsConfig

    return GenerateConfig(
        views=ViewsConfig(fps=6.0),
        init=InitConfig(num_gaussians=800, hull=HullConfig(resolution=32)),
        field=FieldConfig(hexplane=HexPlaneConfig(channels=8, resolution=16, multipliers=(1, 2)), width=32),
        fit=FitConfig(
            static_steps=20,
            dynamic_steps=160,
            times_per_step=2,
            window_growth=0.2,
            coarse_share=0.1,
            density=DensityConfig(every=30, max_gaussians=900),
            optimizer=OptimizerConfig(planes=Rate(3e-2, 0.1), mlp=Rate(5e-3, 0.2)),  # few steps, so long ones
        ),
        outputs=OutputsConfig(size=32, fps=6.0, seconds=1.0, sheet_size=32, sheet_columns=3),
        log=LogConfig(every=10),
        checkpoint_every=50,
    )


@pytest.fixture(scope="session")
def quick_video() -> MultiViewVideo:
    """Six frames of the sample scene from seven sides, in memory."""
    from ds4d.views.sample import SampleConfig, sample_video

    return sample_video(SampleConfig(frames=6, size=48, supersampling=2))


@pytest.fixture(scope="session")
def sample_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same frames, and four unseen views, as files."""
    from ds4d.views.sample import SampleConfig, write_sample

    folder = tmp_path_factory.mktemp("sample") / "views"
    write_sample(folder, SampleConfig(frames=6, size=48, supersampling=2))
    return folder


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, sample_folder: Path, quick_config: "GenerateConfig") -> Path:
    """The folder of a whole run on the sample."""
    from ds4d.pipeline import Finished, generate

    folder = tmp_path_factory.mktemp("runs") / "run"
    events = list(generate(sample_folder, quick_config, folder, device="cpu"))
    assert isinstance(events[-1], Finished)
    return folder


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
        pytest.skip(f"needs one of {', '.join(BROWSERS)} on the path")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=BROWSER_FLAGS)
        yield browser
        browser.close()
