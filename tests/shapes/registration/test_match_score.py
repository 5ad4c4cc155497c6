"""Scores of renderings against target views."""

import torch

from ds4d.shapes.registration.match_score import score_match
from ds4d.shapes.registration.targets import Targets
from ds4d.types import Cameras


def targets_of(alphas: list[list[float]], color: float, weights: list[float]) -> Targets:
    """Views of one row of pixels of one gray value."""
    coverage = torch.tensor(alphas, dtype=torch.float32)[:, None, None]
    count, _, _, width = coverage.shape
    cameras = Cameras(torch.eye(4).expand(count, 4, 4), torch.eye(3).expand(count, 3, 3), width, 1)
    return Targets(color * coverage.expand(-1, 3, -1, -1), coverage, cameras, torch.tensor(weights))


def test_known_values() -> None:
    """One view covers half of the silhouette, the other all of it, with three times the weight."""
    targets = targets_of([[1, 1, 0, 0], [1, 1, 0, 0]], color=0.5, weights=[0.25, 0.75])
    covered = torch.tensor([[[True, False, False, False], [True, True, False, False]]])
    score = score_match(covered, torch.full((1, 2, 4, 3), 0.7), targets)
    torch.testing.assert_close(score.silhouette_iou, torch.tensor([0.25 * 0.5 + 0.75]))
    torch.testing.assert_close(score.color_error, torch.tensor([0.2]))
    torch.testing.assert_close(score.error, torch.tensor([0.125 + 2 * 0.2]))


def test_equal_images_have_no_error() -> None:
    targets = targets_of([[0, 1, 1, 0]], color=0.3, weights=[1.0])
    assert score_match(torch.tensor([[[False, True, True, False]]]), torch.full((1, 1, 4, 3), 0.3), targets).error == 0


def test_colors_are_compared_where_both_cover() -> None:
    targets = targets_of([[1, 1, 0]], color=0.5, weights=[1.0])
    colors = torch.full((1, 1, 3, 3), 0.5)
    colors[0, 0, [0, 2]] = 1.0  # a pixel that is not rendered, and one outside the object
    covered = torch.tensor([[[False, True, True]]])
    assert score_match(covered, colors, targets).color_error == 0


def test_empty_rendering() -> None:
    targets = targets_of([[1, 1, 0]], color=0.5, weights=[1.0])
    score = score_match(torch.zeros(1, 1, 3, dtype=torch.bool), None, targets)
    assert score.silhouette_iou == 0 and score.color_error is None and score.error == 1


def test_alpha_threshold() -> None:
    targets = targets_of([[0.3, 1.0]], color=0.5, weights=[1.0])
    covered = torch.ones(1, 1, 2, dtype=torch.bool)
    assert score_match(covered, None, targets).silhouette_iou == 0.5
    assert score_match(covered, None, targets, alpha_threshold=0.2).silhouette_iou == 1
