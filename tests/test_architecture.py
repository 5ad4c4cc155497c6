"""The house's rules, read from the sources: who may import whom, and what no file may contain."""

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

# Packages of the extras: imported where they are used, so that the rest works without them.
OPTIONAL_PACKAGES = {"accelerate", "diffusers", "gsplat", "onnxruntime", "tensorboard", "transformers", "viser"}
# Packages no file may need: torchvision breaks CPU installs, the others are replaced by a few lines of ours.
BANNED_PACKAGES = {"torchvision", "cv2", "pickle", "lpips", "timm", "torch.utils.tensorboard"}
# The files that may name a CUDA device: the back end that needs one, and the choice of a device for the user.
MAY_NAME_CUDA = {"rendering/gsplat_backend.py", "core/device.py"}
SLOW_PACKAGES = {"av", "numba", "matplotlib", "gsplat", "tyro", "trimesh", "viser"}
# Settings that are looked up by a name: of a loss term, and of a group of parameters.
READ_BY_NAME = {"LossConfig", "OptimizerConfig"}
MAX_LINES = 400

FILES = sorted(SRC.rglob("*.py"))
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SRC)))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def _room(path: Path) -> str:
    """The room a file of the package belongs to; the package's own `__init__` is the room ``."""
    first = path.relative_to(SRC).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


def _imported_modules(tree: ast.AST) -> Iterator[str]:
    """Dotted names of all imports, at any depth; `from a import b` gives `a.b`, as b may be a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports within the package are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _is_inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


@each_file
def test_imports_no_banned_package_and_optional_ones_late(path: Path) -> None:
    tree = _tree(path)
    banned = {module for module in _imported_modules(tree) for name in BANNED_PACKAGES if _is_inside(module, name)}
    assert not banned
    at_import_time = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    early = {
        module
        for node in at_import_time
        for module in _imported_modules(node)
        for name in OPTIONAL_PACKAGES
        if _is_inside(module, name)
    }
    assert not early, "import it inside the class that needs it, with an error that names the extra"


@each_file
def test_does_not_postpone_annotations(path: Path) -> None:
    assert "__future__.annotations" not in _imported_modules(_tree(path)), "jaxtyping cannot check strings"


def _calls(tree: ast.AST) -> Iterator[tuple[ast.Call, str]]:
    """Every call with what is called, as source text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


@each_file
def test_calls_nothing_dangerous(path: Path) -> None:
    calls = list(_calls(_tree(path)))
    assert not {name for _, name in calls} & {"eval", "exec", "os.system", "os.execv"}
    for node, name in calls:
        if name == "torch.load":
            safe = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}.get("weights_only")
            assert safe == "True", f"line {node.lineno}: torch.load needs weights_only=True"
        if name.startswith("subprocess."):
            assert not any(keyword.arg == "shell" for keyword in node.keywords), f"line {node.lineno}: shell=True"


@each_file
def test_prints_only_in_the_cli(path: Path) -> None:
    if _room(path) != "cli":
        assert "print" not in {name for _, name in _calls(_tree(path))}


def _cuda_literals(tree: ast.AST) -> list[int]:
    """Lines that name a CUDA device; `device.type == "cuda"` asks for the kind of a given one and is left out."""
    asked = {id(part) for node in ast.walk(tree) if isinstance(node, ast.Compare) for part in node.comparators}
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in asked
        if re.fullmatch(r"cuda(:\d+)?", node.value)
    ]


@each_file
def test_takes_the_device_from_its_inputs(path: Path) -> None:
    if path.relative_to(SRC).as_posix() in MAY_NAME_CUDA:
        return
    tree = _tree(path)
    moves = [node.lineno for node, name in _calls(tree) if name.endswith(".cuda")]
    assert not _cuda_literals(tree) + moves


def _config_fields() -> list[tuple[str, str]]:
    """(class, field) of every settings dataclass in the package."""
    return [
        (node.name, field.target.id)
        for path in FILES
        for node in _tree(path).body
        if isinstance(node, ast.ClassDef) and node.name.endswith("Config") and node.name not in READ_BY_NAME
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    ]


def test_every_setting_is_read_by_something() -> None:
    read = {node.attr for path in FILES for node in ast.walk(_tree(path)) if isinstance(node, ast.Attribute)}
    assert _config_fields(), "the settings have been renamed: look for them under their new name"
    assert not [f"{owner}.{name}" for owner, name in _config_fields() if name not in read]


@each_file
def test_public_names_are_documented(path: Path) -> None:
    definitions = [_tree(path)]
    definitions += [
        node
        for node in definitions[0].body
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    silent = [getattr(node, "name", "the module") for node in definitions if not ast.get_docstring(node)]
    assert not silent


@each_file
def test_is_small_and_named_for_what_it_holds(path: Path) -> None:
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "misc"}
    assert len(path.read_text().splitlines()) <= MAX_LINES


def test_importing_the_package_is_light() -> None:
    code = f"import sys, ds4d; print(*sorted({SLOW_PACKAGES!r} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == []


@pytest.mark.parametrize(
    ("line", "found"),
    [('x.to("cuda")', True), ('torch.zeros(3, device="cuda:0")', True), ('fused = x.device.type == "cuda"', False)],
)
def test_the_device_check_tells_a_choice_from_a_question(line: str, found: bool) -> None:
    assert bool(_cuda_literals(ast.parse(line))) == found


def _constant_skips(tree: ast.AST) -> list[int]:
    """Lines of `skipif` whose condition asks nothing: `not torch.cuda.is_available` is always False."""
    lines = []
    for node, name in _calls(tree):
        if name.split(".")[-1] == "skipif":
            condition = node.args[0] if node.args else next(k.value for k in node.keywords if k.arg == "condition")
            if not any(isinstance(part, ast.Call | ast.Compare) for part in ast.walk(condition)):
                lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_skips_ask_something(path: Path) -> None:
    assert _constant_skips(_tree(path)) == []


@pytest.mark.parametrize(
    ("condition", "constant"),
    [
        ("not torch.cuda.is_available", True),
        ("False", True),
        ("not torch.cuda.is_available()", False),
        ("sys.version_info < (3, 11)", False),
    ],
)
def test_the_skip_check_tells_a_call_from_its_name(condition: str, constant: bool) -> None:
    assert bool(_constant_skips(ast.parse(f"pytest.mark.skipif({condition}, reason='')"))) == constant
