"""What aligned records look like to a person: a summary, TextGrids, and figures."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tfvoice import storage
from tfvoice.data import aligned, index, records, shards
from tfvoice.data.aligned import PhonemeAlignment
from tfvoice.data.corpora.base import Skip
from tfvoice.data.shards import Manifest
from tfvoice.report import plots
from tfvoice.text.phonemes import SILENCE
from tfvoice.tts import textgrid
from tfvoice.tts.segmentation import phoneme_lattice
from tfvoice.tts.segmentation.run import SegmentationRun

_LISTED = 5
# Figures of each split: of the least probable records, and of records around the median.
_LEAST_PROBABLE, _TYPICAL = 4, 2
_INCHES_PER_SECOND = 4.0
_WIDTH_INCHES = (9.0, 40.0)
_HEIGHT_INCHES = 4.0


class AlignedClip(NamedTuple):
    """An aligned record.

    Attributes:
      id, text: as in the record.
      sample_rate_hz: of the audio.
      audio: float32 `[samples]`.
      alignment: of the audio.
      score: of the alignment, nats per frame; NaN where it is unknown.
    """

    id: str
    text: str
    sample_rate_hz: int
    audio: np.ndarray
    alignment: PhonemeAlignment
    score: float = math.nan


def clips(data_dir: str | Path, split: str, rows: Iterable[int] | None = None) -> Iterator[AlignedClip]:
    """Reads the aligned records of a split: all in their order, or those of some rows."""
    manifest = aligned.read_manifest(data_dir)
    scanned = index.scan_clips(manifest, data_dir, split, 1)
    for row in range(len(scanned)) if rows is None else rows:
        (serialized,) = scanned.read([row])
        with records.explained(data_dir):
            record = aligned.decode(serialized)
        score = aligned.decode_score(serialized)
        place = (scanned.ids[row], scanned.texts[row], manifest.sample_rate_hz)
        yield AlignedClip(*place, record["audio"].numpy(), aligned.alignment_of(record), score)


def summary(output: str | Path, manifest: Manifest, skipped: list[Skip]) -> str:
    """What was aligned, and what was not and why, for the terminal."""
    lines = [
        f"{output}: {split}: {each.utterances:,} utterances, {each.seconds / 60:.1f} minutes"
        for split, each in manifest.splits.items()
    ]
    for reason, count in Counter(skip.reason for skip in skipped).most_common():
        lines.append(f"skipped: {count} {reason}")
        of_reason = [skip for skip in skipped if skip.reason == reason]
        lines += [f"  {skip.id_or_path}: {skip.detail}" for skip in of_reason[:_LISTED]]
        if count > _LISTED:
            lines.append(f"  and {count - _LISTED} more in {Path(output) / shards.SKIPPED}")
    return "\n".join(lines)


def write_textgrids(data_dir: str | Path, folder: str | Path, run: SegmentationRun) -> int:
    """Writes a TextGrid for each aligned record; returns how many.

    Args:
      data_dir: folder of the records.
      folder: of the TextGrids, made where it does not exist; one in a folder for each split.
      run: that aligned them, which gives the words.
    """
    count = 0
    for split in aligned.read_manifest(data_dir).splits:
        target = Path(folder) / split
        target.mkdir(parents=True, exist_ok=True)
        for clip in clips(data_dir, split):
            storage.write(target / f"{clip.id.replace('/', '_')}.TextGrid", textgrid.format(tiers(clip, run)))
            count += 1
    return count


def tiers(clip: AlignedClip, run: SegmentationRun) -> dict[str, list[textgrid.TierInterval]]:
    """The tiers `words` and `phones` of an aligned record."""
    phonemes, ends, *_ = clip.alignment
    names = ["" if phoneme == SILENCE else phoneme for phoneme in phonemes]
    words = run.pronunciations(clip.text)
    places = phoneme_lattice.words_of(phonemes, [choices for _, choices in words])
    last = [place for place in range(len(places)) if place + 1 == len(places) or places[place + 1] != places[place]]
    texts = ["" if places[place] < 0 else words[places[place]][0] for place in last]
    return {
        "words": textgrid.intervals(texts, ends[last], clip.sample_rate_hz),
        "phones": textgrid.intervals(names, ends, clip.sample_rate_hz),
    }


def write_figures(data_dir: str | Path, folder: str | Path) -> list[Path]:
    """Writes figures of the least probable records of each split and of a few typical ones; returns their paths."""
    manifest, paths = aligned.read_manifest(data_dir), []
    Path(folder).mkdir(parents=True, exist_ok=True)
    for split in manifest.splits:
        scanned = index.scan_clips(manifest, data_dir, split, 1)
        scores = [aligned.decode_score(scanned.read([row])[0]) for row in range(len(scanned))]
        order = np.argsort(scores, kind="stable").tolist()
        middle = max(len(order) // 2, _LEAST_PROBABLE)
        kinds = (("least_probable", order[:_LEAST_PROBABLE]), ("typical", order[middle : middle + _TYPICAL]))
        for kind, rows in kinds:
            for place, clip in enumerate(clips(data_dir, split, rows), 1):
                path = Path(folder) / f"{split}-{kind}_{place}-{clip.id.replace('/', '_')}.png"
                plots.write(path, figure(clip))
                paths.append(path)
    return paths


def figure(clip: AlignedClip) -> np.ndarray:
    """Plots a record: its spectrogram, the phonemes at their times, and F0; its title has the score.

    Returns:
      uint8 `[height, width, 3]`.
    """
    seconds = len(clip.audio) / clip.sample_rate_hz
    width = float(np.clip(_INCHES_PER_SECOND * seconds, *_WIDTH_INCHES))
    drawn = Figure(figsize=(width, _HEIGHT_INCHES), dpi=plots.DOTS_PER_INCH)
    canvas = FigureCanvasAgg(drawn)
    edges = {"left": 0.6 / width, "right": 1 - 0.7 / width, "bottom": 0.13, "top": 0.83}
    axes = drawn.add_axes(
        (edges["left"], edges["bottom"], edges["right"] - edges["left"], edges["top"] - edges["bottom"])
    )
    score = "" if math.isnan(clip.score) else f" ({clip.score:.2f})"
    drawn.text(
        0.12 / width,
        0.985,
        ": ".join(filter(None, (f"{clip.id}{score}", clip.text))),
        fontsize=10,
        va="top",
        parse_math=False,
    )
    plots.spectrogram(axes, clip.audio, clip.sample_rate_hz)
    axes.set_xlim(0, seconds)
    axes.set_xlabel("time (s)")
    start = 0.0
    for place, (phoneme, end) in enumerate(zip(clip.alignment.phonemes, clip.alignment.ends, strict=True)):
        end_seconds = int(end) / clip.sample_rate_hz
        axes.axvline(end_seconds, color="white", linewidth=0.6)
        height = 1.02 if place % 2 else 1.07
        name = "" if phoneme == SILENCE else phoneme
        axes.text(
            (start + end_seconds) / 2, height, name, transform=axes.get_xaxis_transform(), ha="center", fontsize=8
        )
        start = end_seconds
    f0_hz, frame_samples = clip.alignment.f0_hz, clip.alignment.frame_samples
    times = (np.arange(len(f0_hz)) + 0.5) * frame_samples / clip.sample_rate_hz
    right = axes.twinx()
    right.plot(times, np.where(f0_hz > 0, f0_hz, np.nan), color="cyan", linewidth=1.5)
    right.set_ylim(0, max(100.0, 2 * float(f0_hz.max(initial=0))))
    right.set_ylabel("F0 (Hz)", fontsize=8)
    right.set_xlim(0, seconds)
    return plots.pixels(canvas)
