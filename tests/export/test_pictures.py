import numpy as np
import pytest
from PIL import Image

from ds4d.export import contact_sheet, plot_losses


def plain(value: int, height: int = 20, width: int = 30) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_sheet_without_labels_is_the_pictures_on_white():
    sheet = contact_sheet([[plain(0), plain(50), plain(100)], [plain(150), plain(200), plain(250)]])
    assert sheet.dtype == np.uint8
    assert sheet.shape == (2 * 20 + 3 * 4, 3 * 30 + 4 * 4, 3)
    assert (sheet[4:24, 4:34] == 0).all()
    assert (sheet[28:48, 72:102] == 250).all()
    assert (sheet[:4] == 255).all()
    assert (sheet[:, 34:38] == 255).all()


def test_labels_are_written_beside_the_pictures():
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


def test_sheets_that_cannot_be_made_say_why():
    with pytest.raises(ValueError, match="at least one picture"):
        contact_sheet([])
    with pytest.raises(ValueError, match=r"equally long, got lengths \[1, 2\]"):
        contact_sheet([[plain(0)], [plain(0), plain(0)]])
    with pytest.raises(ValueError, match="share one height and width"):
        contact_sheet([[plain(0), plain(0, height=21)]])
    with pytest.raises(ValueError, match="row_labels must be 1 or none, got 2"):
        contact_sheet([[plain(0)]], row_labels=["a", "b"])


def test_loss_plot_is_a_picture_and_stands_alone(tmp_path):
    history = [{"step": i, "total": 1 / (i + 1), "l1": 0.5 / (i + 1), "sds": 0.0} for i in range(20)]
    plot_losses(history, tmp_path / "losses.png")
    assert len(Image.open(tmp_path / "losses.png").convert("RGB").getcolors(100_000)) > 10
    assert [path.name for path in tmp_path.iterdir()] == ["losses.png"]


def test_loss_plot_draws_every_term_on_a_logarithmic_axis(tmp_path):
    plot_losses([{"step": 1, "total": 1.0, "photometric": 0.5}, {"step": 2, "total": 0.1}], tmp_path / "losses.svg")
    text = (tmp_path / "losses.svg").read_text()
    assert "<!-- total -->" in text
    assert "<!-- photometric -->" in text
    assert "10^{-1}" in text or "mathdefault{10^{-1}}" in text


def test_histories_without_steps_are_refused(tmp_path):
    for history in ([], [{"total": 1.0}]):
        with pytest.raises(ValueError, match="each with the key step"):
            plot_losses(history, tmp_path / "losses.png")
    assert list(tmp_path.iterdir()) == []
