"""The cache of generated views on disk, keyed by the video and everything that decides them."""

import hashlib
from dataclasses import replace

import torch

from ds4d.io import is_finite, read_cached, write_cached
from ds4d.multiview.base import VideoWithViews, ViewGenerator, join_views
from ds4d.types import Cameras, GeneratedViews, PointCloud, Video


def generate_once(generator: ViewGenerator, video: Video, *, seed: int) -> GeneratedViews:
    """The views of a video, from the cache if they are there, else generated and cached.

    Args:
        generator: view generator.
        video: input video.
        seed: random seed of the generator.
    """
    if cached := find_views(generator, video, seed=seed):
        return cached
    generated = generator.generate(video, seed=seed)
    if isinstance(generated.video.frames, VideoWithViews):
        write_cached("views", _key(generator, video, seed), _pack(generated, generated.video.frames))
    return generated


def find_views(
    generator: ViewGenerator, video: Video, *, seed: int, is_tracked: bool | None = None
) -> GeneratedViews | None:
    """The views of a video from the cache; None if they are not there.

    Args:
        generator: view generator.
        video: input video.
        seed: random seed of the generator.
        is_tracked: whether the views were made from a video with tracks; by default as the video has them.
    """
    tensors = read_cached("views", _key(generator, video, seed, is_tracked))
    try:
        return None if tensors is None else _unpack(video, tensors)
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError):  # other tensors under the same name
        return None


def _key(generator: ViewGenerator, video: Video, seed: int, is_tracked: bool | None = None) -> str:
    """Hash of everything that the views depend on. Tracks follow from the video, so that they count as one bit."""
    digest = hashlib.sha256(f"{generator.identity}, seed {seed}, fps {video.fps}".encode())
    digest.update(f"{video.num_times} x {video.frames.width} x {video.frames.height}".encode())
    if video.camera is not None:
        for tensor in (video.camera.viewmats, video.camera.Ks):
            digest.update(tensor.contiguous().numpy().tobytes())
        digest.update(f"{video.camera.width} x {video.camera.height}".encode())
    if generator.uses_tracks and (is_tracked if is_tracked is not None else video.tracks is not None):
        digest.update(b"tracked")
    for time in range(video.num_times):
        digest.update(video.frames.read(time, 0).tobytes())
    return digest.hexdigest()


def _pack(generated: GeneratedViews, frames: VideoWithViews) -> dict[str, torch.Tensor]:
    video = generated.video
    tensors = {
        "views": torch.from_numpy(frames.views),
        "viewmats": video.cameras.viewmats[0],
        "Ks": video.cameras.Ks[0],
        "names": torch.tensor(list("\n".join(video.view_names[1:]).encode()), dtype=torch.uint8),
    }
    if video.pixel_weights is not None:
        tensors["pixel_weights"] = video.pixel_weights
    if generated.depths is not None:
        tensors["depths"] = generated.depths
    if generated.points is not None:
        tensors |= {"positions": generated.points.positions, "colors": generated.points.colors}
    return tensors


def _unpack(video: Video, tensors: dict[str, torch.Tensor]) -> GeneratedViews:
    views, count = tensors["views"], len(tensors["viewmats"])
    is_fit = views.ndim == 5 and views.shape[:2] == (video.num_times, count - 1) and views.shape[-1] == 4
    if views.dtype != torch.uint8 or not is_fit or not views.numel():
        raise ValueError(f"views must be bytes for {count - 1} views, got {views.dtype} of {list(views.shape)}.")
    cameras = Cameras(tensors["viewmats"], tensors["Ks"], video.frames.width, video.frames.height)
    names = bytes(tensors["names"].tolist()).decode().split("\n")
    points = PointCloud(tensors["positions"], tensors["colors"]) if "positions" in tensors else None
    joined, weights = join_views(video, views.numpy(), cameras, names), tensors.get("pixel_weights")
    if weights is not None and not (weights.shape[:3] == (video.num_times, count, 1) and is_finite(weights)):
        raise ValueError(f"pixel_weights must be finite and of {count} views, got {list(weights.shape)}.")
    depths = tensors.get("depths")
    if depths is not None and not (depths.ndim == 3 and len(depths) == video.num_times and is_finite(depths)):
        raise ValueError(f"depths must be finite and of {video.num_times} frames, got {list(depths.shape)}.")
    return GeneratedViews(replace(joined, pixel_weights=weights), points, depths)
