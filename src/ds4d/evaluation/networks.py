"""The networks of metrics: loaded from local files when a metric first needs them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ds4d.metrics import Lpips
from ds4d.metrics.clip_similarity import ClipSimilarity
from ds4d.metrics.i3d import I3d, TorchScriptI3d
from ds4d.metrics.inception import FidInception
from ds4d.weights import MODELS, find_model, read_tensors, weights_digest, weights_file


@dataclass(frozen=True)
class Network:
    """One network.

    Attributes:
        models: keys of its weights in `ds4d.weights.MODELS`.
        load: makes it from the folders (or files) of these weights, on the CPU.
    """

    models: tuple[str, ...]
    load: Callable[[Sequence[Path]], torch.nn.Module]


_LPIPS = ("vgg16", "lpips-vgg")


def _file(model: str, path: Path) -> Path:
    file = weights_file(MODELS[model].parts[0], path)
    assert file is not None, "the model is complete"
    return file


def _lpips(paths: Sequence[Path]) -> Lpips:
    backbone, heads = (read_tensors(_file(name, path)) for name, path in zip(_LPIPS, paths, strict=True))
    return Lpips(backbone, heads)


NETWORKS: dict[str, Network] = {
    "lpips": Network(_LPIPS, _lpips),
    "lpips-random": Network((), lambda paths: Lpips.stand_in()),
    "clip": Network(("clip",), lambda paths: ClipSimilarity("clip", paths[0])),
    "clip-bigg": Network(("clip-bigg",), lambda paths: ClipSimilarity("clip-bigg", paths[0])),
    "i3d": Network(("i3d",), lambda paths: I3d(read_tensors(_file("i3d", paths[0])))),
    "i3d-styleganv": Network(("i3d-styleganv",), lambda paths: TorchScriptI3d(_file("i3d-styleganv", paths[0]))),
    "inception-fid": Network(
        ("inception-fid",), lambda paths: FidInception(read_tensors(_file("inception-fid", paths[0])))
    ),
}


class NotComputedError(Exception):
    """A metric cannot be computed; the message says why, and what to do."""


class LoadedNetworks:
    """The networks that metrics have asked for.

    Args:
        device: device that they run on.

    Attributes:
        digests: SHA-256 of the weights in use, by their key in `ds4d.weights.MODELS`.
    """

    digests: dict[str, str]

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.digests = {}
        self._loaded: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        """A network by its key in `NETWORKS`.

        Raises:
            NotComputedError: its weights, or a package, are missing.
            ValueError: its weights are damaged or of another network.
        """
        if name not in self._loaded:
            self._loaded[name] = self._load(NETWORKS[name])
        return self._loaded[name]

    def _load(self, network: Network) -> torch.nn.Module:
        paths = []
        for model in (MODELS[name] for name in network.models):
            path = find_model(model)
            if path is None:
                how = model.how_to_get(f"$DS4D_WEIGHTS/{model.name}")
                raise NotComputedError(f"weights of {model.title} are missing; get them: {how}")
            paths.append(path)
        try:
            loaded = network.load(paths).to(self.device)
        except ImportError as error:
            raise NotComputedError(str(error)) from error
        for name, path in zip(network.models, paths, strict=True):
            self.digests[name] = weights_digest(MODELS[name], path)
        return loaded
