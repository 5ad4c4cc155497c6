"""How the views' vectors at a point become one (paper, TSSF; ablation rows D to H).

Every rule maps what each view shows at each point, and how surely it sees the point [*T, V, N], to one vector per point
[*T, N, C]. View 0 is the real video; the order of the others does not matter. A point that no view sees gets 0.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ds4d.fusion.point_sampling import PointReads

_LEAST = 1e-6


@runtime_checkable
class FusionRule(Protocol):
    """A learned or fixed way to fuse views."""

    def __call__(
        self,
        samples: PointReads,
        seen: Float[Tensor, "*T V N"],
        compared: PointReads | None = None,
    ) -> Float[Tensor, "*T N C"]:
        """One vector per point.

        Args:
            samples: what each view shows at the point (p(i,j)).
            seen: how surely the view sees the point, in [0, 1]; the paper's rules only ask whether it lies in the
                image.
            compared: vectors by which views are compared, where the rule compares them: a fixed reduction of the
                features, as a learned one could make all distances vanish.
        """
        ...


class Front(nn.Module):
    """The real view alone: features without fusion (rows D and E)."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(
        self,
        samples: PointReads,
        seen: Float[Tensor, "*T V N"],
        compared: PointReads | None = None,
    ) -> Float[Tensor, "*T N C"]:
        """p(i,0), 0 outside the image."""
        return samples.of_view(0) * seen[..., 0, :, None]


class Average(nn.Module):
    """The mean of the views that see the point (row F)."""

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(
        self,
        samples: PointReads,
        seen: Float[Tensor, "*T V N"],
        compared: PointReads | None = None,
    ) -> Float[Tensor, "*T N C"]:
        """Mean over the views, weighted by how surely they see the point."""
        return _weighted(samples, seen)


class GlobalAwareness(nn.Module):
    """GA: one layer C -> 1, shared by all views, scores each view; softmax over the views (row G)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.score = nn.Linear(channels, 1, bias=False)  # a bias would fall out of the softmax

    def forward(
        self,
        samples: PointReads,
        seen: Float[Tensor, "*T V N"],
        compared: PointReads | None = None,
    ) -> Float[Tensor, "*T N C"]:
        """a(i) = sum over j of w(i,j) p(i,j)."""
        return _weighted(samples, _softmax(samples.scores(self.score.weight[0]), seen))


class DistanceAwareness(nn.Module):
    """DA: the generated views count by how much they look like the real one at the point (row H).

    They are fused first, by softmax(-d / tau) of the L1 distances d standardised over the views of the point, tau
    learned; a linear map of the result and of p(i,0) follows. With one view a(i) = p(i,0).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_tau = nn.Parameter(torch.zeros(()))
        self.combine = nn.Linear(2 * channels, channels, bias=False)  # a bias would fall into that of the field

    def forward(
        self,
        samples: PointReads,
        seen: Float[Tensor, "*T V N"],
        compared: PointReads | None = None,
    ) -> Float[Tensor, "*T N C"]:
        """a(i) = Linear([p(i,0), sum over j >= 1 of w(i,j) p(i,j)]).

        Raises:
            ValueError: there is nothing to compare the views by.
        """
        front = samples.of_view(0) * seen[..., 0, :, None]
        if samples.num_views == 1:
            return front
        if compared is None:
            raise ValueError("DistanceAwareness: compared must hold the vectors to compare views by, got None.")
        input = compared.of_view(0)
        distances = [(compared.of_view(view) - input).abs().sum(-1) for view in range(1, compared.num_views)]
        weights = _softmax(
            -_standardized(torch.stack(distances, dim=-2), seen[..., 1:, :]) / self.log_tau.exp(), seen[..., 1:, :]
        )
        others = _weighted(samples.without_real(), weights)
        return self.combine(torch.cat((front, others), dim=-1))


class Visible(nn.Module):
    """Ours: views count as far as a depth test says that they see the point, the real one included.

    Among those that do, a learned score chooses as in GA, with a bonus of its own for the real view.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.score = nn.Linear(channels, 1, bias=False)  # a bias would fall out of the softmax
        self.real_bonus = nn.Parameter(torch.zeros(()))

    def forward(
        self,
        samples: PointReads,
        seen: Float[Tensor, "*T V N"],
        compared: PointReads | None = None,
    ) -> Float[Tensor, "*T N C"]:
        """a(i) = sum over j of w(i,j) p(i,j), w from scores and visibility."""
        scores = samples.scores(self.score.weight[0])
        scores = torch.cat((scores[..., :1, :] + self.real_bonus, scores[..., 1:, :]), dim=-2)
        return _weighted(samples, _softmax(scores, seen))


def _weighted(samples: PointReads, weights: Tensor) -> Tensor:
    """Mean over the views by weights of any sum; 0 where all are 0."""
    return samples.weighted_sum(weights / weights.sum(-2, keepdim=True).clamp_min(_LEAST))


def _softmax(scores: Tensor, seen: Tensor) -> Tensor:
    """exp(score) for the views that see the point, scaled so that the highest score gives 1."""
    highest = scores.masked_fill(seen <= 0, -torch.inf).amax(-2, keepdim=True)
    return seen * (scores - highest.clamp_min(-1e30)).clamp_max(0).exp()


def _standardized(distances: Tensor, seen: Tensor) -> Tensor:
    """Distances less their mean over the views of the point, over their standard deviation."""
    share = seen / seen.sum(-2, keepdim=True).clamp_min(_LEAST)
    centered = distances - (distances * share).sum(-2, keepdim=True)
    variance = (centered.square() * share).sum(-2, keepdim=True)
    return centered / (variance + 1e-12).sqrt()
