"""Similarities between world space and normalized space, and the point that cameras look at."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from ds4d.types import Cameras, Similarity


def transform_points(similarity: Similarity, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Points in world space as points in normalized space."""
    rotation = similarity.rotation.to(points)
    return similarity.scale * points @ rotation.T + similarity.translation.to(points)


def transform_cameras(similarity: Similarity, cameras: Cameras) -> Cameras:
    """Cameras in world space as cameras in normalized space: same images of the transformed object.

    With x' = s R x + t, camera coordinates scale by s: W x + w becomes W R^T x' + (s w - W R^T t). Static cameras
    remain static, bit by bit.
    """
    if cameras.viewmats.ndim > 3 and cameras.is_static:  # equal matrices in one batched product may come out unequal
        static = transform_cameras(similarity, cameras.at_time(0))
        return replace(static.expand_times(len(cameras.viewmats)), Ks=cameras.Ks)
    rotation, shift = similarity.rotation.to(cameras.viewmats), similarity.translation.to(cameras.viewmats)
    rotations = cameras.viewmats[..., :3, :3] @ rotation.T
    translations = similarity.scale * cameras.viewmats[..., :3, 3] - rotations @ shift
    viewmats = cameras.viewmats.clone()
    viewmats[..., :3, :3] = rotations
    viewmats[..., :3, 3] = translations
    return replace(cameras, viewmats=viewmats)


def inverse_similarity(similarity: Similarity) -> Similarity:
    """The similarity from normalized space to world space, given that from world space to normalized space."""
    rotation = similarity.rotation.T
    return Similarity(1 / similarity.scale, rotation, -(rotation @ similarity.translation) / similarity.scale)


def fit_into_ball(aabb: Float[Tensor, "2 3"], radius: float, up: Float[Tensor, " 3"] | None = None) -> Similarity:
    """The similarity that maps a box (min, max) into the ball of `radius` around the origin and `up` to +y."""
    center, half_diagonal = aabb.mean(0), 0.5 * (aabb[1] - aabb[0]).norm()
    rotation = torch.eye(3) if up is None else rotation_to_y(up)
    scale = float(radius / half_diagonal.clamp_min(1e-12))
    return Similarity(scale, rotation, -scale * (rotation @ center))


def rotation_to_y(up: Float[Tensor, " 3"]) -> Float[Tensor, "3 3"]:
    """The smallest rotation from `up`, of any length above 0, to +y (180 degrees about x if it points down).

    In double precision, as the division by 1 + cosine amplifies rounding errors where `up` nearly points down.
    """
    source = torch.nn.functional.normalize(up.double(), dim=0)
    target = source.new_tensor([0.0, 1.0, 0.0])
    axis, cosine = source.cross(target, dim=0), source @ target
    if cosine < -1 + 1e-10:
        return torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    x, y, z = axis.tolist()
    skew = source.new_tensor([[0, -z, y], [z, 0, -x], [-y, x, 0.0]])
    return (torch.eye(3).double() + skew + skew @ skew / (1 + cosine)).float()


def camera_focus(cameras: Cameras) -> tuple[Float[Tensor, " 3"], float]:
    """The point nearest to the rays through all image centers, and the radius of the ball that every camera sees whole.

    One camera, or parallel rays, leave the distance open: the point at distance 1 is returned.
    """
    cameras = cameras.to(torch.float64)
    centers, axes = cameras.centers.reshape(-1, 3), cameras.viewmats[..., 2, :3].reshape(-1, 3)
    Ks = cameras.Ks.reshape(-1, 3, 3)
    size = Ks.new_tensor([cameras.width, cameras.height])
    off_axis = (0.5 * size - Ks[:, :2, 2]) / torch.stack((Ks[:, 0, 0], Ks[:, 1, 1]), 1)  # of images that were cropped
    if off_axis.abs().max() > 0:
        rays = F.pad(off_axis, (0, 1), value=1.0)[:, None] @ cameras.viewmats.reshape(-1, 4, 4)[:, :3, :3]
        axes = F.normalize(rays.squeeze(1), dim=-1)
    across = torch.eye(3, dtype=axes.dtype) - axes[:, :, None] * axes[:, None, :]
    system = across.sum(0)
    values = torch.linalg.eigvalsh(system)
    if values[0] < 1e-6 * values[-1]:
        focus = centers[0] + axes[0]
    else:
        focus = torch.linalg.solve(system, (across @ centers[:, :, None]).sum(0)).squeeze(-1)
    distances = (centers - focus).norm(dim=-1)
    half_width = torch.stack((0.5 * cameras.width / Ks[:, 0, 0], 0.5 * cameras.height / Ks[:, 1, 1])).amin(0)
    radius = (distances * half_width / (1 + half_width.square()).sqrt()).min()
    return focus.float(), float(radius)
