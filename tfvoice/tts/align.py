"""From plain records to aligned ones: phonemes, where they lie, and F0, by a run of a segmentation model.

Every utterance is aligned first, because what is improbable shows only beside the others. The shards are then written
in their order, with F0 from worker processes, so that their bytes do not depend on the number of workers. The same
command resumes what was stopped: finished shards are kept.
"""

import dataclasses
import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from tfvoice import config as config_
from tfvoice.audio import f0, features
from tfvoice.audio.f0 import F0Config
from tfvoice.data import aligned, index, records, shards
from tfvoice.data.aligned import PhonemeAlignment
from tfvoice.data.corpora import base
from tfvoice.data.corpora.base import Listing, Skip
from tfvoice.data.index import Index
from tfvoice.data.output import ConversionOutput, EncodedUtterance
from tfvoice.data.shards import AlignmentSection, ConversionPlan, Manifest, PlannedShard, Shard
from tfvoice.data.workers import Workers
from tfvoice.errors import TfvoiceError
from tfvoice.text.phonemes import SILENCE
from tfvoice.tts.segmentation import data as data_
from tfvoice.tts.segmentation import forced_alignment
from tfvoice.tts.segmentation.data import UnusableError
from tfvoice.tts.segmentation.forced_alignment import AlignedPhonemes
from tfvoice.tts.segmentation.run import SegmentationRun

# Scores lower than the median by so many deviations are improbable; a deviation is estimated from the median absolute
# deviation. Never above `_ALWAYS_PROBABLE`, nats per frame: on clean speech all scores lie close together.
_DEVIATIONS = 6.0
_ALWAYS_PROBABLE = -0.15
_BATCH = 16


@dataclass(frozen=True)
class AlignmentSettings:
    """What decides the records besides the run and its data.

    Attributes:
      f0: how F0 is estimated.
      min_score: alignments of a lower score are skipped; None: `threshold` of all scores.
    """

    f0: F0Config = dataclasses.field(default_factory=F0Config)
    min_score: float | None = None


class AlignedUtterance(NamedTuple):
    """An utterance, its words and its alignment."""

    row: int
    words: list[str]
    alignment: AlignedPhonemes


@dataclass
class CorpusAlignment:
    """The alignments of a split, before improbable ones are skipped.

    Attributes:
      index: of all utterances.
      found: by row.
      skipped: what cannot be aligned, by row.
    """

    index: Index
    found: dict[int, AlignedUtterance]
    skipped: dict[int, Skip]


def align_split(run: SegmentationRun, data_dir: str | Path, split: str, progress: bool = False) -> CorpusAlignment:
    """Aligns every utterance of a split; errors as for `index.scan_clips`.

    Args:
      run: with its weights.
      data_dir: folder of plain records.
      split: name of the split.
      progress: whether to show a bar.
    """
    scanned = index.scan_clips(shards.read_manifest(data_dir), data_dir, split, 1)
    frames = features.frame_count(run.config.features, scanned.samples)
    result, graphs = CorpusAlignment(scanned, {}, {}), {}
    for row, text in enumerate(scanned.texts):
        try:
            graphs[row] = data_.lattice_of(run, text, int(frames[row]))
        except UnusableError as error:
            result.skipped[row] = Skip(scanned.ids[row], error.reason, detail=base.printable(error.detail))
    # Sorted by length, so that padding is short; in a fixed order, so that batches and their sums are always the same.
    order = sorted(graphs, key=lambda row: (scanned.samples[row], row))
    bar = tqdm(total=len(order), desc=f"align {split}", unit="utterance", disable=None if progress else True)
    with bar:
        for rows in (order[start : start + _BATCH] for start in range(0, len(order), _BATCH)):
            for row, values in zip(rows, _log_probabilities(run, scanned, rows), strict=True):
                graph, words = graphs[row]
                try:
                    found = forced_alignment.align(
                        values, graph, int(scanned.samples[row]), run.config.features.hop_samples
                    )
                    result.found[row] = AlignedUtterance(row, words, found)
                except forced_alignment.AlignmentError as error:
                    result.skipped[row] = Skip(scanned.ids[row], "shorter_than_phonemes", detail=str(error))
                bar.update()
    return result


