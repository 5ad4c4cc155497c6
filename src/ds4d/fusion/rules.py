"""Fusion rules: how the views' feature vectors at a point become one (paper, TSSF; ablation rows D to H).

A new rule is a subclass of `FusionRule` and a line in `RULES`.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ds4d.fusion.point_sampling import PointSamples

_EPS = 1e-6


class FusionRule(nn.Module):
    """Maps the samples p(i,j) of the views at each point to one vector a(i).

    View 0 is the input view; the order of the others does not matter. A point that no view sees gets 0.

    Attributes:
        input_view_only: whether the rule gets the input view alone, so that the others need not be sampled.
        needs_depths: whether visibility is tested against rendered depths; else a view sees all points inside its
            image, as in the paper.
        needs_distances: whether the rule compares views, by samples of a fixed reduction of the features.

    Args:
        channels: number of channels of the samples.
    """

    input_view_only: ClassVar[bool] = False
    needs_depths: ClassVar[bool] = False
    needs_distances: ClassVar[bool] = False

    def __init__(self, channels: int) -> None:
        super().__init__()

    def forward(
        self, samples: PointSamples, visible: Float[Tensor, "*T V N"], compared: PointSamples | None = None
    ) -> Float[Tensor, "*T N C"]:
        """Fuses the views at every point.

        Args:
            samples: features of every view at every point.
            visible: visibility of the points in each view, in [0, 1].
            compared: samples by which views are compared, if the rule needs them.
        """
        raise NotImplementedError


class InputView(FusionRule):
    """The samples of the input view, without fusion (rows D and E): a(i) = p(i,0), 0 outside the image."""

    input_view_only = True

    def forward(
        self, samples: PointSamples, visible: Float[Tensor, "*T V N"], compared: PointSamples | None = None
    ) -> Float[Tensor, "*T N C"]:
        """a(i) = p(i,0)."""
        return samples.of_view(0) * visible[..., 0, :, None]


class Average(FusionRule):
    """The mean of the views in whose image the point is (row F)."""

    def forward(
        self, samples: PointSamples, visible: Float[Tensor, "*T V N"], compared: PointSamples | None = None
    ) -> Float[Tensor, "*T N C"]:
        """a(i) = mean over j of p(i,j)."""
        return _weighted_mean(samples, visible)


class GlobalAwareness(FusionRule):
    """GA: a softmax over the views of the scores of one linear layer C -> 1 (row G)."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.score = nn.Linear(channels, 1, bias=False)  # a bias would cancel in the softmax

    def forward(
        self, samples: PointSamples, visible: Float[Tensor, "*T V N"], compared: PointSamples | None = None
    ) -> Float[Tensor, "*T N C"]:
        """a(i) = sum over j of w(i,j) p(i,j), w = softmax over j of u . p(i,j)."""
        return _weighted_mean(samples, _softmax(samples.scores(self.score.weight[0]), visible))


class DistanceAwareness(FusionRule):
    """DA: generated views are weighted by their similarity to the input view at the point (row H).

    Their weights are softmax(-d / tau) of the L1 distances d(i,j) = |p(i,j) - p(i,0)|, standardized over the views of
    the point, with a learned tau. A linear map combines the result with p(i,0). With one view a(i) = p(i,0). Distances
    are taken on a fixed reduction of the features: a learned one could make them all vanish.
    """

    needs_distances = True

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.log_tau = nn.Parameter(torch.zeros(()))
        self.combine = nn.Linear(2 * channels, channels, bias=False)  # the next layer has a bias

    def forward(
        self, samples: PointSamples, visible: Float[Tensor, "*T V N"], compared: PointSamples | None = None
    ) -> Float[Tensor, "*T N C"]:
        """a(i) = Linear([p(i,0), sum over j >= 1 of w(i,j) p(i,j)]).

        Raises:
            ValueError: `compared` is missing.
        """
        input_view = samples.of_view(0) * visible[..., 0, :, None]
        if samples.num_views == 1:
            return input_view
        if compared is None:
            raise ValueError("DistanceAwareness: compared must be the samples to compare views by, got None.")
        reference = compared.of_view(0)
        distances = [(compared.of_view(view) - reference).abs().sum(-1) for view in range(1, compared.num_views)]
        visible = visible[..., 1:, :]
        weights = _softmax(-_standardized(torch.stack(distances, dim=-2), visible) / self.log_tau.exp(), visible)
        generated = _weighted_mean(samples.generated_views(), weights)
        return self.combine(torch.cat((input_view, generated), dim=-1))


class Visible(FusionRule):
    """Ours: views count as far as a depth test finds the point visible in them, the input view included.

    Among these, a learned score decides as in GA, with a learned bonus for the input view.
    """

    needs_depths = True

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.score = nn.Linear(channels, 1, bias=False)  # a bias would cancel in the softmax
        self.input_bonus = nn.Parameter(torch.zeros(()))

    def forward(
        self, samples: PointSamples, visible: Float[Tensor, "*T V N"], compared: PointSamples | None = None
    ) -> Float[Tensor, "*T N C"]:
        """a(i) = sum over j of w(i,j) p(i,j), w proportional to visibility times exp(u . p(i,j) + bonus of view 0)."""
        fused = samples.visible_mean(visible, self.score.weight[0], self.input_bonus)
        if fused is not None:
            return fused
        scores = samples.scores(self.score.weight[0])
        scores = torch.cat((scores[..., :1, :] + self.input_bonus, scores[..., 1:, :]), dim=-2)
        return _weighted_mean(samples, _softmax(scores, visible))


RULES: dict[str, type[FusionRule]] = {
    "input": InputView,
    "average": Average,
    "global": GlobalAwareness,
    "distance": DistanceAwareness,
    "visible": Visible,
}

if TYPE_CHECKING:
    RuleName = str
else:
    RuleName = Literal[tuple(RULES)]


def _weighted_mean(samples: PointSamples, weights: Tensor) -> Tensor:
    """Mean over the views by weights that need not sum to 1; 0 where all weights are 0."""
    return samples.weighted_sum(weights / weights.sum(-2, keepdim=True).clamp_min(_EPS))


def _softmax(scores: Tensor, visible: Tensor) -> Tensor:
    """Visibility * exp(score), not normalized; the highest score of a visible view is shifted to 0."""
    highest = scores.masked_fill(visible <= 0, -torch.inf).amax(-2, keepdim=True)
    return visible * (scores - highest.clamp_min(-1e30)).clamp_max(0).exp()


def _standardized(distances: Tensor, visible: Tensor) -> Tensor:
    """Distances with mean 0 and standard deviation 1 over the views of the point."""
    weights = visible / visible.sum(-2, keepdim=True).clamp_min(_EPS)
    centered = distances - (distances * weights).sum(-2, keepdim=True)
    variance = (centered.square() * weights).sum(-2, keepdim=True)
    return centered / (variance + 1e-12).sqrt()
