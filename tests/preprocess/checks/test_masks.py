import numpy as np
import pytest

from ds4d.preprocess.checks import masks


@pytest.fixture
def good(context, rolling_disc):
    return context(rolling_disc[:8])


CHECKS = ("empty", "full", "inverted", "cut_by_border", "flicker", "several_objects", "background_inside", "small")


@pytest.mark.parametrize("name", CHECKS)
def test_nothing_is_found_in_a_good_video(good, name: str) -> None:
    assert getattr(masks, name)(good) is None


def test_frames_without_the_object(context, rolling_disc) -> None:
    nothing = np.zeros_like(rolling_disc[0])
    found = masks.empty(context([nothing, *rolling_disc[1:4], nothing]))
    assert found.severity == "fatal"
    assert found.what == "The object is not to be seen in 2 of 5 frames, from 0.00 s to 0.40 s."
    assert "--start and --end" in found.fix
    assert "Nothing is left" in masks.empty(context([nothing] * 3)).what


def test_alpha_that_is_never_solid(context, rolling_disc) -> None:
    faint = [np.dstack((image[..., :3], image[..., 3] // 3)) for image in rolling_disc]
    found = masks.empty(context(faint, way="alpha"))
    assert (found.severity, found.what) == ("fatal", "The cut-out is nowhere solid: its alpha reaches 85 of 255.")


def test_frames_without_background(context, rolling_disc) -> None:
    whole = np.full_like(rolling_disc[0], 255)
    found = masks.full(context([*rolling_disc[:3], whole]))
    assert found.severity == "fatal"
    assert "fills the whole image in 1 of 4 frames, at 0.30 s" in found.what


def test_inverted_alpha(context, rolling_disc, turned_alpha) -> None:
    turned = [turned_alpha(image) for image in rolling_disc]
    found = masks.inverted(context(turned, way="alpha"))
    assert found.severity == "fatal"
    assert "inverted" in found.what
    assert masks.inverted(context(turned, way="color")) is None


@pytest.mark.parametrize(
    ("place", "sides"),
    [((3, 26), "left"), ((61, 26), "right"), ((30, 3), "top"), ((30, 45), "bottom"), ((3, 3), "left, top")],
)
def test_objects_cut_by_the_border(context, disc, rolling_disc, place, sides: str) -> None:
    found = masks.cut_by_border(context([rolling_disc[0], disc(*place, 9)]))
    assert found.severity == "warning"
    assert f"border ({sides}) in 1 of 2 frames, at 0.10 s" in found.what


def test_flicker(context, rolling_disc, disc) -> None:
    images = list(rolling_disc)
    images[5] = disc(29, 26, 5)
    assert "jumps for one frame in 1 of 12 frames, at 0.50 s" in masks.flicker(context(images)).what
    swelling = [disc(32, 24, 6 + time) for time in range(12)]
    assert masks.flicker(context(swelling)) is None
    assert masks.flicker(context(images[:2])) is None


def test_several_objects(context, rolling_disc) -> None:
    found = masks.several_objects(context(rolling_disc[:3], left_out=[0.0, 0.34, 0.1]))
    assert found.severity == "warning"
    assert "up to 34 % of the largest one's size were left out in 2 of 3 frames, from 0.10 s to 0.20 s" in found.what
    assert "--keep all" in found.fix
    assert masks.several_objects(context(rolling_disc[:3], left_out=[0.01, 0.0, 0.0])) is None


def test_parts_that_look_like_the_background(context, disc, over) -> None:
    """White before white, which may be an eye or an opening."""
    cut = [disc(30 + time, 24, 16, spot=(255, 255, 255)) for time in range(3)]
    found = masks.background_inside(context(cut))
    assert found.severity == "warning"
    assert "of the object look like the background in 3 of 3 frames" in found.what
    assert "--openings cut" in found.fix
    assert masks.background_inside(context(cut, way="model")) is None
    assert masks.background_inside(context([disc(30, 24, 16, spot=(200, 200, 200))])) is None


def test_small_objects(context, rolling_disc, disc) -> None:
    found = masks.small(context(rolling_disc, size=512))
    assert found.what == f"The object is small: 18 pixels of the video, enlarged {512 / 60:.1f} times."
    travelling = [disc(10 + 8 * time, 26, 6, size=(120, 48)) for time in range(12)]
    assert "travels far" in masks.small(context(travelling)).what
    assert masks.small(context([np.zeros_like(rolling_disc[0])])) is None
