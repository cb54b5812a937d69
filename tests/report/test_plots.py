"""Figures of any task, as pictures and as SVG."""

import io
import warnings

import numpy as np
from matplotlib import image

from tfvoice.report import plots

LOGS = {
    "new": [
        {"minutes": 1.0, "train_loss": 9.0, "valid_loss": 8.0, "wer": 0.9},
        {"minutes": 2.0, "train_loss": None, "valid_loss": 6.0},
    ],
    "x$^$y": [{"minutes": 1.0, "train_loss": 5.0, "valid_loss": 4.0}],
}
PANELS = (plots.loss_panel("nats"), plots.Panel("%", (plots.Curve("wer", "WER", ".-", 100),)))


def test_a_picture_comes_back_from_its_png(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, [4, 5, 3], np.uint8)
    plots.write(tmp_path / "a.png", picture)
    assert (tmp_path / "a.png").read_bytes() == plots.png(picture)
    decoded = image.imread(io.BytesIO(plots.png(picture)), format="png")
    np.testing.assert_array_equal(np.rint(decoded[..., :3] * 255), picture)


def test_a_letter_without_a_font_is_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.waveforms(np.zeros([1, 400]), 8000, ["今\U00013000"])


def test_waveforms_of_any_length_are_plotted_below_each_other():
    waves = np.random.default_rng(0).normal(0, 0.1, [2, 4000])
    assert plots.waveforms(waves, 8000, ["0", "1"], "two").shape == (550, 900, 3)
    # Versions of matplotlib round 3.1 inches up or down.
    assert plots.waveforms(waves[:1, :50], 8000, ["short"]).shape in ((309, 900, 3), (310, 900, 3))


def test_curves_are_in_percent_where_asked_and_have_gaps_where_a_metric_is_missing():
    losses, rates = plots.training_curves(LOGS, PANELS).axes
    assert [line.get_label() for line in losses.lines] == [
        "train, new", "valid, new", "train, x$^$y", "valid, x$^$y",
    ]  # fmt: skip
    np.testing.assert_array_equal(losses.lines[0].get_ydata(), [9.0, np.nan])
    np.testing.assert_array_equal(rates.lines[0].get_ydata(), [90.0, np.nan])
    assert rates.get_ylabel() == "%" and losses.get_ylabel() == "nats"


def test_svg_takes_the_colour_of_the_text_around_it():
    svg = plots.svg(plots.training_curves(LOGS, PANELS))
    assert svg.startswith("<svg") and "currentColor" in svg and "#010203" not in svg
    assert svg == plots.svg(plots.training_curves(LOGS, PANELS))
