"""Manifests, folders and patterns; every row is checked before any work."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from ds4d.batch.manifest import OptionChecks, read_items
from ds4d.cli.commands.batch import option_checks


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "b 2.mov", "notes.txt", ".hidden.mp4"):
        (folder / name).write_bytes(b"")
    (folder / "c").mkdir()
    (folder / "c" / "0001.png").write_bytes(b"")
    return folder


def written(folder: Path, name: str, content: str) -> str:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return str(path)


def errors_of(source: str) -> str:
    with pytest.raises(ValueError) as caught:
        read_items(source, option_checks())
    return str(caught.value)


def test_csv_rows_have_options(videos: Path) -> None:
    source = written(
        videos, "m.csv", "input,name,size,fusion,allow_missing_weights\na.mp4,first,64,false,true\nc,,,true,false\n"
    )
    first, second = read_items(source, option_checks(), {"preset": "tiny", "size": "96"})
    assert (first.name, first.input) == ("first", str(videos / "a.mp4"))
    assert first.options == ("--preset", "tiny", "--size", "64", "--no-fusion", "--allow-missing-weights")
    assert second.name == "c" and second.options == ("--preset", "tiny", "--size", "96", "--fusion")


def test_jsonl_and_parquet_are_read_as_csv_is(videos: Path) -> None:
    rows = [{"input": "a.mp4", "name": "x", "size": 64}, {"input": str(videos / "c"), "name": "y", "start": 0.5}]
    source = written(videos, "m.jsonl", "\n".join(map(json.dumps, rows)) + "\n\n")
    items = read_items(source, option_checks())
    assert [item.options for item in items] == [("--size", "64"), ("--start", "0.5")]
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(rows), videos / "m.parquet")
    table = pyarrow.Table.from_pylist([{"size": None, "start": None, **row} for row in rows])
    parquet.write_table(table, videos / "m.parquet")
    assert read_items(str(videos / "m.parquet"), option_checks()) == items


def test_a_folder_and_a_pattern(videos: Path) -> None:
    assert [item.name for item in read_items(str(videos), option_checks())] == ["a", "b_2", "c"]
    assert [item.name for item in read_items(str(videos / "*.m*"), option_checks())] == ["a", "b_2"]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("input,name\nmissing.mp4,x\n", ["row 2", "'input'", "missing.mp4"]),
        ("input,name\n,x\n", ["row 2", "'input'"]),
        ("name\nx\n", ["row 2", "'input'"]),
        ("input,name\na.mp4,x\nc,X\n", ["row 3", "'name'", "row 2"]),
        ("input,name\na.mp4,../x\n", ["row 2", "'name'", "../x"]),
        ("input,sise\na.mp4,64\n", ["row 2", "'sise'", "'size'"]),
        ("input,size\na.mp4,64\nc,big\n", ["row 3", "'size'", "big"]),
        ("input,start,end\na.mp4,3,2\n", ["row 2", "'end'"]),
        ("input,views\na.mp4,nowhere\n", ["row 2", "'views'", "nowhere"]),
        ("input,preset\na.mp4,huge\n", ["row 2", "'preset'", "huge"]),
        ("input,output\na.mp4,/tmp/x\n", ["row 2", "'output'"]),
        ("input,size\na.mp4,--viewer\n", ["row 2", "'size'"]),
        ("input,name\nftp://host/a.mp4,x\n", ["row 2", "'input'", "ftp://"]),
        ("input,name,\na.mp4,x,y\n", ["row 1"]),
        ("input\na.mp4,x,y\n", ["row 2", "columns"]),
        ("", ["m.csv"]),
    ],
)
def test_errors_name_row_and_column(videos: Path, content: str, named: list[str]) -> None:
    message = errors_of(written(videos, "m.csv", content))
    assert [word for word in named if word not in message] == []


@pytest.mark.parametrize("line", ["{", "[1]", '{"input": 3}', '{"input": "a.mp4", "size": {"a": 1}}'])
def test_errors_of_jsonl_name_the_row(videos: Path, line: str) -> None:
    assert "row 2" in errors_of(written(videos, "m.jsonl", f'{{"input": "a.mp4"}}\n{line}\n'))


def test_all_errors_are_named_at_once(videos: Path) -> None:
    message = errors_of(written(videos, "m.csv", "input,size\nx.mp4,64\na.mp4,big\ny.mp4,64\n"))
    assert all(f"row {number}" in message for number in (2, 3, 4))


def test_options_that_repeat_are_checked_once(videos: Path) -> None:
    checked: list[Sequence[str]] = []
    checks = OptionChecks(frozenset({"--size"}), checked.append)
    source = written(videos, "m.csv", "input,name,size\n" + "".join(f"a.mp4,n{index},64\n" for index in range(50)))
    assert len(read_items(source, checks)) == 50
    assert checked == [("--size", "64")]


@pytest.mark.parametrize("source", ["nothing", "videos/a.mp4", "videos/*.webm"])
def test_sources_that_are_none(videos: Path, monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    monkeypatch.chdir(videos.parent)
    assert source in errors_of(source)
