"""From plain records to aligned ones: phonemes, where they lie, and F0, by a run of a segmentation model.

Every utterance is aligned first, because what is improbable shows only beside the others. The shards are then written
in their order, with F0 from worker processes, so that their bytes do not depend on the number of workers. The same
command resumes what was stopped: finished shards are kept, and so are the alignments of all shards, from the time that
the first of them is finished.
"""

import dataclasses
import hashlib
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tfvoice import config as config_
from tfvoice import storage
from tfvoice.audio import f0, features
from tfvoice.audio.f0 import F0Config
from tfvoice.data import aligned, index, shards
from tfvoice.data.corpora import base
from tfvoice.data.corpora.base import Listing, Skip
from tfvoice.data.index import Index
from tfvoice.data.output import PROGRESS, ConversionOutput, EncodedUtterance
from tfvoice.data.planning import ConversionPlan, PlannedShard
from tfvoice.data.shards import AlignmentSection, Manifest, Shard
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
# A run that recognises a smaller share of the pairs has not learned to align these records. Runs of 20 minutes
# recognise half of the pairs of their own data and 12 % of those of another voice, initial weights 2 %.
_LEAST_RECOGNISED = 0.05
# Utterances of a call of the network, and their samples with padding: of 60 s each, 16 would take 2 GB.
_BATCH, _BATCH_SECONDS = 16, 240.0


class UnrecognisedError(TfvoiceError):
    """Records whose phonemes a run hardly recognises.

    Attributes:
      share: of the phonemes that it recognises.
    """

    def __init__(self, sentence: str, share: float):
        super().__init__(sentence)
        self.share = share


@dataclass(frozen=True)
class AlignmentSettings:
    """What decides the records besides the run and its data.

    Attributes:
      f0: how F0 is estimated.
      min_score: alignments of a lower score are skipped; None: `threshold` of those of the split.
    """

    f0: F0Config = dataclasses.field(default_factory=F0Config)
    min_score: float | None = None


# Of the utterances of each shard, in their order, by its name.
ShardAlignments = dict[str, list[AlignedPhonemes | Skip]]


def align_rows(
    run: SegmentationRun, scanned: Index, rows: np.ndarray, after_each: Callable[[], object] = lambda: None
) -> list[AlignedPhonemes | Skip]:
    """Aligns utterances.

    A batch holds utterances of `rows` alone: what the network computes of them is the same to the last bit, whichever
    other utterances were aligned before.

    Args:
      run: with its weights.
      scanned: of plain records.
      rows: of `scanned`.
      after_each: called after each utterance, to show progress.

    Returns:
      An `AlignedPhonemes` or a `Skip` for each of `rows`, in their order.

    Raises:
      RecordError: a record is damaged.
    """
    found: dict[int, AlignedPhonemes | Skip] = {}
    graphs = {}
    frames = features.frame_count(run.config.features, scanned.samples)
    for row in rows.tolist():
        try:
            graphs[row] = data_.lattice_of(run, scanned.texts[row], int(frames[row]))
        except UnusableError as error:
            found[row] = Skip(scanned.ids[row], error.reason, detail=base.printable(error.detail))
            after_each()
    for batch in _batches(sorted(graphs, key=lambda row: (scanned.samples[row], row)), scanned):
        for row, values in zip(batch, _log_probabilities(run, scanned, batch), strict=True):
            samples, hop_samples = int(scanned.samples[row]), run.config.features.hop_samples
            try:
                found[row] = forced_alignment.align(values, graphs[row], samples, hop_samples)
            except forced_alignment.AlignmentError as error:
                found[row] = Skip(scanned.ids[row], "shorter_than_phonemes", detail=str(error))
            after_each()
    return [found[row] for row in rows.tolist()]


