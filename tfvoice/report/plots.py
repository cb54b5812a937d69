"""Figures of any task: waveforms with their spectrograms, training curves; and how figures become PNG or SVG.

No figure belongs to a window or to the global state of matplotlib: `Figure` and a canvas are made by hand.
"""

import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib import image, rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfvoice import storage

DOTS_PER_INCH = 100
_WIDTH_INCHES = 9.0
# Stands for the colour of the text in an SVG.
_INK = "#010203"


class Curve(NamedTuple):
    """A curve of `training_curves`.

    Attributes:
      key: in the lines of `metrics.jsonl`; lines without it leave a gap.
      label: in the legend.
      style: format string of matplotlib.
      scale: factor, such as 100 for percent.
    """

    key: str
    label: str
    style: str
    scale: float = 1.0


class Panel(NamedTuple):
    """Axes of `training_curves`: their vertical label, and their curves."""

    label: str
    curves: Sequence[Curve]


def loss_panel(label: str) -> Panel:
    """The panel that every task has: losses of train and valid."""
    return Panel(label, (Curve("train_loss", "train", ".:"), Curve("valid_loss", "valid", ".-")))


def waveforms(samples: Sequence[np.ndarray], sample_rate_hz: int, captions: list[str], caption: str = "") -> np.ndarray:
    """Plots recordings below each other: the waveform of each, and its spectrogram.

    Args:
      samples: recordings, `[samples]` in -1 to 1 each.
      sample_rate_hz: their rate.
      captions: one for each.
      caption: one line above the picture.

    Returns:
      uint8 `[height, width, 3]`.
    """
    rows = len(samples)
    height = 0.7 + 2.4 * rows
    figure = Figure(figsize=(_WIDTH_INCHES, height), dpi=DOTS_PER_INCH)
    canvas = FigureCanvasAgg(figure)
    edges = {"left": 0.09, "right": 0.985, "bottom": 0.5 / height, "top": 1 - 0.45 / height}
    axes = figure.subplots(
        2 * rows, 1, sharex=True, squeeze=False, height_ratios=(1, 2) * rows, gridspec_kw=edges | {"hspace": 0.25}
    )[:, 0]
    figure.text(0.01, 1 - 0.1 / height, caption, fontsize=10, va="top")
    for wave, upper, lower, name in zip(samples, axes[::2], axes[1::2], captions, strict=True):
        upper.plot(np.arange(len(wave)) / sample_rate_hz, wave, color="tab:blue", linewidth=0.4)
        upper.set_ylim(-1, 1)
        upper.set_ylabel(name, fontsize=8)
        spectrogram(lower, wave, sample_rate_hz)
    axes[-1].set_xlim(0, (max(map(len, samples)) - 1) / sample_rate_hz)
    axes[-1].set_xlabel("time (s)")
    return pixels(canvas)


def spectrogram(axes, wave: np.ndarray, sample_rate_hz: int) -> None:
    """Plots the levels of a short-time Fourier transform of 32 ms, down to 90 dB below full scale."""
    size = 2 ** round(math.log2(0.032 * sample_rate_hz))
    if len(wave) < size:
        wave = np.pad(wave, (0, size - len(wave)))
    windows = np.lib.stride_tricks.sliding_window_view(wave, size)[:: size // 4] * np.hanning(size)
    magnitude = np.abs(np.fft.rfft(windows, axis=1)) * (4 / size)
    level_db = 20 * np.log10(np.maximum(magnitude, 1e-5))
    axes.imshow(
        level_db.T, origin="lower", aspect="auto", cmap="magma", vmin=-90, vmax=-10,
        extent=(0, len(wave) / sample_rate_hz, 0, sample_rate_hz / 2000),
    )  # fmt: skip
    axes.set_ylabel("kHz", fontsize=8)


def training_curves(logs: dict[str, list[dict]], panels: Sequence[Panel]) -> Figure:
    """Plots metrics against minutes of training.

    Args:
      logs: the lines of `metrics.jsonl` of each run, by its name.
      panels: side by side.
    """
    width = 9 if len(panels) > 1 else 6
    figure = Figure(figsize=(width, 3.4), dpi=DOTS_PER_INCH, layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        for number, (name, lines) in enumerate(logs.items()):
            minutes = [line["minutes"] for line in lines]
            suffix = f", {name}" if len(logs) > 1 else ""
            for curve in panel.curves:
                values = [math.nan if line.get(curve.key) is None else curve.scale * line[curve.key] for line in lines]
                axes.plot(minutes, values, curve.style, markersize=4, label=curve.label + suffix, color=f"C{number}")
        axes.set_ylabel(panel.label)
        axes.set_xlabel("minutes of training")
        axes.grid(alpha=0.3)
        for text in axes.legend(frameon=False, fontsize=8).get_texts():
            # A folder may be called like a formula.
            text.set_parse_math(False)
        if len(panels) > 1:
            axes.set_ylim(bottom=0)
    return figure


def svg(figure: Figure) -> str:
    """A figure as SVG in the colour of the text around it, for light and dark pages."""
    data = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "tfvoice", "font.family": "sans-serif"}):
        for axes in figure.axes:
            # Matplotlib writes black as #000000, and leaves it out where it is the default of SVG.
            axes.tick_params(colors=_INK)
            for part in (axes.xaxis.label, axes.yaxis.label, *axes.get_legend().get_texts()):
                part.set_color(_INK)
            axes.spines[:].set_color(_INK)
        figure.savefig(data, format="svg", transparent=True, metadata={"Date": None})
    return data.getvalue()[data.getvalue().index("<svg") :].replace(_INK, "currentColor")


def pixels(canvas: FigureCanvasAgg) -> np.ndarray:
    """Renders a figure: uint8 `[height, width, 3]`."""
    with warnings.catch_warnings():
        # A letter that no font of matplotlib has is a box; a warning for each of thousands would say no more.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from", UserWarning)
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def png(picture: np.ndarray) -> bytes:
    """Encodes a picture, uint8 `[height, width, 3]`, as PNG."""
    data = io.BytesIO()
    image.imsave(data, picture, format="png")
    return data.getvalue()


def write(path: Path, picture: np.ndarray) -> None:
    """Writes a picture as PNG; the file appears when it is complete."""
    storage.write(path, png(picture))
