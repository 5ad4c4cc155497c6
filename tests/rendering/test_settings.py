import pytest

from ds4d.rendering import CpuRenderer, SplatSettings, renderer_for


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"near_plane": 0.0}, "near_plane must lie between 0 and far_plane, got 0.0"),
        ({"near_plane": 2.0, "far_plane": 1.0}, "near_plane must lie between"),
        ({"eps2d": -0.1}, "eps2d must not be negative, got -0.1"),
        ({"eps2d": float("nan")}, "eps2d must not be negative, got nan"),
    ],
)
def test_refuses_values_without_meaning(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SplatSettings(**wrong)


def test_cpu_tensors_get_the_cpu_splatter() -> None:
    assert isinstance(renderer_for("cpu"), CpuRenderer)
