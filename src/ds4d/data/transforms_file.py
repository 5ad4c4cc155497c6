"""Camera files of D-NeRF and Blender: transforms_<split>.json.

Top level or per frame: `camera_angle_x` (radians), or `fl_x`, `fl_y`, `cx`, `cy` (pixels of a `w` x `h` image).
Per frame: `file_path`, `time` in [0, 1], `transform_matrix` (camera-to-world, OpenGL axes); optionally `view` (name of
the camera), `frame` (index) and `image` (path of the image, if it is not at file_path).
"""

import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.geometry import opengl_to_opencv
from ds4d.io import image_size, read_json

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")
_RIGID_TOLERANCE = 1e-3
_MAX_PIXELS = 2**25  # of one image
_MAX_INDEX, _MAX_FRAMES = 10**6, 10**5


@dataclass(frozen=True, eq=False)
class TransformsFrame:
    """One frame of a transforms file.

    Attributes:
        file_path: path in the file, relative to its folder and inside it.
        image: path of the image, which need not exist.
        view: name of the camera, if the file states one.
        frame: index of the frame, if the file states one.
        time: time in [0, 1]; NaN if the file states none.
        viewmat: world-to-camera matrix, OpenCV axes, in the file's world.
        K: intrinsics in pixels.
        width: image width, pixels.
        height: image height, pixels.
    """

    file_path: str
    image: Path
    view: str | None
    frame: int | None
    time: float
    viewmat: Float[Tensor, "4 4"]
    K: Float[Tensor, "3 3"]
    width: int
    height: int


def read_transforms(
    path: str | Path, *, size: tuple[int, int] | None = None, needs_time: bool = True
) -> list[TransformsFrame]:
    """Reads the frames of a transforms file, in its order; the images need not exist.

    Args:
        path: path of the transforms file.
        size: (width, height) in pixels of frames with neither `w` and `h` nor an image.
        needs_time: whether each frame must have a time; if not, it is NaN for those without.

    Raises:
        ValueError: the file is missing or not JSON, or a frame lacks a key, has a time outside [0, 1], a matrix that is
            not a rigid motion, or a path outside the folder; the message names file and frame.
    """
    path = Path(path)
    content = _read_json(path)
    frames = content.get("frames")
    if not isinstance(frames, list) or not frames:
        raise ValueError(f"{path}: frames must be a list with at least one frame. Export the cameras again.")
    if len(frames) > _MAX_FRAMES:
        raise ValueError(f"{path}: frames must be at most {_MAX_FRAMES}, got {len(frames)}. Split the file.")
    read = []
    for index, frame in enumerate(frames):
        if not isinstance(frame, dict):
            raise ValueError(f"{path}: frames[{index}] must be an object with keys, got {frame!r}.")
        where = f"{path}: frames[{index}]"
        try:
            read.append(_read_frame({**content, **frame}, path.parent, where, size, needs_time))
        except KeyError as error:
            raise ValueError(f"{where} must have the key {error}. Export the cameras again, with times.") from error
    return read


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ValueError(f"{path} must be a transforms file, got nothing there. Check the path.")
    try:
        content = read_json(path)
    except ValueError as error:
        raise ValueError(f"{path} must be valid JSON: {error}. Export it again.") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold one JSON object with the key frames, got a {type(content).__name__}.")
    return content


def _read_frame(
    keys: dict[str, Any], folder: Path, where: str, size: tuple[int, int] | None, needs_time: bool
) -> TransformsFrame:
    """One frame; `keys` are its own and those of the top level."""
    file_path = _inner_path(keys["file_path"], f"{where}.file_path")
    image = _image_path(keys, folder, where)
    width, height = _frame_size(keys, image, where, size)
    return TransformsFrame(
        file_path=file_path,
        image=image,
        view=None if keys.get("view") is None else str(keys["view"]),
        frame=None if keys.get("frame") is None else _index(keys, where),
        time=_time(keys, where) if needs_time or "time" in keys else math.nan,
        viewmat=opengl_to_opencv(_camera_to_world(keys["transform_matrix"], where)).float(),
        K=_intrinsics(keys, width, height, where),
        width=width,
        height=height,
    )


def _inner_path(name: Any, where: str) -> str:
    """A relative path inside its folder, on every operating system."""
    parts = PurePosixPath(str(name).replace("\\", "/"))
    if not isinstance(name, str) or not parts.parts or parts.is_absolute() or ".." in parts.parts or ":" in name:
        raise ValueError(
            f"{where} must be a path below the file's own folder, got {name!r}. Write it relative, without '..'."
        )
    return name


