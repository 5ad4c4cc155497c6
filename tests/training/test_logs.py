"""Loss logs on disk."""

import json
from pathlib import Path

import pytest

from ds4d.training import LogConfig, LossLog, StepDone, TensorBoardLog, read_log


def step(number: int, loss: float = 0.5) -> StepDone:
    return StepDone(number, 100, "static", loss, {"l1": 0.25, "mask": 0.125}, 7, 1.23456)


def test_entries_are_flushed(tmp_path: Path) -> None:
    log = LossLog(tmp_path / "log.jsonl", keep_until=0)
    log.write(step(10))
    line = {"step": 10, "stage": "static", "seconds": 1.235, "num_gaussians": 7, "loss": 0.5, "l1": 0.25, "mask": 0.125}
    assert json.loads((tmp_path / "log.jsonl").read_text()) == line
    assert read_log(tmp_path / "log.jsonl") == [line]
    log.close()


def test_a_resumed_log_drops_repeated_steps(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    log = LossLog(path, keep_until=0)
    for number in (10, 20, 30):
        log.write(step(number, loss=1.0))
    log.close()
    path.write_text(path.read_text() + '{"step": 40, "lo')  # killed while writing
    log = LossLog(path, keep_until=20)
    log.write(step(30, loss=2.0))
    log.close()
    assert [(entry["step"], entry["loss"]) for entry in read_log(path)] == [(10, 1.0), (20, 1.0), (30, 2.0)]


def test_a_new_log_replaces_the_old_one(tmp_path: Path) -> None:
    for loss in (1.0, 2.0):
        log = LossLog(tmp_path / "log.jsonl", keep_until=0)
        log.write(step(10, loss))
        log.close()
    assert [entry["loss"] for entry in read_log(tmp_path / "log.jsonl")] == [2.0]
    assert read_log(tmp_path / "absent.jsonl") == []


@pytest.mark.parametrize("line", ["\0\0\0", "[]", '{"step": 20}'])
def test_damaged_line_number_is_reported(tmp_path: Path, line: str) -> None:
    path = tmp_path / "log.jsonl"
    log = LossLog(path, keep_until=0)
    log.write(step(10))
    log.close()
    path.write_text(f"{path.read_text()}{line}\n")
    with pytest.raises(ValueError, match=r"log\.jsonl: line 2"):
        read_log(path)


def test_tensorboard_scalars(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = TensorBoardLog(tmp_path)
    for number in (10, 20):
        log.write(step(number, loss=number / 100))
    log.close()
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0})
    events.Reload()
    assert set(events.Tags()["tensors"]) == {"loss", "num_gaussians", "l1", "mask"}
    losses = [(e.step, e.tensor_proto.float_val[0]) for e in events.Tensors("loss")]
    assert losses == [(10, pytest.approx(0.1)), (20, pytest.approx(0.2))]


def test_log_interval_range() -> None:
    with pytest.raises(ValueError, match="every"):
        LogConfig(every=0)


@pytest.mark.parametrize(
    "change",
    [{"step": "many"}, {"step": 1.5}, {"loss": None}, {"loss": 1e999}, {"seconds": [1]}, {"stage": 1}, {"extra": "x"}],
)
def test_entries_without_numbers_are_refused_by_line(tmp_path: Path, change: dict) -> None:
    path = tmp_path / "log.jsonl"
    entry = {"step": 1, "stage": "static", "seconds": 0.5, "num_gaussians": 10, "loss": 0.25}
    path.write_text(json.dumps(entry) + "\n" + json.dumps({**entry, **change}) + "\n")
    with pytest.raises(ValueError, match=r"log\.jsonl: line 2"):
        read_log(path)


def test_deep_lines_and_other_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    for content in (b"[" * 20_000 + b"\n", b"\xff\xfe\n"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"log\.jsonl"):
            read_log(path)
