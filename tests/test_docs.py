"""The pages whose code is said to run as it stands: it does."""

import re
from pathlib import Path

import pytest
import torch

from ds4d.data.synthetic import SampleConfig, write_sample

ROOT = Path(__file__).resolve().parents[1]
RUNNING = ("command_line", "conventions", "extending", "plug_in")


def blocks(page: str) -> list[str]:
    """The Python on a page, block by block; each keeps its line numbers, for error messages."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
    found = re.finditer(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return ["\n" * (text[: match.start(1)].count("\n")) + match.group(1) for match in found]


@pytest.mark.parametrize("page", RUNNING)
def test_the_code_on_the_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert blocks(page)
    if page == "extending":  # stands where `ds4d sample demo/data` was run
        write_sample(tmp_path / "demo" / "data", SampleConfig(frames=3, size=32, supersampling=1))
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    names: dict[str, object] = {}
    for block in blocks(page):
        exec(compile(block, f"docs/{page}.md", "exec"), names)


def test_links_between_pages_lead_somewhere() -> None:
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def table(page: str, title: str) -> list[list[str]]:
    """The rows of the table under a title, cell by cell."""
    text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [re.split(r"(?<!\\)\|", line)[1:-1] for line in rows[2:]]


def test_functions_of_the_paper_stand_in_the_files_that_are_named() -> None:
    rows = table("how_it_works", "From the paper to functions")
    assert len(rows) > 15
    for _, _, functions, files in rows:
        paths: list[Path] = []
        for name in re.findall(r"`([^`]+)`", files):
            path = ROOT / "src" / "ds4d" / name
            paths.append(path if path.is_file() else paths[-1].parent / name)  # a file beside the one before it
        sources = "\n".join(path.read_text(encoding="utf-8") for path in paths)
        for name in re.findall(r"`([^`]+)`", functions):
            assert all(re.search(rf"\b{part}\b", sources) for part in name.split(".")), f"{name}: {files}"
