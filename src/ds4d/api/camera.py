"""A camera for rendering, in the coordinate system of the run's input."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.geometry import intrinsics, look_at, opengl_to_opencv, orbit_cameras, rotation_to_y
from ds4d.types import Cameras

Point = Sequence[float | int] | np.ndarray | Tensor


@dataclass(frozen=True)
class Camera:
    """A pinhole camera in world space, the coordinate system of the cameras and points of the input.

    For a video, world space has +y up, the object near the origin, and the input camera on the +z axis at distance 2.

    Attributes:
        viewmat: world-to-camera matrix in OpenCV axes (+x right, +y down, +z forward).
        K: intrinsics in pixels; the center of pixel (i, j) is at (i + 0.5, j + 0.5).
        width: image width, pixels.
        height: image height, pixels.
    """

    viewmat: Float[Tensor, "4 4"]
    K: Float[Tensor, "3 3"]
    width: int
    height: int

    @staticmethod
    def look_at(
        eye: Point,
        target: Point = (0.0, 0.0, 0.0),
        *,
        up: Point = (0.0, 1.0, 0.0),
        fovy_deg: float = 40.0,
        width: int = 512,
        height: int = 512,
    ) -> "Camera":
        """A camera at a point that looks at another.

        Args:
            eye: position of the camera.
            target: point at the center of the image.
            up: direction that is up in the image.
            fovy_deg: full vertical field of view, degrees.
            width: image width, pixels.
            height: image height, pixels.

        Raises:
            ValueError: `eye` and `target` are the same point, `up` is 0, or the field of view is not in (0, 180).
        """
        position, center, upward = _vector("eye", eye), _vector("target", target), _vector("up", up)
        if torch.equal(position, center):
            raise ValueError(f"eye must differ from target, got {list(eye)} for both. Move one of them.")
        if not upward.any():
            raise ValueError("up must be a direction, got 0, 0, 0.")
        to_y_up = torch.eye(4)
        to_y_up[:3, :3] = rotation_to_y(upward)
        viewmat = look_at(to_y_up[:3, :3] @ position, to_y_up[:3, :3] @ center) @ to_y_up
        return Camera(viewmat, intrinsics(fovy_deg, width, height), width, height)

    @staticmethod
    def orbit(
        azimuth_deg: float,
        elevation_deg: float = 0.0,
        *,
        distance: float = 2.0,
        target: Point = (0.0, 0.0, 0.0),
        fovy_deg: float = 40.0,
        width: int = 512,
        height: int = 512,
    ) -> "Camera":
        """A camera on a sphere around a point, in a world with +y up; for other worlds see `DynamicScene.orbit_camera`.

        Args:
            azimuth_deg: azimuth in degrees: 0 on +z (in front), 90 on +x (right), 180 behind.
            elevation_deg: elevation in degrees, positive from above.
            distance: distance from the target, world units.
            target: point at the center of the image.
            fovy_deg: full vertical field of view, degrees.
            width: image width, pixels.
            height: image height, pixels.
        """
        cameras = orbit_cameras(
            [azimuth_deg],
            [elevation_deg],
            fovy_deg=fovy_deg,
            distance=distance,
            width=width,
            height=height,
            target=_vector("target", target).tolist(),
        )
        return Camera.of(cameras)

    @staticmethod
    def from_opengl(camtoworld: Any, K: Any, width: int, height: int) -> "Camera":
        """A camera from a camera-to-world matrix in OpenGL axes (+y up, -z forward), as Blender and nerfstudio use it.

        Args:
            camtoworld: camera-to-world matrix, 4 x 4 or 3 x 4.
            K: intrinsics in pixels, 3 x 3.
            width: image width, pixels.
            height: image height, pixels.
        """
        matrix = torch.eye(4)
        given = torch.as_tensor(camtoworld, dtype=torch.float32)
        matrix[: len(given)] = given
        return Camera(opengl_to_opencv(matrix), torch.as_tensor(K, dtype=torch.float32), width, height)

    @staticmethod
    def of(cameras: Cameras) -> "Camera":
        """The only one of some cameras.

        Raises:
            ValueError: there are several cameras, or one that has a time axis.
        """
        if cameras.viewmats.shape[:-2] != (1,):
            raise ValueError(
                f"cameras must hold one camera without a time axis, got {list(cameras.viewmats.shape[:-2])}."
            )
        return Camera(cameras.viewmats[0], cameras.Ks[0], cameras.width, cameras.height)

    @property
    def cameras(self) -> Cameras:
        """The camera as `Cameras` with one view."""
        return Cameras(self.viewmat[None], self.K[None], self.width, self.height)

    def resized(self, width: int, height: int) -> "Camera":
        """The same camera with another image size: its vertical field of view stays, pixels stay square."""
        scale = height / self.height
        K = self.K.clone()
        K[:2, :2] *= scale
        K[0, 2] *= width / self.width
        K[1, 2] *= scale
        return Camera(self.viewmat, K, width, height)


def _vector(name: str, value: Point) -> Float[Tensor, " 3"]:
    vector = torch.as_tensor(value, dtype=torch.float32)
    if vector.shape != (3,):
        raise ValueError(f"{name} must be three numbers, got {value!r}.")
    return vector
