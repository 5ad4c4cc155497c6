"""Checks of the installation: what works, what does not, and how to fix it.

A further check is a function and one line in `CHECKS`.
"""

import shutil
import tempfile
import time
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ds4d.core import choose_device, install_command, installed_version, notices_to
from ds4d.geometry import orbit_cameras
from ds4d.io import cache_folder, check_writable, write_alpha_video, write_video
from ds4d.preprocess.matting import matting_model_path
from ds4d.preprocess.matting.model import MODEL_VARIABLE
from ds4d.rendering import renderer_for
from ds4d.types import Gaussians
from ds4d.weights import MODELS, find_model

_MIN_FREE = 2  # GiB
_COMPILERS = {"nvcc": ("nvcc",), "a C++ compiler": ("c++", "g++", "clang++", "cl")}
_DECODERS = {"h264": "H.264", "hevc": "HEVC", "av1": "AV1", "vp9": "VP9", "prores": "ProRes"}


@dataclass(frozen=True)
class Check:
    """The result of a check.

    Attributes:
        text: what was found.
        fix: what to do about it; empty if all is well.
    """

    text: str
    fix: str = ""


def run_checks() -> dict[str, Check]:
    """Runs all checks; one that fails in an unexpected way is a problem like any other."""
    return {name: _guarded(check) for name, check in CHECKS.items()}


def render_once(device: torch.device) -> None:
    """Renders one Gaussian, which compiles the kernels at their first use."""
    gaussians = Gaussians(
        means=torch.zeros(1, 3, device=device),
        quats=torch.tensor([[1.0, 0.0, 0.0, 0.0]], device=device),
        scales=torch.full((1, 3), 0.1, device=device),
        opacities=torch.ones(1, device=device),
        sh=torch.zeros(1, 1, 3, device=device),
    )
    cameras = orbit_cameras([0.0], [0.0], fovy_deg=45.0, distance=2.0, width=8, height=8).to(device)
    renderer_for(device).render(gaussians, cameras)


def _guarded(check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:  # what is broken is not known
        return Check(f"fails: {' '.join(str(error).split())[:200] or type(error).__name__}", "Install ds4d again.")


def _kernels() -> Check:
    notices: list[str] = []
    began = time.perf_counter()
    with notices_to(lambda notice: notices.append(notice.message)):
        render_once(torch.device("cpu"))
    if notices:
        return Check("compiled kernels are not kept", notices[0])
    return Check(f"compile and render on the CPU ({time.perf_counter() - began:.1f} s)")


def _compiler() -> Check:
    """What gsplat compiles its kernels with at its first use; a wheel with compiled kernels needs none of it."""
    if not torch.cuda.is_available():
        return Check("not needed without a CUDA device")
    missing = [name for name, programs in _COMPILERS.items() if not any(map(shutil.which, programs))]
    if missing:
        return Check(
            f"{' and '.join(missing)} not found",
            f"If gsplat does not render, install the CUDA toolkit {torch.version.cuda} and a C++ compiler, and put "
            "both on the search path.",
        )
    return Check("nvcc and a C++ compiler found")


def _gsplat() -> Check:
    """Whether gsplat renders on the GPU; at its first use it compiles its kernels."""
    if not torch.cuda.is_available():
        return Check("not needed without a CUDA device")
    device = choose_device("cuda")
    try:
        render_once(device)
        torch.cuda.synchronize()
    except Exception as error:  # a compiler, a driver or a wheel may fail in any way
        return Check(
            f"does not render: {' '.join(str(error).split())[:200]}",
            f"Install it with: {install_command('cuda')}, or use --device cpu.",
        )
    return Check("renders")


def _codecs() -> Check:
    import av

    frames = [np.full((16, 16, 4), shade, np.uint8) for shade in (0, 255)]
    written = []
    with tempfile.TemporaryDirectory(prefix="ds4d-") as folder:
        for name, write, file, channels in (
            ("H.264", write_video, "a.mp4", 3),
            ("VP9", write_alpha_video, "a.webm", 4),
        ):
            try:
                write(Path(folder) / file, [frame[..., :channels] for frame in frames], 24.0)
            except (OSError, ValueError):  # PyAV's errors are both
                return Check(f"{name} cannot be written", "Install PyAV from PyPI: pip install --force-reinstall av")
            written.append(name)
    missing = [title for name, title in _DECODERS.items() if name not in av.codecs_available]
    if missing:
        return Check(f"{', '.join(missing)} cannot be read", "Install PyAV from PyPI: pip install --force-reinstall av")
    return Check(f"writes {' and '.join(written)}, reads {', '.join(_DECODERS.values())}")


def _browser() -> Check:
    try:
        webbrowser.get()
    except webbrowser.Error:
        return Check("none here: open pages and the viewer's address on another machine")
    return Check("found")


def _weights() -> Check:
    present = [name for name, model in MODELS.items() if find_model(model)]
    found = f"{', '.join(present)}" if present else "none: the networks that come with ds4d are used"
    return Check(f"{found} (ds4d weights lists all {len(MODELS)})")


def _matting() -> Check:
    path = matting_model_path(None)
    if path is None:
        return Check("no model: videos need alpha, a plain background or --masks (or: ds4d weights fetch matting)")
    if not path.is_file():
        return Check(f"{path} is not there", f"Correct ${MODEL_VARIABLE}, or unset it.")
    if installed_version("onnxruntime") is None:
        return Check(f"{path} needs onnxruntime", f"Install it with: {install_command('matting')}")
    return Check(str(path))


def _cache() -> Check:
    folder = cache_folder("")
    try:
        check_writable(folder)
    except ValueError as error:
        return Check(f"{folder} cannot be written: {error}", "Set DS4D_CACHE to a folder that can be written to.")
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Check(f"{folder}, {size / 2**30:.2f} GiB")


def _disk() -> Check:
    free = {
        name: shutil.disk_usage(folder).free / 2**30
        for name, folder in (("here", Path.cwd()), ("for temporary files", Path(tempfile.gettempdir())))
    }
    text = ", ".join(f"{gibibytes:.1f} GiB free {name}" for name, gibibytes in free.items())
    little = min(free.values()) < _MIN_FREE
    return Check(text, f"Free at least {_MIN_FREE} GiB, or set TMPDIR to another disk." if little else "")


CHECKS: dict[str, Callable[[], Check]] = {
    "kernels": _kernels,
    "gsplat": _gsplat,
    "compiler": _compiler,
    "codecs": _codecs,
    "browser": _browser,
    "weights": _weights,
    "matting": _matting,
    "cache": _cache,
    "disk": _disk,
}
