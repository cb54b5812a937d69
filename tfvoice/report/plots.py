"""Pictures of a run: what the network heard and where in time it put each character, and what it generated."""

import io
import itertools
import math
from pathlib import Path

import numpy as np
from matplotlib import image, rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfvoice import ctc
from tfvoice.text.alphabet import Alphabet
from tfvoice.training import checkpoints

_DOTS_PER_INCH = 100
_POINTS = 9
# As wide as a character, so that the characters of neighbouring frames just do not touch.
_INCHES_PER_FRAME = 0.08
_WIDTH_INCHES = (9.0, 24.0)
_HEIGHT_INCHES = 4.8
# Fixed, because to lay a figure out by its texts takes as long as to draw it.
_LEFT, _RIGHT, _BOTTOM, _TOP = 0.6, 0.15, 0.5, 0.85
# Stands for the colour of the text in an SVG.
_INK = "#010203"
_SAID, _READ, _BLANK = "tab:blue", "tab:red", "0.6"


def alignment(
    features: np.ndarray,
    log_probabilities: np.ndarray,
    alphabet: Alphabet,
    text: str,
    seconds: float,
    caption: str,
) -> np.ndarray:
    """Draws an utterance: its features, and above them what was said and what was read, each character at its time.

    What was said is placed by `ctc.align`, what was read by the best path. Below are the probabilities that this rests
    on. Nothing but an array is kept: the figure belongs to no window and to no global state of matplotlib.

    Args:
      features: `[frames, channels]`, what the network heard.
      log_probabilities: `[output frames, classes]`, nats.
      alphabet: of the run.
      text: what was said. Where no path can give it, it is not drawn.
      seconds: length of the audio.
      caption: one line above the picture.

    Returns:
      uint8 `[height, width, 3]`.
    """
    frames = len(log_probabilities)
    width = float(np.clip(_INCHES_PER_FRAME * frames, *_WIDTH_INCHES))
    figure = Figure(figsize=(width, _HEIGHT_INCHES), dpi=_DOTS_PER_INCH)
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
    _row(upper, 1.10, "said", _SAID, _said(log_probabilities, alphabet, text), frame_seconds)
    _row(upper, 1.03, "read", _READ, _read(log_probabilities, alphabet), frame_seconds)
    _probabilities(lower, log_probabilities, frame_seconds)
    lower.set_xlim(0, seconds)
    lower.set_xlabel("time (s)")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def waveforms(samples: np.ndarray, sample_rate_hz: int, captions: list[str], caption: str = "") -> np.ndarray:
    """Draws recordings below each other: the waveform of each, and its spectrogram.

    Args:
      samples: `[recordings, samples]` in -1 to 1.
      sample_rate_hz: their rate.
      captions: one for each.
      caption: one line above the picture.

    Returns:
      uint8 `[height, width, 3]`.
    """
    rows = len(samples)
    height = 0.7 + 2.4 * rows
    figure = Figure(figsize=(_WIDTH_INCHES[0], height), dpi=_DOTS_PER_INCH)
    canvas = FigureCanvasAgg(figure)
    edges = {"left": 0.09, "right": 0.985, "bottom": 0.5 / height, "top": 1 - 0.45 / height}
    axes = figure.subplots(
        2 * rows, 1, sharex=True, squeeze=False, height_ratios=(1, 2) * rows, gridspec_kw=edges | {"hspace": 0.25}
    )[:, 0]
    figure.text(0.01, 1 - 0.1 / height, caption, fontsize=10, va="top")
    times = np.arange(samples.shape[1]) / sample_rate_hz
    for wave, upper, lower, name in zip(samples, axes[::2], axes[1::2], captions, strict=True):
        upper.plot(times, wave, color=_SAID, linewidth=0.4)
        upper.set_ylim(-1, 1)
        upper.set_ylabel(name, fontsize=8)
        _spectrogram(lower, wave, sample_rate_hz)
    axes[-1].set_xlim(0, times[-1])
    axes[-1].set_xlabel("time (s)")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def learning(logs: dict[str, list[dict]]) -> Figure:
    """Draws losses, and of recognisers error rates beside them, against minutes of training.

    Args:
      logs: the lines of `metrics.jsonl` of each run, by its name.
    """
    reads = any("wer" in line for lines in logs.values() for line in lines)
    figure = Figure(figsize=(9, 3.4) if reads else (6, 3.4), dpi=_DOTS_PER_INCH, layout="constrained")
    losses, *others = figure.subplots(1, 2 if reads else 1, squeeze=False)[0]
    for number, (name, lines) in enumerate(logs.items()):
        minutes, colour = [line["minutes"] for line in lines], f"C{number}"
        of = f", {name}" if len(logs) > 1 else ""
        for split, style in (("train", ".:"), ("valid", ".-")):
            values = [line[f"{split}_loss"] for line in lines]
            losses.plot(minutes, values, style, markersize=4, label=split + of, color=colour)
        for key, style in (("wer", ".--"), ("cer", ".-")) if reads else ():
            values = [100 * line.get(key, math.nan) for line in lines]
            others[0].plot(minutes, values, style, markersize=4, label=key.upper() + of, color=colour)
    losses.set_ylabel("loss (nats per utterance)" if reads else "bits per sample")
    for axes in others:
        axes.set_ylabel("error rate on valid, greedy (%)")
    for axes in (losses, *others):
        axes.set_xlabel("minutes of training")
        axes.grid(alpha=0.3)
        for text in axes.legend(frameon=False, fontsize=8).get_texts():
            # A folder may be called like a formula.
            text.set_parse_math(False)
        if reads:
            axes.set_ylim(bottom=0)
    return figure


