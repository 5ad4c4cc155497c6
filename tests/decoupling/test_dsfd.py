"""Known values and errors of DSFD."""

import pytest
import torch
from torch import Tensor

from ds4d.core import large_arrays
from ds4d.decoupling import (
    REFERENCES,
    DecouplingConfig,
    LearnedReference,
    check_static_cameras,
    decouple,
    dynamic_fraction,
    reference_basis,
    reference_of_all,
    references_of_segments,
)
from ds4d.decoupling.reference import unit
from ds4d.geometry import orbit_cameras
from ds4d.types import DecoupledFeatures


@pytest.fixture
def maps(generator: torch.Generator) -> Tensor:
    return torch.randn(5, 2, 6, 3, 4, generator=generator, dtype=torch.float64)


def _split(maps: Tensor, name: str) -> DecoupledFeatures:
    return decouple(maps, reference_basis(maps, name))


def test_middle_frame_is_static_by_its_own_reference(maps: Tensor) -> None:
    dynamic = _split(maps, "middle").dynamic
    assert dynamic[2].abs().max() < 1e-12
    assert dynamic[1].abs().max() > 0.1


def test_known_values() -> None:
    # A cell of two channels: the middle frame is along the first, the mean over frames along the second.
    maps = torch.tensor([[0.0, 3.0], [2.0, 0.0], [-2.0, 3.0]]).reshape(3, 1, 2, 1, 1)
    half = 0.5**0.5
    torch.testing.assert_close(reference_basis(maps, "middle").flatten(), torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(reference_basis(maps, "mean").flatten(), torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(reference_basis(maps, "middle+mean").flatten(), torch.tensor([half, half]))
    parts = _split(maps, "middle+mean")
    torch.testing.assert_close(parts.static[0].flatten(), torch.tensor([1.5, 1.5]))
    torch.testing.assert_close(parts.dynamic[0].flatten(), torch.tensor([-1.5, 1.5]))
    torch.testing.assert_close(dynamic_fraction(parts)[0].flatten(), torch.tensor([half]))
    assert _split(maps, "plane").dynamic.abs().max() < 1e-6  # the plane spans both channels


def test_single_frames_are_decoupled_like_all(maps: Tensor) -> None:
    basis = reference_basis(maps, "mean")
    torch.testing.assert_close(decouple(maps[3:4], basis).dynamic, decouple(maps, basis).dynamic[3:4])


def test_basis_of_another_video_raises(maps: Tensor) -> None:
    with pytest.raises(ValueError, match="basis"):
        decouple(maps, reference_basis(maps[:, :1], "mean"))


def test_unknown_reference_raises(maps: Tensor) -> None:
    with pytest.raises(ValueError, match=r"middle, mean, middle\+mean, plane"):
        reference_basis(maps, "median")


def test_moving_cameras_raise() -> None:
    orbit = orbit_cameras([0.0, 30.0], [0.0, 0.0], fovy_deg=40.0, distance=2.0, width=8, height=8)
    static = orbit.expand_times(3)
    check_static_cameras(static)
    moving = orbit[:, None]
    with pytest.raises(ValueError, match="static"):
        check_static_cameras(moving)


@pytest.mark.parametrize("reference", REFERENCES)
def test_the_reference_of_a_long_clip_is_found_in_parts(reference: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(2)
    maps = torch.randn(33, 3, 40, 17, 16, generator=generator).half()[:, 1:2]
    whole = reference_basis(maps.float(), reference)
    assert torch.equal(reference_of_all(maps, reference), whole)
    monkeypatch.setattr(large_arrays, "_BLOCK_BYTES", 1 << 18)
    assert torch.equal(reference_of_all(maps, reference), whole)  # bit by bit


def test_few_odd_frames_do_not_move_a_robust_reference() -> None:
    """Seven frames point along the first channel, two along the second."""
    maps = torch.zeros(9, 1, 3, 1, 1)
    maps[:, 0, 0] = 1.0
    maps[[3, 8]] = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
    along = {name: float(reference_basis(maps, name).flatten()[0]) for name in ("mean", "robust")}
    assert along["robust"] > 0.999 > 0.97 > along["mean"]
    still = torch.ones(4, 1, 3, 1, 1)
    assert _split(still, "robust").dynamic.abs().max() < 1e-6


@pytest.mark.parametrize("segments", [1, 2, 3, 99])
def test_each_segment_has_a_reference_of_its_own_frames(maps: Tensor, segments: int) -> None:
    parts = list(references_of_segments(maps, DecouplingConfig("mean", segments)))
    assert [index for rows, _ in parts for index in range(len(maps))[rows]] == list(range(len(maps)))
    assert len(parts) == min(segments, len(maps))
    for rows, basis in parts:
        assert torch.equal(basis, reference_of_all(maps[rows], "mean"))


def test_what_changes_once_is_still_within_segments() -> None:
    maps = torch.zeros(6, 1, 2, 1, 1)
    maps[:3, 0, 0], maps[3:, 0, 1] = 1.0, 1.0
    for segments, expected in ((1, 0.5**0.5), (2, 0.0)):
        parts = references_of_segments(maps, DecouplingConfig("mean", segments))
        dynamic = torch.cat([decouple(maps[rows], basis).dynamic for rows, basis in parts])
        torch.testing.assert_close(dynamic.norm(dim=2).flatten(), torch.full((6,), expected))


@pytest.mark.parametrize("bad", [{"segments": 0}, {"loss_weight": -1.0}, {"loss_weight": float("nan")}])
def test_settings_out_of_range_are_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        DecouplingConfig(**bad)


def test_a_learned_reference_begins_at_its_start_and_follows_its_gradient(maps: Tensor) -> None:
    start = reference_basis(maps, "learned")
    assert torch.equal(start, reference_basis(maps, "middle+mean"))
    channels = 2 * maps.shape[2]
    offset, factor = torch.full((channels, 1, 1), 0.5), torch.full((channels, 1, 1), 2.0)
    learned = LearnedReference(start[0], offset, factor, limit=100.0)
    begun = learned(maps)
    torch.testing.assert_close(begun, 2 * (decouple(maps, start).decoupled - 0.5))
    begun[:, :, maps.shape[2] :].square().sum().backward()
    with torch.no_grad():
        learned.direction -= 0.1 * unit(learned.direction.grad)
        moved = learned(maps)
    torch.testing.assert_close(moved[:, :, : maps.shape[2]], begun[:, :, : maps.shape[2]])
    assert (moved - begun).abs().max() > 0.01
    assert learned(maps * 100).abs().max() == 100
    with pytest.raises(ValueError, match="segments"):
        DecouplingConfig("learned", segments=2)
