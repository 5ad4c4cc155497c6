"""Training images: random cameras around random models, with the surfaces that the network is to predict."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from ds4d.lift_training.appearance import Appearance
from ds4d.lift_training.model_pool import Choice, ModelPool, Samples
from ds4d.lift_training.rasterizer import Layer, rasterize
from ds4d.lift_training.vectors import transformed

_DEEPEST = 2.5  # depths beyond it, of what is stretched and warped most, are not told apart


@dataclass(frozen=True)
class CameraSettings:
    """Ranges of the random cameras.

    Attributes:
        elevation: lowest and highest elevation, degrees.
        roll: standard deviation of the roll, degrees.
        closeness: smallest and largest radius of the object relative to its distance: how strong perspective is.
        fill: smallest and largest side of the object's bounding box relative to the image.
        stretch: standard deviation of the logarithm of a random scaling along each axis.
        mirror: chance that an object is mirrored.
    """

    elevation: tuple[float, float] = (-5.0, 25.0)
    roll: float = 2.0
    closeness: tuple[float, float] = (0.1, 0.42)
    fill: tuple[float, float] = (0.8, 0.92)
    stretch: float = 0.1
    mirror: float = 0.5


@dataclass(frozen=True)
class RandomCameras:
    """One camera per image. It looks at the origin, but its image is a square around the object.

    Attributes:
        rotations: world to camera; x right, y down, z forward.
        distances: distance of the origin.
        focals: focal length, in units of the image's side.
        centers: x / z and y / z at the center of the image.
        stretches: scaling of the object along the axes of the world, negative where it is mirrored.
    """

    rotations: Float[Tensor, "B 3 3"]
    distances: Float[Tensor, " B"]
    focals: Float[Tensor, " B"]
    centers: Float[Tensor, "B 2"]
    stretches: Float[Tensor, "B 3"]

    @property
    def sides(self) -> Float[Tensor, " B"]:
        """Side of the image in world units at the distance of the origin: the unit of depths."""
        return self.distances / self.focals

    def rays(self, size: int) -> Float[Tensor, "B 2 h w"]:
        """X / z and y / z of the ray through each pixel."""
        steps = (torch.arange(size, device=self.focals.device) + 0.5) / size - 0.5
        xs = self.centers[:, 0, None] + steps / self.focals[:, None]
        ys = self.centers[:, 1, None] + steps / self.focals[:, None]
        return torch.stack(torch.broadcast_tensors(xs[:, None, :], ys[:, :, None]), dim=1)


@dataclass(frozen=True)
class Surfaces:
    """The front and the back of each object in its image.

    Attributes:
        mask: pixels that show the object.
        front: depth relative to the plane through the origin, in units of the image's side.
        back: depth of the last surface, in the same unit.
        front_colors: shaded sRGB.
        back_colors: shaded sRGB, as seen from behind.
    """

    mask: Bool[Tensor, "B H W"]
    front: Float[Tensor, "B H W"]
    back: Float[Tensor, "B H W"]
    front_colors: Float[Tensor, "B 3 H W"]
    back_colors: Float[Tensor, "B 3 H W"]


def random_cameras(
    positions: Float[Tensor, "B S 3"], settings: CameraSettings, generator: torch.Generator
) -> RandomCameras:
    """Cameras whose images show the whole object, at random azimuths.

    Args:
        positions: points of each object, within a ball of radius 1 around the origin.
        settings: ranges.
        generator: source of randomness.
    """
    batch, device = len(positions), positions.device

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, device=device, generator=generator)

    azimuths, elevations = uniform(-math.pi, math.pi), uniform(*settings.elevation).deg2rad()
    rolls = settings.roll * torch.randn(batch, device=device, generator=generator).deg2rad()
    stretches = (settings.stretch * torch.randn(batch, 3, device=device, generator=generator)).exp()
    stretches[:, 0] *= torch.where(uniform(0.0, 1.0) < settings.mirror, -1.0, 1.0)
    rotations = camera_rotations(azimuths, elevations, rolls)
    return framed(positions, rotations, 1 / uniform(*settings.closeness), uniform(*settings.fill), stretches)


def camera_rotations(
    azimuths: Float[Tensor, " B"], elevations: Float[Tensor, " B"], rolls: Float[Tensor, " B"]
) -> Float[Tensor, "B 3 3"]:
    """World to camera of cameras that look at the origin; radians, azimuth 0 looks from +z, 90 degrees from +x."""
    sin, cos, zero = azimuths.sin(), azimuths.cos(), torch.zeros_like(azimuths)
    up, level = elevations.sin(), elevations.cos()
    right = torch.stack((cos, zero, -sin), -1)
    forward = -torch.stack((sin * level, up, cos * level), -1)
    down = forward.cross(right, dim=-1)
    sin, cos = rolls.sin()[:, None], rolls.cos()[:, None]
    return torch.stack((cos * right + sin * down, cos * down - sin * right, forward), dim=1)


def framed(
    positions: Float[Tensor, "B S 3"],
    rotations: Float[Tensor, "B 3 3"],
    distances: Float[Tensor, " B"],
    fills: Float[Tensor, " B"],
    stretches: Float[Tensor, "B 3"],
) -> RandomCameras:
    """Cameras whose square images are centered on the bounding box of the object and filled by it so far."""
    points = transformed(positions * stretches[:, None], rotations.mT)
    tangents = points[..., :2] / (points[..., 2:] + distances[:, None, None])
    low, high = tangents.amin(1), tangents.amax(1)
    return RandomCameras(rotations, distances, fills / (high - low).amax(1), 0.5 * (low + high), stretches)


def draw(
    pool: ModelPool,
    choice: Choice,
    samples: Samples,
    cameras: RandomCameras,
    appearance: Appearance,
    size: int,
) -> Surfaces:
    """Draws the front and the back of each object.

    Args:
        pool: the models.
        choice: one posed model per image.
        samples: samples of their surfaces, from `pool.samples`, warped or not.
        cameras: one camera per image.
        appearance: lights and paint of each image.
        size: height and width of the images, pixels.
    """
    points = transformed(samples.positions * cameras.stretches[:, None], cameras.rotations.mT)
    depths = points[..., 2]
    tangents = points[..., :2] / (depths + cameras.distances[:, None])[..., None]
    pixels = size * ((tangents - cameras.centers[:, None]) * cameras.focals[:, None, None] + 0.5)
    front, back = rasterize(pixels, depths, size, depth_range=(-_DEEPEST, _DEEPEST))
    found = []
    values = torch.cat((pixels, depths[..., None]), dim=-1)
    normals = F.normalize(samples.normals / cameras.stretches[:, None], dim=-1)
    directions = torch.cat((normals, transformed(normals, cameras.rotations.mT)), dim=-1)
    for layer in (front, back):
        albedo, rest = (x.unflatten(1, (size, size)) for x in pool.paint(choice, layer.samples.flatten(1)))
        normals, towards = layer.gather(directions).split(3, dim=-1)
        depth = _at_pixel_centers(layer, values, towards, cameras, size)
        facing = torch.where(towards[..., 2:] * (-1 if layer is front else 1) < 0, -normals, normals)
        found.append((depth, appearance.shade(albedo, facing, rest)))
    (front_depth, front_colors), (back_depth, back_colors) = found
    return Surfaces(front.hit, front_depth, torch.maximum(front_depth, back_depth), front_colors, back_colors)


def _at_pixel_centers(
    layer: Layer,
    values: Float[Tensor, "B S 3"],
    normals: Float[Tensor, "B H W 3"],
    cameras: RandomCameras,
    size: int,
) -> Float[Tensor, "B H W"]:
    """Depth where the plane of the sample that a pixel shows meets the ray through the pixel's center.

    Args:
        layer: samples that the pixels show.
        values: their position in the image, pixels, and their depth.
        normals: their normals in the camera's frame.
        cameras: one camera per image.
        size: height and width of the images.
    """
    shown = layer.gather(values)
    centers = torch.arange(size, device=values.device) + 0.5
    across, down = centers - shown[..., 0], centers[:, None] - shown[..., 1]
    pixel = (cameras.sides / size)[:, None, None]
    slopes = normals[..., :2] / torch.where(
        normals[..., 2:].abs() < 0.3, 0.3 * normals[..., 2:].sign(), normals[..., 2:]
    )
    slopes = slopes.nan_to_num(0.0, 0.0, 0.0)
    depth = shown[..., 2] - pixel * (slopes[..., 0] * across + slopes[..., 1] * down)
    return torch.where(layer.hit, depth / cameras.sides[:, None, None], 0.0)
