"""Stabilization of a camera that is held by hand: frames are aligned by the background that moves with it.

Features of the background (SIFT, outside the mattes) are matched with those of the middle frame; the similarity that
most of them agree on (RANSAC) is the motion of the camera. What is not found with certainty is not applied.
"""

from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, UInt8

from ds4d.core import ArrayList, tracked
from ds4d.io import Size, reduced_size, resize_premultiplied
from ds4d.preprocess.components import bounding_box, dilate

Matrix = tuple[tuple[float, ...], ...]  # 3 x 3, in pixels of the video; the center of pixel (i, j) is (i + .5, j + .5)
Reason = Literal["", "background", "texture", "matches", "distance"]

_SIDE = 400  # longer side of the images in which features are searched, pixels
_LEAST_SIDE = 24  # of these pixels: smaller images have no octave of SIFT
_MARGIN = 6  # of these pixels around the mattes
_CONTRAST = 0.005  # of SIFT's extrema: backgrounds are often out of focus
_LIKE = 0.85  # distance to the best match over that to the second
_MISSED = 1.5  # of these pixels, by which a match may miss
_TRIALS = 500
_MIN_MATCHES = 16
_MIN_SHARE = 0.4  # of the matches that agree
_MIN_SPREAD = 0.15  # standard deviation of their positions, of the sides of the image: where all are, a turn is a guess
_MOST_SHIFT = 0.2  # of the longer side
_MOST_ZOOM = 1.2
_MOST_TURN = 15.0  # degrees
# By which a camera that stands still may seem to move: pixels of the video, and of the images above if these are small.
_STILL, _STILL_SEEN = 0.5, 0.25


@dataclass(frozen=True)
class Stabilization:
    """How the frames of a clip were aligned.

    Attributes:
        matrices: similarity of each frame, from its pixels to those of the aligned frame; none if all frames are left
            as they are.
        shift: the farthest that a corner of the object's surroundings is moved, pixels of the video.
        reason: why frames are left as they are: there is no background to be seen, it has no texture, too few of its
            features are found again, or the camera moves too far; empty if they are aligned, or if it stands still.
        time: the first frame that is the reason, if it is one of the last three.
    """

    matrices: tuple[Matrix, ...] = ()
    shift: float = 0.0
    reason: Reason = ""
    time: int | None = None

    def aligned(self, image: UInt8[np.ndarray, "h w 4"], time: int, video: Size) -> UInt8[np.ndarray, "h w 4"]:
        """A premultiplied frame, or a layer over it, as the steady camera sees it; 0 where it does not reach."""
        return _warped(image, np.linalg.inv(self.matrices[time]), video)

    def unaligned(self, image: UInt8[np.ndarray, "h w 4"], time: int, video: Size) -> UInt8[np.ndarray, "h w 4"]:
        """The inverse of `aligned`: a premultiplied image of the steady camera, over the frame as it was filmed."""
        return _warped(image, np.array(self.matrices[time]), video)

    def filmed(self, points: Float[np.ndarray, "n 2"], time: int) -> Float[np.ndarray, "n 2"]:
        """Where points of the aligned frame are in the frame as it was filmed."""
        return _moved(np.linalg.inv(self.matrices[time]), points) if self.matrices else points


def gray_frames(images: Sequence[UInt8[np.ndarray, "H W 4"]]) -> MutableSequence[UInt8[np.ndarray, "h w"]]:
    """The brightness of opaque frames at the size in which features are searched."""
    size = reduced_size(Size(*images[0].shape[1::-1]), _SIDE)
    weights = np.array([0.299, 0.587, 0.114])
    small = (resize_premultiplied(image, *size) if image.shape[1::-1] != tuple(size) else image for image in images)
    return ArrayList((image[..., :3] @ weights).round().astype(np.uint8) for image in small)


def find_stabilization(
    frames: Sequence[UInt8[np.ndarray, "h w"]],
    mattes: Sequence[UInt8[np.ndarray, "H W 4"]],
    video: Size,
) -> Stabilization:
    """Finds how to align the frames of a clip, all of them or none.

    Args:
        frames: the frames, from `gray_frames`.
        mattes: the foreground of each frame, which is left out.
        video: size of the video as displayed.
    """
    scale = video.width / frames[0].shape[1]
    masks = _masks(mattes, Size(*frames[0].shape[1::-1]))
    found = _from_middle_outwards(frames, masks)
    if isinstance(found, Stabilization):
        return found
    to_video = np.diag((scale, scale, 1.0))
    matrices = [to_video @ found[time] @ np.linalg.inv(to_video) for time in range(len(frames))]
    corners = _corners(masks) * scale
    shifts = [float(np.linalg.norm(_moved(matrix, corners) - corners, axis=1).max()) for matrix in matrices]
    if max(shifts) < max(_STILL, _STILL_SEEN * scale):
        return Stabilization()
    return Stabilization(tuple(_as_tuples(matrix) for matrix in matrices), max(shifts))


class _Features(NamedTuple):
    points: Float[np.ndarray, "n 2"]  # x and y, the center of pixel (i, j) at (i + 0.5, j + 0.5)
    descriptors: np.ndarray


_NOTHING = _Features(np.zeros((0, 2)), np.zeros((0, 128), np.uint8))


def _masks(mattes: Sequence[UInt8[np.ndarray, "H W 4"]], size: Size) -> list[Bool[np.ndarray, "h w"]]:
    """Where the object is, with a margin, at the size of the gray frames."""
    return [dilate(resize_premultiplied(matte, *size)[..., 3] > 0, _MARGIN) for matte in mattes]


