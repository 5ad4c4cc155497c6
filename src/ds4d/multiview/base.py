"""What view generators share: their protocol, their cameras, and the video that they return."""

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import UInt8

from ds4d.core import release_pages
from ds4d.data.combining import GENERATED_WEIGHT, view_weights
from ds4d.geometry import RIGS, frame_times, rig_cameras, rig_cameras_around
from ds4d.io import resize_premultiplied
from ds4d.types import Cameras, Frames, GeneratedViews, MultiViewVideo, Video


@runtime_checkable
class ViewGenerator(Protocol):
    """Generates further views of every frame of a video.

    A class of this kind is made from its settings and a device, `GENERATORS[name](settings, device)`.

    Attributes:
        Config: dataclass of its settings, which has a default for every field.
        uses_matting_model: whether the class takes the file of a matting model as a third argument.
        uses_tracks: whether the views depend on the tracks of the video.
    """

    Config: ClassVar[type]
    uses_matting_model: ClassVar[bool]
    uses_tracks: ClassVar[bool]

    @staticmethod
    def is_usable(config: Any, device: torch.device) -> tuple[bool, str]:
        """Whether it may be chosen automatically, and why or why not in a few words."""
        ...

    @property
    def identity(self) -> str:
        """Everything that decides the views besides the video and the seed: name, version, settings, weights."""
        ...

    def generate(self, video: Video, *, seed: int) -> GeneratedViews:
        """Generates views of every frame; the video is view 0, unchanged. Equal seeds give equal bits.

        The world has y up. The camera of view 0 is that of the video; if it is unknown, the input camera of the rig
        `stag4d`, or the one that the settings describe.

        Args:
            video: matted input video.
            seed: random seed.
        """
        ...


class VideoWithViews:
    """`Frames` of a video and of views generated from it.

    Args:
        video: frames of view 0, whose size all images get.
        views: 8-bit RGBA of the other views, colors premultiplied by alpha, at any one size.
    """

    def __init__(self, video: Frames, views: UInt8[np.ndarray, "T V h w 4"]) -> None:
        self.num_times, self.num_views = video.num_times, 1 + views.shape[1]
        self.width, self.height = video.width, video.height
        self.video, self.views = video, views

    def read(self, time: int, view: int) -> UInt8[np.ndarray, "H W 4"]:
        """One image: 8-bit RGBA, colors premultiplied by alpha."""
        if view == 0:
            return self.video.read(time, 0)
        image = resize_premultiplied(self.views[time, view - 1], self.width, self.height)
        release_pages()
        return image


def stag4d_cameras(video: Video) -> Cameras:
    """The camera of the video and six around the object at the angles of the rig `stag4d`."""
    width, height = video.frames.width, video.frames.height
    rig = RIGS["stag4d"]
    if video.camera is None:
        return rig_cameras(rig, width, height)
    return rig_cameras_around(video.camera.resized(width, height), rig[1:])


def join_views(
    video: Video, views: UInt8[np.ndarray, "T V h w 4"], cameras: Cameras, names: Sequence[str]
) -> MultiViewVideo:
    """A video and views generated from it as one multi-view video.

    Args:
        video: input video.
        views: 8-bit RGBA of the generated views, colors premultiplied by alpha, with the aspect ratio of the video.
        cameras: cameras of the input view and of the generated views, without a time axis, for images of the video's
            size.
        names: names of the generated views.
    """
    count = cameras.num_views
    return MultiViewVideo(
        frames=VideoWithViews(video.frames, views),
        cameras=cameras.expand_times(video.num_times),
        valid=torch.ones(video.num_times, count, dtype=torch.bool),
        times=frame_times(video.num_times),
        view_names=("front", *names),
        view_weights=view_weights(count, GENERATED_WEIGHT),
        duration=video.num_times / video.fps,
    )


def input_view_only(video: Video) -> GeneratedViews:
    """The video without generated views."""
    none = np.empty((video.num_times, 0, video.frames.height, video.frames.width, 4), np.uint8)
    return GeneratedViews(join_views(video, none, stag4d_cameras(video)[:1], ()))
