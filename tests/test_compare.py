"""benchmarks/compare.py: runs two commits in turn, reports their times, and leaves nothing behind."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("resource")  # which Windows does not have


@pytest.fixture(scope="module")
def compare() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare", ROOT / "benchmarks" / "compare.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["compare"] = module  # where its dataclasses look up their annotations
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits, `slow` and `quick`: each has a package that says how long `program.py` works."""
    folder = tmp_path / "repository"
    (folder / "src").mkdir(parents=True)
    (folder / "program.py").write_text(
        "import sys, time, speed\n"
        "open(sys.argv[1], 'a').write(speed.NAME + '\\n')\n"
        "while time.process_time() < speed.SECONDS: pass\n"
    )
    git(folder, "init", "--quiet")
    for name, seconds in (("slow", 0.4), ("quick", 0.0)):
        (folder / "src" / "speed.py").write_text(f"NAME, SECONDS = {name!r}, {seconds}\n")
        git(folder, "add", "--all")
        git(folder, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", name)
        git(folder, "tag", name)
    return folder


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def worktrees_of(repository: Path) -> int:
    return git(repository, "worktree", "list", "--porcelain").count("worktree ")


def test_both_commits_run_in_turn_and_the_faster_one_has_a_ratio_below_one(
    compare: ModuleType, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "program.py", str(log)]
    code = compare.main(["slow", "quick", "--runs", "3", "--repository", str(repository), "--", *command])
    assert code == 0
    warm_up, pairs = ["slow", "quick"], ["slow", "quick", "quick", "slow", "slow", "quick"]
    assert log.read_text().split() == warm_up + pairs
    rows = {line.split("|")[1].strip(): line.split("|") for line in capsys.readouterr().out.splitlines() if "|" in line}
    assert float(rows["wall"][4]) < 1 and float(rows["cpu"][4]) < 1
    assert float(rows["cpu"][2].split()[0]) > float(rows["cpu"][3].split()[0])
    assert worktrees_of(repository) == 1


def test_a_command_that_fails_is_reported_and_leaves_no_worktree(
    compare: ModuleType, repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [sys.executable, "-c", "import sys; print('why it failed'); sys.exit(3)"]
    assert compare.main(["slow", "quick", "--repository", str(repository), "--", *command]) == 2
    assert "why it failed" in capsys.readouterr().err
    assert worktrees_of(repository) == 1
    assert compare.main(["slow", "quick", "--repository", str(repository), "--", "no-such-program-of-any-kind"]) == 2
    assert worktrees_of(repository) == 1


def test_an_unknown_commit_is_refused_before_anything_runs(
    compare: ModuleType, repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log"
    command = [sys.executable, "program.py", str(log)]
    assert compare.main(["slow", "nowhere", "--repository", str(repository), "--", *command]) == 2
    assert "nowhere" in capsys.readouterr().err and not log.exists()


def test_processor_seconds_are_those_of_the_command(compare: ModuleType, tmp_path: Path) -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    found = compare.timed([sys.executable, "-c", busy], tmp_path)
    assert found.cpu >= 0.3 and found.wall >= 0.3
    idle = compare.timed([sys.executable, "-c", "import time; time.sleep(0.3)"], tmp_path)
    assert idle.wall >= 0.3 and idle.cpu < found.cpu


@pytest.mark.parametrize(
    ("count", "dropped", "confidence"), [(1, 0, 0.0), (5, 0, 0.9375), (6, 0, 0.96875), (9, 1, 0.961)]
)
def test_the_interval_of_a_median_is_that_of_the_sign_test(
    compare: ModuleType, count: int, dropped: int, confidence: float
) -> None:
    values = [float(i) for i in range(count)]
    low, high, found = compare.median_interval(values[::-1])
    assert (low, high) == (values[dropped], values[count - 1 - dropped])
    assert found == pytest.approx(confidence, abs=1e-3)


def test_pairs_that_are_slow_together_do_not_blur_the_ratio(compare: ModuleType) -> None:
    slowness = [1.0, 5.0, 2.0, 9.0, 1.5, 3.0]
    before = [compare.Seconds(10 * factor, 20 * factor) for factor in slowness]
    after = [compare.Seconds(5 * factor, 15 * factor) for factor in slowness]
    wall, cpu = compare.table_of(before, after).splitlines()[2:]
    assert wall.split("|")[4:6] == [" 0.500 ", " 0.500 to 0.500 (97 %) "]
    assert cpu.split("|")[4:6] == [" 0.750 ", " 0.750 to 0.750 (97 %) "]