def _find_features(frame: UInt8[np.ndarray, "h w"], mask: Bool[np.ndarray, "h w"]) -> _Features:
    from skimage.feature import SIFT

    if min(frame.shape) < _LEAST_SIDE:
        return _NOTHING
    sift: Any = SIFT(upsampling=1, n_octaves=5, c_dog=_CONTRAST)
    try:
        sift.detect_and_extract(frame / 255)
    except RuntimeError:  # it finds nothing
        return _NOTHING
    rows, columns = sift.positions.round().astype(int).clip(0, np.array(mask.shape) - 1).T
    is_background = ~mask[rows, columns]
    points = sift.positions[is_background][:, ::-1] + 0.5
    return _Features(points, sift.descriptors[is_background])


def _from_middle_outwards(
    frames: Sequence[UInt8[np.ndarray, "h w"]], masks: Sequence[Bool[np.ndarray, "h w"]]
) -> dict[int, Float[np.ndarray, "3 3"]] | Stabilization:
    """The similarity of each frame with the middle one, in pixels of the gray frames, or why there is none."""
    count, middle, shape = len(frames), len(frames) // 2, frames[0].shape
    reference = _find_features(frames[middle], masks[middle])
    if len(reference.points) < _MIN_MATCHES:
        return Stabilization(reason="texture", time=middle)
    found: dict[int, Float[np.ndarray, "3 3"]] = {middle: np.eye(3)}
    order = [(time, time - 1) for time in range(middle + 1, count)]
    order += [(time, time + 1) for time in reversed(range(middle))]
    last = reference
    for time, neighbor in tracked(order, "stabilizing", len(order)):
        features = _find_features(frames[time], masks[time])
        matrix = _similarity(features, reference, shape)
        if matrix is None:  # by way of the frame that was found before
            step = _similarity(features, reference if neighbor == middle else last, shape)
            if step is None:
                return Stabilization(reason="matches", time=time)
            matrix = found[neighbor] @ step
        if _is_far(matrix, shape):
            return Stabilization(reason="distance", time=time)
        found[time], last = matrix, features
    return found


def _similarity(source: _Features, target: _Features, shape: tuple[int, ...]) -> Float[np.ndarray, "3 3"] | None:
    """The similarity that maps points of the source to those of the target; None if it is uncertain."""
    from skimage.feature import match_descriptors
    from skimage.measure import ransac
    from skimage.transform import SimilarityTransform

    if min(len(source.points), len(target.points)) < _MIN_MATCHES:
        return None
    matches = match_descriptors(source.descriptors, target.descriptors, cross_check=True, max_ratio=_LIKE)
    if len(matches) < _MIN_MATCHES:
        return None
    before, after = source.points[matches[:, 0]], target.points[matches[:, 1]]
    model, agree = ransac(
        (before, after), SimilarityTransform, min_samples=3, residual_threshold=_MISSED, max_trials=_TRIALS, rng=0
    )
    if agree is None or agree.sum() < max(_MIN_MATCHES, _MIN_SHARE * len(matches)):
        return None
    spread = before[agree].std(axis=0) / (shape[1], shape[0])
    return np.asarray(model.params) if (spread > _MIN_SPREAD).all() else None


def _is_far(matrix: Float[np.ndarray, "3 3"], shape: tuple[int, ...]) -> bool:
    """Whether a camera moves more than a hand does."""
    middle = np.array([[shape[1] / 2, shape[0] / 2]])
    shift = np.linalg.norm(_moved(matrix, middle) - middle)
    zoom = np.hypot(matrix[0, 0], matrix[1, 0])
    turn = np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))
    return bool(shift > _MOST_SHIFT * max(shape) or max(zoom, 1 / zoom) > _MOST_ZOOM or abs(turn) > _MOST_TURN)


def _corners(masks: Sequence[Bool[np.ndarray, "h w"]]) -> Float[np.ndarray, "4 2"]:
    """The corners of the box around all masks."""
    covered = np.logical_or.reduce(masks)
    rows, columns = bounding_box(covered) if covered.any() else (slice(0, len(covered)), slice(0, covered.shape[1]))
    return np.array([(x, y) for x in (columns.start, columns.stop) for y in (rows.start, rows.stop)], float)


def _moved(matrix: Float[np.ndarray, "3 3"], points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    return points @ np.asarray(matrix)[:2, :2].T + np.asarray(matrix)[:2, 2]


def _as_tuples(matrix: Float[np.ndarray, "3 3"]) -> Matrix:
    return tuple(tuple(row) for row in matrix.tolist())


def _warped(
    image: UInt8[np.ndarray, "h w 4"], inverse: Float[np.ndarray, "3 3"], video: Size
) -> UInt8[np.ndarray, "h w 4"]:
    """The image with each pixel taken from where `inverse` says, in pixels of the video; premultiplied stays so."""
    from skimage.transform import SimilarityTransform, warp

    scale, half = image.shape[1] / video.width, np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    from_image = np.diag((1 / scale, 1 / scale, 1.0)) @ np.linalg.inv(half)
    matrix = np.linalg.inv(from_image) @ inverse @ from_image
    moved = warp(image, SimilarityTransform(matrix=matrix), order=3, preserve_range=True)
    rgba = np.rint(moved).clip(0, 255).astype(np.uint8)
    rgba[..., :3] = np.minimum(rgba[..., :3], rgba[..., 3:])
    return rgba
