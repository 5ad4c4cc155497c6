"""Cameras as viser describes them: orientation, position and vertical field of view."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from ds4d.geometry import intrinsics, matrices_to_quats, quats_to_matrices
from ds4d.types import Cameras


@dataclass(frozen=True)
class CameraPose:
    """One camera.

    Attributes:
        wxyz: rotation from the camera's OpenCV axes to normalized space, as a quaternion.
        position: camera center in normalized space.
        fovy_deg: full vertical field of view, degrees.
        aspect: image width divided by image height.

    Raises:
        ValueError: a number is not finite or out of range.
    """

    wxyz: Float[np.ndarray, "4"]
    position: Float[np.ndarray, "3"]
    fovy_deg: float
    aspect: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.wxyz).all() and np.linalg.norm(self.wxyz) > 0 and np.isfinite(self.position).all()):
            raise ValueError(f"a camera's pose must be finite, got wxyz {self.wxyz} and position {self.position}")
        if not (0 < self.fovy_deg < 180 and 0 < self.aspect < math.inf):
            raise ValueError(
                f"a camera's field of view must be in (0, 180) and its aspect positive, got {self.fovy_deg} and "
                f"{self.aspect}"
            )

    @staticmethod
    def from_cameras(cameras: Cameras, time: int, view: int) -> "CameraPose":
        """One camera of cameras with a time axis; its field of view is that of its vertical focal length."""
        camtoworld = torch.linalg.inv(cameras.viewmats[time, view].double().cpu())
        focal = float(cameras.Ks[time, view, 1, 1])
        return CameraPose(
            wxyz=matrices_to_quats(camtoworld[:3, :3]).numpy(),
            position=camtoworld[:3, 3].numpy(),
            fovy_deg=math.degrees(2 * math.atan(cameras.height / (2 * focal))),
            aspect=cameras.width / cameras.height,
        )

    def to_cameras(self, height: int) -> Cameras:
        """The camera [1, 1] that renders this view with a height in pixels."""
        camtoworld = torch.eye(4, dtype=torch.float64)
        camtoworld[:3, :3] = quats_to_matrices(torch.from_numpy(self.wxyz))
        camtoworld[:3, 3] = torch.from_numpy(self.position)
        width = max(1, round(self.aspect * height))
        viewmat = torch.linalg.inv(camtoworld).float()
        return Cameras(viewmat[None, None], intrinsics(self.fovy_deg, width, height)[None, None], width, height)

    def fovy_in(self, aspect: float) -> float:
        """The vertical field of view, degrees, at which a window of another aspect shows the whole image."""
        narrowness = max(1.0, self.aspect / aspect)
        return math.degrees(2 * math.atan(narrowness * math.tan(math.radians(self.fovy_deg / 2))))

    @property
    def forward(self) -> Float[np.ndarray, "3"]:
        """Viewing direction, a unit vector."""
        return quats_to_matrices(torch.from_numpy(self.wxyz))[:, 2].numpy()

    @property
    def target(self) -> Float[np.ndarray, "3"]:
        """The point on the camera's axis nearest to the origin, about which the browser's view rotates."""
        return self.position + max(0.1, float(-self.position @ self.forward)) * self.forward
