"""A fitted scene for use from Python: Gaussians at any time, images from any camera, files for other programs."""

import functools
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import ImageColor
from torch import Tensor

from ds4d.api.camera import Camera
from ds4d.core import DeviceName, choose_device
from ds4d.export import export_scene
from ds4d.geometry import inverse_similarity, orbit_cameras, to_world, transform_cameras
from ds4d.rendering import renderer_for
from ds4d.runs import RunFolder
from ds4d.scene import FOVY_DEG, DynamicGaussians, LiveScene, WindowedGaussians, read_scene, viewing_distance
from ds4d.types import Gaussians, Rendering

Times = float | int | Sequence[float | int] | np.ndarray | Tensor
Color = str | Sequence[float]

_DEFAULT_SIZE = 512  # height and width of an image without a camera, pixels


class RenderedImages(NamedTuple):
    """Rendered images as tensors on the device of the scene; without the axis T for a single time.

    Attributes:
        colors: RGB over the background, in [0, 1].
        alphas: coverage by the object, in [0, 1].
        depths: depth along the camera's z axis in world units, an average over the Gaussians of a pixel; 0 where alpha
            is 0.
    """

    colors: Float[Tensor, "*T 3 H W"]
    alphas: Float[Tensor, "*T 1 H W"]
    depths: Float[Tensor, "*T 1 H W"]