def align_clip(run: SegmentationRun, samples: np.ndarray, text: str, name: str) -> AlignedPhonemes:
    """Aligns one recording.

    Args:
      run: with its weights.
      samples: float32 `[samples]` at the rate of the run.
      text: what is spoken in it.
      name: of the recording, for messages.

    Raises:
      TfvoiceError: it is too short or too long for its text, the text has words without phonemes, or hardly a pair of
        its phonemes is recognised.
    """
    lengths = np.array([len(samples)], np.int32)
    frames = int(features.frame_count(run.config.features, lengths)[0])
    try:
        graph = data_.lattice_of(run, text, frames)
        values = run.log_probabilities(samples[np.newaxis], lengths).values[0].numpy()
        found = forced_alignment.align(values, graph, len(samples), run.config.features.hop_samples)
    except UnusableError as error:
        raise TfvoiceError(f"{name}: cannot be aligned with its text: {error.detail}.") from None
    except forced_alignment.AlignmentError as error:
        raise TfvoiceError(f"{name}: cannot be aligned with its text: {error}.") from None
    if found.recognised < _LEAST_RECOGNISED:
        raise TfvoiceError(f"{name}: has no speech that is its text; give a recording of it.")
    return found


def threshold(scores: list[float]) -> float:
    """The score below which alignments are improbable: by the distribution of the scores of a split.

    It is the median less 6 deviations, but not above -0.15 nats per frame. A deviation is 1.4826 times the median
    absolute deviation, which wrong texts hardly move as long as they are few.
    """
    median = float(np.median(scores))
    deviation = 1.4826 * float(np.median(np.abs(np.array(scores) - median)))
    return min(median - _DEVIATIONS * deviation, _ALWAYS_PROBABLE)


def parse_score(text: str | None) -> float | None:
    """A score as the user writes it; raises `TfvoiceError` where it is none."""
    try:
        score = None if text is None else float(text)
    except ValueError:
        score = math.nan
    if score is not None and math.isnan(score):
        raise TfvoiceError(f"--min_score={text}: write a number, for example --min_score=-0.3.")
    return score


