"""Generated views kept on disk between runs, found by the video and all that decided them."""

import hashlib

import torch

from ds4d.io import read_cached, write_cached
from ds4d.multiview.base import VideoWithViews, ViewGenerator, join_views
from ds4d.types import Cameras, GeneratedViews, PointCloud, Video


def generate_once(generator: ViewGenerator, video: Video, *, seed: int) -> GeneratedViews:
    """What the generator makes of the video; found on disk where it has done so before.

    Args:
        generator: makes the views if there are none.
        video: the video.
        seed: of the generator's random draws.
    """
    if kept := find_views(generator, video, seed=seed):
        return kept
    made = generator.generate(video, seed=seed)
    if isinstance(made.video.frames, VideoWithViews):
        write_cached("views", _key(generator, video, seed), _pack(made, made.video.frames))
    return made


def find_views(generator: ViewGenerator, video: Video, *, seed: int) -> GeneratedViews | None:
    """What the generator has made of the video before; None where that is not on disk."""
    kept = read_cached("views", _key(generator, video, seed))
    return None if kept is None else _unpack(video, kept)


def _key(generator: ViewGenerator, video: Video, seed: int) -> str:
    """The hash of all that the views depend on."""
    digest = hashlib.sha256(f"{generator.identity}, seed {seed}, fps {video.fps}".encode())
    digest.update(f"{video.num_times} x {video.frames.width} x {video.frames.height}".encode())
    if video.camera is not None:
        for tensor in (video.camera.viewmats, video.camera.Ks):
            digest.update(tensor.contiguous().numpy().tobytes())
        digest.update(f"{video.camera.width} x {video.camera.height}".encode())
    for time in range(video.num_times):
        digest.update(video.frames.read(time, 0).tobytes())
    return digest.hexdigest()


def _pack(made: GeneratedViews, frames: VideoWithViews) -> dict[str, torch.Tensor]:
    clip = made.video
    tensors = {
        "views": torch.from_numpy(frames.views),
        "viewmats": clip.cameras.viewmats[0],
        "Ks": clip.cameras.Ks[0],
        "names": torch.tensor(list("\n".join(clip.view_names[1:]).encode()), dtype=torch.uint8),
    }
    if made.points is not None:
        tensors |= {"positions": made.points.positions, "colors": made.points.colors}
    return tensors


def _unpack(video: Video, kept: dict[str, torch.Tensor]) -> GeneratedViews:
    cameras = Cameras(kept["viewmats"], kept["Ks"], video.frames.width, video.frames.height)
    names = bytes(kept["names"].tolist()).decode().split("\n")
    points = PointCloud(kept["positions"], kept["colors"]) if "positions" in kept else None
    return GeneratedViews(join_views(video, kept["views"].numpy(), cameras, names), points)
