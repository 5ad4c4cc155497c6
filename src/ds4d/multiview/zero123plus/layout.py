"""The images and cameras of Zero123++: condition images, image grids of six views, camera rigs."""

import math
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from ds4d.geometry import RIGS, intrinsics, rig_cameras, rig_cameras_around
from ds4d.io import resize_premultiplied
from ds4d.types import Cameras, Video

ROWS, COLUMNS = 3, 2  # of an image grid
_GRAY = 127  # of 255; background of the condition images


def condition_image(rgba: UInt8[np.ndarray, "H W 4"], size: int) -> UInt8[np.ndarray, "S S 3"]:
    """A premultiplied image composited over gray, padded to a square."""
    height, width = rgba.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    rows, columns = (top, side - height - top), (left, side - width - left)
    square = resize_premultiplied(np.pad(rgba, (rows, columns, (0, 0))), size, size)
    return square[..., :3] + np.rint((255 - square[..., 3:]) * (_GRAY / 255)).astype(np.uint8)


def split_grid(grid: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "V s s 3"]:
    """The views of an image grid, row by row."""
    rows = np.stack(np.split(grid, ROWS))
    return np.concatenate([np.stack(np.split(row, COLUMNS, axis=1)) for row in rows])


def pad_to_video(views: UInt8[np.ndarray, "T V s s 4"], width: int, height: int) -> UInt8[np.ndarray, "T V h w 4"]:
    """Square views padded with transparency to the aspect ratio of the video."""
    side = views.shape[2]
    across, down = (round(side * max(1.0, ratio)) - side for ratio in (width / height, height / width))
    pads = ((0, 0), (0, 0), (down // 2, down - down // 2), (across // 2, across - across // 2), (0, 0))
    return np.pad(views, pads)


def input_camera(video: Video) -> Cameras:
    """The camera of the video, one view; if it is unknown, the input camera of the rig `stag4d`.

    The field of view of the rig is that of the square around the images, which is what the networks see.
    """
    width, height = video.frames.width, video.frames.height
    if video.camera is not None:
        return video.camera.resized(width, height)
    front = RIGS["stag4d"][0]
    tangent = math.tan(math.radians(front.fovy) / 2) * height / max(width, height)
    fovy = 2 * math.degrees(math.atan(tangent))
    return rig_cameras((replace(front, fovy=fovy),), width, height)


def grid_cameras(camera: Cameras, version: str, zoom: float = 1.0) -> Cameras:
    """The input camera and the cameras of the views, for images with the aspect ratio of the video.

    Version 1.1 keeps the scale of the object, so its views have the distance and field of view of the input camera.
    Version 1.2 normalizes the scale and has a field of view of 30 degrees; its distance must be estimated.

    Args:
        camera: input camera, one view.
        version: version of the networks, v1.1 or v1.2.
        zoom: factor by which the views magnify the object relative to the input view, by their distance; 1 for version
            1.1.
    """
    rig = RIGS["stag4d" if version == "v1.1" else "zero123plus-v1.2"][1:]
    cameras = rig_cameras_around(camera, rig)
    side = min(camera.width, camera.height)
    input_tangent = max(camera.width, camera.height) / 2 / float(camera.Ks[0, 1, 1])
    tangent = input_tangent if version == "v1.1" else math.tan(math.radians(rig[0].fovy) / 2)
    distance = cameras.viewmats[0, 2, 3]
    viewmats, Ks = cameras.viewmats.clone(), cameras.Ks.clone()
    viewmats[1:, 2, 3] = distance * input_tangent / tangent / zoom
    Ks[1:] = intrinsics(2 * math.degrees(math.atan(tangent * camera.height / side)), camera.width, camera.height)
    return Cameras(viewmats, Ks, camera.width, camera.height)
