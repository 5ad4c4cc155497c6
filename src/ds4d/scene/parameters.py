"""The canonical Gaussians as learnable parameters, and when they live."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ds4d.scene.lifetimes import endless_lifetimes, finite_lifetimes
from ds4d.types import RawGaussians


@dataclass(frozen=True)
class Resampling:
    """A new set of Gaussians in terms of an old one: row i comes from old row `sources[i]`.

    Attributes:
        sources: old row of each new row.
        is_new: rows that are new Gaussians; an optimizer starts them with zero moments.
        means: centers of the new set.
        log_scales: sizes of the new set.
    """

    sources: Int[Tensor, " M"]
    is_new: Bool[Tensor, " M"]
    means: Float[Tensor, "M 3"]
    log_scales: Float[Tensor, "M 3"]


class GaussianParameters(nn.Module):
    """Holds one tensor per property; `raw` hands them out as a noun.

    The color is kept in two parts, `sh0` (degree 0) and `shN` (the rest), because they learn at different rates.

    Args:
        initial: the Gaussians, without a time axis.
        lifetimes: birth and death of each, in seconds of the scene's timeline (`ds4d.scene.lifetimes`); None if all
            live at all times. They are not learned.

    Raises:
        ValueError: a Gaussian dies before it is born.
    """

    lifetimes: Float[Tensor, "N 2"] | None

    def __init__(self, initial: RawGaussians, lifetimes: Float[Tensor, "N 2"] | None = None) -> None:
        super().__init__()
        self.means = nn.Parameter(initial.means.detach().clone())
        self.quats = nn.Parameter(initial.quats.detach().clone())
        self.log_scales = nn.Parameter(initial.log_scales.detach().clone())
        self.opacity_logits = nn.Parameter(initial.opacity_logits.detach().clone())
        self.sh0 = nn.Parameter(initial.sh[:, :1].detach().clone())
        self.shN = nn.Parameter(initial.sh[:, 1:].detach().clone())
        # A buffer of None is in no state: scenes without lifetimes are stored as they were before there were any.
        self.register_buffer("lifetimes", None if lifetimes is None else finite_lifetimes(lifetimes).clone())

    @property
    def num_gaussians(self) -> int:
        """N."""
        return self.means.shape[0]

    def raw(self) -> RawGaussians:
        """The Gaussians of the canonical time, without a time axis."""
        sh = torch.cat((self.sh0, self.shN), dim=1) if self.shN.shape[1] else self.sh0
        return RawGaussians(self.means, self.quats, self.log_scales, self.opacity_logits, sh)

    def resample(self, resampling: Resampling) -> None:
        """Replaces every parameter by the rows named; the parameters are new objects afterwards.

        Clones and halves live as long as the Gaussian that they come from.
        """
        with torch.no_grad():
            for name, parameter in list(self.named_parameters()):
                rows = parameter[resampling.sources]
                if name in ("means", "log_scales"):
                    rows = getattr(resampling, name).clone()
                setattr(self, name, nn.Parameter(rows))
            if self.lifetimes is not None:
                self.lifetimes = self.lifetimes[resampling.sources]

    def replace_last(self, raw: RawGaussians, lifetimes: Float[Tensor, "N 2"]) -> None:
        """Replaces the last Gaussians by others, whose lifetimes may differ from those of the rest."""
        first = self.num_gaussians - raw.num_gaussians
        values = {name: getattr(raw, name) for name in ("means", "quats", "log_scales", "opacity_logits")}
        values |= {"sh0": raw.sh[:, :1], "shN": raw.sh[:, 1:]}
        if self.lifetimes is None:
            self.lifetimes = endless_lifetimes(self.num_gaussians).to(self.means)
        with torch.no_grad():
            for name, rows in values.items():
                getattr(self, name)[first:] = rows
            self.lifetimes[first:] = finite_lifetimes(lifetimes)

    def resize(self, count: int, with_lifetimes: bool = False) -> None:
        """Allocates a stored set of `count` Gaussians; values are zeros until a state is loaded."""
        self.lifetimes = self.means.new_zeros(count, 2) if with_lifetimes else None
        for name, parameter in list(self.named_parameters()):
            zeros = parameter.new_zeros(count, *parameter.shape[1:])
            setattr(self, name, nn.Parameter(zeros, requires_grad=parameter.requires_grad))
