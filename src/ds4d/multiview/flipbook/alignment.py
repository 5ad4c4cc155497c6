"""Alignment of the shapes of a flipbook with the video: one pose for all, then small corrections of each frame."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from ds4d.geometry import matrices_to_quats, rotation_to_y, transform_gaussians, transform_points
from ds4d.io import resize_premultiplied
from ds4d.rendering import renderer_for
from ds4d.shapes import Shape
from ds4d.shapes.registration import Orientation, register_shape
from ds4d.types import Cameras, FrameBatch, Similarity, Video

ShapeAxis = Literal["+x", "-x", "+y", "-y", "+z", "-z"]
AXES: dict[str, tuple[float, ...]] = {
    name: tuple((1.0 if name[0] == "+" else -1.0) * (letter == name[1]) for letter in "xyz")
    for name in ("+y", "+z", "-y", "-z", "+x", "-x")
}

_KEY_FRAMES = 4  # and the middle one
_AZIMUTH_STEP_DEG = 15.0
_TILTS_DEG = (-20.0, 0.0, 20.0)  # a camera may look from above while the file is level with it, or the reverse
_HEIGHT = 96  # pixels of the silhouettes that are compared
_FINE_HEIGHT = 288  # pixels at which shapes are rendered to compare them
_MAX_GROWTH, _MAX_SHIFT = 1.25, 0.25  # of one frame relative to all; the shift in units of the shape's extent
_ROUNDS = 3  # of the corrections, as each changes the perspective


@dataclass(frozen=True)
class Alignment:
    """Where the shapes are.

    Attributes:
        placements: for each frame, the map from the space of its file to the world of the video.
        iou: intersection over union of the silhouettes of shape and video, mean over the frames, in [0, 1].
        orientation: the rotation in a readable form; None where the files are used as they are.
    """

    placements: tuple[Similarity, ...]
    iou: float
    orientation: Orientation | None = None


@torch.no_grad()
def align(
    shapes: Sequence[Shape],
    video: Video,
    camera: Cameras,
    *,
    colored: bool,
    up: ShapeAxis | None,
    azimuth_deg: float | None,
    smoothing: float,
) -> Alignment:
    """Finds the similarity that brings the shapes of all frames to their silhouettes and colors, and corrects each one.

    A single camera does not determine the distance: the middle of the shapes is placed at the depth of the origin.

    Args:
        shapes: the shape of each frame, of round Gaussians in a random order.
        video: the video, of which one frame at least shows an object.
        camera: its camera, one view without a time axis.
        colored: whether the shapes have colors of their own.
        up: axis of the shapes that points up; None tries all.
        azimuth_deg: azimuth of the camera around the shapes, whose `up` is rotated to +y, degrees; None tries all.
        smoothing: standard deviation over time to which the corrections are smoothed, frames.
    """
    images, small = _frames(video, camera)
    seen = (images[:, 3] > 0.5).flatten(1).any(1)
    keys = _key_frames(seen)
    batch = FrameBatch(images[keys, :3], images[keys, 3:])
    count = len(keys)
    points = min(shapes[key].gaussians.num_gaussians for key in keys)
    positions = torch.stack([shapes[key].gaussians.means[:points] for key in keys])
    colors = torch.stack([shapes[key].colors[:points] for key in keys]) if colored else None
    with torch.enable_grad():
        found = register_shape(  # of as many points in each frame
            positions,
            colors,
            batch,
            Cameras(small.viewmats.repeat(count, 1, 1), small.Ks.repeat(count, 1, 1), small.width, small.height),
            torch.ones(count),
            renderer_for("cpu"),
            up=torch.tensor([0.0, 1.0, 0.0]),
            rotations=candidate_rotations(camera, up, azimuth_deg),
        )
    placed = found.positions.flatten(0, 1)
    middle = (placed.amin(0) + placed.amax(0)) / 2
    pose = _at_depth_of_origin(_similarity(found.matrix), middle, small)
    placements = [pose] * len(shapes)
    corrected = _corrected(pose, shapes, images, small, seen, smoothing)
    before, after = (silhouette_iou(shapes, each, images, small, seen) for each in (placements, corrected))
    if after >= before:
        placements = corrected
    return Alignment(tuple(placements), max(before, after), found.orientation)


def compare(shapes: Sequence[Shape], video: Video, camera: Cameras) -> Alignment:
    """The shapes as they are, in the world of the video; arguments as for `align`."""
    images, small = _frames(video, camera)
    placements = (Similarity.identity(),) * len(shapes)
    seen = (images[:, 3] > 0.5).flatten(1).any(1)
    return Alignment(placements, silhouette_iou(shapes, placements, images, small, seen))


def candidate_rotations(camera: Cameras, up: ShapeAxis | None, azimuth_deg: float | None) -> Float[Tensor, "R 4"]:
    """Upright rotations of a shape, as quaternions wxyz: all turns about the vertical axis, with some tilts.

    Args:
        camera: camera of the video, one view without a time axis.
        up: axis of the shape that points up; None gives all six.
        azimuth_deg: azimuth of the camera around the upright shape, degrees; None gives all in steps of 15.
    """
    backwards, right = -camera.viewmats[0, 2, :3], camera.viewmats[0, 0, :3]
    camera_azimuth = math.degrees(math.atan2(float(backwards[0]), float(backwards[2])))
    turns = np.arange(0, 360, _AZIMUTH_STEP_DEG).tolist() if azimuth_deg is None else [azimuth_deg]
    vertical = torch.tensor([0.0, 1.0, 0.0])
    matrices = [
        _turn(right, tilt) @ _turn(vertical, camera_azimuth - turn) @ rotation_to_y(torch.tensor(AXES[axis]))
        for axis in (AXES if up is None else (up,))
        for turn in turns
        for tilt in _TILTS_DEG
    ]
    return matrices_to_quats(torch.stack(matrices))


def _turn(axis: Float[Tensor, " 3"], angle_deg: float) -> Float[Tensor, "3 3"]:
    """The rotation about a unit axis."""
    x, y, z = axis.tolist()
    skew = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return torch.linalg.matrix_exp(math.radians(angle_deg) * skew)


def color_error(shapes: Sequence[Shape], placements: Sequence[Similarity], video: Video, camera: Cameras) -> float:
    """Mean absolute difference of the straight colors of shapes and video in a few frames where both cover, in [0, 1].

    Args:
        shapes: the shape of each frame.
        placements: map from the space of each shape to the world of the video.
        video: the video.
        camera: its camera, one view without a time axis.
    """
    images, small = _frames(video, camera)
    errors = []
    for key in _key_frames((images[:, 3] > 0.5).flatten(1).any(1)):
        alpha, colors = _render(shapes[key], placements[key], small)
        both = (alpha > 0.5) & (images[key, 3] > 0.5)
        shown, true = colors / alpha.clamp_min(0.5), images[key, :3] / images[key, 3].clamp_min(0.5)
        errors.append((shown - true).abs()[:, both])
    return float(torch.cat(errors, 1).mean())


def _frames(video: Video, camera: Cameras) -> tuple[Float[Tensor, "T 4 h w"], Cameras]:
    """Small images of all frames, premultiplied, and their camera."""
    frames = video.frames
    height = min(_HEIGHT, frames.height)
    width = max(1, round(height * frames.width / frames.height))
    rgba = np.stack([resize_premultiplied(frames.read(time, 0), width, height) for time in range(video.num_times)])
    return torch.from_numpy(rgba).movedim(-1, 1).float() / 255, camera.resized(width, height)


def _key_frames(seen: Bool[Tensor, " T"]) -> list[int]:
    """Evenly spaced frames that show the object, the middle one among them."""
    shown = seen.nonzero().squeeze(1)
    chosen = torch.linspace(0, len(shown) - 1, min(_KEY_FRAMES, len(shown))).round().long()
    return torch.cat((shown[chosen], shown[len(shown) // 2, None])).unique().tolist()


def _similarity(matrix: Float[Tensor, "4 4"]) -> Similarity:
    scale = float(torch.linalg.det(matrix[:3, :3]).pow(1 / 3))
    return Similarity(scale, matrix[:3, :3] / scale, matrix[:3, 3])


def _at_depth_of_origin(pose: Similarity, middle: Float[Tensor, " 3"], camera: Cameras) -> Similarity:
    """The pose scaled about the camera, which no image shows, so that `middle` comes to the depth of the origin."""
    depth = float(camera.viewmats[0, 2, :3] @ middle + camera.viewmats[0, 2, 3])
    factor = float(camera.viewmats[0, 2, 3]) / depth
    center = camera.centers[0]
    return Similarity(factor * pose.scale, pose.rotation, center + factor * (pose.translation - center))


def _corrected(
    pose: Similarity,
    shapes: Sequence[Shape],
    images: Float[Tensor, "T 4 h w"],
    camera: Cameras,
    seen: Bool[Tensor, " T"],
    smoothing: float,
) -> list[Similarity]:
    """Placements whose silhouettes have the centers and spreads of the video's, limited and smoothed over time."""
    everything = torch.cat([transform_points(pose, shape.gaussians.means) for shape in shapes])
    low, high = everything.amin(0), everything.amax(0)
    pivot, extent = (low + high) / 2, float((high - low).norm())
    depth = float(camera.viewmats[0, 2, :3] @ pivot + camera.viewmats[0, 2, 3])
    units = depth / camera.Ks[0, [0, 1], [0, 1]]  # world units per pixel
    centers, spreads = image_moments(images[:, 3])
    changes = torch.zeros(len(shapes), 3)  # right and down in world units, logarithm of the growth
    for _ in range(_ROUNDS):
        placements = [_change(pose, change, pivot, camera) for change in changes]
        found_centers, found_spreads = image_moments(_silhouettes(shapes, placements, camera))
        changes = changes + torch.cat(((centers - found_centers) * units, (spreads / found_spreads).log()[:, None]), 1)
        changes = torch.where(seen[:, None], changes, 0.0)
        changes[:, 2].clamp_(-math.log(_MAX_GROWTH), math.log(_MAX_GROWTH))
        changes[:, :2].clamp_(-_MAX_SHIFT * extent, _MAX_SHIFT * extent)
    return [_change(pose, change, pivot, camera) for change in smooth_over_time(changes, seen, smoothing)]