class DynamicScene:
    """A fitted scene. `ds4d.load` reads one from the folder of a run, `ds4d.run` returns one.

    Everything is in world space, the coordinate system of the run's input, and without gradients. The parameters, in
    normalized space, are those of `model`.

    Args:
        model: the Gaussians and their deformation; of a long clip in windows, `WindowedGaussians`.
    """

    def __init__(self, model: DynamicGaussians | WindowedGaussians) -> None:
        self._model = model
        self._playing = LiveScene(model) if isinstance(model, DynamicGaussians) else model

    @staticmethod
    def load(run: str | PathLike[str], device: DeviceName = "auto") -> "DynamicScene":
        """Reads the scene of a run.

        Args:
            run: folder of a run, or another folder that `DynamicGaussians.save` wrote.
            device: device to work on; `auto` uses CUDA where it is available, else the CPU.

        Raises:
            ValueError: the folder holds no complete scene, or a file is damaged or of another version.
        """
        folder = Path(run)
        RunFolder(folder).check_scene()
        return DynamicScene(read_scene(folder, choose_device(device)))

    @property
    def model(self) -> DynamicGaussians | WindowedGaussians:
        """The Gaussians and their deformation."""
        return self._model

    @property
    def times(self) -> tuple[float, ...]:
        """Times of the input's frames, in [0, 1]."""
        return self.model.timeline.times

    @property
    def duration(self) -> float:
        """Seconds from time 0 to time 1."""
        return self.model.timeline.duration

    @property
    def num_gaussians(self) -> int:
        """Number of Gaussians."""
        return self.model.num_gaussians

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self.model.device

    def __repr__(self) -> str:
        return f"DynamicScene({self.num_gaussians} Gaussians, {len(self.times)} frames, {self.duration:.2f} s)"

    @torch.no_grad()
    def at(self, time: Times) -> Gaussians:
        """The Gaussians at a time, ready to be rendered: opacities, scales and unit quaternions (wxyz).

        Args:
            time: time in [0, 1], or several; between frames the motion is evaluated at the time itself.

        Returns:
            Gaussians in world space, with a leading axis T for several times.

        Raises:
            ValueError: a time lies outside [0, 1].
        """
        times, several = self._times(time)
        raw = to_world(self.model.raw_at(times), self.model.world)
        return (raw if several else raw.at_time(0)).activate()

    def render(
        self,
        time: Times,
        camera: Camera | None = None,
        *,
        size: int | tuple[int, int] | None = None,
        background: Color | None = "white",
    ) -> UInt8[np.ndarray, "*T H W C"]:
        """Renders images as arrays of bytes.

        Args:
            time: time in [0, 1], or several.
            camera: the camera in world space; by default `orbit_camera()`, the front.
            size: width and height of the images in pixels, or one number for both; by default those of the camera.
            background: name of a color, #rrggbb, or RGB in [0, 1]; None for a transparent background (straight alpha).

        Returns:
            RGB, or RGBA without a background; with a leading axis T for several times.
        """
        times, several = self._times(time)
        images = []
        for rendering in self._render(times, camera, size):
            if background is None:
                straight = rendering.colors / rendering.alphas.clamp_min(1e-8)
                image = torch.cat((straight, rendering.alphas), dim=-3)
            else:
                image = _over(rendering, background)
            images.append((image[0, 0].clamp(0, 1) * 255).round().byte().movedim(0, -1).cpu().numpy())
        return np.stack(images) if several else images[0]

    def render_tensors(
        self,
        time: Times,
        camera: Camera | None = None,
        *,
        size: int | tuple[int, int] | None = None,
        background: Color = "white",
    ) -> RenderedImages:
        """Renders colors, alphas and depths as float tensors.

        Args:
            time: time in [0, 1], or several.
            camera: the camera in world space; by default `orbit_camera()`, the front.
            size: width and height of the images in pixels, or one number for both; by default those of the camera.
            background: name of a color, #rrggbb, or RGB in [0, 1].
        """
        times, several = self._times(time)
        parts = [
            (_over(rendering, background)[0], rendering.alphas[0], rendering.depths[0] / self.model.world.scale)
            for rendering in self._render(times, camera, size)
        ]
        colors, alphas, depths = (torch.cat(part) if several else part[0][0] for part in zip(*parts, strict=True))
        return RenderedImages(colors.clamp(0, 1), alphas, depths)

    def orbit_camera(
        self, azimuth_deg: float = 0.0, elevation_deg: float = 0.0, *, zoom: float = 1.0, size: int = _DEFAULT_SIZE
    ) -> Camera:
        """A camera that sees the whole object at all times, as `ds4d render --azimuth --elevation` places it.

        Args:
            azimuth_deg: azimuth in degrees: 0 in front, 90 right, 180 behind, 270 left.
            elevation_deg: elevation in degrees, positive from above.
            zoom: factor by which the object appears larger; above 1 it may be cut off.
            size: width and height of the images, pixels.
        """
        distance = self._viewing_distance / zoom
        cameras = orbit_cameras(
            [azimuth_deg], [elevation_deg], fovy_deg=FOVY_DEG, distance=distance, width=size, height=size
        )
        world = transform_cameras(inverse_similarity(self.model.world), cameras)
        return Camera.of(world)

    def export(self, path: str | PathLike[str], format: str | None = None, **options: Any) -> list[Path]:
        """Writes files for other programs; files that exist are replaced.

        Args:
            path: the file, whose ending decides the format: .ply, .compressed.ply, .splat and .glb of one time, .glb of
                an animated mesh, .html of a page that plays the scene; or a folder for one file per time.
            format: name of the format (see `ds4d.export.FORMATS`), where the ending leaves it open.
            options: `times`, in [0, 1], by default those of the frames; and those of the format, such as `up`.

        Returns:
            The files written.

        Raises:
            ValueError: the format or an option is unknown, or the path or the times do not fit the format.
        """
        return export_scene(self.model, Path(path), format, **options)

    @functools.cached_property
    def _viewing_distance(self) -> float:
        return viewing_distance(self.model)  # evaluates the motion at all frames

    def _times(self, time: Times) -> tuple[Float[Tensor, " T"], bool]:
        """Times as a tensor on the device of the scene, and whether there are several."""
        times = torch.as_tensor(time, dtype=torch.float32).detach().cpu()
        if times.ndim > 1 or times.numel() == 0 or not ((times >= 0) & (times <= 1)).all():
            raise ValueError(f"time must be one or more numbers in [0, 1], got {time!r}. Divide seconds by `duration`.")
        return times.reshape(-1).to(self.device), times.ndim == 1

    @torch.no_grad()
    def _render(
        self, times: Float[Tensor, " T"], camera: Camera | None, size: int | tuple[int, int] | None
    ) -> list[Rendering]:
        if camera is None:
            camera = self.orbit_camera()
        if size is not None:
            camera = camera.resized(*((size, size) if isinstance(size, int) else size))
        cameras = transform_cameras(self.model.world, camera.cameras).to(self.device).expand_times(1)
        renderer = renderer_for(self.device)
        return [renderer.render(self._playing.at(time), cameras) for time in times.split(1)]


def _over(rendering: Rendering, background: Color) -> Float[Tensor, "1 1 3 H W"]:
    """The colors over a background."""
    rgb = [value / 255 for value in ImageColor.getrgb(background)] if isinstance(background, str) else background
    return rendering.colors + (1 - rendering.alphas) * rendering.colors.new_tensor(rgb[:3])[:, None, None]
