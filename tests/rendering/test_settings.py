import pytest

from ds4d.rendering import CpuRenderer, SplatSettings, renderer_for


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"near_plane": 0.0}, "near_plane"),
        ({"near_plane": 2.0, "far_plane": 1.0}, "near_plane"),
        ({"eps2d": -0.1}, "eps2d"),
        ({"eps2d": float("nan")}, "eps2d"),
    ],
)
def test_invalid_values_are_refused(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SplatSettings(**wrong)


def test_cpu_tensors_get_the_cpu_renderer() -> None:
    assert isinstance(renderer_for("cpu"), CpuRenderer)
