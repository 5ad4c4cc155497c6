"""Gaussians that are born where those that exist cannot show what the images show, and die where they are not needed.

The windows of a long clip share their canonical Gaussians. What appears in a later window, such as a tool that is taken
up, they can only show by moving there and changing their colors. Once such a window has learned its motion:

1. In some frames the renderings are compared with the images, both blurred, so that a misfit of a pixel or two does not
   count. The surface of the visual hull gets, at each point, the mean error of the views that see it.
2. If many more points of a frame are unexplained than where the window shows what its neighbor does, Gaussians are born
   on those of the worst frame, where the motion brings them there.
3. They live in the frames around it in which about as much is unexplained.
4. In later windows they die in the frame from which on the images are no worse without them.

A clip whose object moves far between frames is fitted as a whole. What is folded or hidden in its middle frame has few
Gaussians there, which are torn apart where it is stretched: frames that are much worse than others get their own.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from ds4d.core import release_pages
from ds4d.geometry import HullConfig, carve, color_points, sample_surface
from ds4d.scene import DynamicGaussians, Resampling
from ds4d.scene.lifetimes import FOREVER, without_dead
from ds4d.shapes import gaussians_from_points
from ds4d.types import FrameBatch, MultiViewVideo, RawGaussians, Renderer

_RESOLUTION = 48  # voxels of the hull along each side
_POINTS = 2048  # on the surface of the hull, in frames that are judged
_DENSE = 16_384  # and in the frame in which Gaussians are born
_STRIDE = 4  # of the frames that are judged first
_BLUR = 24  # fraction of the image's height over which errors are averaged
_UNEXPLAINED = 0.2  # error of a point in [0, 1]; that of what is merely misplaced or blurred stays below
_LEAST = 0.02  # fraction of the points that must be unexplained
_ALIKE = 0.4  # fraction of the unexplained of the worst frame that other frames of the lifetime have
_EXCESS = 1.0  # and by how much more than in frames that are known, in units of these
_SUDDEN = 0.15  # fraction of it that the frame before the lifetime, or the one after it, has at most
_MUCH_WORSE = 2.0  # times the median of all frames is unexplained in those that get Gaussians of their own
_LEAST_WORSE = 0.07  # and at least this fraction of the points
_MOST_OF_A_RUN = 1 / 3  # Gaussians that a run of frames gets, in units of those that exist
_NEEDED = 0.1  # fraction of what Gaussians improve in frames that are known; those that improve less are dead
_PATH_STEPS = 4  # of the search for the canonical centers
_DENSITY = 2.0  # Gaussians per area, in units of those that exist
_OPACITY, _SCALE_FACTOR = 0.5, 0.7  # as Gaussians of the first window start


@dataclass(frozen=True)
class Newborn:
    """Gaussians that are to be added to a scene, on the CPU.

    Attributes:
        raw: canonical Gaussians.
        lifetimes: birth and death of each, seconds.
    """

    raw: RawGaussians
    lifetimes: Float[Tensor, "N 2"]

    def to(self, device: torch.device) -> "Newborn":
        """The same on another device."""
        return Newborn(self.raw.to(device), self.lifetimes.to(device))

    def make_room(self, others: RawGaussians) -> Resampling:
        """The change that gives a set of Gaussians as many more as these, with their centers and sizes, at its end."""
        rows, count = torch.arange(others.num_gaussians, device=others.means.device), self.raw.num_gaussians
        sources = torch.cat((rows, rows.new_zeros(count)))
        is_new = torch.arange(len(sources), device=rows.device) >= len(rows)
        means = torch.cat((others.means.detach(), self.raw.means))
        return Resampling(sources, is_new, means, torch.cat((others.log_scales.detach(), self.raw.log_scales)))


@torch.no_grad()
def find_newborn(
    scene: DynamicGaussians,
    video: MultiViewVideo,
    renderer: Renderer,
    known: range,
    count: int,
    generator: torch.Generator,
) -> Newborn | None:
    """Gaussians for what appears in a video and is not shown by a scene; None if nothing does.

    It appears from one frame to the next: where errors grow over several frames, it is a motion that was not followed.

    Args:
        scene: scene with a motion that is learned as far as it can be without them.
        video: multi-view video with cameras in normalized space.
        renderer: renderer for the scene's device.
        known: frames that the Gaussians were made for. What is unexplained there is not new, such as views that
            disagree; what appears must be there for at least as many frames.
        count: most Gaussians.
        generator: random generator of the points.
    """
    judge = _Judge(scene, video, renderer, generator)
    last = video.num_times - 1
    counts = {frame: judge.count(frame) for frame in sorted({*range(0, last, _STRIDE), last, *known})}
    usual = min(counts[frame] for frame in known)
    worst = max(counts, key=lambda frame: counts[frame])
    excess = counts[worst] - usual
    if excess < max(_LEAST * _POINTS, _EXCESS * usual):
        return None

    def is_alike(frame: int) -> bool:
        if frame not in counts:
            counts[frame] = judge.count(frame)
        return counts[frame] - usual >= _ALIKE * excess

    around = _frames_around(worst, video.num_times, is_alike)
    first, final = around[0], around[-1]
    outside = [counts[frame] - usual for frame in (first - 1, final + 1) if frame in counts]
    if final - first + 1 < len(known) or any(count > _SUDDEN * excess for count in outside):
        return None
    wanted = round(_DENSITY * scene.num_gaussians * counts[worst] / _POINTS)
    raw = judge.gaussians(worst, min(count, wanted))
    return None if raw is None else Newborn(raw, _lifetimes(raw.num_gaussians, around, video))


@torch.no_grad()
def find_missing(
    scene: DynamicGaussians, video: MultiViewVideo, renderer: Renderer, count: int, generator: torch.Generator
) -> Newborn | None:
    """Gaussians for frames that a scene shows much worse than others; None if there are no such frames.

    Frames beside each other that are about as bad share those of the worst of them, which live in these frames only.

    Args:
        scene: scene with a motion that is learned as far as it can be without them.
        video: multi-view video with cameras in normalized space.
        renderer: renderer for the scene's device.
        count: most Gaussians.
        generator: random generator of the points.
    """
    judge = _Judge(scene, video, renderer, generator)
    counts = {frame: judge.count(frame) for frame in range(video.num_times)}
    least = max(_MUCH_WORSE * sorted(counts.values())[len(counts) // 2], _LEAST_WORSE * _POINTS)
    left, found = {frame for frame in counts if counts[frame] > least}, []
    while left and count > 0:
        worst = max(left, key=lambda frame: counts[frame])
        enough = _ALIKE * counts[worst]
        alike = {frame for frame in left if counts[frame] >= enough}
        around = _frames_around(worst, len(counts), alike.__contains__)
        left -= set(around)
        wanted = min(_DENSITY * counts[worst] / _POINTS, _MOST_OF_A_RUN) * scene.num_gaussians
        raw = judge.gaussians(worst, min(count, round(wanted)))
        if raw is not None:
            found.append((raw, _lifetimes(raw.num_gaussians, around, video)))
            count -= raw.num_gaussians
    if not found:
        return None
    names = RawGaussians.__dataclass_fields__
    raw = RawGaussians(**{name: torch.cat([getattr(raw, name) for raw, _ in found]) for name in names})
    return Newborn(raw, torch.cat([lifetimes for _, lifetimes in found]))


def _frames_around(frame: int, num_times: int, is_alike: Callable[[int], bool]) -> range:
    """The longest run of frames around one in which `is_alike` holds for all others."""
    first = final = frame
    while first > 0 and is_alike(first - 1):
        first -= 1
    while final < num_times - 1 and is_alike(final + 1):
        final += 1
    return range(first, final + 1)


def _lifetimes(count: int, frames: range, video: MultiViewVideo) -> Float[Tensor, "N 2"]:
    """Lifetimes from halfway before the first of some frames to halfway after the last one."""
    seconds, first, final = (video.times.double() * video.duration).tolist(), frames[0], frames[-1]
    birth = -FOREVER if first == 0 else (seconds[first - 1] + seconds[first]) / 2
    death = FOREVER if final == video.num_times - 1 else (seconds[final] + seconds[final + 1]) / 2
    return torch.tensor([birth, death]).repeat(count, 1)


@torch.no_grad()
def find_deaths(
    scene: DynamicGaussians, video: MultiViewVideo, renderer: Renderer, known: range
) -> Float[Tensor, "N 2"] | None:
    """Lifetimes of all Gaussians that end where those that were born in other windows are needed no more.

    Gaussians that were born together die together: from a frame on to that end of the video which is not known.

    Args:
        scene: scene with a motion that is learned as far as it can be with its lifetimes.
        video: multi-view video with cameras in normalized space.
        renderer: renderer for the scene's device.
        known: frames that the Gaussians were made for, at one end of the video.

    Returns:
        None if no Gaussian dies.
    """
    lifetimes, judge = scene.gaussians.lifetimes, _Judge(scene, video, renderer, torch.Generator())
    if lifetimes is None:
        return None
    is_forward = known.start == 0
    frames = list(range(video.num_times))[:: 1 if is_forward else -1]
    alive = scene.alive_at(video.times.to(scene.device))
    seconds, revised = (video.times.double() * video.duration).tolist(), lifetimes.clone()
    assert alive is not None
    for life in lifetimes.unique(dim=0):
        rows = (lifetimes == life).all(1)
        lives = alive[:, rows].all(1).tolist()
        gains = [judge.gain(frame, rows) for frame in known if lives[frame]]
        if life.abs().min() == FOREVER or not gains or not lives[frames[-1]]:
            continue
        least = _NEEDED * sum(gains) / len(gains)
        last = len(frames) - 1  # place of the last frame in which they are needed
        while last >= len(known) and judge.gain(frames[last], rows) < least:
            last -= 1
        if last < len(frames) - 1:
            edge = (seconds[frames[last]] + seconds[frames[last + 1]]) / 2
            revised[rows, 1 if is_forward else 0] = edge
    return None if torch.equal(revised, lifetimes) else revised


class _Judge:
    """Compares a scene with its video, frame by frame."""

    def __init__(
        self, scene: DynamicGaussians, video: MultiViewVideo, renderer: Renderer, generator: torch.Generator
    ) -> None:
        assert scene.motion is not None
        self._scene, self._video, self._renderer, self._generator = scene, video, renderer, generator
        self._motion = scene.motion
        self._aabb = scene.motion.field.hexplane.aabb.cpu()
        self._spacing = float((self._aabb[1] - self._aabb[0]).max()) / _RESOLUTION

    def count(self, frame: int) -> int:
        """How many of the points of a frame are unexplained."""
        images, views = self._images(frame)
        points = self._surface(frame, images, views, _POINTS)
        return 0 if points is None else int(self._are_unexplained(frame, images, views, points).sum())

    def gain(self, frame: int, rows: Bool[Tensor, " N"]) -> float:
        """By how much some Gaussians lower the mean error of a frame."""
        images, views = self._images(frame)
        truth = torch.cat((images.images, images.alphas), 1)
        errors = [(self._render(frame, views, hidden) - truth).abs().mean() for hidden in (rows, None)]
        return float(errors[0] - errors[1])

    def gaussians(self, frame: int, count: int) -> RawGaussians | None:
        """Canonical Gaussians on the unexplained points of a frame, at most `count`; None for hardly any points."""
        images, views = self._images(frame)
        points = self._surface(frame, images, views, _DENSE)
        if points is None:
            return None
        points = points[self._are_unexplained(frame, images, views, points)]
        points = points[torch.randperm(len(points), generator=self._generator)[:count]]
        if len(points) < 4:
            return None
        colors = self._averaged(frame, views, points, images.images, images.alphas)
        raw = gaussians_from_points(
            points,
            colors,
            opacity=_OPACITY,
            sh_degree=round(self._scene.canonical().sh.shape[1] ** 0.5) - 1,
            scale_factor=_SCALE_FACTOR,
        ).to(self._scene.device)
        canonical, time = raw.means, self._video.times[frame : frame + 1].to(self._scene.device)
        for _ in range(_PATH_STEPS):  # what the motion brings to the points
            observation = self._motion.features.at(time) if self._motion.features is not None else None
            canonical = raw.means - self._motion.changes(canonical, time, observation)["means"][0]
        inside = canonical.clamp(*self._motion.field.hexplane.aabb)
        # On the CPU, as other processes may have other devices.
        return RawGaussians(inside, raw.quats, raw.log_scales, raw.opacity_logits, raw.sh).to("cpu")

    def _images(self, frame: int) -> tuple[FrameBatch, Int[Tensor, " V"]]:
        """The images of a frame, and their views."""
        views = self._video.valid[frame].nonzero().squeeze(1)
        return self._video.gather(torch.full_like(views, frame), views), views

    def _surface(
        self, frame: int, images: FrameBatch, views: Int[Tensor, " V"], count: int
    ) -> Float[Tensor, "N 3"] | None:
        """Points on the visual hull of a frame; None if it is empty."""
        hull = carve(images.alphas, self._video.cameras[frame, views], self._aabb, HullConfig(_RESOLUTION))
        return sample_surface(hull, self._aabb, count, self._generator) if hull.any() else None

    def _are_unexplained(
        self, frame: int, images: FrameBatch, views: Int[Tensor, " V"], points: Float[Tensor, "N 3"]
    ) -> Bool[Tensor, " N"]:
        error = self._render(frame, views) - torch.cat((images.images, images.alphas), 1)
        size = 2 * (error.shape[-2] // (2 * _BLUR)) + 1
        seen = self._are_fitted(frame, views, error.shape[-2:])
        error = F.avg_pool2d(error * seen, size, stride=1, padding=size // 2, count_include_pad=False).abs()
        error = torch.maximum(error[:, :3].mean(1, keepdim=True), error[:, 3:])
        return self._averaged(frame, views, points, error.expand(-1, 3, -1, -1), seen)[:, 0] > _UNEXPLAINED

    def _are_fitted(self, frame: int, views: Int[Tensor, " V"], size: tuple[int, ...]) -> Float[Tensor, "V 1 H W"]:
        """1 where an image is fitted, and 0 where its pixels have no weight, such as those of what is in front."""
        if self._video.pixel_weights is None:
            return torch.ones(len(views), 1, *size)
        weights = self._video.pixel_weights[frame, views].cpu()
        return (F.interpolate(weights, size, mode="bilinear") > 0).float()

    def _render(
        self, frame: int, views: Int[Tensor, " V"], hidden: Bool[Tensor, " N"] | None = None
    ) -> Float[Tensor, "V 4 H W"]:
        """Renderings of a frame, premultiplied RGBA, without some Gaussians."""
        cameras = self._video.cameras[frame, views].expand_times(1).to(self._scene.device)
        gaussians = self._scene.at(self._video.times[frame : frame + 1].to(self._scene.device))
        if hidden is not None:
            gaussians = without_dead(gaussians, ~hidden[None])
        rendering = self._renderer.render(gaussians, cameras)
        release_pages()
        return torch.cat((rendering.colors[0], rendering.alphas[0]), 1).cpu()

    def _averaged(
        self,
        frame: int,
        views: Int[Tensor, " V"],
        points: Float[Tensor, "N 3"],
        values: Float[Tensor, "V 3 H W"],
        alphas: Float[Tensor, "V 1 H W"],
    ) -> Float[Tensor, "N 3"]:
        """Means of values over the views that see each point; 0 where none does."""
        cameras, weights = self._video.cameras[frame, views], self._video.view_weights[views]
        unseen = torch.zeros_like(points)
        return color_points(points, values, alphas, cameras, weights, tolerance=4 * self._spacing, unseen=unseen)
