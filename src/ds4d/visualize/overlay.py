"""Compositing the scene over its input video: the scene from the camera of the input view, pasted into the frames."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8

from ds4d.geometry import transform_cameras
from ds4d.io import on_white, premultiply, resize_premultiplied
from ds4d.preprocess import VideoConfig, VideoCrop
from ds4d.preprocess.raw_video import RawVideo, read_raw_video
from ds4d.scene import Scene, render_rgba
from ds4d.types import Cameras, Renderer

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
    scene: Scene, renderer: Renderer, crop: VideoCrop, raw_video: RawVideo, size: int | None
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The video's frames with the scene composited over them; transparent pixels become white.

    Args:
        scene: the scene of the run.
        renderer: the renderer for the device of the scene.
        crop: the crop of the run's images in the video, and the camera of the video.
        raw_video: the frames from `read_source_video`.
        size: height and width of the rendering before it is resized into the frame, pixels; that of the run's images
            if None.

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
    for image, rendered in zip(raw_video.images, render_rgba(scene, renderer, cameras, times), strict=True):
        height, width = image.shape[:2]
        above = resize_premultiplied(crop.box.paste_back(premultiply(rendered)), width, height)
        yield on_white(_over(above, image))


def crop_cameras(crop: VideoCrop, count: int) -> Cameras:
    """The static camera of a run's cropped images, repeated for `count` frames, [count, 1], in world space."""
    size = crop.box.size
    camera = Cameras(torch.tensor(crop.viewmat)[None], torch.tensor(crop.K)[None], size, size)
    return camera.expand_times(count)


def _over(above: UInt8[np.ndarray, "H W 4"], below: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "H W 4"]:
    """One premultiplied image composited over another."""
    behind = (255 - above[..., 3:].astype(np.uint16)) * below
    return above + ((behind + 127) // 255).astype(np.uint8)