def align_corpus(
    run: SegmentationRun,
    data_dir: str | Path,
    output: str | Path,
    settings: AlignmentSettings = AlignmentSettings(),
    workers: int = 1,
    overwrite: bool = False,
    progress: bool = True,
    after_each: Callable[[], object] = lambda: None,
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
      after_each: called after each utterance, of the network and of F0; what it raises interrupts the alignment.

    Returns:
      The manifest, and what was skipped.

    Raises:
      UnrecognisedError: the run does not recognise the phonemes of the records.
      TfvoiceError: the records are aligned already or have another sample rate; F0 cannot be estimated with these
        settings; `output` holds other files or another alignment; no alignment is left; or the disk is full.
    """
    source = _plain_manifest(run, data_dir, settings.f0)
    plan, section = _plan(run, source, settings)
    _refuse_other_records(output, plan.fingerprint, overwrite)
    target = ConversionOutput(output, plan, overwrite, "tfvoice_align")
    try:
        if target.complete:
            return target.complete, target.read_skipped()
        splits = {split: index.scan_clips(source, data_dir, split, 1) for split in source.splits}
        found = _align_shards(run, target, plan, splits, progress, after_each)
        if settings.min_score is None:
            _require_recognition(run, data_dir, found)
        _skip_improbable(plan, splits, found, settings.min_score)
        skipped = _write_skipped(target, found)
        done = _write(target, plan, splits, found, settings.f0, workers, progress, after_each)
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


def _refuse_other_records(output: str | Path, fingerprint: str, overwrite: bool) -> None:
    """Raises where `output` holds plain records, such as those to be aligned, or another alignment."""
    if not (Path(output) / shards.MANIFEST).exists():
        return
    earlier = shards.read_manifest(output)
    if earlier.alignment is None:
        raise TfvoiceError(f"{output}: holds plain records, which no alignment replaces; name another --output.")
    if earlier.fingerprint != fingerprint and not overwrite:
        raise TfvoiceError(
            f"{output}: holds an alignment by another run, of other records or with other flags; replace it with "
            "--overwrite, or name another folder with --output."
        )


def _align_shards(
    run: SegmentationRun,
    target: ConversionOutput,
    plan: ConversionPlan,
    splits: dict[str, Index],
    progress: bool,
    after_each: Callable[[], object],
) -> ShardAlignments:
    """The alignments of all shards; those of an earlier call are read."""
    found: ShardAlignments = {}
    total = sum(map(len, splits.values()))
    with tqdm(total=total, desc="align", unit="utterance", disable=None if progress else True) as bar:

        def aligned_one() -> None:
            bar.update()
            after_each()

        for shard in plan.shards:
            rows = _rows(splits[shard.split], shard.name)
            path = target.directory / PROGRESS / f"{shard.name}.alignments.json"
            results = _read_alignments(path)
            if results is None or len(results) != len(rows):
                results = align_rows(run, splits[shard.split], rows, aligned_one)
                storage.write_json(path, [_as_json(each) for each in results], indent=None)
            else:
                bar.update(len(rows))
            found[shard.name] = results
    return found


def _as_json(result: AlignedPhonemes | Skip) -> dict:
    if isinstance(result, Skip):
        return {"skip": dataclasses.asdict(result)}
    return result._asdict() | {"ends": result.ends.tolist()}


def _read_alignments(path: Path) -> list[AlignedPhonemes | Skip] | None:
    """Inverts `_as_json`; None where there is no such file, or another version wrote it."""
    try:
        return [
            Skip(**each["skip"]) if "skip" in each else AlignedPhonemes(**each | {"ends": np.array(each["ends"])})
            for each in storage.read_json(path)
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _batches(rows: list[int], scanned: Index) -> Iterator[list[int]]:
    """Cuts rows, sorted by their length, into batches that are not too large."""
    batch: list[int] = []
    for row in rows:
        seconds = (len(batch) + 1) * scanned.samples[row] / scanned.sample_rate_hz
        if len(batch) == _BATCH or (batch and seconds > _BATCH_SECONDS):
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _log_probabilities(run: SegmentationRun, scanned: Index, rows: list[int]) -> Iterator[np.ndarray]:
    """The log probabilities of utterances, `[frames, classes]` each."""
    waves = [scanned.audio(row) for row in rows]
    lengths = np.array([len(wave) for wave in waves], np.int32)
    samples = np.zeros((len(waves), lengths.max()), np.float32)
    for row, wave in zip(samples, waves, strict=True):
        row[: len(wave)] = wave
    values = run.log_probabilities(samples, lengths)
    return (row[:length] for row, length in zip(values.values.numpy(), values.lengths.numpy(), strict=True))


def _require_recognition(run: SegmentationRun, data_dir: str | Path, found: ShardAlignments) -> None:
    """Raises where the run recognises hardly any pair where it puts it, as one that is hardly trained.

    All of its scores are alike then, so that none is improbable beside the others.
    """
    shares = [each.recognised for results in found.values() for each in results if isinstance(each, AlignedPhonemes)]
    share = float(np.mean(shares)) if shares else 1.0
    if share < _LEAST_RECOGNISED:
        sentence = (
            f"{run.run_dir}: recognises {share:.0%} of the phonemes of {data_dir}, so that it cannot align them; train "
            "it longer or on these records, or keep what it finds with --min_score=-100."
        )
        raise UnrecognisedError(sentence, share)


def _skip_improbable(
    plan: ConversionPlan, splits: dict[str, Index], found: ShardAlignments, min_score: float | None
) -> None:
    """Replaces alignments of low scores by skips.

    Scores are compared within a split: the network gives the utterances that it was trained on higher ones.
    """
    scores: dict[str, list[float]] = {}
    for shard in plan.shards:
        aligned_ = [each.score for each in found[shard.name] if isinstance(each, AlignedPhonemes)]
        scores.setdefault(shard.split, []).extend(aligned_)
    limits = {
        split: threshold(values) if min_score is None else min_score for split, values in scores.items() if values
    }
    for shard in plan.shards:
        scanned, results, least = splits[shard.split], found[shard.name], limits.get(shard.split)
        for place, row in enumerate(_rows(scanned, shard.name)):
            if isinstance(results[place], AlignedPhonemes) and results[place].score < least:
                detail = (
                    f"the score is {results[place].score:.3f} nats per frame, and at least {least:.3f} is probable: "
                    "does the text fit?"
                )
                results[place] = Skip(scanned.ids[row], "improbable", detail=detail)


def _write_skipped(target: ConversionOutput, found: ShardAlignments) -> list[Skip]:
    """Lists what is skipped; raises where nothing else is there."""
    skipped = [each for results in found.values() for each in results if isinstance(each, Skip)]
    skipped.sort(key=lambda skip: (skip.reason, skip.id_or_path))
    path = target.write_skipped(skipped)
    if len(skipped) == sum(map(len, found.values())):
        raise TfvoiceError(
            f"{target.directory}: no alignment is left; each utterance is listed with the reason in {path}."
        )
    return skipped


def _plain_manifest(run: SegmentationRun, data_dir: str | Path, f0_config: F0Config) -> Manifest:
    """The manifest of plain records of the sample rate of the run, of which F0 can be estimated."""
    source, rate_hz = aligned.read_plain_manifest(data_dir), run.config.features.sample_rate_hz
    if source.sample_rate_hz != rate_hz:
        raise TfvoiceError(
            f"{data_dir}: its audio has {source.sample_rate_hz} Hz and {run.run_dir} was trained at {rate_hz}; convert "
            f"it with --sample_rate_hz={rate_hz}."
        )
    f0.check(source.sample_rate_hz, f0_config)
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
    # The fingerprint of plain records is not of their audio.
    content = [shard.sha256 for split in source.splits.values() for shard in split.shards]
    settings_of = (config_.to_json(settings.f0), repr(settings.min_score))
    decides = (source.fingerprint, *content, config_.to_json(section), *settings_of)
    planned = [PlannedShard(shard.name, split) for split, each in source.splits.items() for shard in each.shards]
    digest = hashlib.sha256("\n".join(decides).encode()).hexdigest()
    return ConversionPlan(source.settings, Listing([], []), planned, digest), section


def _write(target, plan, splits, found, f0_config, workers, progress, after_each) -> dict[str, list[Shard]]:
    """Writes the shards that are not finished; returns all of them by split."""
    finished = {shard.name: target.finished(shard) for shard in plan.shards}
    todo = [shard for shard in plan.shards if not finished[shard.name]]
    rows = {shard.name: _rows(splits[shard.split], shard.name) for shard in todo}
    arguments = (
        _argument(splits[shard.split], row, result, f0_config)
        for shard in todo
        for row, result in zip(rows[shard.name], found[shard.name], strict=True)
    )
    total = sum(map(len, rows.values()))
    bar = tqdm(total=total, desc="F0", unit="utterance", disable=None if progress else True)
    with Workers(min(workers, total)) as pool, bar:
        results = pool.ordered(aligned.encode_utterance, arguments)
        for shard in todo:
            of_shard = itertools.islice(results, len(rows[shard.name]))
            finished[shard.name] = target.write(shard, ([_counted(bar, after_each, result)] for result in of_shard))
    done: dict[str, list[Shard]] = {}
    for shard in plan.shards:
        done.setdefault(shard.split, []).append(finished[shard.name][0])
    return done


def _rows(scanned: Index, shard: str) -> np.ndarray:
    """The rows of a shard, in the order of its records."""
    return np.flatnonzero(scanned.shard == [Path(path).name for path in scanned.shards].index(shard))


def _counted(bar: tqdm, after_each: Callable[[], object], result):
    bar.update()
    after_each()
    return result


def _argument(scanned: Index, row: int, result: AlignedPhonemes | Skip, f0_config: F0Config) -> tuple:
    """What `aligned.encode_utterance` needs: nothing for which a worker process would import TensorFlow."""
    if isinstance(result, Skip):
        return (result,)
    (record,) = scanned.read([row])
    entry = (scanned.ids[row], scanned.speakers[row], scanned.texts[row], int(scanned.samples[row]))
    # What was clipped is counted by the conversion that clipped it.
    utterance = EncodedUtterance(record, *entry, float(scanned.peak[row]), clipped=False)
    found = (result.phonemes, result.ends, result.score)
    return (utterance, scanned.audio(row), scanned.sample_rate_hz, *found, f0_config)


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
