"""`ds4d viewer` and `ds4d generate --viewer`."""

import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

PATIENCE = 120  # seconds until a process that does nothing is a failure


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C cannot be sent to one process there")
def test_viewer_prints_its_address_and_ends_with_ctrl_c(finished_run: Path) -> None:
    argv = [sys.executable, "-m", "ds4d", "viewer", str(finished_run), "--device", "cpu"]
    # Processes in a shell's background ignore SIGINT, and their children inherit that.
    listens = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **listens)
    try:
        address = re.fullmatch(r"open (http://127.0.0.1:\d+)\n", process.stdout.readline())
        assert address, process.communicate()
        assert "ssh -L" in process.stdout.readline()
        assert "Ctrl-C" in process.stdout.readline()
        with urllib.request.urlopen(address[1]) as response:
            assert response.status == 200
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (0, "", "")


def test_a_port_in_use_is_refused(ds4d: Callable, finished_run: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = ds4d("viewer", finished_run, "--device", "cpu", "--port", port)
    assert done.code == 2 and f"--port {port}" in done.err


@pytest.mark.parametrize("exists", [False, True])
def test_a_folder_without_a_run_is_refused(ds4d: Callable, tmp_path: Path, exists: bool) -> None:
    if exists:
        (tmp_path / "run").mkdir()
    done = ds4d("viewer", tmp_path / "run", "--device", "cpu")
    assert done.code == 2 and str(tmp_path / "run") in done.err


def test_a_missing_extra_is_named(ds4d: Callable, finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    done = ds4d("viewer", finished_run, "--device", "cpu")
    assert done.code == 2 and "[viewer]" in done.err


def test_generate_prints_the_address_of_its_viewer(
    ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path
) -> None:
    done = ds4d("generate", sample_folder, "-o", tmp_path / "run", "--viewer", *quick)
    assert done.code == 0
    port = int(re.search(r"viewer:\n  open http://127.0.0.1:(\d+)", done.err)[1])
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        pass  # the viewer ends with the run
    quiet = ds4d("generate", sample_folder, "-o", tmp_path / "quiet", "--viewer", "--quiet", *quick)
    assert (quiet.code, quiet.out, quiet.err) == (0, "", "")
