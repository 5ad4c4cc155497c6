"""The object back in the video that it comes from: what its front view shows now, over the video's own frames."""

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
from ds4d.scene import Scene, draw_rgba
from ds4d.types import Cameras, Renderer

_LONGEST = 4096  # pixels; larger videos are overlaid at this size


def read_source_video(video: Path, place: VideoCrop, config: VideoConfig) -> RawVideo:
    """The frames of a video that a run was made of, as large as the video.

    Args:
        video: the file.
        place: where the run's images lie in it.
        config: how the run read it.

    Raises:
        ValueError: the video has another size.
    """
    box = place.box
    longest = min(_LONGEST, max(box.video_width, box.video_height, box.size))
    raw_video = read_raw_video(video, replace(config, size=longest))
    if (raw_video.info.size.width, raw_video.info.size.height) != (box.video_width, box.video_height):
        raise ValueError(
            f"--over {video} must be the video that the run was made of, {box.video_width} x {box.video_height} "
            f"pixels, got {raw_video.info.size.width} x {raw_video.info.size.height}. Give that one."
        )
    return raw_video


def overlay_video(
    scene: Scene, renderer: Renderer, place: VideoCrop, raw_video: RawVideo, size: int | None
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """The video's frames with the object drawn over them where it was recorded; what is transparent becomes white.

    Args:
        scene: of the run.
        renderer: the splatter for the scene's device.
        place: where the images lie in the video, and where the camera stood.
        raw_video: what `read_source_video` gave.
        size: of the drawing before it is put back, pixels; that of the framed images if None.

    Raises:
        ValueError: the video has not as many frames as the run.
    """
    times = torch.tensor(scene.clip.times)
    if len(raw_video.images) != len(times):
        raise ValueError(
            f"--over must be the video that the run was made of, {len(times)} frames, got {len(raw_video.images)}. "
            "Give that one."
        )
    side = size or place.box.size
    cameras = transform_cameras(scene.world, crop_cameras(place, len(times))).resized(side, side)
    for image, drawn in zip(raw_video.images, draw_rgba(scene, renderer, cameras, times), strict=True):
        height, width = image.shape[:2]
        above = resize_premultiplied(place.box.paste_back(premultiply(drawn)), width, height)
        yield on_white(_over(above, image))


def crop_cameras(place: VideoCrop, count: int) -> Cameras:
    """The camera that sees the framed images of a video, [count, 1], in the user's world; it stands still."""
    viewmats, Ks = torch.tensor(place.viewmat), torch.tensor(place.K)
    size = place.box.size
    return Cameras(viewmats.expand(count, 1, 4, 4), Ks.expand(count, 1, 3, 3), size, size)


def _over(above: UInt8[np.ndarray, "H W 4"], below: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "H W 4"]:
    """Premultiplied images, one over the other."""
    left = (255 - above[..., 3:].astype(np.uint16)) * below
    return above + ((left + 127) // 255).astype(np.uint8)
