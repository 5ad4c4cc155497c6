"""Packages whose names are imported when they are first used (`__init__.pyi`)."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import ds4d

SRC = Path(ds4d.__file__).parent
PACKAGES = [".".join(path.relative_to(SRC.parent).parent.parts) for path in sorted(SRC.rglob("__init__.pyi"))]
# Functions and the modules of the same name that hold them.
SHADOWED = [
    (package, name)
    for package in PACKAGES
    for name in import_module(package).__all__
    if (SRC.parent / package.replace(".", "/") / f"{name}.py").is_file()
]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_is_there(package: str) -> None:
    module = import_module(package)
    assert module.__all__
    assert not [name for name in module.__all__ if isinstance(getattr(module, name), ModuleType)]


@pytest.mark.parametrize(("package", "name"), SHADOWED)
def test_a_function_is_not_shadowed_by_its_module(package: str, name: str) -> None:
    code = f"""if True:
        import sys
        from importlib import import_module
        package = import_module({package!r})
        for step in sys.argv[1:]:
            if step == "module":
                import_module("{package}.{name}")
            assert callable(package.{name}), step
    """
    for order in (["module", "name"], ["name", "module"]):
        subprocess.run([sys.executable, "-c", code, *order], check=True)


def test_there_are_such_functions() -> None:
    assert ("ds4d.io", "contact_sheet") in SHADOWED
