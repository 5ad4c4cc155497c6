"""Compositing the scene over its input video: the scene from the camera of the input view, pasted into the frames."""

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from scipy.ndimage import distance_transform_edt

from ds4d.geometry import transform_cameras
from ds4d.io import on_white, premultiply, resize_premultiplied
from ds4d.preprocess import VideoConfig, VideoCrop
from ds4d.preprocess.components import dilate
from ds4d.preprocess.raw_video import RawVideo, read_raw_video
from ds4d.scene import Scene, render_rgba
from ds4d.types import Cameras, Renderer

_VISIBLE = 8  # of 255: coverage from which on a pixel shows the object
_MARGIN = 0.01  # of the height around the object, whose rendering does not fit to the pixel
_MAX_MEDIAN = 48  # frames
_ROWS = 64  # of the image at once
_MAX_SIDE = 4096  # pixels; larger videos are composited at this size


def read_source_video(video: Path, crop: VideoCrop, config: VideoConfig) -> RawVideo:
    """The frames of the video that a run was made from, at full size.

    Args:
        video: the video file.
        crop: the crop of the run's images in the video.
        config: the settings with which the run read the video.

    Raises:
        ValueError: the size of the video differs from that of the run's input.
    """
    box = crop.box
    longest = min(_MAX_SIDE, max(box.video_width, box.video_height, box.size))
    raw_video = read_raw_video(video, replace(config, size=longest))
    size = raw_video.info.size
    if (size.width, size.height) != (box.video_width, box.video_height):
        raise ValueError(
            f"--over {video} must be the input video of the run, {box.video_width} x {box.video_height} pixels, got "
            f"{size.width} x {size.height}. Give the video that the run was made from."
        )
    return raw_video


def overlay_video(
    scene: Scene,
    renderer: Renderer,
    crop: VideoCrop,
    raw_video: RawVideo,
    size: int | None,
    move_deg: float | None = None,
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The video's frames with the scene composited over them; transparent pixels become white.

    Args:
        scene: the scene of the run.
        renderer: the renderer for the device of the scene.
        crop: the crop of the run's images in the video, and the camera of the video.
        raw_video: the frames from `read_source_video`.
        size: height and width of the rendering before it is resized into the frame, pixels; that of the run's images
            if None.
        move_deg: degrees by which the object's camera is moved around it, to the right; the object of the video is
            removed then, and what it hid is filled with the background of other frames, which are aligned as they were
            for the run. None to leave both as they are.

    Raises:
        ValueError: the number of frames differs from that of the run.
    """
    times = torch.tensor(scene.timeline.times)
    if len(raw_video.images) != len(times):
        raise ValueError(
            f"--over must be the input video of the run, {len(times)} frames, got {len(raw_video.images)}. "
            "Give the video that the run was made from."
        )
    side = size or crop.box.size
    cameras = transform_cameras(scene.world, crop_cameras(crop, len(times))).resized(side, side)
    images: Iterable[UInt8[np.ndarray, "H W 4"]] = raw_video.images
    if move_deg is not None:
        images = crop.aligned(raw_video.images)
        height, width = images[0].shape[:2]
        before = render_rgba(scene, renderer, cameras, times)
        masks = [resize_premultiplied(crop.box.paste_back(premultiply(r)), width, height)[..., 3] for r in before]
        if crop.alignment:  # what a frame does not reach is filled like what the object hides
            masks = [np.maximum(mask, 255 - image[..., 3]) for mask, image in zip(masks, images, strict=True)]
        images = without_object(images, masks)
        crop = replace(crop, alignment=())
        cameras = _moved_around(cameras, move_deg)
    for time, (image, rendered) in enumerate(zip(images, render_rgba(scene, renderer, cameras, times), strict=True)):
        height, width = image.shape[:2]
        above = resize_premultiplied(crop.paste_back(premultiply(rendered), time), width, height)
        yield on_white(_over(above, image))


def crop_cameras(crop: VideoCrop, count: int) -> Cameras:
    """The static camera of a run's cropped images, repeated for `count` frames, [count, 1], in world space."""
    size = crop.box.size
    camera = Cameras(torch.tensor(crop.viewmat)[None], torch.tensor(crop.K)[None], size, size)
    return camera.expand_times(count)


def without_object(
    images: Sequence[UInt8[np.ndarray, "H W 4"]], alphas: Sequence[UInt8[np.ndarray, "H W"]]
) -> Iterator[UInt8[np.ndarray, "H W 4"]]:
    """The frames of a static camera with the background where the object was.

    What an object hides is the median of the frames that show it; what all of them hide, the nearest pixel beside it.

    Args:
        images: frames of one size.
        alphas: the object's coverage in each, in [0, 255].
    """
    reach = max(2, round(_MARGIN * images[0].shape[0]))
    masks = [dilate(alpha >= _VISIBLE, reach) for alpha in alphas]
    chosen = np.linspace(0, len(images) - 1, min(_MAX_MEDIAN, len(images))).round().astype(int).tolist()
    background = np.zeros_like(images[0])
    for first in range(0, background.shape[0], _ROWS):
        rows = slice(first, first + _ROWS)
        stack = np.stack([images[time][rows] for time in chosen]).astype(np.float32)
        stack[np.stack([masks[time][rows] for time in chosen])] = np.nan
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # all frames hide some pixels
            background[rows] = np.nan_to_num(np.nanmedian(stack, axis=0))
    hidden = np.logical_and.reduce([masks[time] for time in chosen])
    if hidden.any() and not hidden.all():
        nearest = distance_transform_edt(hidden, return_distances=False, return_indices=True)
        background = background[tuple(nearest)]
    for image, mask in zip(images, masks, strict=True):
        yield np.where(mask[..., None], background, image)


def _moved_around(cameras: Cameras, degrees: float) -> Cameras:
    """Cameras in normalized space, moved around the vertical axis through the object, to the right."""
    angle = math.radians(degrees)
    turn = torch.eye(4)
    turn[0, 0] = turn[2, 2] = math.cos(angle)
    turn[0, 2], turn[2, 0] = -math.sin(angle), math.sin(angle)
    return replace(cameras, viewmats=cameras.viewmats @ turn.to(cameras.viewmats))


def _over(above: UInt8[np.ndarray, "H W 4"], below: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "H W 4"]:
    """One premultiplied image composited over another."""
    behind = (255 - above[..., 3:].astype(np.uint16)) * below
    return above + ((behind + 127) // 255).astype(np.uint8)
