"""Choice and encoding of the condition images."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ds4d.config import GenerateConfig
from ds4d.data.synthetic.dataset import SPLITS
from ds4d.geometry import orbit_cameras
from ds4d.guidance import VideoConditions, Zero123
from ds4d.guidance.poses import FOVY_DEG, angles_deg, directions_of, distance_for, square_image
from ds4d.pipeline import prepare
from ds4d.rendering import renderer_for
from ds4d.types import MultiViewVideo


@pytest.fixture
def conditions(quick_video: MultiViewVideo, zero123: Zero123) -> VideoConditions:
    return VideoConditions(quick_video, zero123)


def towards(azimuths: list[float], elevations: list[float]) -> Tensor:
    return directions_of(torch.tensor(azimuths), torch.tensor(elevations))


def test_directions_are_those_of_the_rig(conditions: VideoConditions) -> None:
    azimuths, elevations = angles_deg(conditions.directions[0])
    rig = (*SPLITS["front"], *SPLITS["mv"])
    expected = torch.tensor([[view.azimuth, view.elevation] for view in rig])
    torch.testing.assert_close(azimuths % 360, expected[:, 0], atol=1e-3, rtol=0)
    torch.testing.assert_close(elevations, expected[:, 1], atol=1e-3, rtol=0)


def test_choice_is_the_input_view_or_the_nearest_generated_one(conditions: VideoConditions) -> None:
    """Generated views are at azimuths 30 (from above), 90 (from below), 150, 210, 270 and 330."""
    directions = towards([5.0, 5.0, 80.0, 80.0, -100.0, 200.0], [0.0, 20.0, 0.0, 0.0, 10.0, -20.0])
    prefer_input = torch.tensor([True, False, True, False, False, False])
    views = conditions.choose(torch.zeros(6, dtype=torch.long), directions, prefer_input)
    assert views.tolist() == [0, 1, 0, 2, 5, 4]


def test_missing_images_are_never_chosen(quick_video: MultiViewVideo, zero123: Zero123) -> None:
    valid = quick_video.valid.clone()
    valid[1, 0] = False  # no input image at frame 1
    valid[2, 1:] = False  # only the input image at frame 2
    conditions = VideoConditions(replace(quick_video, valid=valid), zero123)
    times = torch.tensor([1, 2, 0])
    views = conditions.choose(times, towards([10.0] * 3, [10.0] * 3), torch.tensor([True, False, False]))
    assert views.tolist() == [1, 0, 1]


def test_images_are_encoded_once_on_white(
    conditions: VideoConditions, quick_video: MultiViewVideo, zero123: Zero123, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sample's images are square and centered already."""
    encoded = []
    encode = zero123.encode_condition
    monkeypatch.setattr(zero123, "encode_condition", lambda images: (encoded.append(images), encode(images))[1])
    times, views = torch.tensor([3, 3, 4]), torch.tensor([0, 0, 2])
    first = conditions.at(times, views)
    again = conditions.at(times.flip(0), views.flip(0))
    assert len(encoded) == 2
    assert torch.equal(again.latents, first.latents.flip(0)) and torch.equal(again.embeddings, first.embeddings.flip(0))
    truth = quick_video.gather(times[:1], views[:1]).composite(torch.ones(1, 3))
    small = torch.nn.functional.interpolate(truth, (32, 32), mode="bilinear", antialias=True)
    assert (encoded[0] - small).abs().max() < 0.05
    torch.testing.assert_close(first.latents[:1], encode(encoded[0]).latents)


def iou(first: Tensor, second: Tensor) -> float:
    """Intersection over union of two masks."""
    return float((first & second).sum() / (first | second).sum())


@pytest.mark.parametrize("view", [0, 1, 4])
def test_condition_matches_a_rendering_with_zero123s_camera(
    quick_video: MultiViewVideo, quick_config: GenerateConfig, zero123: Zero123, view: int
) -> None:
    """The initial Gaussians match the condition as well as they match the image in its own camera."""
    trainer = prepare(quick_video, replace(quick_config, fusion=None), torch.device("cpu"))
    video, gaussians = trainer.video, trainer.scene.canonical().activate()
    cameras, middle, half = video.cameras, video.middle, VideoConditions(video, zero123).footprint
    own = cameras[middle, [view]]
    (azimuth,), (elevation,) = (angles.tolist() for angles in angles_deg(own.centers))
    zero123s = orbit_cameras(
        [azimuth], [elevation], fovy_deg=FOVY_DEG, distance=distance_for(half), width=48, height=48
    )
    in_own, in_zero123s = (renderer_for("cpu").render(gaussians, each).alphas[0, 0] > 0.5 for each in (own, zero123s))
    alphas = video.gather(torch.tensor([middle]), torch.tensor([view])).alphas[0]
    black = torch.cat((torch.zeros(3, 48, 48), alphas))
    shown = square_image(black, own.viewmats[0], own.Ks[0], footprint=half, size=48)[0] < 0.5
    usual = iou(in_own, alphas[0] > 0.5)
    assert usual > 0.6
    assert iou(in_zero123s, shown) > usual - 0.08
    assert iou(in_zero123s, shown.flip(0)) < usual - 0.15
    assert iou(in_zero123s, shown.roll((4, 4), (0, 1))) < usual - 0.15
