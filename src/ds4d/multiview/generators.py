"""The view generators by name, and what follows from the list: options, settings and the automatic choice."""

from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from ds4d.core import check_ranges
from ds4d.data import FolderConfig
from ds4d.multiview.base import ViewGenerator
from ds4d.multiview.flipbook import Flipbook
from ds4d.multiview.inflate import Inflate
from ds4d.multiview.lift import Lift
from ds4d.multiview.zero123plus import Zero123Plus

# The first that is usable is what `auto` chooses.
GENERATORS: dict[str, type[Any]] = {
    "zero123plus": Zero123Plus,
    "lift": Lift,
    "inflate": Inflate,
    "flipbook": Flipbook,
}


def _settings_class() -> type:
    described = (f"    {name}: {_summary(made.Config)} (--views {name})." for name, made in GENERATORS.items())
    text = "\n".join(["Settings of the view generators.", "", "Attributes:", *described])
    fields = [(name, made.Config, field(default_factory=made.Config)) for name, made in GENERATORS.items()]
    namespace = {"__doc__": text, "__module__": __name__}
    return make_dataclass("GeneratorSettings", fields, frozen=True, namespace=namespace)


def _summary(config: type) -> str:
    return (config.__doc__ or "").partition("\n")[0].rstrip(".")


if TYPE_CHECKING:
    ViewsSource = str

    class GeneratorSettings(Any):
        """One field for each generator, by its name: its settings."""
else:
    ViewsSource = Literal[("auto", *GENERATORS, "folder")]
    GeneratorSettings = _settings_class()


@dataclass(frozen=True)
class ViewsConfig(FolderConfig):
    """Source of the training views.

    Attributes:
        source: source of the training views: a view generator, or the folder itself. auto: the views of a folder with
            several, otherwise zero123plus on a GPU if its weights are found, else lift if there is a trained network,
            else inflate, which needs no weights. flipbook renders 3D files of other programs (--flipbook DIR).
        elevation: elevation of the input video's camera, degrees, positive above the object. Zero123++ places its views
            relative to the horizon, so a wrong value tilts the object. If it is unknown, generate views and fit with 0
            and with 20: with the right value the object is upright and the masks agree.
        fovy: vertical field of view of the input video after framing, degrees.
        generators: settings of the view generators.
    """

    source: ViewsSource = "auto"
    elevation: float = 0.0
    fovy: float = 49.1
    generators: GeneratorSettings = field(default_factory=GeneratorSettings)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_ranges(self, elevation="(-90, 90)", fovy="(0, 180)")


def check_flipbook(config: ViewsConfig) -> None:
    """Reads the files of a flipbook, so that what is wrong with them is said before any work.

    Raises:
        ValueError: a flipbook is asked for without files, or files without asking for it; or a file cannot be used.
    """
    settings = config.generators.flipbook
    if config.source == "flipbook":
        Flipbook(settings, torch.device("cpu")).check_files()
    elif settings.files is not None:
        raise ValueError(f"--flipbook must be used with --views flipbook, got --views {config.source}. Add it.")


def choose_generator(config: ViewsConfig, device: torch.device) -> tuple[str, str]:
    """The view generator that is asked for or else the first usable one: its name, and a few words on the choice."""
    if config.source != "auto":
        return config.source, "as requested"
    passed_over = []
    for name, made in GENERATORS.items():
        usable, why = made.is_usable(getattr(config.generators, name), device)
        if usable:
            return name, "; ".join([why, *passed_over])
        passed_over.append(why)
    raise AssertionError("one generator at least is usable everywhere")


def unused_settings(config: ViewsConfig, name: str) -> list[str]:
    """The generators that are not the chosen one, but whose settings were changed."""
    others = (other for other in GENERATORS if other != name)
    return [other for other in others if getattr(config.generators, other) != GENERATORS[other].Config()]


def make_generator(
    name: str, config: ViewsConfig, device: torch.device, *, matting_model: Path | None = None
) -> ViewGenerator:
    """A view generator.

    Args:
        name: key in `GENERATORS`.
        config: settings of all generators.
        device: compute device.
        matting_model: ONNX file of the matting model, for generators that need one (`uses_matting_model`).

    Raises:
        ValueError: its weights are missing or incomplete.
        ImportError: a package that it needs is not installed.
    """
    made, settings = GENERATORS[name], getattr(config.generators, name)
    return made(settings, device, matting_model) if made.uses_matting_model else made(settings, device)
