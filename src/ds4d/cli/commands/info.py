"""`ds4d info`: shows versions, devices and installed extras, and checks that they work."""

import importlib.metadata
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import torch
from packaging.requirements import Requirement

from ds4d.cli.arguments import CommandLine
from ds4d.cli.console import Console
from ds4d.cli.installation import run_checks
from ds4d.cli.result import Outcome
from ds4d.core import install_command, installed_version, versions


@dataclass(frozen=True)
class InfoArguments:
    """Shows versions, devices and extras of this installation, checks that it works, and says how to fix it.

    The checks render, write a video, and look for a browser, weights, the cache and free disk space. ds4d doctor runs
    the checks alone.
    """


COMMAND = CommandLine(
    "info",
    InfoArguments,
    (
        ("info", "show versions, devices and extras, and check that they work"),
        ("info --json", "the same as JSON, for a bug report"),
    ),
)


def run(argv: Sequence[str], console: Console) -> Outcome:
    """Runs the command."""
    COMMAND.parse(argv)
    parts = {"versions": [*_versions()], "devices": [*_devices()], "extras": [*_extras()]}
    checks = run_checks()
    lines = [line for part in parts.values() for line in part]
    lines += [f"{name}: {check.text}" for name, check in checks.items()]
    fixes = [f"to fix {name}: {check.fix}" for name, check in checks.items() if check.fix]
    result = {**parts, "checks": {name: asdict(check) for name, check in checks.items()}}
    return Outcome("\n".join([*lines, *(fixes or ["all checks passed"])]), result, next=["ds4d weights"])


def _versions() -> Iterator[str]:
    here = versions()
    yield f"ds4d {here['ds4d']}, Python {here['Python']}, {here['system']}"
    for name in ("torch", "numba", "numpy", "av"):
        yield f"{name} {here.get(name) or 'missing: pip install ' + name}"


def _devices() -> Iterator[str]:
    yield f"CPU: {torch.get_num_threads()} threads"
    if not torch.cuda.is_available():
        built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
        yield f"CUDA: no device found (torch is built {'for ' * bool(torch.version.cuda)}{built})"
        return
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield f"CUDA: {properties.name}, {properties.total_memory / 2**30:.0f} GiB (CUDA {torch.version.cuda})"


def _extras() -> Iterator[str]:
    for extra, requirements in _requirements_by_extra().items():
        missing = [requirement.name for requirement in requirements if not _satisfied(requirement)]
        if missing:
            yield f"extra {extra}: missing {', '.join(missing)}. Install it with: {install_command(extra)}"
        else:
            yield f"extra {extra}: installed"


def _requirements_by_extra() -> dict[str, list[Requirement]]:
    metadata = importlib.metadata.metadata("ds4d")
    found: dict[str, list[Requirement]] = {extra: [] for extra in metadata.get_all("Provides-Extra") or []}
    for text in importlib.metadata.requires("ds4d") or []:
        requirement = Requirement(text)
        for extra, requirements in found.items():
            if (
                requirement.marker
                and not requirement.marker.evaluate({"extra": ""})
                and requirement.marker.evaluate({"extra": extra})
            ):
                requirements.append(requirement)
    return found


def _satisfied(requirement: Requirement) -> bool:
    version = installed_version(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)
