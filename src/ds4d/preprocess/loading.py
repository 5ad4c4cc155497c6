"""From a video file to a clip of the object alone, and its validation."""

from collections.abc import Mapping, MutableSequence, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from ds4d.io import Size, reduced_size, resize_premultiplied
from ds4d.preprocess.checks import CheckContext, Finding, make_thumbnails, run_checks
from ds4d.preprocess.config import VideoConfig
from ds4d.preprocess.crop import CropBox, foreground_crop_box
from ds4d.preprocess.hidden import border_alphas, fill_hidden, visible_weights
from ds4d.preprocess.matting import (
    Mattes,
    apply_mask_fixes,
    apply_masks,
    extract_mattes,
    read_mask_fixes,
    read_masks,
)
from ds4d.preprocess.objects import OPAQUE, keep_objects
from ds4d.preprocess.posed_video import read_video_cameras
from ds4d.preprocess.raw_video import read_raw_video
from ds4d.preprocess.stabilization import Matrix, Stabilization, find_stabilization, gray_frames
from ds4d.preprocess.tracks import find_tracks
from ds4d.types import Cameras, Video

PREVIEW_SIDE = 192  # longer side of the previews, pixels
_MAX_PREVIEWS = 8


class ClipFrames:
    """The `Frames` of one view, held as one image per time.

    Args:
        images: images of one size, premultiplied.
    """

    num_views = 1
    in_memory = True

    def __init__(self, images: Sequence[UInt8[np.ndarray, "H W 4"]]) -> None:
        self.num_times, (self.height, self.width) = len(images), images[0].shape[:2]
        self._images = images

    def read(self, time: int, view: int) -> UInt8[np.ndarray, "H W 4"]:
        """The image at a time; the only view is 0."""
        return self._images[time]


@dataclass(frozen=True)
class LoadedVideo:
    """A video, ready for a view generator.

    Attributes:
        video: the object alone, cropped.
        crop: the square of the video that was cropped.
        seconds: time of each frame in the video.
        findings: problems of the video, none of them fatal, the most severe first.
        weights: weights of the pixels in the fit, 0 where the object cannot be seen; None if they are all 1.
        alignment: similarity of each frame by which it was aligned (`Stabilization.matrices`); none if frames were left
            as they are.
        cameras: camera of each frame, [T, 1], in the world of `--cameras`; None if that is not given.
    """

    video: Video
    crop: CropBox
    seconds: tuple[float, ...]
    findings: tuple[Finding, ...]
    weights: Float[Tensor, "T 1 h w"] | None = None
    alignment: tuple[Matrix, ...] = ()
    cameras: Cameras | None = None


@dataclass(frozen=True)
class Inspection:
    """A video with its mattes and all problems that were found.

    Attributes:
        context: the video, its mattes and its crop.
        findings: problems of the video, the most severe first.
        previews: some frames of the video, evenly spaced, premultiplied, by their index.
        hidden: pixels of each frame in which something hides the object; none if nothing is known of it.
        cameras: camera of each frame's crop, [T, 1], in the world of `--cameras`; None if that is not given.
    """

    context: CheckContext
    findings: tuple[Finding, ...]
    previews: Mapping[int, UInt8[np.ndarray, "h w 4"]]
    hidden: Sequence[Bool[np.ndarray, "H W"]] = ()
    cameras: Cameras | None = None

    @property
    def is_usable(self) -> bool:
        """Whether no problem is fatal."""
        return all(finding.severity != "fatal" for finding in self.findings)


def load_video(path: str | Path, config: VideoConfig) -> LoadedVideo:
    """Reads frames of a video, removes the background, and crops all frames to one square around the object.

    Args:
        path: a video file, a folder of numbered images, a folder with such images in `ref/`, or one image.
        config: the frames to use, the matting method, and the size of the crops.

    Raises:
        ValueError: The file cannot be read, the background cannot be removed, or the video has fatal problems, all of
            which the message names.
        ImportError: A package that the file or the matting model needs is not installed.
    """
    inspection = inspect_video(path, config)
    context, crop = inspection.context, inspection.context.crop
    if not inspection.is_usable or crop is None:
        fatal = " ".join(str(finding) for finding in inspection.findings if finding.severity == "fatal")
        raise ValueError(f"{path} cannot be used. {fatal} `ds4d check {path} -o DIR` shows its masks.")
    images, stabilization = context.mattes.images, context.stabilization or Stabilization()
    weights = visible_weights(context.borders, inspection.hidden, crop, stabilization)
    tracks = None
    if context.is_followed:
        tracks = find_tracks(Path(path), config, context.video, crop, context.motion.tolist())
    for time, matte in enumerate(images):  # in place: there is one copy of the clip
        images[time] = crop.crop(matte)
    return LoadedVideo(
        video=Video(ClipFrames(images), context.video.fps, tracks=tracks),
        crop=crop,
        seconds=context.seconds,
        findings=inspection.findings,
        weights=weights,
        alignment=stabilization.matrices,
        cameras=inspection.cameras,
    )


