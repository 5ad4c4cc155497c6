"""Bones found in a mesh that moves: smooth skinning decomposition with rigid bones.

Le and Deng, "Smooth skinning decomposition with rigid bones", ACM Transactions on Graphics 31(6), 2012. Vertices that
move alike are clustered; then the weights of all vertices and the rigid motions of all bones are fitted in turn.

Inside, a vertex is a row (x, y, z, 1) in units of the object's diagonal, its path a row of D = 3 T coordinates, and the
motion of a bone a matrix [4, D] by which vertices are multiplied.
"""

import itertools
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from ds4d.core import tracked
from ds4d.export.mesh.triangles import average_neighbors

MAX_BONES = 64
INFLUENCES = 4  # bones that move a vertex: as many as one set of glTF's weights holds
_MIN_VERTICES = 8  # for each bone
_SAMPLE = 4000  # vertices that are clustered
_LLOYD_STEPS = 4  # after each division
_ROUNDS = 12  # of weights and motions in turn
_FAR = 0.05  # error that a bone at the distance of the object's diagonal is worth, fraction of the diagonal
_RIGIDITY = 0.3  # how much the errors of bones alone count beside that of their blend: blends make limbs thin
_SMOOTHNESS = 0.01  # error that a whole bone more or less than the neighbors have is worth, fraction of the diagonal
_VERTICES_AT_ONCE = 1024


@dataclass(frozen=True)
class Bones:
    """Rigid motions of B bones, which vertices follow by linear blend skinning.

    Attributes:
        rotations: rotations from the rest shape to each time, about the origin.
        translations: translations after the rotations.
        influences: the bones that move each vertex, those with the largest weights first.
        weights: their weights: not negative, with the sum 1; 0 for entries that are not used, which name bone 0.
    """

    rotations: Float[Tensor, "T B 3 3"]
    translations: Float[Tensor, "T B 3"]
    influences: Int[Tensor, "P 4"]
    weights: Float[Tensor, "P 4"]

    def skin(self, rest: Float[Tensor, "P 3"]) -> Float[Tensor, "T P 3"]:
        """The vertices of the rest shape at each time."""
        moved = [
            torch.einsum("pk,pkij,pj->pi", self.weights, rotations[self.influences], rest)
            + (self.weights[..., None] * translations[self.influences]).sum(1)
            for rotations, translations in zip(self.rotations, self.translations, strict=True)
        ]
        return torch.stack(moved)


def check_bone_count(count: int) -> None:
    """Refuses a number of bones that is out of range.

    Raises:
        ValueError: it is not in [1, 64].
    """
    if not 1 <= count <= MAX_BONES:
        raise ValueError(f"skeleton must be in [1, {MAX_BONES}] bones, got {count}. 8 to 24 suit people and animals.")


