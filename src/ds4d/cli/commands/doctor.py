"""`ds4d doctor`: checks that this installation works, and says what to do where it does not."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ds4d.cli.arguments import CommandLine
from ds4d.cli.console import Console
from ds4d.cli.installation import run_checks
from ds4d.cli.result import ExitCode, Outcome


@dataclass(frozen=True)
class DoctorArguments:
    """Checks that this installation works, and says how to fix what does not. Nothing is changed.

    The checks are those of ds4d info: compiled kernels, gsplat, a compiler, codecs, a browser, weights, the matting
    model, the cache and free disk space. The exit code is 1 if something must be fixed.
    """


COMMAND = CommandLine(
    "doctor",
    DoctorArguments,
    (
        ("doctor", "check the installation"),
        ("doctor --quiet", "only set the exit code, for a script"),
    ),
)


def run(argv: Sequence[str], console: Console) -> Outcome:
    """Runs the command."""
    COMMAND.parse(argv)
    checks = run_checks()
    broken = [name for name, check in checks.items() if check.fix]
    lines = [
        line
        for name, check in checks.items()
        for line in (
            f"{'fix' if check.fix else 'ok ':<5}{name}: {check.text}",
            *([f"     {check.fix}"] * bool(check.fix)),
        )
    ]
    return Outcome(
        "\n".join(lines),
        {"checks": {name: asdict(check) for name, check in checks.items()}},
        next=["ds4d info"],
        error=f"{', '.join(broken)} must be fixed: see the lines above, or ds4d info --json." if broken else None,
        exit_code=ExitCode.FAILURE if broken else ExitCode.SUCCESS,
    )