def svg(figure: Figure) -> str:
    """A figure as SVG that takes the colour of the text around it, for pages that are light or dark."""
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


def png(picture: np.ndarray) -> bytes:
    """A picture as the bytes of a PNG file."""
    data = io.BytesIO()
    image.imsave(data, picture, format="png")
    return data.getvalue()


def write(path: Path, picture: np.ndarray) -> None:
    """Writes a picture as PNG; it appears under its name when it is complete."""
    checkpoints.write_atomically(path, png(picture))


def _spectrogram(axes, wave: np.ndarray, sample_rate_hz: int) -> None:
    """Levels of a short-time Fourier transform of 32 ms, from the loudest bin down to 80 dB below full scale."""
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


def _said(log_probabilities: np.ndarray, alphabet: Alphabet, text: str) -> list[tuple[str, float]]:
    """The characters of the reference, each with the middle of its span in frames."""
    try:
        spans = ctc.align(log_probabilities, alphabet.encode(text)).spans
    except ctc.CtcError:
        return []
    return [(character, (start + end) / 2) for character, (start, end) in zip(text, spans, strict=True)]


def _read(log_probabilities: np.ndarray, alphabet: Alphabet) -> list[tuple[str, float]]:
    """The characters of the best path, each with the middle of its run in frames."""
    best = log_probabilities.argmax(axis=1)
    edges = np.flatnonzero(np.diff(best, prepend=-1, append=-1))
    runs = itertools.pairwise(edges)
    blank = ctc.blank(log_probabilities)
    return [(alphabet.decode([best[start]]), (start + end) / 2) for start, end in runs if best[start] != blank]


def _row(axes, height: float, name: str, colour: str, characters: list[tuple[str, float]], frame_seconds: float):
    """Writes characters above the axes, at `height` times their own height; words are parted by lines."""
    place = {"transform": axes.get_xaxis_transform(), "ha": "center", "va": "bottom", "color": colour}
    edge = -0.08 * _DOTS_PER_INCH / axes.bbox.width
    axes.text(edge, height, name, **(place | {"transform": axes.transAxes, "ha": "right"}), fontsize=_POINTS)
    for character, frame in characters:
        if character == " ":
            axes.plot([frame * frame_seconds] * 2, [height, height + 0.06], **_tick(axes, colour))
        else:
            axes.text(frame * frame_seconds, height, character, **place, fontsize=_POINTS, family="monospace")


def _tick(axes, colour: str) -> dict:
    return {"transform": axes.get_xaxis_transform(), "color": colour, "linewidth": 0.8, "clip_on": False}


def _probabilities(axes, log_probabilities: np.ndarray, frame_seconds: float) -> None:
    probabilities = np.exp(log_probabilities)
    times = (np.arange(len(probabilities)) + 0.5) * frame_seconds
    blank = ctc.blank(log_probabilities)
    axes.plot(times, probabilities[:, blank], color=_BLANK, linewidth=1, label="blank")
    axes.plot(times, probabilities[:, :blank].max(axis=1), color=_READ, linewidth=1, label="best character")
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("probability")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2, fontsize=8, frameon=False)
