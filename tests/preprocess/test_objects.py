import numpy as np

from ds4d.io import premultiply
from ds4d.preprocess.objects import keep_objects


def combined(*discs: np.ndarray) -> np.ndarray:
    """Premultiplied discs that do not overlap, in one image."""
    return np.sum([premultiply(image) for image in discs], axis=0, dtype=np.uint8)


def test_the_larger_of_two_objects_is_kept_and_the_other_reported(disc) -> None:
    large = [disc(20 + time, 24, 12, size=(90, 48)) for time in range(5)]
    images = [combined(image, disc(70, 24, 7, size=(90, 48), color=(20, 200, 90))) for image in large]
    kept = keep_objects(images, "largest")
    assert all(np.array_equal(k, premultiply(p)) for k, p in zip(kept.images, large, strict=True))
    assert np.allclose(kept.left_out, 7**2 / 12**2, rtol=0.05)
    everything = keep_objects(images, "all")
    assert all(np.array_equal(k, p) for k, p in zip(everything.images, images, strict=True))
    assert everything.left_out == (0.0,) * 5


def test_the_same_object_is_kept_while_another_grows_past_it(disc) -> None:
    mine = [disc(22, 24, 14, size=(90, 48)) for _ in range(4)]
    others = [disc(68, 24, 6 + 3 * time, size=(90, 48)) for time in range(4)]
    kept = keep_objects([combined(*pair) for pair in zip(mine, others, strict=True)], "largest")
    # The largest thing of the whole clip is the other one, in the last frame: it is the object from the start.
    assert all(np.array_equal(k, premultiply(p)) for k, p in zip(kept.images, others, strict=True))


def test_specks_are_no_objects(disc) -> None:
    image = disc(20, 24, 12, size=(90, 48))
    dirty = premultiply(image)
    dirty[5, 80] = 255
    for keep in ("largest", "all"):
        kept = keep_objects([dirty] * 3, keep)
        assert np.array_equal(kept.images[1], premultiply(image))
        assert kept.left_out == (0.0,) * 3


def test_parts_that_come_loose_for_a_while_stay() -> None:
    whole, parts = np.zeros((2, 40, 80, 4), np.uint8)
    whole[10:30, 10:70] = parts[10:30, 10:50] = parts[10:30, 56:70] = 255
    kept = keep_objects([whole, parts, parts, whole], "largest")
    assert np.array_equal(kept.images[1], parts)
    assert kept.left_out == (0.0,) * 4


def test_an_object_that_jumps_is_followed(disc) -> None:
    here, there = disc(16, 24, 12, size=(90, 48)), disc(74, 24, 11, size=(90, 48))
    kept = keep_objects([premultiply(here), premultiply(here), premultiply(there)], "largest")
    assert np.array_equal(kept.images[2], premultiply(there))


def test_frames_without_objects_stay_empty(disc) -> None:
    nothing = np.zeros((48, 64, 4), np.uint8)
    kept = keep_objects([nothing, premultiply(disc(20, 24, 9)), nothing], "largest")
    assert [image.any() for image in kept.images] == [False, True, False]
    assert keep_objects([nothing], "largest").left_out == (0.0,)


def test_soft_outlines_stay_whole(disc) -> None:
    soft = premultiply(disc(30, 24, 12))
    ring = np.array([soft // 4, soft // 2, soft]).max(axis=0)
    assert np.array_equal(keep_objects([ring], "largest").images[0], ring)
