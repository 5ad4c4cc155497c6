"""Replayed steps compute what eager ones do."""

from copy import deepcopy

import pytest
import torch

from ds4d.deformation import FieldConfig, HexPlaneConfig
from ds4d.fusion import FusionConfig
from ds4d.geometry import orbit_cameras
from ds4d.losses import LossConfig, LossInputs, Objective, Term
from ds4d.metrics import Lpips
from ds4d.scene import FrameFeatureCache, Motion
from ds4d.training.cuda_graphs import MotionChanges, ObjectiveValues, Readback, Replayed

AABB = torch.tensor([[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]])


def motion(device: str, fusion: FusionConfig | None) -> Motion:
    torch.manual_seed(0)
    views = None
    if fusion is not None:
        cameras = orbit_cameras([0.0, 120.0], [0.0, 10.0], fovy_deg=40.0, distance=2.0, width=32, height=32)
        views = FrameFeatureCache(
            maps=torch.randn(5, 2, 6, 8, 8).half(),
            valid=torch.ones(5, 2),
            times=torch.linspace(0, 1, 5),
            cameras=cameras,
            distance_maps=torch.randn(5, 2, 3, 8, 8).half() if fusion.rule == "distance" else None,
            depths=torch.full((5, 2, 1, 8, 8), 2.0).half() if fusion.rule == "visible" else None,
        )
    config = FieldConfig(HexPlaneConfig(channels=4, resolution=8, multipliers=(1, 2)), width=16, deform_color=True)
    made = Motion(config, AABB, 5, fusion=fusion, views=views)
    with torch.no_grad():  # heads of zeros would let no gradient through
        for parameter in made.field.heads.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made.to(device)


def outputs_and_gradients(run, owner: Motion, count: int, device: str) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(count)
    means = (torch.rand(count, 3, generator=generator) - 0.5).to(device).requires_grad_()
    seen = owner.views.at_frames(torch.tensor([0, 1, 4], device=device)) if owner.views is not None else ()
    changes = run(means, torch.tensor([0.0, 0.25, 1.0], device=device), *seen)
    owner.zero_grad(set_to_none=True)
    sum(change.square().sum() for change in changes).backward()
    return [
        *(change.detach() for change in changes),
        means.grad,
        *(parameter.grad.clone() for parameter in owner.parameters()),
    ]


every_fusion = pytest.mark.parametrize(
    "fusion",
    [None, *(FusionConfig(rule=rule, channels=4) for rule in ("front", "average", "global", "distance", "visible"))],
    ids=["hexplane", "front", "average", "global", "distance", "visible"],
)


@every_fusion
def test_on_the_cpu_a_replayed_module_is_the_module(fusion: FusionConfig | None) -> None:
    owner = motion("cpu", fusion)
    eager = outputs_and_gradients(MotionChanges(owner), owner, 7, "cpu")
    replayed = outputs_and_gradients(Replayed(MotionChanges(owner)), owner, 7, "cpu")
    assert all(torch.equal(a, b) for a, b in zip(eager, replayed, strict=True))


@pytest.mark.gpu
@every_fusion
def test_on_a_gpu_graphs_equal_eager_steps_also_after_the_number_of_gaussians_changes(
    fusion: FusionConfig | None,
) -> None:
    owner = motion("cuda", fusion)
    replayed = Replayed(MotionChanges(owner))
    for count in (50, 50, 64):  # recorded, replayed, recorded anew
        eager = outputs_and_gradients(MotionChanges(owner), owner, count, "cuda")
        again = outputs_and_gradients(replayed, owner, count, "cuda")
        for a, b in zip(eager, again, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
def test_numbers_read_late_are_those_of_the_time_they_were_asked_for() -> None:
    values = torch.tensor([1.0, 2.0], device="cuda")
    readback = Readback(values)
    values.add_(5)
    assert readback.wait() == [1.0, 2.0]


def test_readback_on_the_cpu() -> None:
    assert Readback(torch.tensor([1.5, -2.0])).wait() == [1.5, -2.0]


@pytest.mark.gpu
def test_on_a_gpu_lpips_is_recorded_with_the_other_losses(lpips: Lpips) -> None:
    objective = Objective(LossConfig(lpips=Term(0.5, "generated")), deepcopy(lpips).cuda())
    eager = ObjectiveValues(objective, None)
    replayed = Replayed(ObjectiveValues(objective, None))
    for size in (32, 32, 48):  # recorded, replayed, recorded anew
        results = []
        images = [torch.rand(4, channels, size, size, device="cuda") for channels in (3, 1, 3, 1)]
        for run in (eager, replayed):
            colors = images[0].clone().requires_grad_()
            inputs = LossInputs(
                colors,
                *images[1:],
                weights=torch.ones(4, 1, 1, 1, device="cuda"),
                is_input=torch.tensor([True, False, False, False], device="cuda"),
                canonical_means=torch.zeros(1, 3, device="cuda"),
                means=torch.zeros(2, 1, 3, device="cuda"),
                neighbors=torch.zeros(1, 0, dtype=torch.long, device="cuda"),
                spatial_planes=[],
                temporal_planes=[],
            )
            arguments = (torch.zeros(4, 3), torch.zeros(4), torch.zeros(4, dtype=torch.long))
            total, values = run(*ObjectiveValues.arguments(inputs, *(each.cuda() for each in arguments)))
            total.backward()
            results.append((values.clone(), colors.grad.clone()))
        torch.testing.assert_close(results[1], results[0], rtol=1e-2, atol=1e-6)  # convolutions in TF32
        assert results[0][0][-1] > 0.01
