"""Animated OpenUSD files with the schema ParticleField3DGaussianSplat (OpenUSD 26.03 or later).

One prim with, per Gaussian: positions, orientations, scales (standard deviations), opacities, and spherical harmonics,
all coefficients of a Gaussian one after the other. What moves has a time sample at each time; players interpolate.
"""

import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor

from ds4d.core import install_command, tracked
from ds4d.export.single_frame import check_single_frame
from ds4d.geometry import UpAxis, set_up_axis, sh_degree, to_world
from ds4d.io import atomic_path
from ds4d.scene import Scene

_TIME_CODES = 24.0  # per second; times need not fall on whole ones
_EXTENT = 3.0  # standard deviations


def write_usd(scene: Scene, path: str | Path, times: Float[Tensor, " T"], *, up: UpAxis | None = "y") -> None:
    """Writes a scene as animated Gaussians, atomically.

    Args:
        scene: the scene to write.
        path: the file (.usdc, .usdz for a package of one, or .usda for text).
        times: times of the samples, in [0, 1], rising. They are played at the speed of the video.
        up: up axis of the output world, y or z; None keeps that of the input.

    Raises:
        ImportError: OpenUSD is not installed, or too old.
        ValueError: the up axis is not one of USD, or a value is NaN or infinite.
    """
    try:
        # Its modules are compiled and have no types.
        names = ("Sdf", "Usd", "UsdGeom", "UsdUtils", "UsdVol", "Vt")
        Sdf, Usd, UsdGeom, UsdUtils, UsdVol, Vt = (cast(Any, import_module(f"pxr.{name}")) for name in names)
        schema = UsdVol.ParticleField3DGaussianSplat
    except (ImportError, AttributeError) as error:
        raise ImportError(f"writing {path} needs OpenUSD 26.03. Install it with: {install_command('usd')}") from error
    if up == "-y":
        raise ValueError(f"up of {path} must be y or z, as USD knows no other, got -y. Leave it out.")
    path = Path(path)
    packed = path.suffix.lower() == ".usdz"
    stage = Usd.Stage.CreateInMemory("scene.usdc" if packed else f"scene{path.suffix.lower()}")
    UsdGeom.SetStageUpAxis(stage, "Z" if up == "z" else "Y")
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetTimeCodesPerSecond(_TIME_CODES)
    stage.SetFramesPerSecond(_TIME_CODES)
    codes = ((times - times[0]) * scene.timeline.duration * _TIME_CODES).tolist()
    stage.SetStartTimeCode(codes[0])
    stage.SetEndTimeCode(codes[-1])
    prim = schema.Define(stage, "/object")
    stage.SetDefaultPrim(prim.GetPrim())
    vectors, numbers, quats = Vt.Vec3fArray.FromNumpy, Vt.FloatArray.FromNumpy, Vt.QuatfArray.FromNumpy
    frames = _frames(scene, times, up, path)
    for attribute, make, name in (
        (prim.CreateExtentAttr(), vectors, "extent"),
        (prim.CreatePositionsAttr(), vectors, "positions"),
        (prim.CreateOrientationsAttr(), quats, "orientations"),
        (prim.CreateScalesAttr(), vectors, "scales"),
        (prim.CreateOpacitiesAttr(), numbers, "opacities"),
        (prim.CreateRadianceSphericalHarmonicsCoefficientsAttr(), vectors, "coefficients"),
    ):
        values = [frame[name] for frame in frames]
        if all(np.array_equal(value, values[0]) for value in values):
            attribute.Set(make(values[0]))
            continue
        for code, value in zip(codes, values, strict=True):
            attribute.Set(make(value), code)
    bases = len(frames[0]["coefficients"]) // len(frames[0]["positions"])
    prim.CreateRadianceSphericalHarmonicsDegreeAttr(sh_degree(bases))
    with atomic_path(path) as temporary, tempfile.TemporaryDirectory(prefix="ds4d-") as folder:
        layer = Path(folder) / f"{path.stem}.usdc" if packed else temporary
        written = stage.GetRootLayer().Export(str(layer))
        if packed and written:
            written = UsdUtils.CreateNewUsdzPackage(Sdf.AssetPath(str(layer)), str(temporary))
        if not written:
            raise OSError(f"{path} could not be written by OpenUSD. Check the space on the disk.")


def _frames(
    scene: Scene, times: Float[Tensor, " T"], up: UpAxis | None, path: Path
) -> list[dict[str, Float32[np.ndarray, "..."]]]:
    """The values of the attributes at each time, by name."""
    world, frames, previous = set_up_axis(scene.world, up), [], None
    for time in tracked(times.split(1), "writing the time samples"):
        with torch.no_grad():
            raw = to_world(scene.raw_at(time.to(scene.device)).at_time(0), world)
        active = check_single_frame(raw, "write_usd", path).activate()
        means, reach = active.means.numpy(), _EXTENT * active.scales.amax(-1, keepdim=True).numpy()
        quats = active.quats.roll(-1, 1).numpy()  # xyzw, as USD stores them
        if previous is not None:  # the sign nearer to that of the time before, so that players can interpolate
            quats = np.where((quats * previous).sum(-1, keepdims=True) < 0, -quats, quats)
        previous = quats
        frames.append(
            {
                "extent": np.stack(((means - reach).min(0), (means + reach).max(0))),
                "positions": means,
                "orientations": quats,
                "scales": active.scales.numpy(),
                "opacities": active.opacities.numpy(),
                "coefficients": active.sh.flatten(0, 1).numpy(),
            }
        )
    return frames
