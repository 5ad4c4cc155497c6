"""How much drawings look like the views."""

import torch

from ds4d.init.registration.similarity import compare
from ds4d.init.registration.targets import Targets
from ds4d.types import Cameras


def targets_of(alphas: list[list[float]], color: float, weights: list[float]) -> Targets:
    """Views of one row of pixels each, of one gray."""
    coverage = torch.tensor(alphas, dtype=torch.float32)[:, None, None]
    count, _, _, width = coverage.shape
    cameras = Cameras(torch.eye(4).expand(count, 4, 4), torch.eye(3).expand(count, 3, 3), width, 1)
    return Targets(color * coverage.expand(-1, 3, -1, -1), coverage, cameras, torch.tensor(weights))


def test_known_values() -> None:
    """One view of half a silhouette, one of a whole one, which counts three times as much."""
    targets = targets_of([[1, 1, 0, 0], [1, 1, 0, 0]], color=0.5, weights=[0.25, 0.75])
    drawn = torch.tensor([[[True, False, False, False], [True, True, False, False]]])
    likeness = compare(drawn, torch.full((1, 2, 4, 3), 0.7), targets)
    torch.testing.assert_close(likeness.silhouette_iou, torch.tensor([0.25 * 0.5 + 0.75]))
    torch.testing.assert_close(likeness.color_error, torch.tensor([0.2]))
    torch.testing.assert_close(likeness.error, torch.tensor([0.125 + 2 * 0.2]))


def test_what_is_equal_has_no_error() -> None:
    targets = targets_of([[0, 1, 1, 0]], color=0.3, weights=[1.0])
    assert compare(torch.tensor([[[False, True, True, False]]]), torch.full((1, 1, 4, 3), 0.3), targets).error == 0


def test_colors_count_only_where_both_cover() -> None:
    targets = targets_of([[1, 1, 0]], color=0.5, weights=[1.0])
    colors = torch.full((1, 1, 3, 3), 0.5)
    colors[0, 0, [0, 2]] = 1.0  # one pixel that is not drawn, one that is drawn beside the object
    drawn = torch.tensor([[[False, True, True]]])
    assert compare(drawn, colors, targets).color_error == 0


def test_nothing_drawn_is_not_like_anything() -> None:
    targets = targets_of([[1, 1, 0]], color=0.5, weights=[1.0])
    likeness = compare(torch.zeros(1, 1, 3, dtype=torch.bool), None, targets)
    assert likeness.silhouette_iou == 0 and likeness.color_error is None and likeness.error == 1


def test_faint_coverage_counts_from_where_it_is_told_to() -> None:
    targets = targets_of([[0.3, 1.0]], color=0.5, weights=[1.0])
    drawn = torch.ones(1, 1, 2, dtype=torch.bool)
    assert compare(drawn, None, targets).silhouette_iou == 0.5
    assert compare(drawn, None, targets, covered_above=0.2).silhouette_iou == 1
