"""The tables of invented results."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from ds4d.ablation import write_tables
from ds4d.ablation.results import read_results
from ds4d.ablation.table import make_tables, plot_differences

Plan = Callable[..., list]
Write = Callable[..., Path]

# psnr_dynamic by variant, scene and seed; A lacks frog at seed 1, D has no fox at all.
FOUND = {
    "A": {("fox", 0): 20.0, ("fox", 1): 21.0, ("frog", 0): 30.0},
    "B": {("fox", 0): 22.0, ("fox", 1): 22.0, ("frog", 0): 29.0, ("frog", 1): 31.0},
    "D": {("frog", 0): 33.0, ("frog", 1): 34.0},
}


def fill(folder: Path, fits: list, write: Write) -> Path:
    for fit in fits:
        value = FOUND[fit.variant].get((fit.scene.name, fit.config.seed))
        if value is not None:
            write(folder, fit, psnr=value + 5, psnr_dynamic=value, motion_error=40 - value)
    return folder


@pytest.fixture
def folder(tmp_path: Path, make_plan: Plan, write: Write) -> Path:
    return fill(tmp_path / "ablation", make_plan(variants=("A", "B", "D")), write)


def columns(text: str, first: str) -> list[list[str]]:
    """Cells of the lines that begin with a name, in every table of a Markdown file."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return [line[1:] for line in lines if line[0] == first]


def test_the_three_files_hold_the_same_numbers(folder: Path) -> None:
    assert write_tables(folder) == [folder / name for name in ("table.json", "table.md", "table.png")]
    content = json.loads((folder / "table.json").read_text())
    (table,) = content["tables"]
    assert content["base"] == table["base"] == "B" and content["fits"] == 9 and content["seeds"] == [0, 1]
    assert (table["variants"], table["scenes"]) == (["A", "B", "D"], ["fox", "frog"])
    assert table["means"]["psnr_dynamic"]["A"] == {"mean": 25.25, "spread": None, "fits": 3}
    assert table["means"]["psnr_dynamic"]["B"]["mean"] == 26.0
    against = table["differences"]["psnr_dynamic"]
    assert against["A"] == {
        "mean": -0.25, "spread": None, "better": 1, "scenes": 2, "by_scene": {"fox": -1.5, "frog": 1.0}
    }  # fmt: skip
    assert against["D"]["mean"] == 3.5 and (against["D"]["better"], against["D"]["scenes"]) == (1, 1)
    assert table["differences"]["motion_error"]["D"]["mean"] == -3.5
    assert table["differences"]["motion_error"]["D"]["better"] == 1
    assert table["by_scene"] == {"fox": {"A": 20.5, "B": 22.0}, "frog": {"A": 30.0, "B": 30.0, "D": 33.5}}
    text = (folder / "table.md").read_text()
    assert "9 fits; seeds 0, 1;" in text and "- B: A with initialization on the visual hull" in text
    # B: seeds have means 25.5 and 26.5. D against B: 4.0 and 3.0.
    assert columns(text, "psnr_dynamic") == [
        ["25.25", "26.00 ±0.71", "33.50 ±0.71"],
        ["-0.25 (1/2)", "+3.50 ±0.71 (1/1)"],
    ]
    assert columns(text, "fits") == [["3/4", "4/4", "2/4"]]