def find_bones(
    rest: Float[Tensor, "P 3"], vertices: Float[Tensor, "T P 3"], triangles: Int[Tensor, "F 3"], count: int
) -> Bones:
    """The bones and weights that reproduce moving vertices best, by alternating least squares.

    Args:
        rest: vertices of the rest shape.
        vertices: vertices at each time.
        triangles: vertex indices of each triangle.
        count: number of bones, in [1, 64]; those that no vertex follows in the end are left out.

    Returns:
        The bones, in double precision.

    Raises:
        ValueError: the number is out of range, or too large for so few vertices.
    """
    check_bone_count(count)
    if count > (most := len(rest) // _MIN_VERTICES):
        raise ValueError(
            f"skeleton must be at most {most} bones for a mesh of {len(rest)} vertices, got {count}. "
            "Lower it, or raise the resolution."
        )
    rest, vertices = rest.double(), vertices.double()
    center, size = rest.mean(0), (rest.amax(0) - rest.amin(0)).norm().clamp_min(1e-12)
    points = torch.cat(((rest - center) / size, torch.ones_like(rest[:, :1])), 1)
    paths = ((vertices - center) / size).transpose(0, 1).flatten(1)
    motions, centers = _cluster(*(rows[:: -(-len(rest) // _SAMPLE)].contiguous() for rows in (points, paths)), count)
    weights = torch.eye(len(motions), dtype=rest.dtype)[_costs(points, paths, motions, centers).argmin(1)]
    for _ in tracked(range(_ROUNDS), "fitting the bones"):
        expected = average_neighbors(weights, triangles, rounds=1)
        weights = _fit_weights(points, paths, motions, centers, expected)
        motions = _fit_motions(points, paths, weights, motions)
        centers = (weights.T @ points[:, :3]) / weights.sum(0)[:, None].clamp_min(1e-9)
    used = weights.any(0)
    matrices = motions[used].unflatten(2, (-1, 3)).permute(2, 0, 3, 1)
    rotations = matrices[..., :3]
    translations = size * matrices[..., 3] + center - rotations @ center
    chosen, influences = weights[:, used].sort(dim=1, descending=True, stable=True)
    chosen, influences = chosen[:, :INFLUENCES], influences[:, :INFLUENCES]
    unused = (0, INFLUENCES - chosen.shape[1])
    pad = torch.nn.functional.pad
    return Bones(rotations, translations, pad(influences * (chosen > 0), unused), pad(chosen, unused))


def _fit_rigidly(
    points: Float64[Tensor, "P 4"], pulls: Float64[Tensor, "P D"], masses: Float64[Tensor, "P 1"]
) -> Float64[Tensor, "4 D"]:
    """The rigid motion that minimizes the sum of mass * |point @ motion - pull / mass|^2 (Kabsch 1976)."""
    total = masses.sum().clamp_min(1e-12)
    center, target = (masses * points[:, :3]).sum(0) / total, (pulls.sum(0) / total).unflatten(0, (-1, 3))
    covariance = (points[:, :3] - center).T @ pulls
    u, _, vt = torch.linalg.svd(covariance.unflatten(1, (-1, 3)).transpose(0, 1))
    signs = torch.stack((torch.ones(len(u)), torch.ones(len(u)), torch.linalg.det(u @ vt).sign()), 1)
    rotations = (u * signs[:, None]) @ vt  # transposed, as points are rows
    motion = torch.cat((rotations, (target - center @ rotations)[:, None]), 1)
    return motion.transpose(0, 1).flatten(1)


def _costs(
    points: Float64[Tensor, "P 4"],
    paths: Float64[Tensor, "P D"],
    motions: Float64[Tensor, "B 4 D"],
    centers: Float64[Tensor, "B 3"],
) -> Float64[Tensor, "P B"]:
    """The mean squared error of each vertex if it follows one bone, and a little for bones that are far away."""
    frames, squares = paths.shape[1] / 3, paths.square().sum(1)
    columns = []
    for motion, center in zip(motions, centers, strict=True):
        # |point @ motion - path|^2, multiplied out to products with few columns.
        errors = ((points @ (motion @ motion.T) - 2 * paths @ motion.T) * points).sum(1) + squares
        columns.append(errors / frames + _FAR**2 * (points[:, :3] - center).square().sum(1))
    return torch.stack(columns, 1)


def _cluster(
    points: Float64[Tensor, "P 4"], paths: Float64[Tensor, "P D"], count: int
) -> tuple[Float64[Tensor, "B 4 D"], Float64[Tensor, "B 3"]]:
    """Rigid motions of clusters of vertices, and their centers; the worst cluster is divided again and again."""
    labels = torch.zeros(len(points), dtype=torch.long)
    motions, centers = _fit_clusters(points, paths, labels)
    for _ in tracked(range(1, count), "finding bones"):
        errors = _costs(points, paths, motions, centers).gather(1, labels[:, None])[:, 0]
        worst = int(torch.zeros(len(motions), dtype=errors.dtype).index_add_(0, labels, errors).argmax())
        members = (labels == worst).nonzero()[:, 0]
        # The new cluster begins where vertices are moved badly, far from the center of theirs.
        distances = (points[members, :3] - centers[worst]).norm(dim=1)
        seed = members[(errors[members] * distances).argmax()]
        order = (points[members] - points[seed]).norm(dim=1).argsort(stable=True)
        labels[members[order[: max(_MIN_VERTICES, len(members) // 4)]]] = len(motions)
        for _ in range(_LLOYD_STEPS):
            motions, centers = _fit_clusters(points, paths, labels)
            labels = _costs(points, paths, motions, centers).argmin(1).unique(return_inverse=True)[1]
        motions, centers = _fit_clusters(points, paths, labels)
    return motions, centers


def _fit_clusters(
    points: Float64[Tensor, "P 4"], paths: Float64[Tensor, "P D"], labels: Int[Tensor, " P"]
) -> tuple[Float64[Tensor, "B 4 D"], Float64[Tensor, "B 3"]]:
    """The motion and the center of each cluster."""
    groups = [labels == label for label in range(int(labels.max()) + 1)]
    motions = [_fit_rigidly(points[rows], paths[rows], torch.ones_like(points[rows, :1])) for rows in groups]
    return torch.stack(motions), torch.stack([points[rows, :3].mean(0) for rows in groups])


def _fit_weights(
    points: Float64[Tensor, "P 4"],
    paths: Float64[Tensor, "P D"],
    motions: Float64[Tensor, "B 4 D"],
    centers: Float64[Tensor, "B 3"],
    expected: Float64[Tensor, "P B"],
) -> Float64[Tensor, "P B"]:
    """Weights of all vertices for given motions: at most four bones each, with the sum 1, near the expected ones."""
    order = _costs(points, paths, motions, centers).argsort(dim=1, stable=True)[:, :INFLUENCES]
    chosen = []
    for rows in torch.arange(len(points)).split(_VERTICES_AT_ONCE):
        bones = order[rows]
        # Weights w that sum to 1 leave the error w @ errors: those of the bones alone, weighted.
        errors = torch.einsum("pi,pkid->pkd", points[rows], motions[bones]) - paths[rows, None]
        offsets = torch.eye(bones.shape[1]) - expected[rows].gather(1, bones)[:, None]
        squares = errors @ errors.mT / (paths.shape[1] / 3)
        spread = _RIGIDITY * squares.diagonal(dim1=1, dim2=2)
        chosen.append(_minimize_on_simplex(squares + _SMOOTHNESS**2 * (offsets @ offsets.mT), spread))
    return torch.zeros_like(expected).scatter_(1, order, torch.cat(chosen))


def _minimize_on_simplex(gram: Float64[Tensor, "P K K"], linear: Float64[Tensor, "P K"]) -> Float64[Tensor, "P K"]:
    """The weights that are not negative, sum to 1, and minimize w^T gram w + linear^T w, for each matrix.

    They are the best of the minima with some weights 0, over all choices of these.
    """
    count = gram.shape[1]
    identity = torch.eye(count, dtype=gram.dtype)
    gram = gram + 1e-9 * (gram.diagonal(dim1=1, dim2=2).sum(1)[:, None, None] + 1e-12) * identity
    best, lowest = torch.zeros_like(linear), torch.full_like(linear[:, 0], torch.inf)
    for choice in itertools.product((0.0, 1.0), repeat=count):
        if not any(choice):
            continue
        on = linear.new_tensor(choice)
        system = gram * on[:, None] * on + (1 - on) * identity
        sides = torch.stack((on.expand_as(linear), on * linear / 2), 2)
        ones, pulls = torch.linalg.solve(system, sides).unbind(2)
        found = ones * (1 + pulls.sum(1, keepdim=True)) / ones.sum(1, keepdim=True) - pulls
        value = ((gram @ found[..., None])[..., 0] + linear).mul_(found).sum(1)
        better = (found >= 0).all(1) & (value < lowest)
        best, lowest = torch.where(better[:, None], found, best), torch.where(better, value, lowest)
    return best


def _fit_motions(
    points: Float64[Tensor, "P 4"],
    paths: Float64[Tensor, "P D"],
    weights: Float64[Tensor, "P B"],
    motions: Float64[Tensor, "B 4 D"],
) -> Float64[Tensor, "B 4 D"]:
    """The motion of one bone after the other, for given weights and the current motions of the others."""
    motions, errors = motions.clone(), paths.clone()
    groups = [weight.nonzero()[:, 0] for weight in weights.T]
    shares = [weights[rows, bone, None] for bone, rows in enumerate(groups)]
    for motion, rows, share in zip(motions, groups, shares, strict=True):
        errors[rows] -= share * (points[rows] @ motion)
    for bone, (rows, share) in enumerate(zip(groups, shares, strict=True)):
        if len(rows) < _MIN_VERTICES:
            continue
        left = errors[rows] + share * (points[rows] @ motions[bone])
        pulls = share * (left + _RIGIDITY * paths[rows])
        motions[bone] = _fit_rigidly(points[rows], pulls, share * (share + _RIGIDITY))
        errors[rows] = left - share * (points[rows] @ motions[bone])
    return motions
