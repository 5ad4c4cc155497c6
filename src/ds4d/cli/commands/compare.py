"""`ds4d compare`: a table over methods with intervals of their paired differences."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ds4d.cli.arguments import CommandLine
from ds4d.cli.checks import check_new_folder
from ds4d.cli.console import Console
from ds4d.cli.result import Outcome, open_in_browser, plain
from ds4d.evaluation import compare_methods, comparison_table, read_scores
from ds4d.io import atomic_path

_LEAST_SAMPLES = 100


@dataclass(frozen=True)
class CompareArguments:
    """Compares methods that `ds4d eval --protocol` scored on the same objects with the same settings and weights.

    Differences are paired by object (by view, where there is one object), with the 95 % interval of a bootstrap over
    objects. Failed objects are counted, and are in no mean.

    Attributes:
        scores: folders that ds4d eval has written, one per method; the name of a folder is that of its method.
        output: folder for comparison.json and comparison.md; by default nothing is written.
        base: method that the others are compared with; by default the first.
        samples: number of bootstrap samples.
        seed: seed of the bootstrap.
    """

    scores: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="DIR [DIR ...]")]
    output: Annotated[
        Path | None, tyro.conf.arg(aliases=["-o"], metavar="DIR", help_behavior_hint="(default: none)")
    ] = None
    base: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="(default: the first)")] = None
    samples: int = 10_000
    seed: int = 0


COMMAND = CommandLine(
    "compare",
    CompareArguments,
    (
        ("compare scores/ours scores/theirs", "two methods, the second against the first"),
        ("compare scores/a scores/b scores/c --base b -o comparison", "three methods against b, written to a folder"),
    ),
)


def run(argv: Sequence[str], console: Console) -> Outcome:
    """Runs the command."""
    arguments = COMMAND.parse(argv)
    if arguments.output is not None:
        check_new_folder(arguments.output)
    if arguments.samples < _LEAST_SAMPLES:
        raise ValueError(f"--samples must be at least {_LEAST_SAMPLES}, got {arguments.samples}.")
    if not arguments.scores:
        raise ValueError("DIR must be given at least once, got none. Name the folders that ds4d eval has written.")
    paths = {(path if path.suffix != ".json" else path.parent).resolve().name: path for path in arguments.scores}
    if len(paths) < len(arguments.scores):
        raise ValueError(
            f"the {len(arguments.scores)} folders must have different names, which are those of the methods, got "
            f"{len(paths)}. Rename one."
        )
    methods = {name: read_scores(path) for name, path in paths.items()}
    base = arguments.base or next(iter(methods))
    if base not in methods:
        raise ValueError(f"--base must be of {', '.join(methods)}, got {base!r}. Correct the name.")
    found = compare_methods(methods, base=base, samples=arguments.samples, seed=arguments.seed)
    table = comparison_table(found, base)
    metrics = {metric: {name: asdict(each) for name, each in row.items()} for metric, row in found.items()}
    record = plain({"base": base, "samples": arguments.samples, "seed": arguments.seed, "metrics": metrics})
    files = []
    if arguments.output is not None:
        texts = {"comparison.json": json.dumps(record, indent=1, allow_nan=False), "comparison.md": table}
        for name, text in texts.items():
            with atomic_path(arguments.output / name) as temporary:
                temporary.write_text(text + "\n", encoding="utf-8", errors="replace")
            files.append(arguments.output / name)
    pages = [folder / "results.html" for folder in (path if path.is_dir() else path.parent for path in paths.values())]
    return Outcome(table, record, files, [open_in_browser(page) for page in pages if page.is_file()])
