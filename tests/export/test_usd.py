"""Animated USD, opened by OpenUSD itself."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ds4d.export import export_scene
from ds4d.geometry import set_up_axis, to_world
from ds4d.scene import BakedGaussians, Timeline
from ds4d.types import RawGaussians, Similarity

pytest.importorskip("pxr", reason="needs the extra `usd`")


@pytest.fixture
def scene(random_gaussians) -> BakedGaussians:
    """Three frames, in 2 s, of Gaussians that move to the right and turn through half a turn about x."""
    raw: RawGaussians = random_gaussians(1)
    frames = raw.expand_times(3)
    means = frames.means + torch.tensor([0.0, 0.1, 0.3])[:, None, None] * torch.tensor([1.0, 0, 0])
    quats = torch.tensor([[1.0, 0, 0, 0], [-0.6, -0.8, 0, 0], [0.0, 1.0, 0, 0]])[:, None].expand(3, 7, 4).clone()
    world = Similarity(2.0, torch.eye(3), torch.tensor([0.1, 0.2, 0.0]))
    return BakedGaussians(replace(frames, means=means, quats=quats), Timeline((0.0, 0.5, 1.0), 2.0, False), world)


@pytest.mark.parametrize("up", ["y", "z"])
@pytest.mark.parametrize("ending", [".usdc", ".usdz", ".usda"])
def test_usd_opens_with_all_values_at_all_times(scene: BakedGaussians, tmp_path: Path, up: str, ending: str) -> None:
    from pxr import Usd, UsdGeom, UsdVol

    (path,) = export_scene(scene, tmp_path / f"a{ending}", up=up)
    assert list(tmp_path.iterdir()) == [path]
    stage = Usd.Stage.Open(str(path))
    assert (UsdGeom.GetStageUpAxis(stage), stage.GetDefaultPrim().GetTypeName()) == (
        up.upper(),
        "ParticleField3DGaussianSplat",
    )
    assert (stage.GetEndTimeCode() - stage.GetStartTimeCode()) / stage.GetTimeCodesPerSecond() == pytest.approx(2)
    prim = UsdVol.ParticleField3DGaussianSplat(stage.GetDefaultPrim())
    assert prim.GetRadianceSphericalHarmonicsDegreeAttr().Get() == 1
    assert prim.GetScalesAttr().GetNumTimeSamples() == 0  # they do not change
    codes = prim.GetPositionsAttr().GetTimeSamples()
    assert len(codes) == 3
    for index, code in enumerate(codes):
        active = to_world(scene.frames.at_time(index), set_up_axis(scene.world, up)).activate()
        for attribute, values in (
            (prim.GetPositionsAttr(), active.means),
            (prim.GetScalesAttr(), active.scales),
            (prim.GetOpacitiesAttr(), active.opacities),
            (prim.GetRadianceSphericalHarmonicsCoefficientsAttr(), active.sh.flatten(0, 1)),
        ):
            np.testing.assert_allclose(np.array(attribute.Get(code)), values.numpy(), atol=1e-6)
        found = np.array([[q.GetReal(), *q.GetImaginary()] for q in prim.GetOrientationsAttr().Get(code)])
        assert np.abs((found * active.quats.numpy()).sum(-1)) == pytest.approx(np.ones(7), abs=1e-5)
        low, high = np.array(prim.GetExtentAttr().Get(code))
        assert (low < active.means.numpy().min(0)).all() and (high > active.means.numpy().max(0)).all()


@pytest.mark.parametrize("ending", [".usdc", ".usdz"])
def test_the_validators_of_usd_find_nothing(scene: BakedGaussians, tmp_path: Path, ending: str) -> None:
    from pxr import Usd, UsdValidation

    (path,) = export_scene(scene, tmp_path / f"a{ending}")
    validators = UsdValidation.ValidationRegistry().GetOrLoadAllValidators()
    stage = Usd.Stage.Open(str(path))
    errors = UsdValidation.ValidationContext(validators).Validate(stage)
    assert len(validators) > 10 and [error.GetMessage() for error in errors] == []


def test_orientations_can_be_interpolated(scene: BakedGaussians, tmp_path: Path) -> None:
    from pxr import Usd, UsdVol

    (path,) = export_scene(scene, tmp_path / "a.usdc")
    stage = Usd.Stage.Open(str(path))
    prim = UsdVol.ParticleField3DGaussianSplat(stage.GetDefaultPrim())
    quats = [
        np.array([[q.GetReal(), *q.GetImaginary()] for q in prim.GetOrientationsAttr().Get(code)])
        for code in prim.GetOrientationsAttr().GetTimeSamples()
    ]
    assert all(((a * b).sum(-1) > 0).all() for a, b in itertools.pairwise(quats))


def test_usd_has_no_axis_that_points_down(scene: BakedGaussians, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="up"):
        export_scene(scene, tmp_path / "a.usdc", up="-y")
    assert list(tmp_path.iterdir()) == []


def test_still_scenes_have_no_time_samples(scene: BakedGaussians, tmp_path: Path) -> None:
    from pxr import Usd, UsdVol

    (path,) = export_scene(scene, tmp_path / "a.usdc", times=[0.5])
    stage = Usd.Stage.Open(str(path))
    prim = UsdVol.ParticleField3DGaussianSplat(stage.GetDefaultPrim())
    assert prim.GetPositionsAttr().GetNumTimeSamples() == 0
    assert len(prim.GetPositionsAttr().Get()) == 7
