"""Metrics of the evaluation protocols against other implementations, stored by make_evaluation_cases.py."""

import contextlib
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from ds4d.evaluation import PROTOCOL_METRICS
from ds4d.evaluation.subjects import ClipPair
from ds4d.metrics import shape_scores
from ds4d.metrics.frechet import clip_distance, frechet_distance
from ds4d.metrics.i3d import I3d, bicubic_clip
from ds4d.metrics.inception import FidInception, inception_images

FOLDER = Path(__file__).parent


@pytest.fixture(scope="module")
def stored() -> dict[str, Tensor]:
    return load_file(FOLDER / "evaluation_cases.safetensors")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_evaluation_cases", FOLDER / "make_evaluation_cases.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def weights(script: ModuleType, network: type[torch.nn.Module], seed: int) -> dict[str, Tensor]:
    """The script's random weights for one of our networks."""
    built = network.__new__(network)
    with contextlib.suppress(ValueError):  # its layers are made before they are found to have no weights
        network.__init__(built, {})
    return script.random_weights({name: tuple(value.shape) for name, value in built.state_dict().items()}, seed)


@pytest.mark.parametrize("name", ["psnr", "ssim", "psnr_target_range", "ssim_joint_range"])
def test_image_metrics_equal_scikit_image_and_torchmetrics(stored: dict[str, Tensor], name: str) -> None:
    images, targets = (stored[f"image.{side}"].numpy() for side in ("images", "targets"))
    alpha = np.full((*images.shape[:3], 1), 255, np.uint8)
    for index, expected in enumerate(stored[f"image.{name}"].tolist()):
        part = slice(index, index + 1)
        rendered, true = (np.concatenate((each, alpha), axis=-1)[part] for each in (images, targets))
        value = PROTOCOL_METRICS[name].compute(ClipPair("object", true, rendered), None)
        assert value == pytest.approx(expected, abs=1e-5)  # SSIM is computed in single precision


def test_i3d_equals_videogpts(stored: dict[str, Tensor], script: ModuleType) -> None:
    network = I3d(weights(script, I3d, 1))
    found = [network(bicubic_clip(clip.numpy()))[0].double().numpy() for clip in stored["i3d.clips"]]
    np.testing.assert_allclose(np.stack(found), stored["i3d.logits"].numpy(), rtol=1e-3, atol=1e-4)
    assert clip_distance(*found) == pytest.approx(float(stored["i3d.distance"]), rel=1e-3)


def test_clip_distance_equals_the_script_that_it_replaces(stored: dict[str, Tensor]) -> None:
    assert clip_distance(*stored["i3d.logits"].numpy()) == pytest.approx(float(stored["i3d.distance"]), rel=1e-9)


def test_inception_equals_torch_fidelitys(stored: dict[str, Tensor], script: ModuleType) -> None:
    network = FidInception(weights(script, FidInception, 2))
    features = network(inception_images(stored["inception.images"].numpy()))
    torch.testing.assert_close(features, stored["inception.features"], rtol=1e-3, atol=1e-4)
    assert (features[0] - features[1]).norm() > 0.1 * features[0].norm()  # the case tells images apart


def test_frechet_distance_equals_torchmetrics(stored: dict[str, Tensor]) -> None:
    found = frechet_distance(stored["frechet.ours"].numpy(), stored["frechet.theirs"].numpy())
    assert found == pytest.approx(float(stored["frechet.distance"]), rel=1e-6)


@pytest.mark.parametrize("name", ["mean_chamfer", "motion_chamfer", "f_score", "track_error", "points_within"])
def test_shape_metrics_equal_loops_over_all_points(stored: dict[str, Tensor], name: str) -> None:
    points, truth = stored["shape.points"].numpy(), stored["shape.truth"].numpy()
    given = list(points) if name in ("mean_chamfer", "f_score") else points  # the others need an identity
    assert getattr(shape_scores, name)(given, truth) == pytest.approx(float(stored[f"shape.{name}"]), rel=1e-9)
    assert float(stored[f"shape.{name}"]) > 0
