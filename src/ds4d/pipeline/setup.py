"""From a multi-view video and settings to a trainer before its first step."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ds4d.config import GenerateConfig
from ds4d.core import Degraded, notify
from ds4d.deformation import FieldConfig, RootRotation
from ds4d.features import extract_features
from ds4d.guidance import load_guidance
from ds4d.init import SceneNormalization, initial_gaussians, normalize_scene, register_mesh
from ds4d.metrics import Lpips
from ds4d.rendering import renderer_for
from ds4d.scene import DynamicGaussians, DynamicGuide, Motion, Timeline, cache_video_features, with_dynamic_weights
from ds4d.shapes.registration import Registration
from ds4d.training import Ranks, Trainer, TrainingConfig, begin_with_tracks
from ds4d.types import FrameFeatures, MultiViewVideo, PointCloud, RawGaussians

MIN_SIDE = 22  # pixels: training begins at half the size, where SSIM's window of 11 pixels must fit


def extract_frame_features(
    video: MultiViewVideo, config: GenerateConfig, device: torch.device, *, input_view_only: bool = False
) -> FrameFeatures | None:
    """The frame features that a run needs: of all views for fusion or as a guide, else of one for the saliency map.

    Args:
        video: multi-view video.
        config: settings of the run.
        device: compute device.
        input_view_only: leave the other views out, whatever the fusion needs.

    Returns:
        None where features cannot be compared over time: for a single frame, or a camera that moves.
    """
    if video.num_times == 1:
        return None
    fused = (config.fusion is not None and config.field is not None) or config.is_guided
    if not video.cameras.is_static:
        if fused:
            message = (
                "features are off: a camera moves, and features are compared at fixed pixels. The HexPlane alone moves "
                "the Gaussians."
            )
            notify(Degraded("features", message))
        return None
    return extract_features(video, config.features, device, views=None if fused and not input_view_only else [0])


def prepare(
    video: MultiViewVideo,
    config: GenerateConfig,
    device: torch.device,
    features: FrameFeatures | None = None,
    registration: Registration | None = None,
    points: PointCloud | None = None,
    ranks: Ranks | None = None,
) -> Trainer:
    """A trainer before its first step: the scene is normalized, and its Gaussians and its motion are initialized.

    Args:
        video: multi-view video with cameras in world space; it is used as it is, whatever `config.views` says.
        config: settings of the run.
        device: device of training.
        features: frame features (`extract_frame_features`); extracted here if None.
        registration: registered mesh (`register_mesh`), if the init method is `mesh`; registered here if None.
        points: surface points of the object in the middle frame, in world space, where they are known.
        ranks: this process among those that train together (`Trainer`).

    Raises:
        ValueError: the images are too small, the masks leave no object, or the file of initial points is unfit.
    """
    lpips = load_lpips(config.training)
    check_image_size(video, lpips)
    normalization = normalize_scene(video, config.init.hull, device=device)
    registration = registration or register_mesh(video, config.init, config.seed)
    initial = initial_gaussians(
        normalization, config.init, torch.Generator().manual_seed(config.seed), registration, points
    )
    return make_trainer(
        normalization, initial, config, device, features=features, lpips=lpips, is_whole=True, ranks=ranks
    )


def make_trainer(
    normalization: SceneNormalization,
    initial: RawGaussians,
    config: GenerateConfig,
    device: torch.device,
    *,
    features: FrameFeatures | None = None,
    lpips: Lpips | None = None,
    known_frame: int | None = None,
    is_whole: bool = False,
    lifetimes: Float[Tensor, "N 2"] | None = None,
    ranks: Ranks | None = None,
) -> Trainer:
    """A trainer before its first step, of given canonical Gaussians.

    Args:
        normalization: normalized scene.
        initial: canonical Gaussians, normalized space.
        config: settings of the run.
        device: device of training.
        features: frame features (`extract_frame_features`); extracted here if None.
        lpips: network of the loss `lpips`, if it is used.
        known_frame: frame that the trainer starts from, of a scene that continues another one (`Trainer`).
        is_whole: whether the clip is fitted as a whole, not in windows.
        lifetimes: birth and death of each Gaussian, seconds; None if all live at all times.
        ranks: this process among those that train together (`Trainer`).
    """
    video = normalization.video
    timeline = Timeline(tuple(video.times.tolist()), video.duration, video.loops)
    cache, trained, dynamics = None, video, None
    if config.is_guided:
        features = features or extract_frame_features(video, config, device)
        if features is not None:
            trained = with_dynamic_weights(trained, features, config.decoupling)
            dynamics = DynamicGuide(features, video, config.decoupling, device)
    if config.fusion is not None and config.field is not None:
        features = features or extract_frame_features(video, config, device)
        if features is not None:
            with_shares = config.field.dynamic_gate
            # On the device, where the cache is used and faster to make.
            cache = cache_video_features(
                video, features.to(device), config.decoupling, config.fusion, with_shares=with_shares
            )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)  # modules are initialized from torch's global generator
        motion = None
        if config.field is not None and video.num_times > 1:  # a single frame shows no motion
            fusion = config.fusion if cache is not None else None
            fades = config.field.deform_opacity or (config.field.fade_tracked and video.tracks is not None)
            field = replace(config.field, deform_opacity=fades)
            root = RootRotation(video.times, video.middle) if _turns(video, config.field, is_whole) else None
            motion = Motion(field, normalization.aabb, video.num_times, fusion=fusion, features=cache, root=root)
            if video.tracks is not None:
                begin_with_tracks(motion, initial.means, video, video.tracks)
        scene = DynamicGaussians(initial, motion, timeline, normalization.world, lifetimes)
    return Trainer(
        scene.to(device),
        trained,
        renderer_for(device),
        config.training,
        config.seed,
        lpips=lpips,
        guide=load_guidance(config.guidance, video, device),
        dynamics=dynamics,
        known_frame=known_frame,
        new_gaussians=config.windows.new_gaussians,
        ranks=ranks,
    )


def _turns(video: MultiViewVideo, field: FieldConfig, is_whole: bool) -> bool:
    """Whether the rotation of the whole object is learned."""
    are_generated = bool((video.view_weights < 1).any())
    return field.root_rotation == "on" or (field.root_rotation == "auto" and is_whole and are_generated)


def check_image_size(video: MultiViewVideo, lpips: Lpips | None) -> None:
    """Refuses images that are too small for the losses.

    Raises:
        ValueError: they are.
    """
    least = MIN_SIDE if lpips is None else max(MIN_SIDE, 2 * lpips.network.min_side)
    if min(video.frames.width, video.frames.height) < least:
        raise ValueError(
            f"images must be at least {least} pixels wide and high, got {video.frames.width} x "
            f"{video.frames.height}. Give larger ones, or a larger --size."
        )


def load_lpips(config: TrainingConfig) -> Lpips | None:
    """The network of the loss, if its weight is not 0 and its files are found, or its stand-in is asked for."""
    if not config.losses.lpips.weight:
        return None
    network = Lpips.stand_in(config.lpips_stand_in_channels) if config.lpips_stand_in else Lpips.if_available()
    if network is None:
        message = (
            "the LPIPS loss is off: the weights of VGG16 and of LPIPS were not both found. `ds4d weights` shows where "
            "they are searched for and how to get them."
        )
        notify(Degraded("lpips", message))
    return network