def _image_path(keys: dict[str, Any], folder: Path, where: str) -> Path:
    """Path of the image: `image`, or else `file_path`, with the suffix of an existing file if it has none."""
    named = folder / _inner_path(keys.get("image", keys["file_path"]), f"{where}.image")
    if named.suffix.lower() in _SUFFIXES:
        return named
    candidates = [named.with_name(named.name + suffix) for suffix in _SUFFIXES]
    return next((path for path in candidates if path.is_file()), candidates[0])


def _frame_size(keys: dict[str, Any], image: Path, where: str, fallback: tuple[int, int] | None) -> tuple[int, int]:
    if "w" in keys and "h" in keys:
        width, height = int(_number(keys, "w", where)), int(_number(keys, "h", where))
    elif image.is_file():
        width, height = image_size(image)
    elif fallback is not None:
        width, height = fallback
    else:
        raise ValueError(f"{where} must have the keys w and h, as there is no image {image}. Add them, or set --size.")
    if width < 1 or height < 1:
        raise ValueError(f"{where}: w and h must be at least 1, got {width} x {height}.")
    if width * height > _MAX_PIXELS:
        raise ValueError(f"{where}: w and h must be at most {_MAX_PIXELS} pixels together, got {width} x {height}.")
    return width, height


def _number(keys: dict[str, Any], key: str, where: str) -> float:
    value = keys[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{where}.{key} must be a finite number, got {value!r}.")
    return float(value)


def _index(keys: dict[str, Any], where: str) -> int:
    frame = _number(keys, "frame", where)
    if not 0 <= frame <= _MAX_INDEX:
        raise ValueError(f"{where}.frame must be in [0, {_MAX_INDEX}], got {frame:g}. Number the frames from 0.")
    return int(frame)


def _time(keys: dict[str, Any], where: str) -> float:
    time = _number(keys, "time", where)
    if not 0 <= time <= 1:
        raise ValueError(f"{where}.time must be in [0, 1], got {time}. Divide seconds by the duration.")
    return time


def _camera_to_world(rows: Any, where: str) -> Float[Tensor, "4 4"]:
    """The matrix in double precision, checked to be a rigid motion."""
    try:
        matrix = torch.tensor(rows, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{where}.transform_matrix must be four rows of four numbers: {error}.") from error
    name = f"{where}.transform_matrix"
    if tuple(matrix.shape) != (4, 4):
        raise ValueError(f"{name} must be 4 x 4, got {list(matrix.shape)}. Append the row 0 0 0 1 if it is missing.")
    if not matrix.isfinite().all():
        raise ValueError(f"{name} must be finite, got NaN or infinity. Export the cameras again.")
    rotation = matrix[:3, :3]
    if rotation.det() < 0:
        raise ValueError(f"{name} must be a rotation, got a reflection. Flip one axis of the exported cameras.")
    off = max(
        (rotation.T @ rotation - torch.eye(3, dtype=torch.float64)).abs().max(),
        (matrix[3] - matrix.new_tensor([0, 0, 0, 1.0])).abs().max(),
    )
    if off > _RIGID_TOLERANCE:
        raise ValueError(
            f"{name} must be a rotation and a translation, got one that scales or shears (off by {off:.3g}). "
            "Apply the cameras' scale before exporting."
        )
    return matrix


def _intrinsics(keys: dict[str, Any], width: int, height: int, where: str) -> Float[Tensor, "3 3"]:
    """Intrinsics from focal lengths in pixels, or from the horizontal field of view with square pixels."""
    distorted = [key for key in _DISTORTION if keys.get(key)]
    if distorted:
        raise ValueError(f"{where}.{distorted[0]} must be 0, got {keys[distorted[0]]}. Undistort the images.")
    if "fl_x" in keys:
        focal_x = _number(keys, "fl_x", where)
        focal_y = _number(keys, "fl_y", where) if "fl_y" in keys else focal_x
    elif "camera_angle_x" in keys:
        angle = _number(keys, "camera_angle_x", where)
        if not 0 < angle < math.pi:
            raise ValueError(f"{where}: camera_angle_x must lie between 0 and pi radians, got {angle}.")
        focal_x = focal_y = 0.5 * width / math.tan(0.5 * angle)
    else:
        raise ValueError(f"{where} must have camera_angle_x (radians) or fl_x (pixels), at the top or in the frame.")
    if focal_x <= 0 or focal_y <= 0:
        raise ValueError(f"{where}: focal lengths must be above 0, got {focal_x} and {focal_y}.")
    center_x = _number(keys, "cx", where) if "cx" in keys else width / 2
    center_y = _number(keys, "cy", where) if "cy" in keys else height / 2
    return torch.tensor([[focal_x, 0, center_x], [0, focal_y, center_y], [0, 0, 1]], dtype=torch.float32)