def threshold(scores: list[float]) -> float:
    """The score below which alignments are improbable: by the distribution of all scores.

    It is the median less 6 deviations, but not above -0.15 nats per frame. A deviation is 1.4826 times the median
    absolute deviation, which wrong texts hardly move as long as they are few.
    """
    median = float(np.median(scores))
    deviation = 1.4826 * float(np.median(np.abs(np.array(scores) - median)))
    return min(median - _DEVIATIONS * deviation, _ALWAYS_PROBABLE)


def parse_score(text: str | None) -> float | None:
    """A score as the user writes it; raises `TfvoiceError` where it is none."""
    try:
        return None if text is None else float(text)
    except ValueError:
        raise TfvoiceError(f"--min_score={text}: write a number, for example --min_score=-0.3.") from None


def align_corpus(
    run: SegmentationRun,
    data_dir: str | Path,
    output: str | Path,
    settings: AlignmentSettings = AlignmentSettings(),
    workers: int = 1,
    overwrite: bool = False,
    progress: bool = True,
) -> tuple[Manifest, list[Skip]]:
    """Aligns plain records, or resumes an alignment that was interrupted.

    Args:
      run: with its weights.
      data_dir: folder of plain records.
      output: folder of the aligned records, created where it does not exist.
      settings: F0 and the threshold.
      workers: processes for F0.
      overwrite: delete an earlier alignment in `output` that differs or is finished.
      progress: show progress bars, where the standard error is a terminal.

    Returns:
      The manifest, and what was skipped.

    Raises:
      TfvoiceError: the records are aligned already, have another sample rate, or cannot be read; `output` holds other
        files or another alignment; no alignment is left; or the disk is full.
    """
    source = _plain_manifest(run, data_dir)
    plan, section = _plan(run, source, settings)
    target = ConversionOutput(output, plan, overwrite, "tfvoice_align")
    try:
        if target.complete:
            return target.complete, target.read_skipped()
        splits = {split: align_split(run, data_dir, split, progress) for split in source.splits}
        _skip_improbable(splits, settings.min_score)
        done, skipped = _write(target, plan, splits, settings.f0, workers, progress)
        skipped.sort(key=lambda skip: (skip.reason, skip.id_or_path))
        path = target.write_skipped(skipped)
        if not any(shard.utterances for finished in done.values() for shard in finished):
            raise TfvoiceError(f"{output}: no alignment is left; each utterance is listed with the reason in {path}.")
        manifest = _manifest(source, plan, section, done, skipped)
        target.write_manifest(manifest)
        return manifest, skipped
    except OSError as error:
        raise TfvoiceError(
            f"{output}: cannot continue ({error.strerror or error}). Finished shards are kept: fix that, and run the "
            "same command again."
        ) from error
    finally:
        target.close()


def _log_probabilities(run: SegmentationRun, scanned: Index, rows: list[int]) -> Iterator[np.ndarray]:
    """The log probabilities of utterances, `[frames, classes]` each."""
    waves = [scanned.audio(row) for row in rows]
    lengths = np.array([len(wave) for wave in waves], np.int32)
    samples = np.zeros((len(waves), lengths.max()), np.float32)
    for row, wave in zip(samples, waves, strict=True):
        row[: len(wave)] = wave
    values = run.log_probabilities(samples, lengths)
    return (row[:length] for row, length in zip(values.values.numpy(), values.lengths.numpy(), strict=True))


def _skip_improbable(splits: dict[str, CorpusAlignment], min_score: float | None) -> None:
    """Moves alignments of low scores to what is skipped."""
    scores = [one.alignment.score for split in splits.values() for one in split.found.values()]
    if not scores:
        return
    least = threshold(scores) if min_score is None else min_score
    for split in splits.values():
        for row in [row for row, one in split.found.items() if one.alignment.score < least]:
            score = split.found.pop(row).alignment.score
            detail = (
                f"the score is {score:.3f} nats per frame, and at least {least:.3f} is probable: does the text fit?"
            )
            split.skipped[row] = Skip(split.index.ids[row], "improbable", detail=detail)


def _plain_manifest(run: SegmentationRun, data_dir: str | Path) -> Manifest:
    """The manifest of plain records of the sample rate of the run."""
    source, rate_hz = aligned.read_plain_manifest(data_dir), run.config.features.sample_rate_hz
    if source.sample_rate_hz != rate_hz:
        raise TfvoiceError(
            f"{data_dir}: its audio has {source.sample_rate_hz} Hz and {run.run_dir} was trained at {rate_hz}; convert "
            f"it with --sample_rate_hz={rate_hz}."
        )
    return source