def _change(pose: Similarity, change: Float[Tensor, " 3"], pivot: Float[Tensor, " 3"], camera: Cameras) -> Similarity:
    """The pose with the shape moved right and down as the camera sees it, and grown about a pivot."""
    growth = math.exp(float(change[2]))
    shift = change[:2] @ camera.viewmats[0, :2, :3]
    return Similarity(growth * pose.scale, pose.rotation, growth * pose.translation + (1 - growth) * pivot + shift)


def smooth_over_time(values: Float[Tensor, "T C"], known: Bool[Tensor, " T"], deviation: float) -> Float[Tensor, "T C"]:
    """Means weighted by a Gaussian of the time between frames; of the known frames, which also fill the others.

    Args:
        values: one row per frame.
        known: frames whose values count, one at least.
        deviation: standard deviation, frames; 0 changes the unknown ones only.
    """
    times = torch.arange(len(values), dtype=torch.float64)
    squares = (times[:, None] - times).square()
    logits = -0.5 * squares / max(deviation, 1e-3) ** 2
    weights = logits.masked_fill(~known, -torch.inf).softmax(1)
    return (weights @ values.double()).to(values)


def image_moments(alphas: Float[Tensor, "T h w"]) -> tuple[Float[Tensor, "T 2"], Float[Tensor, " T"]]:
    """Centers (x, y) and root mean square distances from them of what images show, pixels."""
    rows, columns = (torch.arange(size) + 0.5 for size in alphas.shape[1:])
    total = alphas.sum((1, 2)).clamp_min(1e-6)
    x, y = alphas.sum(1) @ columns / total, alphas.sum(2) @ rows / total
    squares = alphas.sum(1) @ columns.square() / total + alphas.sum(2) @ rows.square() / total
    return torch.stack((x, y), 1), (squares - x.square() - y.square()).clamp_min(0.25).sqrt()


