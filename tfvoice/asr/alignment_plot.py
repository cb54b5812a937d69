"""The figure of an utterance: spectrogram, reference and hypothesis at their times, and probabilities."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfvoice import ctc
from tfvoice.report import plots
from tfvoice.text.alphabet import Alphabet

_POINTS = 9
# As wide as a character, so that the characters of neighbouring frames just do not touch.
_INCHES_PER_FRAME = 0.08
_WIDTH_INCHES = (9.0, 24.0)
_HEIGHT_INCHES = 4.8
# Fixed, because laying a figure out by its texts takes as long as rendering it.
_LEFT, _RIGHT, _BOTTOM, _TOP = 0.6, 0.15, 0.5, 0.85
_REFERENCE, _HYPOTHESIS, _BLANK = "tab:blue", "tab:red", "0.6"


def alignment(
    features: np.ndarray,
    log_probabilities: np.ndarray,
    alphabet: Alphabet,
    reference: str,
    seconds: float,
    caption: str,
) -> np.ndarray:
    """Plots an utterance: its features, and above them reference and hypothesis, each character at its time.

    The reference is placed by forced alignment (`ctc.align`), the hypothesis is the best path. Below are the
    probabilities behind both.

    Args:
      features: `[frames, channels]`, the input of the network.
      log_probabilities: `[output frames, classes]`, nats.
      alphabet: of the run.
      reference: its transcript. Where no path can give it, its row is empty.
      seconds: length of the audio.
      caption: one line above the figure.

    Returns:
      uint8 `[height, width, 3]`.
    """
    frames = len(log_probabilities)
    width = float(np.clip(_INCHES_PER_FRAME * frames, *_WIDTH_INCHES))
    figure = Figure(figsize=(width, _HEIGHT_INCHES), dpi=plots.DOTS_PER_INCH)
    canvas = FigureCanvasAgg(figure)
    edges = {"left": _LEFT / width, "right": 1 - _RIGHT / width}
    edges |= {"bottom": _BOTTOM / _HEIGHT_INCHES, "top": 1 - _TOP / _HEIGHT_INCHES}
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1), gridspec_kw=edges | {"hspace": 0.17})
    figure.text(0.12 / width, 0.985, caption, fontsize=10, va="top")
    upper.imshow(
        features.T, origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, -0.5, features.shape[1] - 0.5)
    )
    upper.set_ylabel("channel")
    frame_seconds = seconds / frames
    aligned = _aligned(log_probabilities, alphabet, reference)
    best = _best_path(log_probabilities, alphabet)
    _write_row(upper, 1.10, "REF", _REFERENCE, aligned, frame_seconds)
    _write_row(upper, 1.03, "HYP", _HYPOTHESIS, best, frame_seconds)
    _plot_probabilities(lower, log_probabilities, frame_seconds)
    lower.set_xlim(0, seconds)
    lower.set_xlabel("time (s)")
    return plots.pixels(canvas)


def _aligned(log_probabilities: np.ndarray, alphabet: Alphabet, text: str) -> list[tuple[str, float]]:
    """The characters of the reference, each with the middle of its span in frames."""
    try:
        spans = ctc.align(log_probabilities, alphabet.encode(text)).spans
    except ctc.CtcError:
        return []
    return [(character, (start + end) / 2) for character, (start, end) in zip(text, spans, strict=True)]


def _best_path(log_probabilities: np.ndarray, alphabet: Alphabet) -> list[tuple[str, float]]:
    """The characters of the best path, each with the middle of its run in frames."""
    ids, spans, _ = ctc.best_path(log_probabilities.astype(np.float32))
    return [(alphabet.decode([label]), (start + end) / 2) for label, (start, end) in zip(ids, spans, strict=True)]


def _write_row(axes, height: float, name: str, colour: str, characters: list[tuple[str, float]], frame_seconds: float):
    """Writes characters above the axes, at `height` times their own height; words are separated by lines."""
    place = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom", "color": colour}
    edge = -0.08 * plots.DOTS_PER_INCH / axes.bbox.width
    axes.text(edge, height, name, **(place | {"transform": axes.transAxes, "ha": "right"}), fontsize=_POINTS)
    tick = {"transform": axes.get_xaxis_transform(), "color": colour, "linewidth": 0.8, "clip_on": False}
    for character, frame in characters:
        if character == " ":
            axes.plot([frame * frame_seconds] * 2, [height, height + 0.06], **tick)
        else:
            axes.text(frame * frame_seconds, height, character, **place, fontsize=_POINTS, family="monospace")


def _plot_probabilities(axes, log_probabilities: np.ndarray, frame_seconds: float) -> None:
    probabilities = np.exp(log_probabilities)
    times = (np.arange(len(probabilities)) + 0.5) * frame_seconds
    blank = ctc.blank(log_probabilities)
    axes.plot(times, probabilities[:, blank], color=_BLANK, linewidth=1, label="blank")
    axes.plot(times, probabilities[:, :blank].max(axis=1), color=_HYPOTHESIS, linewidth=1, label="best character")
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("probability")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, fontsize=8, frameon=False)
