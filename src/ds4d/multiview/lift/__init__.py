"""Lifting: a small network predicts front and back of each frame's object, which are rendered from further views.

The network is trained by `ds4d.lift_training` on openly licensed animated models.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ds4d.core import map_on_threads, to_dict
from ds4d.io import resize_premultiplied
from ds4d.multiview.base import stag4d_cameras
from ds4d.multiview.depth_pairs import DepthPair
from ds4d.multiview.lift.carried import MiddleShape, carried
from ds4d.multiview.lift.checkpoint import read_network
from ds4d.multiview.lift.inputs import Crops, crops_around, network_inputs
from ds4d.multiview.lift.network import LiftNetwork, Prediction, predict
from ds4d.multiview.lift.steady import REACH, steadied
from ds4d.multiview.shape_views import render_shapes
from ds4d.types import Cameras, GeneratedViews, Video
from ds4d.weights import MODELS, find_model, require_model, weights_file

_VERSION = 3  # changes when the same network and settings give other views or depths
_HEIGHT = 512  # pixels, at most, of the frames that are cropped
_MODEL = MODELS["lift"]
_TYPICAL_ERROR = 0.03  # of a depth, in units of the crop's side: halves the confidence
_GUESSED = 0.5  # confidence in the back, which no frame shows, relative to that in the front
_NEAREST = 0.25  # of the camera's distance: no surface is closer


@dataclass(frozen=True)
class LiftConfig:
    """Lifting of frames by a learned network.

    Attributes:
        network: file of a network trained with `python -m ds4d.lift_training`; the one in the package if left out.
        flip: also look at the mirrored image, and take the mean: twice the time, a little more accurate.
    """

    network: Path | None = None
    flip: bool = True


class Lift:
    """Views by a network that predicts the front and the back of the object in each frame.

    Args:
        config: settings.
        device: compute device.

    Raises:
        ValueError: there is no such network, or its file is damaged or of another version.
    """

    Config = LiftConfig
    uses_matting_model = False
    uses_tracks = True

    @staticmethod
    def is_usable(config: LiftConfig, device: torch.device) -> tuple[bool, str]:
        """Whether there is a trained network."""
        if find_model(_MODEL, config.network):
            return True, "a trained network for front and back"
        return False, "lift has no trained network, see --lift.network"

    def __init__(self, config: LiftConfig, device: torch.device) -> None:
        self.config, self.device = config, device
        path = weights_file(_MODEL.parts[0], require_model(_MODEL, config.network))
        assert path is not None
        found = read_network(path)  # what is wrong with it is said before any work
        self.network, self._sha256 = found.network.to(device), found.sha256

    @property
    def identity(self) -> str:
        """See `ViewGenerator`."""
        settings = {**to_dict(self.config), "network": self._sha256}
        return json.dumps({"name": "lift", "version": _VERSION, **settings})

    def generate(self, video: Video, *, seed: int) -> GeneratedViews:
        """See `ViewGenerator`; nothing here is random."""
        cameras = stag4d_cameras(video)
        middle = None if video.tracks is None else self._middle_shape(video, video.tracks, cameras)

        def shape(times: range) -> tuple[DepthPair, Cameras]:
            pair, crop_cameras = self.lift_frames(video, times, cameras)
            return pair if middle is None else carried(pair, crop_cameras, middle, times), crop_cameras

        return render_shapes(video, cameras, shape, self.device, work="lifting the frames")

    def _middle_shape(self, video: Video, tracks: Float[Tensor, "T h w 2"], cameras: Cameras) -> MiddleShape:
        pair, crop_cameras = self.lift_frames(video, range(video.middle, video.middle + 1), cameras)
        return MiddleShape(pair, crop_cameras, cameras[:1], tracks)

    def lift_frames(self, video: Video, times: range, cameras: Cameras) -> tuple[DepthPair, Cameras]:
        """The shapes of some consecutive frames, and the camera of their crops, which moves.

        Args:
            video: input video.
            times: frames.
            cameras: cameras without a time axis, of which the first is that of the video.
        """
        height = min(_HEIGHT, video.frames.height)
        width = max(1, round(height * video.frames.width / video.frames.height))
        camera = cameras[:1].resized(width, height)
        seen = range(max(0, times.start - REACH), min(video.num_times, times.stop + REACH))
        rgba = np.stack([resize_premultiplied(video.frames.read(time, 0), width, height) for time in seen])
        images = torch.from_numpy(rgba).movedim(-1, 1).float() / 255
        pair, crop_cameras = lift(images, camera, self.network, flip=self.config.flip)
        asked = slice(times.start - seen.start, times.stop - seen.start)
        return steadied(pair, crop_cameras).at_times(asked), crop_cameras[asked]


@torch.no_grad()
def lift(
    images: Float[Tensor, "T 4 H W"], camera: Cameras, network: LiftNetwork, *, flip: bool
) -> tuple[DepthPair, Cameras]:
    """Front and back depth maps of the objects in some images.

    Args:
        images: RGBA in [0, 1], colors premultiplied by alpha.
        camera: camera of the images, one view without a time axis.
        network: the network, on any device.
        flip: also look at the mirrored images, and take the mean.

    Returns:
        Depth maps of a square crop around the object, on the CPU, and the camera of each crop.
    """
    size, device = network.config.size, next(network.parameters()).device
    crops = crops_around(images[:, 3] > 0.5)
    rgba = _cropped(images, crops, size)
    inputs = network_inputs(rgba, crops.rays(camera, size)).to(device)
    prediction = predict(_corrections(inputs, network), inputs)
    if flip:
        mirrored = inputs.flip(-1)
        mirrored[:, 6] *= -1  # x / z of the rays
        prediction = _mean(prediction, predict(_corrections(mirrored, network), mirrored))
    crop_cameras = _crop_cameras(camera, crops, size)
    return _depth_pair(prediction, inputs, crop_cameras), crop_cameras


def _corrections(inputs: Float[Tensor, "T 8 h w"], network: LiftNetwork) -> Float[Tensor, "T 7 h w"]:
    """What the network gives, on the CPU frame by frame: faster there than a batch, and the same for any threads."""
    if inputs.is_cuda:
        return network(inputs)
    return torch.cat(map_on_threads(torch.no_grad()(network.forward), inputs.split(1)))


def _cropped(images: Float[Tensor, "T 4 H W"], crops: Crops, size: int) -> Float[Tensor, "T 4 h w"]:
    """The crops at the size of the network, averaged over the pixels that become one."""
    finer = max(1, round(float(crops.side.max()) / size))
    grid = crops.grid(size * finer, images.shape[-1], images.shape[-2])
    return F.avg_pool2d(F.grid_sample(images, grid, align_corners=False), finer)


def _crop_cameras(camera: Cameras, crops: Crops, size: int) -> Cameras:
    scale = size / crops.side
    Ks = camera.Ks.repeat(len(scale), 1, 1)
    Ks[:, 0, 2] -= crops.left
    Ks[:, 1, 2] -= crops.top
    Ks[:, :2] *= scale[:, None, None]
    return Cameras(camera.viewmats.repeat(len(scale), 1, 1)[:, None], Ks[:, None], size, size)


def _mean(prediction: Prediction, mirrored: Prediction) -> Prediction:
    pairs = {name: (getattr(prediction, name), getattr(mirrored, name).flip(-1)) for name in vars(prediction)}
    return Prediction(**{name: 0.5 * (a + b) for name, (a, b) in pairs.items()})


def _depth_pair(prediction: Prediction, inputs: Float[Tensor, "T 8 h w"], cameras: Cameras) -> DepthPair:
    inputs = inputs.cpu()
    distance = cameras.viewmats[0, 0, 2, 3]
    sides = (cameras.width * distance / cameras.Ks[:, 0, 1, 1])[:, None, None]  # world units at the origin's depth
    front = (distance + sides * prediction.front.cpu()).clamp_min(_NEAREST * distance)
    return DepthPair(
        front=front,
        back=torch.maximum(front, distance + sides * prediction.back.cpu()),
        inside=inputs[:, 3] > 0.5,
        front_colors=inputs[:, :3],
        back_colors=prediction.back_colors.cpu().clamp(0, 1),
        front_confidence=_confidence(prediction.front_log_scale),
        back_confidence=_GUESSED * _confidence(prediction.back_log_scale),
    )


def _confidence(log_scale: Float[Tensor, "T h w"]) -> Float[Tensor, "T h w"]:
    """1 where no error is expected, less where one is."""
    return 1 / (1 + log_scale.exp().cpu() / _TYPICAL_ERROR)
