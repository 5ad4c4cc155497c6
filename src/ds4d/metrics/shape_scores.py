"""Scores of moving shapes against surface points that are tracked through the clip.

ActionBench's Chamfer distances (ActionMesh, CVPR 2026) sum the two directions; its alignment is in `alignment.py`.
Everything here compares points as they are given: align them before.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

QUERIES, SEEDS = 10_000, (44, 45)  # points whose distances are averaged, and their seeds: ActionBench's
_F_THRESHOLD = 0.01  # of the longest side of the true bounding box: .02 where that box is scaled into [-1, 1]
_APD_THRESHOLDS = (0.01, 0.02, 0.04, 0.08, 0.16)  # of the diagonal of the true bounding box

Points = Float[np.ndarray, "_ 3"]
Track = Float[np.ndarray, "T _ 3"]


def chamfer(points: Points, truth: Points) -> float:
    """Mean distance from the truth to the nearest point, plus that from the points to the nearest true one.

    Not squared. Of more than 10,000 points a fixed random choice is averaged, against all others, as ActionBench does.

    Args:
        points: points of the result.
        truth: true surface points.
    """
    to_points, _ = KDTree(points).query(_some(truth, SEEDS[1]))
    to_truth, _ = KDTree(truth).query(_some(points, SEEDS[0]))
    return float(to_points.mean() + to_truth.mean())


def mean_chamfer(points: Sequence[Points], truth: Track) -> float:
    """Mean of `chamfer` over the frames: ActionBench's CD-3D or CD-4D, by how the frames were aligned.

    Args:
        points: points of each frame, without identity.
        truth: true tracked points.
    """
    return float(np.mean([chamfer(frame, true) for frame, true in zip(points, truth, strict=True)]))


def motion_chamfer(points: Track, truth: Track) -> float:
    """ActionBench's CD-M: nearest neighbors are found in the first frame and kept through the clip.

    Args:
        points: points with identity: row i is the same material point in all frames.
        truth: true tracked points.
    """
    to_points, to_truth = neighbors(points[0], truth[0]), neighbors(truth[0], points[0])
    forward = np.linalg.norm(points[:, to_points] - truth, axis=-1).mean()
    backward = np.linalg.norm(truth[:, to_truth] - points, axis=-1).mean()
    return float(forward + backward)


def f_score(points: Sequence[Points], truth: Track) -> float:
    """Mean over the frames of the F-score at 1 % of the longest side of the true bounding box (over all frames).

    Harmonic mean of the share of points that are near the truth and of the share of the truth that is near the points;
    .02 where the object is scaled into [-1, 1], as Motion-80 does.

    Args:
        points: points of each frame, without identity.
        truth: true tracked points.
    """
    threshold = _F_THRESHOLD * float(np.ptp(truth.reshape(-1, 3), axis=0).max())
    return float(np.mean([_f_score(*pair, threshold) for pair in zip(points, truth, strict=True)]))


def track_error(points: Track, truth: Track) -> float:
    """Mean error of displacements since the first frame, as a fraction of the diagonal of the true bounding box.

    Each true point follows the point that is nearest in the first frame, at its distance from there; what is scored is
    the motion, not how near the surface lies. NaN for a single frame.

    Args:
        points: points with identity.
        truth: true tracked points.
    """
    errors = _displacement_errors(points, truth)
    return float(errors.mean()) if errors.size else float("nan")


def points_within(points: Track, truth: Track) -> float:
    """APD: share of true points whose displacement error is within a threshold, averaged over five thresholds.

    .01, .02, .04, .08 and .16 of the diagonal of the true bounding box (TAPVid-3D's idea with thresholds in space;
    there they depend on the depth). NaN for a single frame.

    Args:
        points: points with identity; see `track_error`.
        truth: true tracked points.
    """
    errors = _displacement_errors(points, truth)
    if not errors.size:
        return float("nan")
    return float(np.mean([(errors < threshold).mean() for threshold in _APD_THRESHOLDS]))


def neighbors(points: Points, of: Points) -> Int[np.ndarray, " _"]:
    """Index of the nearest point for each row of `of`."""
    return KDTree(points).query(of)[1]


def _displacement_errors(points: Track, truth: Track) -> Float[np.ndarray, "_ _"]:
    """Errors of the displacements at all frames but the first, in units of the diagonal."""
    chosen = points[:, neighbors(points[0], truth[0])]
    errors = (chosen[1:] - chosen[0]) - (truth[1:] - truth[0])
    return np.linalg.norm(errors, axis=-1) / np.linalg.norm(np.ptp(truth.reshape(-1, 3), axis=0))


def _f_score(points: Points, truth: Points, threshold: float) -> float:
    precision = (KDTree(truth).query(points)[0] < threshold).mean()
    recall = (KDTree(points).query(truth)[0] < threshold).mean()
    return float(2 * precision * recall / (precision + recall)) if precision + recall else 0.0


def _some(points: Points, seed: int) -> Points:
    if len(points) <= QUERIES:
        return points
    return points[np.random.RandomState(seed).permutation(len(points))[:QUERIES]]
