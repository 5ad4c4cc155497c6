import pytest
from PIL import Image

from ds4d.visualize import plot_losses


def test_loss_plot_is_a_image_and_stands_alone(tmp_path):
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
