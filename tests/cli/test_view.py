"""`ds4d view` and `ds4d generate --viewer` as users run them: addresses, ports in use, Ctrl-C, what is no run."""

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
def test_view_says_where_to_look_and_ends_with_ctrl_c(finished_run: Path) -> None:
    words = [sys.executable, "-m", "ds4d", "view", str(finished_run), "--device", "cpu"]
    # A shell's background ignores SIGINT, and children inherit that: the test must not depend on where it runs.
    listens = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **listens)
    try:
        address = re.fullmatch(r"open (http://127.0.0.1:\d+)\n", process.stdout.readline())
        assert address, process.communicate()
        assert "ssh -L" in process.stdout.readline()
        assert process.stdout.readline() == "Ctrl-C ends it\n"
        with urllib.request.urlopen(address[1]) as answer:
            assert answer.status == 200
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
    assert (process.returncode, out, err) == (0, "", "")


def test_view_refuses_a_port_in_use(ds4d: Callable, finished_run: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = ds4d("view", finished_run, "--device", "cpu", "--port", port)
    assert outcome.status == 2 and f"--port {port} of 127.0.0.1 must be free" in outcome.err


@pytest.mark.parametrize("content", [None, "nothing"])
def test_view_refuses_what_is_no_run(ds4d: Callable, tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / "run").mkdir()
    outcome = ds4d("view", tmp_path / "run", "--device", "cpu")
    assert outcome.status == 2 and "must be the output folder of `ds4d generate`" in outcome.err


def test_without_viser_the_extra_is_named(ds4d: Callable, finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    outcome = ds4d("view", finished_run, "--device", "cpu")
    assert outcome.status == 2 and "pip install 'ds4d[viewer]'" in outcome.err


def test_generate_says_where_to_watch(ds4d: Callable, quick: list[str], sample_folder: Path, tmp_path: Path) -> None:
    outcome = ds4d("generate", sample_folder, "-o", tmp_path / "run", "--viewer", *quick)
    assert outcome.status == 0
    port = int(re.search(r"to watch the fit:\n  open http://127.0.0.1:(\d+)", outcome.err)[1])
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
        pass  # it is gone with the run
    quiet = ds4d("generate", sample_folder, "-o", tmp_path / "quiet", "--viewer", "--quiet", *quick)
    assert (quiet.status, quiet.out, quiet.err) == (0, "", "")
