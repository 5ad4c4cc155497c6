"""How Zero123++ is shown a frame, how its views lie on a sheet, and where their cameras stand."""

import math
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from ds4d.geometry import RIGS, intrinsics, rig_cameras, rig_cameras_around
from ds4d.io import resize_premultiplied
from ds4d.types import Cameras, Video

ROWS, COLUMNS = 3, 2  # of views on a sheet
_GRAY = 127  # of 255; what the networks take for background


def shown_frame(rgba: UInt8[np.ndarray, "H W 4"], size: int) -> UInt8[np.ndarray, "S S 3"]:
    """A premultiplied image over gray, in the middle of a square."""
    height, width = rgba.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    rows, columns = (top, side - height - top), (left, side - width - left)
    square = resize_premultiplied(np.pad(rgba, (rows, columns, (0, 0))), size, size)
    return square[..., :3] + np.rint((255 - square[..., 3:]) * (_GRAY / 255)).astype(np.uint8)


def split_sheet(sheet: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "V s s 3"]:
    """The views of a sheet, row after row."""
    rows = np.stack(np.split(sheet, ROWS))
    return np.concatenate([np.stack(np.split(row, COLUMNS, axis=1)) for row in rows])


def in_videos_shape(views: UInt8[np.ndarray, "T V s s 4"], width: int, height: int) -> UInt8[np.ndarray, "T V h w 4"]:
    """Square views with nothing beside or above and below them, in the video's width : height."""
    side = views.shape[2]
    across, down = (round(side * max(1.0, ratio)) - side for ratio in (width / height, height / width))
    pads = ((0, 0), (0, 0), (down // 2, down - down // 2), (across // 2, across - across // 2), (0, 0))
    return np.pad(views, pads)


def video_camera(video: Video) -> Cameras:
    """The video's camera, one view; where nobody knows it, the front of the rig `stag4d`.

    The rig's field of view is that of the square round the video's images, which is what the networks are shown.
    """
    width, height = video.frames.width, video.frames.height
    if video.camera is not None:
        return video.camera.resized(width, height)
    front = RIGS["stag4d"][0]
    tangent = math.tan(math.radians(front.fovy) / 2) * height / max(width, height)
    fovy = 2 * math.degrees(math.atan(tangent))
    return rig_cameras((replace(front, fovy=fovy),), width, height)


def sheet_cameras(video: Cameras, version: str, nearer: float = 1.0) -> Cameras:
    """The video's camera and those of the views, for images of the video's shape.

    Version 1.1 shows the object as large as the video does, whose distance and field of view its views share. Version
    1.2 brings every object to one size and looks at it through 30 degrees; how far away that is for this object has to
    be found from its images.

    Args:
        video: the video's camera, one view.
        version: of the networks, v1.1 or v1.2.
        nearer: by which factor the views' cameras are nearer to the object than where it would look as large as in the
            video. 1 is right for version 1.1.
    """
    rig = RIGS["stag4d" if version == "v1.1" else "zero123plus-v1.2"][1:]
    cameras = rig_cameras_around(video, rig)
    side = min(video.width, video.height)
    videos_tangent = max(video.width, video.height) / 2 / float(video.Ks[0, 1, 1])
    tangent = videos_tangent if version == "v1.1" else math.tan(math.radians(rig[0].fovy) / 2)
    distance = cameras.viewmats[0, 2, 3]
    viewmats, Ks = cameras.viewmats.clone(), cameras.Ks.clone()
    viewmats[1:, 2, 3] = distance * videos_tangent / tangent / nearer
    Ks[1:] = intrinsics(2 * math.degrees(math.atan(tangent * video.height / side)), video.width, video.height)
    return Cameras(viewmats, Ks, video.width, video.height)
