"""One run per folder, whatever ends the one before."""

import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ds4d.runs import RunFolder
from ds4d.runs.lock import LOCK, OWNER, check_idle, locked

# Holds the lock until it is killed.
HOLDER = """
import sys, time
from pathlib import Path
from ds4d.runs.lock import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a lock."""
    monkeypatch.setattr("ds4d.runs.lock._PATIENCE", 0.0)


@pytest.mark.usefixtures("impatient")
def test_a_second_run_is_refused_with_the_first_ones_process(tmp_path: Path) -> None:
    with locked(tmp_path / "run"):
        for attempt in (lambda: locked(tmp_path / "run").__enter__(), lambda: check_idle(tmp_path / "run")):
            with pytest.raises(ValueError, match=rf"run must not be in use.*{os.getpid()} on {platform.node()}"):
                attempt()
        with locked(tmp_path / "other"):
            pass
    check_idle(tmp_path / "run")
    with locked(tmp_path / "run"):
        pass


def test_a_lock_leaves_nothing(tmp_path: Path) -> None:
    with locked(tmp_path / "new" / "run"):
        assert (tmp_path / "new" / "run" / LOCK).exists()
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "run"):
        (tmp_path / "run" / "config.json").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]


@pytest.mark.usefixtures("impatient")
@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed in another way there")
def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(run)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "locked\n"
        with pytest.raises(ValueError, match=f"process {process.pid} on"):
            check_idle(run)
        process.send_signal(signal.SIGKILL)
        process.wait()
    finally:
        process.kill()
    assert (run / LOCK).exists() and (run / OWNER).exists()
    RunFolder(run).check_unused()
    with locked(run):
        pass


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("owner", ["", "{", "[]", '{"pid": "x", "host": 3}', '{"pid": null}'])
def test_an_unknown_owner_is_still_refused(tmp_path: Path, owner: str) -> None:
    with locked(tmp_path):
        (tmp_path / OWNER).write_text(owner)
        with pytest.raises(ValueError, match="must not be in use"):
            check_idle(tmp_path)


def test_a_full_disk_does_not_keep_a_run_from_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fail)
    with locked(tmp_path):
        assert (tmp_path / LOCK).exists()
