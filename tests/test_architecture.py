"""Rules over all sources that neither ruff nor import-linter (pyproject.toml) can express."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SRC = ROOT / "src" / "ds4d"
TESTS = ROOT / "tests"

# The files that may name a CUDA device: the back end that needs one, the choice of a device, and `ds4d doctor`.
MAY_NAME_CUDA = {"rendering/gsplat_backend.py", "core/device.py", "cli/installation.py"}
SLOW_PACKAGES = {"av", "numba", "matplotlib", "gsplat", "scipy", "torch", "tyro", "trimesh", "viser"}
# Settings that are read by a name in a string: of an extractor, a loss term, a group of parameters.
READ_BY_NAME = {"FeaturesConfig", "LossConfig", "OptimizerConfig"}
MAX_LINES, MAX_TOP_LEVEL_MODULES = 400, 6

TREES = {path.relative_to(SRC).as_posix(): ast.parse(path.read_text()) for path in sorted(SRC.rglob("*.py"))}


def test_few_modules_stand_outside_packages() -> None:
    assert len(list(SRC.glob("*.py"))) <= MAX_TOP_LEVEL_MODULES


def test_files_are_small_and_named_for_what_they_hold() -> None:
    paths = sorted(SRC.rglob("*.py"))
    assert not [path for path in paths if path.stem in {"utils", "util", "helpers", "helper", "common", "misc"}]
    assert not [path for path in paths if len(path.read_text().splitlines()) > MAX_LINES]


def _cuda_literals(tree: ast.AST) -> list[int]:
    """Lines that name a CUDA device; `device.type == "cuda"` asks for the kind of a given one and is left out."""
    asked = {id(part) for node in ast.walk(tree) if isinstance(node, ast.Compare) for part in node.comparators}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in asked
        if re.fullmatch(r"cuda(:\d+)?", node.value)
    ]


def _calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Every call with what is called, as source text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


def test_the_device_comes_from_the_inputs() -> None:
    chosen = {
        path: _cuda_literals(tree) + [node.lineno for node, name in _calls(tree) if name.endswith(".cuda")]
        for path, tree in TREES.items()
        if path not in MAY_NAME_CUDA
    }
    assert not {path: lines for path, lines in chosen.items() if lines}


@pytest.mark.parametrize(
    ("line", "found"),
    [('x.to("cuda")', True), ('torch.zeros(3, device="cuda:0")', True), ('fused = x.device.type == "cuda"', False)],
)
def test_the_device_check_distinguishes_choices_from_comparisons(line: str, found: bool) -> None:
    assert bool(_cuda_literals(ast.parse(line))) == found


def test_torch_load_reads_weights_alone() -> None:
    loads = [node for tree in TREES.values() for node, name in _calls(tree) if name == "torch.load"]
    safe = [
        {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}.get("weights_only") for node in loads
    ]
    assert loads and safe == ["True"] * len(loads)


def test_every_setting_is_read() -> None:
    fields = [
        (node.name, field.target.id)
        for tree in TREES.values()
        for node in tree.body
        if isinstance(node, ast.ClassDef) and node.name.endswith("Config") and node.name not in READ_BY_NAME
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    ]
    read = {node.attr for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert fields, "the settings have been renamed: look for them under their new name"
    assert not [f"{owner}.{name}" for owner, name in fields if name not in read]


def test_importing_the_package_is_light() -> None:
    code = f"import sys, ds4d; print(*sorted({SLOW_PACKAGES!r} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


def _constant_skips(tree: ast.AST) -> list[int]:
    """Lines of `skipif` whose condition calls nothing: `not torch.cuda.is_available` is always False."""
    lines = []
    for node, name in _calls(tree):
        if name.split(".")[-1] == "skipif":
            condition = node.args[0] if node.args else next(k.value for k in node.keywords if k.arg == "condition")
            if not any(isinstance(part, ast.Call | ast.Compare) for part in ast.walk(condition)):
                lines.append(node.lineno)
    return lines


def test_skips_depend_on_something() -> None:
    constant = {path: _constant_skips(ast.parse(path.read_text())) for path in TESTS.rglob("*.py")}
    assert not {path: lines for path, lines in constant.items() if lines}


@pytest.mark.parametrize(
    ("condition", "constant"),
    [
        ("not torch.cuda.is_available", True),
        ("False", True),
        ("not torch.cuda.is_available()", False),
        ("sys.version_info < (3, 11)", False),
    ],
)
def test_the_skip_check_distinguishes_a_call_from_its_name(condition: str, constant: bool) -> None:
    assert bool(_constant_skips(ast.parse(f"pytest.mark.skipif({condition}, reason='')"))) == constant


# The field has a term for each of these: video, fix, package, matte, available, weighted, normalized and world space,
# saliency map.
FORBIDDEN = re.compile(
    r"\b(films?|mends?|rooms?|floors|cut-?outs?|at hand|doubted|footage|inner world|user's world|heat ?maps?)\b",
    re.IGNORECASE,
)


def test_the_words_are_the_fields() -> None:
    texts = [
        *(path for path in SRC.rglob("*") if path.suffix in {".py", ".js", ".html", ".css"}),
        *(ROOT / "docs").glob("*.md"),
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
    ]
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match.group()}"
        for path in texts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        for match in FORBIDDEN.finditer(line)
    ]
    assert not found
