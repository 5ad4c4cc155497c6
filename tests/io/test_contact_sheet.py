import numpy as np
import pytest

from ds4d.io import contact_sheet


def plain(value: int, height: int = 20, width: int = 30) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_sheet_without_labels():
    sheet = contact_sheet([[plain(0), plain(50), plain(100)], [plain(150), plain(200), plain(250)]])
    assert sheet.dtype == np.uint8
    assert sheet.shape == (2 * 20 + 3 * 4, 3 * 30 + 4 * 4, 3)
    assert (sheet[4:24, 4:34] == 0).all()
    assert (sheet[28:48, 72:102] == 250).all()
    assert (sheet[:4] == 255).all()
    assert (sheet[:, 34:38] == 255).all()


def test_labels_are_outside_the_images():
    rows = [[plain(90), plain(90)], [plain(90), plain(90)]]
    bare, sheet = contact_sheet(rows), contact_sheet(rows, column_labels=["truth", "ours"], row_labels=["t = 0", "1"])
    top, left = (sheet.shape[i] - bare.shape[i] for i in (0, 1))
    assert np.array_equal(sheet[top:, left:], bare)
    above, beside = sheet[:top], sheet[top:, :left]
    assert (above[:, left + 4 : left + 34] < 100).any()
    assert (above[:, left + 38 :] < 100).any()
    assert (beside[:24] < 100).any()
    assert (beside[28:] < 100).any()
    assert (above[:, :left] == 255).all()


def test_invalid_arguments_are_refused():
    with pytest.raises(ValueError, match="at least one image"):
        contact_sheet([])
    with pytest.raises(ValueError, match=r"rows .*\[1, 2\]"):
        contact_sheet([[plain(0)], [plain(0), plain(0)]])
    with pytest.raises(ValueError, match="one size"):
        contact_sheet([[plain(0), plain(0, height=21)]])
    with pytest.raises(ValueError, match="row_labels"):
        contact_sheet([[plain(0)]], row_labels=["a", "b"])
