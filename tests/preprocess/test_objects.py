import numpy as np

from ds4d.io import premultiply
from ds4d.preprocess.objects import keep_objects


def combined(*discs: np.ndarray) -> np.ndarray:
    """Premultiplied discs that do not overlap, in one image."""
    return np.sum([premultiply(image) for image in discs], axis=0, dtype=np.uint8)


def kept(images: list[np.ndarray], keep: str = "largest") -> tuple[list[np.ndarray], tuple[float, ...]]:
    """The images after the selection, and the removed fractions."""
    changed = [image.copy() for image in images]
    return changed, keep_objects(changed, keep)


def test_largest_object_is_kept_and_the_other_reported(disc) -> None:
    large = [disc(20 + time, 24, 12, size=(90, 48)) for time in range(5)]
    images = [combined(image, disc(70, 24, 7, size=(90, 48), color=(20, 200, 90))) for image in large]
    largest, removed = kept(images)
    assert all(np.array_equal(k, premultiply(p)) for k, p in zip(largest, large, strict=True))
    assert np.allclose(removed, 7**2 / 12**2, rtol=0.05)
    everything, removed = kept(images, "all")
    assert all(np.array_equal(k, p) for k, p in zip(everything, images, strict=True))
    assert removed == (0.0,) * 5


def test_object_is_tracked_backwards_from_where_it_is_largest(disc) -> None:
    constant = [disc(22, 24, 14, size=(90, 48)) for _ in range(4)]
    growing = [disc(68, 24, 6 + 3 * time, size=(90, 48)) for time in range(4)]
    largest, _ = kept([combined(*pair) for pair in zip(constant, growing, strict=True)])
    assert all(np.array_equal(k, premultiply(p)) for k, p in zip(largest, growing, strict=True))


def test_small_components_are_removed(disc) -> None:
    image = disc(20, 24, 12, size=(90, 48))
    noisy = premultiply(image)
    noisy[5, 80] = 255
    for keep in ("largest", "all"):
        images, removed = kept([noisy] * 3, keep)
        assert np.array_equal(images[1], premultiply(image))
        assert removed == (0.0,) * 3


def test_parts_that_separate_for_some_frames_are_kept() -> None:
    whole, parts = np.zeros((2, 40, 80, 4), np.uint8)
    whole[10:30, 10:70] = parts[10:30, 10:50] = parts[10:30, 56:70] = 255
    images, removed = kept([whole, parts, parts, whole])
    assert np.array_equal(images[1], parts)
    assert removed == (0.0,) * 4


def test_object_that_jumps_is_followed(disc) -> None:
    here, there = disc(16, 24, 12, size=(90, 48)), disc(74, 24, 11, size=(90, 48))
    images, _ = kept([premultiply(here), premultiply(here), premultiply(there)])
    assert np.array_equal(images[2], premultiply(there))


def test_empty_frames_stay_empty(disc) -> None:
    empty = np.zeros((48, 64, 4), np.uint8)
    images, _ = kept([empty, premultiply(disc(20, 24, 9)), empty])
    assert [image.any() for image in images] == [False, True, False]
    assert kept([empty])[1] == (0.0,)


def test_soft_outlines_are_kept(disc) -> None:
    soft = premultiply(disc(30, 24, 12))
    ring = np.array([soft // 4, soft // 2, soft]).max(axis=0)
    assert np.array_equal(kept([ring])[0][0], ring)