def test_missing_values_are_dashes(folder: Path) -> None:
    write_tables(folder)
    text = (folder / "table.md").read_text()
    assert columns(text, "fox") == [["20.50", "22.00", "-"]]
    assert columns(text, "ssim") == []  # not measured
    json.loads((folder / "table.json").read_text(), parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_markdown_columns_are_aligned(folder: Path) -> None:
    write_tables(folder)
    blocks = [block for block in (folder / "table.md").read_text().split("\n\n") if block.startswith("|")]
    assert len(blocks) == 3
    for block in blocks:
        positions = {tuple(i for i, sign in enumerate(line) if sign == "|") for line in block.strip().split("\n")}
        assert len(positions) == 1


def test_partial_folders_merge_by_copying(tmp_path: Path, folder: Path, make_plan: Plan, write: Write) -> None:
    halves = [fill(tmp_path / name, make_plan(variants=(name,)), write) for name in ("A", "B", "D")]
    merged = tmp_path / "merged"
    for half in halves:
        shutil.copytree(half / "results", merged / "results", dirs_exist_ok=True)
    write_tables(folder), write_tables(merged)
    for name in ("table.json", "table.md"):
        assert (merged / name).read_text() == (folder / name).read_text()
    assert (merged / "table.png").read_bytes() == (folder / "table.png").read_bytes()


def test_any_variant_may_be_the_base(tmp_path: Path, folder: Path, make_plan: Plan, write: Write) -> None:
    (table,) = make_tables(read_results(folder), "D")
    assert list(table.differences["psnr_dynamic"]) == ["A", "B"]
    assert table.differences["psnr_dynamic"]["B"].mean == -3.5
    with pytest.raises(ValueError, match=r"--base .*A, B, D.*'E'"):
        write_tables(folder, "E")
    first = fill(tmp_path / "first", make_plan(variants=("A", "D")), write)
    (table,) = make_tables(read_results(first))
    assert table.base == "A" and table.differences["psnr"]["D"].mean == pytest.approx(3.0)


def test_kinds_of_images_have_separate_tables(tmp_path: Path, make_plan: Plan, write: Write) -> None:
    for fit in make_plan():
        fitted = fit.scene.name == "frog"
        scene = replace(fit.scene, scored_on="the input view") if fitted else fit.scene
        write(tmp_path, replace(fit, scene=scene), psnr=40.0 if fitted else 20.0)
    held_out, fitted = make_tables(read_results(tmp_path))
    assert (held_out.scored_on, fitted.scored_on) == ("held-out views", "the input view")
    assert (held_out.means["psnr"]["A"].mean, fitted.means["psnr"]["A"].mean) == (20.0, 40.0)
    write_tables(tmp_path)
    text = (tmp_path / "table.md").read_text()
    assert "## Scored on held-out views: 1 scene" in text and "## Scored on the input view: 1 scene" in text


def test_a_single_variant_has_no_plot(tmp_path: Path, make_plan: Plan, write: Write) -> None:
    fill(tmp_path, make_plan(variants=("B",)), write)
    (tmp_path / "table.png").write_bytes(b"a plot of other results")
    assert write_tables(tmp_path) == [tmp_path / "table.json", tmp_path / "table.md"]
    assert not (tmp_path / "table.png").exists()
    assert "Differences" not in (tmp_path / "table.md").read_text()


def test_the_plot_shows_every_variant_and_scene(folder: Path) -> None:
    write_tables(folder)
    with Image.open(folder / "table.png") as image:
        assert len(image.convert("RGB").getcolors(200_000)) > 20
        assert image.width > image.height
    plot_differences(make_tables(read_results(folder)), folder / "table.svg")
    text = (folder / "table.svg").read_text()
    for label in ("psnr, held-out views", "psnr_object, held-out views", "psnr_dynamic, held-out views", "fox", "frog"):
        assert f"<!-- {label} -->" in text


def test_an_outlier_does_not_hide_the_others(tmp_path: Path, make_plan: Plan, write: Write) -> None:
    """D and E are 0.3 and 0.1 dB above B, A is 9 dB below: its mean is written instead."""
    for fit in make_plan(variants=("A", "B", "D", "E")):
        write(tmp_path, fit, psnr={"A": 11.0, "B": 20.0, "D": 20.3, "E": 20.1}[fit.variant])
    plot_differences(make_tables(read_results(tmp_path)), tmp_path / "far.svg")
    assert "<!-- -9.0 -->" in (tmp_path / "far.svg").read_text().replace("\N{MINUS SIGN}", "-")
    plot_differences(make_tables([r for r in read_results(tmp_path) if r.variant != "A"]), tmp_path / "near.svg")
    assert "<!-- +0.3 -->" not in (tmp_path / "near.svg").read_text()


def test_without_results_there_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="results"):
        write_tables(tmp_path)
