"""The pretrained networks that a run uses: searched for before any work, refused or replaced where they are missing."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ds4d.config import GenerateConfig
from ds4d.core import Degraded, notify
from ds4d.data import is_view_folder
from ds4d.features import dinov2_weights
from ds4d.losses import IMAGE_LOSSES
from ds4d.metrics.lpips import NETWORK
from ds4d.runs import RunRecord
from ds4d.weights import MODELS, PretrainedModel, find_model, require_model

ZERO123PLUS, DINOV2 = "zero123plus", "dinov2"  # keys of GENERATORS and EXTRACTORS


@dataclass(frozen=True)
class _Network:
    """A pretrained network that settings use.

    Attributes:
        part: part of the run that uses it, as in `Degraded`.
        model: entry of `MODELS`.
        given: its folder, if the settings name one.
        is_named: whether the settings ask for this network itself, so that nothing may take its place.
    """

    part: str
    model: PretrainedModel
    given: Path | None = None
    is_named: bool = False

    @property
    def is_missing(self) -> bool:
        return find_model(self.model, self.given) is None


# What happens without the network, by part.
_INSTEAD = {
    "views": "views are generated without a network, and other sides than the input view are guesses",
    "features": "frame features come from a filter bank without weights",
    "lpips": "the LPIPS loss is off",
    "guidance": "score distillation (SDS) is off",
}

_ALLOW = "--allow-missing-weights (in Python allow_missing_weights=True)"
_SEE_ALSO = " `ds4d weights` lists all models."  # the end of the error for one model, said once for all


def check_weights(record: RunRecord) -> RunRecord:
    """Looks for the pretrained networks that a new run uses, before any work.

    Args:
        record: input and settings; `allow_missing_weights` decides about networks that are missing.

    Returns:
        The record with the networks that `auto` has to use, and with the parts that go without theirs, each of which is
        also a notice.

    Raises:
        ValueError: a network is missing and required; the message names every one, where it was searched for and how to
            get it.
    """
    config = record.config
    generates = config.views.source == "auto" and not is_view_folder(record.input)
    extracts = config.features.kind == "auto"
    if config.allow_missing_weights is False:
        record = replace(
            record,
            views_source=ZERO123PLUS if generates else record.views_source,
            features_kind=DINOV2 if extracts else record.features_kind,
        )
        fix = "To run without those that the settings do not name"
        _refuse_missing(_used(record.resolved_config), f"{fix}, use {_ALLOW}.")
        return record
    _refuse_missing((network for network in _used(config) if network.is_named), "Or ask for other views or features.")
    chosen = replace(
        config,
        views=replace(config.views, source=ZERO123PLUS if generates else config.views.source),
        features=replace(config.features, kind=DINOV2 if extracts else config.features.kind),
    )
    # What `auto` chooses is a notice only to those who have allowed that networks are missing.
    reported = tuple(_INSTEAD) if config.allow_missing_weights else ("lpips", "guidance")
    missing = [network for network in _used(chosen) if network.is_missing and network.part in reported]
    return replace(record, replaced=tuple(_notices(missing)))


def require_weights(config: GenerateConfig) -> None:
    """Refuses to resume a run with these settings, of which nothing is left to `auto`, without a network they use.

    Raises:
        ValueError: networks are missing; the message names every one, where it was searched for and how to get it.
    """
    _refuse_missing(_used(config), "Resume the run where they are, or start it anew elsewhere.")


def _used(config: GenerateConfig) -> Iterator[_Network]:
    zero123plus, losses, guidance = config.views.generators.zero123plus, config.training.losses, config.guidance
    if config.views.source == ZERO123PLUS:
        yield _Network("views", MODELS[f"zero123plus-{zero123plus.version}"], zero123plus.folder, is_named=True)
    if config.features.kind == DINOV2:
        yield _Network("features", *dinov2_weights(config.features.dinov2), is_named=True)
    if losses.lpips.weight and not config.training.lpips_stand_in:
        is_alone = not any(getattr(losses, name).weight for name in IMAGE_LOSSES if name != "lpips")
        for name in (NETWORK.weights, NETWORK.heads):
            yield _Network("lpips", MODELS[name], is_named=is_alone)
    if guidance.weight:
        yield _Network("guidance", MODELS["zero123-xl"], guidance.model, is_named=guidance.model is not None)


def _refuse_missing(networks: Iterable[_Network], fix: str) -> None:
    missing = [network for network in networks if network.is_missing]
    if not missing:
        return
    reasons = []
    for number, network in enumerate(missing, 1):
        try:
            require_model(network.model, network.given)
        except ValueError as error:
            reasons.append(f"({number}) {network.part}: {str(error).removesuffix(_SEE_ALSO)}")
    raise ValueError(
        "weights must be found for all pretrained networks that the settings use, got none for "
        f"{', '.join(network.model.title for network in missing)}. {' '.join(reasons)}{_SEE_ALSO} {fix}"
    )


def _notices(missing: list[_Network]) -> Iterator[Degraded]:
    for part in dict.fromkeys(network.part for network in missing):
        titles = " and of ".join(network.model.title for network in missing if network.part == part)
        notice = Degraded(
            part,
            f"{_INSTEAD[part]}, because the weights of {titles} were not found. `ds4d weights` shows where they are "
            "searched for and how to get them.",
        )
        notify(notice)
        yield notice