def _plan(
    run: SegmentationRun, source: Manifest, settings: AlignmentSettings
) -> tuple[ConversionPlan, AlignmentSection]:
    """The same shards, whose fingerprint is of everything that decides their bytes; and what the manifest adds."""
    section = AlignmentSection(
        phonemes=[SILENCE, *run.inventory.symbols],
        frame_samples=settings.f0.frame_samples,
        f0_method=settings.f0.method,
        aligner=run.fingerprint(),
    )
    decides = (source.fingerprint, config_.to_json(section), config_.to_json(settings.f0), repr(settings.min_score))
    planned = [PlannedShard(shard.name, split, []) for split, each in source.splits.items() for shard in each.shards]
    digest = hashlib.sha256("\n".join(decides).encode()).hexdigest()
    return ConversionPlan(source.settings, Listing([], []), planned, digest), section


def _write(target, plan, splits, f0_config, workers, progress) -> tuple[dict[str, list[Shard]], list[Skip]]:
    """Writes the shards that are not finished; returns all of them by split, and what was skipped."""
    finished = {shard.name: target.finished(shard) for shard in plan.shards}
    todo = {shard.name: shard for shard in plan.shards if not finished[shard.name]}
    jobs = [(name, shard.split, row) for name, shard in todo.items() for row in _rows(splits[shard.split].index, name)]
    bar = tqdm(total=len(jobs), desc="F0", unit="utterance", disable=None if progress else True)
    with Workers(min(workers, len(jobs))) as pool, bar:
        results = pool.ordered(_encoded, (_argument(splits[split], row, f0_config) for _, split, row in jobs))
        for name, group in itertools.groupby(zip(jobs, results, strict=True), key=lambda item: item[0][0]):
            finished[name] = target.write(todo[name], ([_counted(bar, result)] for _, result in group))
    done: dict[str, list[Shard]] = {}
    for shard in plan.shards:
        done.setdefault(shard.split, []).append(finished[shard.name][0])
    return done, [skip for _, skips in finished.values() for skip in skips]


def _rows(scanned: Index, shard: str) -> np.ndarray:
    """The rows of a shard, in the order of its records."""
    return np.flatnonzero(scanned.shard == [Path(path).name for path in scanned.shards].index(shard))


def _counted(bar: tqdm, result):
    bar.update()
    return result


def _argument(split: CorpusAlignment, row: int, f0_config: F0Config) -> tuple:
    """What `_encoded` needs of an utterance."""
    if row in split.skipped:
        return (split.skipped[row], None, None, None, None)
    scanned, found = split.index, split.found[row].alignment
    (record,) = scanned.read([row])
    entry = (scanned.ids[row], scanned.speakers[row], scanned.texts[row], int(scanned.samples[row]))
    # What was clipped is counted by the conversion that clipped it.
    place = EncodedUtterance(record, *entry, float(scanned.peak[row]), clipped=False)
    return (place, scanned.audio(row), scanned.sample_rate_hz, found, f0_config)


def _encoded(
    utterance: EncodedUtterance | Skip, samples, sample_rate_hz: int, found: AlignedPhonemes, f0_config: F0Config
) -> EncodedUtterance | Skip:
    """An utterance, which comes with its plain record, with its aligned one; runs in a worker process."""
    if isinstance(utterance, Skip):
        return utterance
    f0_hz = f0.estimate(samples, sample_rate_hz, f0_config)
    alignment = PhonemeAlignment(found.phonemes, found.ends, f0_hz, f0_config.frame_samples)
    record = aligned.encode(utterance.frame, utterance.samples, alignment)
    return dataclasses.replace(utterance, frame=records.frame(record))


def _manifest(
    source: Manifest, plan: ConversionPlan, section: AlignmentSection, done: dict[str, list[Shard]], skipped: list[Skip]
) -> Manifest:
    splits = {split: shards.total(finished) for split, finished in done.items()}
    return source.model_copy(
        update={
            "splits": {split: each for split, each in splits.items() if each.utterances},
            "skipped": base.reasons(skipped, expected=False),
            "expected_skips": {},
            "fingerprint": plan.fingerprint,
            "alignment": section,
        }
    )
