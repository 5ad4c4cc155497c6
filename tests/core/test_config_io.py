"""Settings as plain data: round trips, and refusal of what nothing reads."""

import json
import re
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from ds4d.config import GenerateConfig
from ds4d.core import check_choices, check_ranges, first_difference, from_dict, to_dict, with_overrides
from ds4d.deformation import FieldConfig


@dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    steps: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Outer:
    name: str
    kind: Literal["a", "b"] = "a"
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None
    file: Path | None = None
    count: int = 3
    flag: bool = False
    rates: dict[str, float | None] = field(default_factory=dict)
    anything: Any = None


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(to_dict(value)))


@pytest.mark.parametrize(
    "config",
    [
        Outer("x"),
        Outer("x", "b", Inner(0.1, ()), Inner(2.0, (3,)), Path("a/b.ply"), -1, True, {"a": 0.5, "b": None}, [1, "c"]),
        GenerateConfig(),
        replace(GenerateConfig(), field=None, init=replace(GenerateConfig().init, method="points", file=Path("p.ply"))),
    ],
)
def test_round_trip_through_json(config: Any) -> None:
    assert from_dict(type(config), through_json(config)) == config


def test_what_is_left_out_keeps_its_default() -> None:
    assert from_dict(Outer, {"name": "x", "inner": {"rate": 2}}) == Outer("x", inner=Inner(rate=2.0))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"name": "x", "color": 1}, "color"),
        ({"name": "x", "inner": {"rat": 1}}, r"^inner .*rat"),
        ({}, "name"),
        ({"name": 3}, r"^name .*text.*3"),
        ({"name": "x", "rates": [1.0]}, r"^rates .*table.*1\.0"),
        ({"name": "x", "rates": {"a": "fast"}}, r"^rates\.a .*number or none.*fast"),
        ({"name": "x", "kind": "c"}, r"^kind .*'a', 'b'.*'c'"),
        ({"name": "x", "count": 1.5}, r"^count .*whole number.*1\.5"),
        ({"name": "x", "count": True}, r"^count .*True"),
        ({"name": "x", "flag": 1}, r"^flag .*true or false.*1"),
        ({"name": "x", "inner": None}, r"^inner .*None"),
        ({"name": "x", "maybe": [1]}, r"^maybe .*\[1\]"),
        ({"name": "x", "inner": {"steps": [1, "2"]}}, r"^inner\.steps .*'2'"),
        ({"name": "x", "inner": {"rate": "fast"}}, r"^inner\.rate .*fast"),
    ],
)
def test_wrong_data_is_refused_by_name(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_dict(Outer, data)


OUTER = Outer("x", maybe=Inner(2.0))


@pytest.mark.parametrize(
    ("overrides", "changes"),
    [
        ({}, {}),
        ({"count": 5, "kind": "b"}, {"count": 5, "kind": "b"}),
        ({"inner.rate": 1}, {"inner": Inner(rate=1.0)}),
        ({"inner": {"rate": 1.0}}, {"inner": Inner(rate=1.0)}),
        ({"inner": Inner(rate=3.0)}, {"inner": Inner(rate=3.0)}),
        ({"inner.rate": 1.0, "inner.steps": [3]}, {"inner": Inner(1.0, (3,))}),
        ({"maybe": None}, {"maybe": None}),
        ({"maybe.rate": 3.0}, {"maybe": Inner(3.0)}),
        ({"file": Path("a/b")}, {"file": Path("a/b")}),
    ],
)
def test_overrides_change_what_they_name(overrides: dict[str, Any], changes: dict[str, Any]) -> None:
    assert with_overrides(OUTER, overrides) == replace(OUTER, **changes)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"cuont": 1}, r"'cuont'.*Did you mean count"),
        ({"inner.rat": 1}, r"'inner\.rat'.*Did you mean inner\.rate"),
        ({"steps": (1,)}, r"'steps'.*Did you mean .*inner\.steps"),
        ({"inner.rate.deeper": 1}, r"inner\.rate.*number"),
        ({"inner": {"rate": "fast"}}, r"inner\.rate.*fast"),
        ({"maybe": {"rat": 1}}, r"'maybe\.rat'"),
        ({"inner": Inner(), "inner.rate": 2.0}, "once"),
    ],
)
def test_overrides_that_fit_no_setting_are_refused(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        with_overrides(OUTER, overrides)


def test_overrides_may_only_be_valid_together() -> None:
    config = with_overrides(GenerateConfig(), {"video.start": 2.0, "video.end": 4.0})
    assert with_overrides(config, {"video.end": 9.0, "video.start": 8.0}).video.start == 8.0


def test_an_override_out_of_range_is_named() -> None:
    with pytest.raises(ValueError, match=r"training: dynamic_steps .*got -1"):
        with_overrides(GenerateConfig(), {"training.dynamic_steps": -1})


def test_differences_are_named() -> None:
    ours = through_json(GenerateConfig())
    assert first_difference(ours, through_json(GenerateConfig())) is None
    assert first_difference(ours, through_json(replace(GenerateConfig(), seed=1))) == "seed"
    deep = replace(GenerateConfig(), field=FieldConfig(width=3))
    assert first_difference(ours, through_json(deep)) == "field.width"
    assert first_difference(ours, through_json(replace(GenerateConfig(), field=None))) == "field"
    assert first_difference({"a": 1}, {"a": 1, "b": None}) == "b"


def every_config(config: Any, name: str = "") -> dict[str, Any]:
    """All dataclasses inside one, by their place."""
    found = {name: config}
    for f in fields(config):
        value = getattr(config, f.name)
        if is_dataclass(value):
            found |= every_config(value, f"{name}.{f.name}".lstrip("."))
    return found


@pytest.mark.parametrize(("place", "config"), every_config(GenerateConfig()).items(), ids=lambda value: str(value)[:40])
def test_every_setting_is_documented(place: str, config: Any) -> None:
    """The command line takes its help from here."""
    text = "".join(base.__doc__ or "" for base in type(config).__mro__)
    silent = [f.name for f in fields(config) if not re.search(rf"^ +{f.name}: ", text, re.MULTILINE)]
    assert not silent, f"{place}: {silent} have no line under Attributes"


@dataclass(frozen=True)
class Numbers:
    closed: float = 0.0
    open: float = 0.5
    count: int = 1


@pytest.mark.parametrize("numbers", [Numbers(), Numbers(closed=1.0), Numbers(open=0.001), Numbers(count=10**9)])
def test_numbers_inside_their_intervals_are_welcome(numbers: Numbers) -> None:
    check_ranges(numbers, closed="[0, 1]", open="(0, 1)", count="[1, inf)")


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        (Numbers(closed=-0.001), r"closed must be in \[0, 1\], got -0\.001"),
        (Numbers(closed=1.001), "closed"),
        (Numbers(closed=float("nan")), "closed .*nan"),
        (Numbers(open=0.0), r"open must be in \(0, 1\), got 0\.0"),
        (Numbers(open=1.0), "open"),
        (Numbers(count=0), "count must be at least 1, got 0"),
    ],
)
def test_numbers_outside_are_named(numbers: Numbers, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_ranges(numbers, closed="[0, 1]", open="(0, 1)", count="[1, inf)")


@pytest.mark.parametrize(("place", "config"), every_config(GenerateConfig()).items(), ids=lambda value: str(value)[:40])
def test_no_number_may_be_nan_or_far_below_zero(place: str, config: Any) -> None:
    """A wrong number is refused when it is given, not by a traceback in the middle of a fit."""
    for f in fields(config):
        value = getattr(config, f.name)
        for bad in [float("nan"), -1e9] if isinstance(value, float) else [-(10**9)] if type(value) is int else []:
            if (type(config).__name__, f.name) not in WITHOUT_BOUNDS or bad != bad:
                with pytest.raises(ValueError, match=f.name):
                    replace(config, **{f.name: bad})


WITHOUT_BOUNDS = {("OutputsConfig", "turns")}  # negative turns go the other way


def test_unknown_choices_raise() -> None:
    config = SimpleNamespace(rule="sum")
    check_choices(config, rule={"sum": 1, "mean": 2})
    with pytest.raises(ValueError, match="rule must be one of mean, max, got 'sum'"):
        check_choices(config, rule={"mean": 1, "max": 2})
