"""Images of a scene as files hold them: 8 bit, on white or with straight alpha."""

from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from ds4d.scene.base import Scene
from ds4d.scene.dynamic_gaussians import DynamicGaussians
from ds4d.scene.lifetimes import without_dead
from ds4d.types import Cameras, Renderer, Rendering

_BATCH = 8  # images rendered at once: enough to keep every core and a GPU busy, few enough for any memory


def render_rgb(
    scene: Scene, renderer: Renderer, cameras: Cameras, times: Float[Tensor, " T"]
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """One image on white per time.

    Args:
        scene: scene to render.
        renderer: renderer for the scene's device.
        cameras: one camera per time [T, 1], in normalized space.
        times: times to render, in [0, 1].
    """
    for rendering in _render(scene, renderer, cameras, times):
        yield from _to_bytes(rendering.colors + (1 - rendering.alphas))


def render_over(
    scene: Scene,
    renderer: Renderer,
    cameras: Cameras,
    times: Float[Tensor, " T"],
    backgrounds: Iterable[UInt8[np.ndarray, "H W 3"]],
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """One image per time, each over the next of `backgrounds`; the other arguments are those of `render_rgb`."""
    remaining = iter(backgrounds)
    for rendering in _render(scene, renderer, cameras, times):
        behind = np.stack(list(islice(remaining, len(rendering.colors)))).astype(np.float32) / 255
        behind = torch.from_numpy(behind).movedim(-1, 1)[:, None].to(rendering.colors)
        yield from _to_bytes(rendering.colors + (1 - rendering.alphas) * behind)


def render_rgba(
    scene: Scene, renderer: Renderer, cameras: Cameras, times: Float[Tensor, " T"]
) -> Iterator[UInt8[np.ndarray, "H W 4"]]:
    """One image with straight alpha per time, black where alpha is 0; the arguments are those of `render_rgb`."""
    for rendering in _render(scene, renderer, cameras, times):
        straight = rendering.colors / rendering.alphas.clamp_min(1e-8)
        yield from _to_bytes(torch.cat((straight, rendering.alphas), dim=-3))


@torch.no_grad()
def render_depths(scene: DynamicGaussians, renderer: Renderer, rows: Int[Tensor, " B"]) -> Float[Tensor, "B V 1 h w"]:
    """Renders depth images of some frames from all feature views, for the occlusion test of the rule `visible`.

    Args:
        scene: scene whose frame features hold depth images; their size is rendered.
        renderer: renderer for the scene's device.
        rows: frame indices.

    Returns:
        Depths along the camera's z axis, 0 where the alpha is at most 0.5.
    """
    motion = scene.motion
    assert motion is not None and motion.features is not None and motion.features.depths is not None
    features, raw = motion.features, scene.canonical()
    height, width = motion.features.depths.shape[-2:]
    small = features.cameras.resized(width, height)
    depths = []
    for some in rows.split(_BATCH):
        changes = motion.changes(raw.means, features.times[some], features.at_frames(some))
        times = features.times[some]
        gaussians, alive = motion.activated(raw, changes, times), scene.alive_at(times)
        if alive is not None:  # what does not exist hides nothing
            gaussians = without_dead(gaussians, alive)
        rendering = renderer.render(gaussians, small.expand_times(len(some)))
        depths.append(depth_images(rendering, width, height))
    return torch.cat(depths)


@torch.no_grad()
def depth_images(rendering: Rendering, width: int, height: int) -> Float[Tensor, "*T V 1 h w"]:
    """The depth images that the occlusion test reads, from renderings of any size.

    Args:
        rendering: renderings of the whole object.
        width: of the depth images, pixels.
        height: of the depth images, pixels.

    Returns:
        Depths along the camera's z axis, 0 where the alpha is at most 0.5.
    """
    depths = torch.where(rendering.alphas > 0.5, rendering.depths, 0)
    if depths.shape[-2:] == (height, width):
        return depths
    # Single pixels, not means: between a surface and what is behind it there is no surface.
    flat = F.interpolate(depths.flatten(0, -4), size=(height, width), mode="nearest-exact")
    return flat.unflatten(0, depths.shape[:-3])


def _render(scene: Scene, renderer: Renderer, cameras: Cameras, times: Float[Tensor, " T"]) -> Iterator[Rendering]:
    for first in range(0, len(times), _BATCH):
        rows = slice(first, first + _BATCH)
        batch = cameras[rows].to(scene.device)
        # Entered anew for each batch: a generator that yields inside would switch gradients off for its caller.
        with torch.no_grad():
            rendering = renderer.render(scene.at(times[rows].to(scene.device)), batch)
        yield rendering


def _to_bytes(images: Float[Tensor, "T 1 C H W"]) -> Iterator[UInt8[np.ndarray, "H W C"]]:
    bytes_ = (images.squeeze(1).clamp(0, 1) * 255).round().byte().movedim(1, -1)
    yield from bytes_.contiguous().cpu().numpy()