def inspect_video(path: str | Path, config: VideoConfig) -> Inspection:
    """Reads a video, removes its background and checks the result, as `load_video` with these arguments.

    There is one copy of the clip: each frame is replaced by its matte.

    Raises:
        ValueError: The file cannot be read, the background cannot be removed, or the cameras do not fit.
        ImportError: A package that the file or the matting model needs is not installed.
    """
    raw_video = read_raw_video(Path(path), config)
    images, info = raw_video.images, raw_video.info
    thumbnails, previews = make_thumbnails(images), _make_previews(images)
    size = Size(*images[0].shape[1::-1])
    fixes = {} if config.mask_fixes is None else read_mask_fixes(config.mask_fixes, info.indices, size)
    originals = [_opaque(image) for image in images] if fixes else []
    has_poses = config.cameras is not None
    may_shake = config.stabilize != "off" and not has_poses
    grays = gray_frames(images) if may_shake and _may_have_background(images) else []
    if config.masks is None:
        mattes = extract_mattes(images, config)
    else:
        masks = read_masks(config.masks, info.indices, info.source_frames, size, object_id=config.object_id)
        mattes = apply_masks(images, masks)
    if fixes:
        apply_mask_fixes(mattes.images, originals, fixes)
    hidden: list[Bool[np.ndarray, "H W"]] = []
    if config.ignore is not None:
        ignored = read_masks(config.ignore, info.indices, info.source_frames, size, option="--ignore")
        hidden = fill_hidden(mattes.images, ignored)
    removed = keep_objects(mattes.images, config.keep)
    borders = border_alphas(mattes.images)
    stabilization = _stabilized(grays, mattes, hidden, info.size) if may_shake else None
    has_foreground = any(image[..., 3].any() for image in mattes.images)
    crop = foreground_crop_box(mattes.images, info.size, config.size, config.fill) if has_foreground else None
    context = CheckContext(
        info,
        thumbnails,
        mattes,
        removed,
        crop,
        borders,
        stabilization,
        must_stabilize=config.stabilize == "on",
        has_poses=has_poses,
        follow=config.follow,
    )
    cameras = (
        read_video_cameras(config.cameras, info, crop) if config.cameras is not None and crop is not None else None
    )
    return Inspection(context, run_checks(context), previews, hidden, cameras)


def _may_have_background(images: Sequence[UInt8[np.ndarray, "H W 4"]]) -> bool:
    """Whether the first frame is opaque."""
    return bool((images[0][..., 3] == 255).all())


def _stabilized(
    frames: Sequence[UInt8[np.ndarray, "h w"]],
    mattes: Mattes,
    hidden: MutableSequence[Bool[np.ndarray, "H W"]],
    size: Size,
) -> Stabilization:
    """Aligns mattes and hidden pixels by the background, in place; says how.

    Args:
        frames: the frames in gray; none if they have no background.
        mattes: the foreground of each frame, as it was filmed.
        hidden: hidden pixels of each frame; none if nothing is known of them.
        size: size of the video as displayed.
    """
    if mattes.method not in ("model", "masks") or not frames:  # a plain background looks the same wherever it is
        return Stabilization(reason="background")
    if len(frames) < 2:
        return Stabilization()
    found = find_stabilization(frames, mattes.images, size)
    if found.matrices:
        for time, image in enumerate(mattes.images):
            mattes.images[time] = found.aligned(image, time, size)
        for time, mask in enumerate(hidden):
            as_image = np.repeat(np.where(mask, 255, 0).astype(np.uint8)[..., None], 4, axis=-1)
            hidden[time] = found.aligned(as_image, time, size)[..., 3] >= OPAQUE
    return found


def _opaque(image: UInt8[np.ndarray, "H W 4"]) -> UInt8[np.ndarray, "H W 4"]:
    """A copy of an image as it looks on black."""
    return np.dstack((image[..., :3], np.full_like(image[..., :1], 255)))


def _make_previews(images: Sequence[UInt8[np.ndarray, "H W 4"]]) -> dict[int, UInt8[np.ndarray, "h w 4"]]:
    indices = np.linspace(0, len(images) - 1, min(_MAX_PREVIEWS, len(images))).round().astype(int).tolist()
    size = reduced_size(Size(*images[0].shape[1::-1]), PREVIEW_SIDE)
    return {index: resize_premultiplied(images[index], *size) for index in indices}
