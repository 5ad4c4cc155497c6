"""benchmarks/reproduce.py: its commands are ones that exist, and it continues and stops as it says."""

import importlib.util
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def reproduce() -> ModuleType:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        spec = importlib.util.spec_from_file_location("reproduce", ROOT / "benchmarks" / "reproduce.py")
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["reproduce"] = module  # where its dataclasses look up their annotations
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return module


def test_every_command_exists(reproduce: ModuleType, tmp_path: Path) -> None:
    for name, table in reproduce.TABLES.items():
        page = table.page.split(",")[0]
        assert (ROOT / "docs" / page).is_file(), name
        title = table.page.removeprefix(page).removeprefix(", ")
        assert not title or f"## {title}\n" in (ROOT / "docs" / page).read_text(encoding="utf-8"), (name, title)
        steps = table.steps(Path("DATA"), tmp_path)
        assert len({step.output for step in steps}) == len(steps)
        for step in steps:
            if step.argv[0] == "python":
                assert Path(step.argv[1]).is_file()
            else:
                import_module(f"ds4d.cli.commands.{step.argv[1]}").COMMAND.parse(step.argv[2:])


def test_what_is_there_is_kept_and_a_failure_ends_the_table(
    reproduce: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Step = reproduce.Step
    steps = [
        Step(("python", "-c", "print(1)"), "first.txt", "first.txt"),
        Step(("python", "-c", "print(2)"), "second.txt", "second.txt"),
        Step(("python", "-c", "raise SystemExit(3)"), "third.txt", "third.txt"),
        Step(("python", "-c", "print(4)"), "fourth.txt", "fourth.txt"),
    ]
    table = replace(next(iter(reproduce.TABLES.values())), steps=lambda data, out: steps)
    (tmp_path / "first.txt").write_text("as it was")
    assert reproduce.run(table, tmp_path, tmp_path, dry_run=True) == 0 and "print(4)" in capfd.readouterr().out
    assert reproduce.run(table, tmp_path, tmp_path, dry_run=False) == 3
    assert (tmp_path / "first.txt").read_text() == "as it was" and (tmp_path / "second.txt").read_text() == "2\n"
    assert not (tmp_path / "third.txt").exists() and not (tmp_path / "fourth.txt").exists()


def test_tables_that_cannot_be_made_say_why(reproduce: ModuleType, tmp_path: Path) -> None:
    missing = reproduce.TABLES["consistent4d"].missing(tmp_path)
    assert "eval_gt" in missing[0] and any("CLIP" in reason for reason in missing)
