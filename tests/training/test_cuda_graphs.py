"""CUDA graphs compute what eager steps do, and structured arguments arrive as they were given."""

import gc
import weakref
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from ds4d.deformation import FieldConfig, HexPlaneConfig
from ds4d.fusion import RULES, FusionConfig
from ds4d.geometry import orbit_cameras
from ds4d.losses import LossConfig, LossInputs, Objective, Term, ViewCorrection, ViewCorrectionConfig
from ds4d.metrics import Lpips
from ds4d.scene import FrameFeatureCache, FrameObservation, Motion
from ds4d.training.cuda_graphs import CUDAGraphed, Readback, _flatten, _rebuild, quick_collections

AABB = torch.tensor([[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]])


def motion(device: str, fusion: FusionConfig | None) -> Motion:
    torch.manual_seed(0)
    features = None
    if fusion is not None:
        cameras = orbit_cameras([0.0, 120.0], [0.0, 10.0], fovy_deg=40.0, distance=2.0, width=32, height=32)
        features = FrameFeatureCache(
            maps=torch.randn(5, 2, 6, 8, 8).half(),
            valid=torch.ones(5, 2),
            times=torch.linspace(0, 1, 5),
            cameras=cameras,
            distance_maps=torch.randn(5, 2, 3, 8, 8).half() if fusion.needs_distances else None,
            depths=torch.full((5, 2, 1, 8, 8), 2.0).half() if fusion.needs_depths else None,
            shares=torch.rand(5, 2, 1, 8, 8).half() if fusion.hidden_only else None,
        )
    config = FieldConfig(HexPlaneConfig(channels=4, resolution=8, multipliers=(1, 2)), width=16, deform_color=True)
    if fusion is not None and fusion.hidden_only:
        config = replace(config, dynamic_gate=True)
    made = Motion(config, AABB, 5, fusion=fusion, features=features)
    with torch.no_grad():  # heads of zeros would let no gradient through
        for parameter in made.field.heads.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made.to(device)


def outputs_and_gradients(run, owner: Motion, count: int, device: str) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    means = (torch.rand(count, 3, generator=generator) - 0.5).to(device).requires_grad_()
    observation = owner.features.at_frames(torch.tensor([0, 1, 4], device=device)) if owner.features else None
    changes = run(means, torch.tensor([0.0, 0.25, 1.0], device=device), observation)
    assert list(changes) == list(owner.field.heads)
    owner.zero_grad(set_to_none=True)
    sum(change.square().sum() for change in changes.values()).backward()
    return [
        *(change.detach() for change in changes.values()),
        means.grad,
        *(parameter.grad.clone() for parameter in owner.parameters()),
    ]


every_fusion = pytest.mark.parametrize(
    "fusion",
    [None, *(FusionConfig(rule=rule, channels=4) for rule in RULES), FusionConfig("average", 4, hidden_only=True)],
    ids=["hexplane", *RULES, "gate and hidden points"],
)


@every_fusion
def test_on_the_cpu_the_function_itself_runs(fusion: FusionConfig | None) -> None:
    owner = motion("cpu", fusion)
    eager = outputs_and_gradients(owner.changes, owner, 7, "cpu")
    graphed = outputs_and_gradients(CUDAGraphed(owner.changes, owner), owner, 7, "cpu")
    assert all(torch.equal(a, b) for a, b in zip(eager, graphed, strict=True))


def test_structured_arguments_are_rebuilt_by_name() -> None:
    tensors = [torch.tensor(float(i)) for i in range(5)]
    observation = FrameObservation(torch.rand(1, 2, 3, 4, 4), torch.ones(1, 2), depths=torch.rand(1, 2, 1, 8, 8))
    value = (tensors[0], observation, {"means": tensors[1], "sh": [tensors[2], tensors[3]]}, None, ())
    flat = _flatten(value)
    assert set(flat) == {".0", ".1.maps", ".1.valid", ".1.depths", ".2.means", ".2.sh.0", ".2.sh.1"}
    shuffled = dict(sorted(((name, tensor + 1) for name, tensor in flat.items()), reverse=True))
    first, rebuilt, heads, nothing, empty = _rebuild(value, shuffled)
    assert first == 1 and heads["means"] == 2 and heads["sh"] == [3, 4]
    assert nothing is None and empty == ()
    assert torch.equal(rebuilt.depths, observation.depths + 1) and rebuilt.distance_maps is None
    assert torch.equal(rebuilt.maps, observation.maps + 1) and torch.equal(rebuilt.valid, observation.valid + 1)


