"""Figures on models that were not trained on: depth errors, and renders of the lifted shape from other sides."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from ds4d.core import tracked
from ds4d.lift_training.appearance import AppearanceSettings, random_appearance
from ds4d.lift_training.corruption import CorruptionSettings, input_images
from ds4d.lift_training.images import CameraSettings, RandomCameras, Surfaces, draw
from ds4d.lift_training.images import random_cameras as cameras_around
from ds4d.lift_training.lifted import camera_of, depth_pair, turned
from ds4d.lift_training.model_pool import ModelPool
from ds4d.metrics import average_views, score_view
from ds4d.multiview.depth_pairs import surface_gaussians
from ds4d.multiview.inflate.back_colors import fill_from_rim
from ds4d.multiview.lift.inputs import network_inputs
from ds4d.multiview.lift.network import OUT_CHANNELS, LiftNetwork, Prediction, predict
from ds4d.rendering import renderer_for
from ds4d.types import Cameras

_AZIMUTHS = (45.0, 90.0, 180.0, 270.0)  # degrees around the object from the input view, of the views that are scored
_SCORES = ("psnr", "psnr_object", "iou")
_BATCH = 16


@dataclass(frozen=True)
class ValidationImages:
    """Fixed images of the models in a pool, with the truth from other sides.

    Attributes:
        inputs: input of the network.
        surfaces: front and back of the objects.
        cameras: cameras of the inputs.
        other_cameras: cameras of the other views.
        other_views: the true other views, 8-bit RGBA with straight alpha.
    """

    inputs: Float[Tensor, "B 8 H W"]
    surfaces: Surfaces
    cameras: RandomCameras
    other_cameras: tuple[RandomCameras, ...]
    other_views: tuple[UInt8[np.ndarray, "B H W 4"], ...]


def validation_images(
    pool: ModelPool, count: int, size: int, settings: CameraSettings, appearance: AppearanceSettings, *, seed: int
) -> Iterator[ValidationImages]:
    """Images of all models in turn, in random poses, in batches.

    Args:
        pool: the models.
        count: number of images.
        size: height and width, pixels.
        settings: ranges of the cameras.
        appearance: lights and paint.
        seed: equal seeds give equal images on equal devices.
    """
    device = pool.vertices.device
    generator = torch.Generator(device).manual_seed(seed)
    for first in range(0, count, _BATCH):
        models = torch.arange(first, min(first + _BATCH, count), device=device) % len(pool)
        chances = torch.rand(len(models), device=device, generator=generator)
        choice = pool.choice(models, (chances * pool.poses[models]).long())
        samples = pool.samples(choice)
        cameras = cameras_around(samples.positions, settings, generator)
        looks = random_appearance(len(models), appearance, generator, device)
        surfaces = draw(pool, choice, samples, cameras, looks, size)
        exact = CorruptionSettings(grow=0.0, soften=0.0, blur=0.0, noise=0.0)
        inputs = network_inputs(input_images(surfaces, exact, generator), cameras.rays(size))
        others = tuple(
            turned(samples.positions, cameras, torch.full((len(models),), azimuth, device=device))
            for azimuth in _AZIMUTHS
        )
        views = tuple(_rgba(draw(pool, choice, samples, other, looks, size)) for other in others)
        yield ValidationImages(inputs, surfaces, cameras, others, views)


def validate(network: LiftNetwork | None, batches: list[ValidationImages], *, render: bool = True) -> dict[str, float]:
    """Errors of a network; without one, those of the inflated mask.

    Args:
        network: the network, on the device of the images.
        batches: from `validation_images`.
        render: also render the lifted shapes.

    Returns:
        `front` and `back`: mean absolute error of the depths, in radii of the object. `normal`: mean angle between the
        normals of the predicted and the true front, degrees. `color`: mean absolute error of the back's colors. And the
        mean `psnr`, `psnr_object` and `iou` of renders from other sides (`ds4d.metrics.score_view`).
    """
    found: list[dict[str, float]] = []
    for batch in tracked(batches, "validating"):
        prediction = _predict(network, batch.inputs)
        errors = _errors(prediction, batch)
        renders = _render_scores(prediction, batch) if render else [{}] * len(errors)
        found.extend({**error, **scores} for error, scores in zip(errors, renders, strict=True))
    return {name: float(np.nanmean([each[name] for each in found])) for name in found[0]}


@torch.no_grad()
def _predict(network: LiftNetwork | None, inputs: Float[Tensor, "B 8 H W"]) -> Prediction:
    if network is not None:
        return predict(network(inputs), inputs)
    prediction = predict(inputs.new_zeros(len(inputs), OUT_CHANNELS, *inputs.shape[2:]), inputs)
    colors = fill_from_rim(inputs[:, :3], inputs[:, 3] > 0.5, blur=3 * inputs.shape[-1] / 256)
    return Prediction(**{**vars(prediction), "back_colors": colors})


def _errors(prediction: Prediction, batch: ValidationImages) -> list[dict[str, float]]:
    truth, sides = batch.surfaces, batch.cameras.sides[:, None, None]
    mask = truth.mask

    def mean(values: Tensor) -> list[float]:
        return [float(value[inside].mean()) for value, inside in zip(values, mask, strict=True)]

    columns = {
        "front": mean((prediction.front - truth.front).abs() * sides),
        "back": mean((prediction.back - truth.back).abs() * sides),
        "normal": mean(_angles(_normals(prediction.front), _normals(truth.front))),
        "color": mean((prediction.back_colors.clamp(0, 1) - truth.back_colors).abs().mean(1)),
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _normals(depth: Float[Tensor, "B H W"]) -> Float[Tensor, "B H W 3"]:
    """Normals of a depth map whose unit is the width of the image, as if by parallel rays."""
    down, across = torch.gradient(depth * depth.shape[-1], dim=(1, 2))
    return F.normalize(torch.stack((across, down, -torch.ones_like(depth)), dim=-1), dim=-1)


def _angles(a: Float[Tensor, "B H W 3"], b: Float[Tensor, "B H W 3"]) -> Float[Tensor, "B H W"]:
    return torch.acos((a * b).sum(-1).clamp(-1, 1)) * (180 / math.pi)


def _render_scores(prediction: Prediction, batch: ValidationImages) -> list[dict[str, float]]:
    size = batch.inputs.shape[-1]
    pair = depth_pair(prediction, batch.inputs, batch.cameras)
    device = batch.inputs.device
    gaussians = surface_gaussians(pair, camera_of(batch.cameras, size))
    views = [camera_of(other, size) for other in batch.other_cameras]
    cameras = Cameras(torch.cat([v.viewmats for v in views], 1), torch.cat([v.Ks for v in views], 1), size, size)
    rendering = renderer_for(device).render(gaussians, cameras)
    colors = rendering.colors / rendering.alphas.clamp_min(1e-6)
    rgba = (torch.cat((colors, rendering.alphas), 2).clamp(0, 1) * 255).round().byte().movedim(2, -1).cpu().numpy()
    found = []
    for image in range(len(rgba)):
        scores = [
            score_view(truth[image : image + 1], rgba[image, view : view + 1])
            for view, truth in enumerate(batch.other_views)
        ]
        found.append({name: average_views(scores)[name] for name in _SCORES})
    return found


def _rgba(surfaces: Surfaces) -> UInt8[np.ndarray, "B H W 4"]:
    rgba = torch.cat((surfaces.front_colors, surfaces.mask[:, None].float()), dim=1)
    return (rgba * 255).round().byte().movedim(1, -1).cpu().numpy()