def silhouette_iou(
    shapes: Sequence[Shape],
    placements: Sequence[Similarity],
    images: Float[Tensor, "T 4 h w"],
    camera: Cameras,
    seen: Bool[Tensor, " T"],
) -> float:
    """Intersection over union of the silhouettes, mean over the frames that show the object."""
    shape, true = _silhouettes(shapes, placements, camera) > 0.5, images[:, 3] > 0.5
    ious = (shape & true).sum((1, 2)) / (shape | true).sum((1, 2)).clamp_min(1)
    return float(ious[seen].mean())


def _silhouettes(shapes: Sequence[Shape], placements: Sequence[Similarity], camera: Cameras) -> Float[Tensor, "T h w"]:
    """Alphas of the shapes in the input view."""
    return torch.stack([_render(*pair, camera)[0] for pair in zip(shapes, placements, strict=True)])


def _render(
    shape: Shape, placement: Similarity, camera: Cameras
) -> tuple[Float[Tensor, "h w"], Float[Tensor, "3 h w"]]:
    """Alpha and premultiplied color in the input view, averaged over finer pixels: a renderer blurs by half a pixel."""
    finer = max(1, round(_FINE_HEIGHT / camera.height))
    placed = transform_gaussians(placement, shape.gaussians).activate()
    rendering = renderer_for("cpu").render(placed, camera.resized(finer * camera.width, finer * camera.height))
    return F.avg_pool2d(rendering.alphas[0, 0, None], finer)[0], F.avg_pool2d(rendering.colors[0], finer)