@pytest.mark.gpu
@every_fusion
def test_graphs_equal_eager_steps_when_the_number_of_gaussians_changes(fusion: FusionConfig | None) -> None:
    owner = motion("cuda", fusion)
    graphed = CUDAGraphed(owner.changes, owner)
    for count in (50, 50, 64):  # recorded, replayed, recorded again
        eager = outputs_and_gradients(owner.changes, owner, count, "cuda")
        again = outputs_and_gradients(graphed, owner, count, "cuda")
        for a, b in zip(eager, again, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
def test_a_graph_reads_parameters_where_they_are_and_leaves_replaced_ones_alone() -> None:
    def square(values: torch.Tensor) -> torch.Tensor:
        return values.square()

    graphed, first = CUDAGraphed(square, None), torch.nn.Parameter(torch.ones(3, device="cuda"))
    for value in (2.0, 3.0):
        with torch.no_grad():
            first.fill_(value)
        first.grad = None
        graphed(first).sum().backward()
        assert first.grad is not None and first.grad.tolist() == [2 * value] * 3
    second = torch.nn.Parameter(torch.full((3,), 5.0, device="cuda"))
    assert graphed(second).tolist() == [25.0] * 3
    assert first.tolist() == [3.0] * 3


@pytest.mark.gpu
def test_readback_gives_the_values_at_the_time_of_the_request() -> None:
    values = torch.tensor([1.0, 2.0], device="cuda")
    readback = Readback(values)
    values.add_(5)
    assert readback.wait() == [1.0, 2.0]


def test_what_a_fit_found_is_passed_over_while_it_runs_and_collected_after_it() -> None:
    class Ring:
        def __init__(self) -> None:
            self.itself = self

    gc.unfreeze()
    found = Ring()
    known = weakref.ref(found)
    with quick_collections(torch.device("cuda")):
        made = weakref.ref(Ring())
        del found
        gc.collect()
        assert made() is None and known() is not None
    gc.collect()
    assert known() is None and gc.get_freeze_count() == 0
    with quick_collections(torch.device("cpu")):
        assert gc.get_freeze_count() == 0


def test_readback_on_the_cpu() -> None:
    assert Readback(torch.tensor([1.5, -2.0])).wait() == [1.5, -2.0]


@pytest.mark.gpu
def test_objective_with_lpips_and_view_correction_is_recorded(lpips: Lpips) -> None:
    correction = ViewCorrection(ViewCorrectionConfig(grid=3, knots=2), torch.tensor([False, True, True])).cuda()
    objective = Objective(LossConfig(lpips=Term(0.5, "generated")), deepcopy(lpips).cuda(), correction)
    graphed = CUDAGraphed(objective, objective)
    for size in (32, 32, 48):  # recorded, replayed, recorded again
        results = []
        images = [torch.rand(4, channels, size, size, device="cuda") for channels in (3, 1, 3, 1)]
        for run in (objective, graphed):
            correction.zero_grad(set_to_none=True)
            colors = images[0].clone().requires_grad_()
            inputs = LossInputs(
                colors,
                *images[1:],
                weights=torch.ones(4, 1, 1, 1, device="cuda"),
                backgrounds=torch.zeros(4, 3, device="cuda"),
                times=torch.linspace(0, 1, 4, device="cuda"),
                views=torch.tensor([0, 1, 1, 2], device="cuda"),
                canonical_means=torch.zeros(1, 3, device="cuda"),
                means=torch.zeros(2, 1, 3, device="cuda"),
                neighbors=torch.zeros(1, 0, dtype=torch.long, device="cuda"),
                spatial_planes=[],
                temporal_planes=[],
            )
            total, values = run(inputs)
            total.backward()
            del total  # its graph would tie the parameters' gradients to the stream that is recorded next
            assert correction.warp.grad is not None
            results.append({**values, "colors": colors.grad.clone(), "warp": correction.warp.grad.clone()})
        torch.testing.assert_close(results[1], results[0], rtol=1e-2, atol=1e-6)  # convolutions in TF32
        assert results[0]["lpips"] > 0.01
