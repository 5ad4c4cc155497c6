import numpy as np
import pytest

from ds4d.preprocess.checks import masks

CHECKS = (
    masks.missing_object,
    masks.no_background,
    masks.inverted_alpha,
    masks.cut_by_border,
    masks.mask_flicker,
    masks.several_objects,
    masks.background_colored_parts,
    masks.small_object,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_good_videos_have_no_findings(context, rolling_disc, check) -> None:
    assert check(context(rolling_disc[:8])) is None


def test_missing_object(context, rolling_disc) -> None:
    empty = np.zeros_like(rolling_disc[0])
    found = masks.missing_object(context([empty, *rolling_disc[1:4], empty]))
    assert (found.name, found.severity) == ("missing_object", "fatal")
    assert "2 of 5" in found.what and "--start" in found.fix
    found = masks.missing_object(context([empty] * 3))
    assert (found.name, found.severity) == ("no_foreground", "fatal")


def test_alpha_that_is_never_opaque(context, rolling_disc) -> None:
    faint = [np.dstack((image[..., :3], image[..., 3] // 3)) for image in rolling_disc]
    found = masks.missing_object(context(faint, method="alpha"))
    assert (found.name, found.severity) == ("faint_alpha", "fatal")
    assert "85" in found.what


def test_frames_without_background(context, rolling_disc) -> None:
    full = np.full_like(rolling_disc[0], 255)
    found = masks.no_background(context([*rolling_disc[:3], full]))
    assert (found.name, found.severity) == ("no_background", "fatal")
    assert "1 of 4" in found.what


def test_inverted_alpha(context, rolling_disc, inverted) -> None:
    images = [inverted(image) for image in rolling_disc]
    found = masks.inverted_alpha(context(images, method="alpha"))
    assert (found.name, found.severity) == ("inverted_alpha", "fatal")
    assert masks.inverted_alpha(context(images, method="color")) is None


@pytest.mark.parametrize(
    ("center", "sides"),
    [((3, 26), "left"), ((61, 26), "right"), ((30, 3), "top"), ((30, 45), "bottom"), ((3, 3), "left, top")],
)
def test_objects_cut_by_the_border(context, disc, rolling_disc, center, sides: str) -> None:
    found = masks.cut_by_border(context([rolling_disc[0], disc(*center, 9)]))
    assert (found.name, found.severity) == ("cut_by_border", "warning")
    assert f"({sides})" in found.what and "1 of 2" in found.what


def test_mask_flicker(context, rolling_disc, disc) -> None:
    images = list(rolling_disc)
    images[5] = disc(29, 26, 5)
    found = masks.mask_flicker(context(images))
    assert (found.name, found.severity) == ("mask_flicker", "warning")
    assert "1 of 12" in found.what
    growing = [disc(32, 24, 6 + time) for time in range(12)]
    assert masks.mask_flicker(context(growing)) is None
    assert masks.mask_flicker(context(images[:2])) is None


def test_several_objects(context, rolling_disc) -> None:
    found = masks.several_objects(context(rolling_disc[:3], removed=[0.0, 0.34, 0.1]))
    assert (found.name, found.severity) == ("several_objects", "warning")
    assert "34 %" in found.what and "2 of 3" in found.what and "--keep all" in found.fix
    assert masks.several_objects(context(rolling_disc[:3], removed=[0.01, 0.0, 0.0])) is None


def test_background_colored_parts(context, disc) -> None:
    """White on white: eyes or holes."""
    images = [disc(30 + time, 24, 16, spot=(255, 255, 255)) for time in range(3)]
    found = masks.background_colored_parts(context(images))
    assert (found.name, found.severity) == ("background_colored_parts", "warning")
    assert "3 of 3" in found.what and "--holes remove" in found.fix
    assert masks.background_colored_parts(context(images, method="model")) is None
    assert masks.background_colored_parts(context([disc(30, 24, 16, spot=(200, 200, 200))])) is None


def test_small_objects(context, rolling_disc, disc) -> None:
    found = masks.small_object(context(rolling_disc, size=512))
    assert (found.name, found.severity) == ("small_object", "warning")
    assert "18 pixels" in found.what and f"{512 / 60:.1f} times" in found.what
    moving_far = [disc(10 + 8 * time, 26, 6, size=(120, 48)) for time in range(12)]
    assert masks.small_object(context(moving_far)).name == "small_in_crop"
    assert masks.small_object(context([np.zeros_like(rolling_disc[0])])) is None
