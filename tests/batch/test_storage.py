"""Inputs and outputs in a bucket, on a real S3 server of this machine."""

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ds4d.batch.batch import open_batch, open_store
from ds4d.batch.checked import CheckedOptions
from ds4d.batch.claims import Claims, Owner
from ds4d.batch.manifest import Item, OptionChecks, read_items
from ds4d.batch.queue import Queue, divide
from ds4d.batch.storage import StorageError, fetch, filesystem, upload
from ds4d.batch.stores import BucketStore
from ds4d.cli.commands.batch import option_checks

moto_server = pytest.importorskip("moto.server")
pytest.importorskip("s3fs")


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(address: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A new bucket, as a URL."""
    for name, value in (
        ("AWS_ENDPOINT_URL", address), ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    url = f"s3://b{abs(hash(request.node.name))}"
    system, path = filesystem(url, writable=True)
    type(system).clear_instance_cache()
    system, path = filesystem(url, writable=True)
    system.mkdir(path)
    return url


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    for name in ("config.json", "metrics.json", "report.html", "sub/frame.ply", "checkpoints/last.safetensors"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / ".ds4d-lock").write_text("")
    return folder


def keys(url: str) -> list[str]:
    system, path = filesystem(url)
    return sorted(key.removeprefix(path).lstrip("/") for key in system.find(path))


def test_a_record_is_created_once_whoever_is_faster(bucket: str) -> None:
    system, path = filesystem(bucket, writable=True)
    store = BucketStore(system, f"{path}/state")
    store.check()
    won: list[int] = []
    threads = [
        threading.Thread(target=lambda number=number: store.create("f/x.1", b"%d" % number) and won.append(number))
        for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and store.read("f/x.1") == b"%d" % won[0]
    assert store.names("f") == ["x.1"] and store.names("nothing") == [] and store.read("f/y.1") is None
    store.replace("f/x.1", b"new")
    assert store.read("f/x.1") == b"new"
    store.remove("f/x.1")
    store.remove("f/x.1")
    assert store.names("f") == []


def test_claims_work_in_a_bucket(bucket: str) -> None:
    batch = open_batch(bucket, "videos", [Item("a", "a.mp4"), Item("b", "b.mp4")], {})
    first, second = (Claims(batch.store, Owner(name), clock=lambda: 0.0, wall_clock=lambda: 0.0) for name in "xy")
    claims = [Queue(each, divide(batch.items, each.buckets)).take() for each in (first, second)]
    assert sorted(claim.name for claim in claims if claim) == ["a", "b"]
    assert claims[0] and first.finish(claims[0], {}) and not first.finish(claims[0], {})


def test_a_store_without_exclusive_creation_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    system, _ = filesystem("memory://x", writable=True)
    pipe = type(system).pipe_file
    monkeypatch.setattr(
        type(system), "pipe_file", lambda self, path, value, mode="overwrite", **rest: pipe(self, path, value)
    )
    with pytest.raises(ValueError, match="only once"):
        open_batch("memory://careless/out", "videos", [Item("a", "a.mp4")], {})


def test_an_upload_is_whole_and_metrics_come_last(bucket: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    system, _ = filesystem(bucket, writable=True)
    put = system.put_file
    monkeypatch.setattr(system, "put_file", lambda file, path: (seen.append(path), put(file, path)))
    size = upload(run, f"{bucket}/a")
    assert keys(f"{bucket}/a") == ["config.json", "metrics.json", "report.html", "sub/frame.ply"]
    assert seen[-1].endswith("/metrics.json")
    assert size == sum(map(len, keys(f"{bucket}/a")))


@pytest.mark.parametrize("failing", [0, 1, 3])
def test_a_store_that_fails_in_an_upload_holds_nothing_of_it(
    bucket: str, run: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    system, _ = filesystem(bucket, writable=True)
    put, count = system.put_file, iter(range(100))

    def put_file(file: str, path: str) -> None:
        put(file, path)
        if next(count) == failing:
            raise ConnectionResetError("connection reset by peer")

    monkeypatch.setattr(system, "put_file", put_file)
    with pytest.raises(StorageError, match="connection reset"):
        upload(run, f"{bucket}/a")
    assert keys(f"{bucket}/a") == []


def test_an_upload_that_arrives_short_is_an_error(bucket: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system, _ = filesystem(bucket, writable=True)
    monkeypatch.setattr(system, "put_file", lambda file, path: system.pipe_file(path, b"x"))
    with pytest.raises(StorageError, match="size"):
        upload(run, f"{bucket}/a")
    assert keys(f"{bucket}/a") == []


def test_inputs_are_fetched_whole(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system, path = filesystem(bucket, writable=True)
    system.pipe_file(f"{path}/videos/a.mp4", b"video")
    system.pipe_file(f"{path}/frames/0001.png", b"1")
    system.pipe_file(f"{path}/frames/0002.png", b"2")
    assert fetch(f"{bucket}/videos/a.mp4", tmp_path).read_bytes() == b"video"
    assert sorted(each.name for each in fetch(f"{bucket}/frames", tmp_path).iterdir()) == ["0001.png", "0002.png"]
    with pytest.raises(FileNotFoundError):
        fetch(f"{bucket}/videos/missing.mp4", tmp_path)

    def get_file(path: str, file: str) -> None:
        Path(file).write_bytes(b"vid")
        raise ConnectionResetError("connection reset by peer")

    monkeypatch.setattr(system, "get_file", get_file)
    with pytest.raises(StorageError):
        fetch(f"{bucket}/videos/a.mp4", tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


def test_manifests_and_patterns_in_a_bucket(bucket: str) -> None:
    system, path = filesystem(bucket, writable=True)
    for name in ("a.mp4", "b.mp4", "c.txt"):
        system.pipe_file(f"{path}/videos/{name}", b"video")
    system.pipe_file(f"{path}/m.jsonl", json.dumps({"input": "videos/a.mp4", "size": 64}).encode())
    for source in (f"{bucket}/videos", f"{bucket}/videos/*.mp4"):
        items = read_items(source, option_checks())
        assert [(item.name, item.input) for item in items] == [
            (name, f"{bucket}/videos/{name}.mp4") for name in ("a", "b")
        ]
    assert read_items(f"{bucket}/m.jsonl", option_checks()) == [
        Item("a", f"{bucket}/videos/a.mp4", ("--size", "64"))
    ]  # fmt: skip


def test_options_that_were_checked_are_remembered_in_a_bucket(bucket: str) -> None:
    seen: list[object] = []
    for _ in range(2):
        checked = CheckedOptions(open_store(f"{bucket}/out"), lambda: OptionChecks(frozenset({"--size"}), seen.append))
        checked.checks.check(("--size", "64"))
        checked.save()
    assert seen == [("--size", "64")]
    assert not [key for key in keys(bucket) if not key.startswith("out/.batch/checked-")]


@pytest.mark.parametrize("url", ["ftp://host/x", "file:///etc", "https://host/x"])
def test_places_that_cannot_be_written(url: str) -> None:
    with pytest.raises(ValueError, match=url.split(":")[0]):
        filesystem(url, writable=True)


def test_an_output_of_another_batch_is_refused(bucket: str, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("")
    items = [Item("a", "a.mp4")]
    for output in (bucket, str(tmp_path / "out")):
        batch = open_batch(output, "videos", items, {"preset": "tiny"})
        assert open_batch(output, "videos", [*items, Item("b", "b.mp4")], {"preset": "tiny"}).buckets == batch.buckets
        for source, defaults in (("others", {"preset": "tiny"}), ("videos", {"preset": "cpu"}), ("videos", {})):
            with pytest.raises(ValueError, match="another"):
                open_batch(output, source, items, defaults)
    with pytest.raises(ValueError, match="empty"):
        open_batch(str(tmp_path), "videos", items, {})


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ImportError, match=r"\[storage\]"):
        filesystem("gs://bucket/x")


def test_a_store_that_cannot_be_reached_is_one_kind_of_error(
    monkeypatch: pytest.MonkeyPatch, run: Path, bucket: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    system, path = filesystem("s3://elsewhere", writable=True)
    type(system).clear_instance_cache()
    system, path = filesystem("s3://elsewhere", writable=True)
    system.retries = 1
    with pytest.raises(OSError):
        BucketStore(system, path).read("f/x.1")
    with pytest.raises(StorageError, match="s3://elsewhere/a"):
        upload(run, "s3://elsewhere/a")
    type(system).clear_instance_cache()
