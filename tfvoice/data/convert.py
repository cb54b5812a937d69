"""From a corpus to shards: audio is decoded, mixed down and resampled in worker processes.

No process of a conversion imports TensorFlow. All shards are planned first (`planning.plan`), so that the bytes of the
output do not depend on the number of workers. A shard is one task, `convert_shard`, that finds all it needs in the
output folder and leaves its result there. The last shards, for which there is no longer one for each worker, are
decoded by all workers together and written by the parent: a small corpus has one shard.
"""

import functools
import io
import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import tqdm

from tfvoice.audio import io as audio_io
from tfvoice.data import planning, recordings, records, shards
from tfvoice.data.corpora import base
from tfvoice.data.corpora.base import Listing, Skip, Utterance
from tfvoice.data.output import (
    ConversionOutput,
    EncodedUtterance,
    finished,
    read_partition,
    read_settings,
    write_shard,
)
from tfvoice.data.planning import ConversionPlan, PlannedShard
from tfvoice.data.recordings import Engine
from tfvoice.data.shards import ConversionConfig, Manifest, Shard
from tfvoice.data.workers import Workers, chunked, report
from tfvoice.errors import TfvoiceError

# The corpus that is any folder of audio, cut into clips.
AUDIO = "audio"

_CHUNK = 8


class ConversionError(TfvoiceError):
    """A conversion that cannot start, or whose result cannot be used."""


def prepare(
    listing: Listing,
    settings: ConversionConfig,
    workers: int = 1,
    engine: Engine | None = None,
    output: str | Path | None = None,
) -> ConversionPlan:
    """Assigns splits, finds the length of every recording, and plans the shards.

    Args:
      listing: from the reader of a corpus.
      settings: of the conversion.
      workers: processes that read the headers.
      engine: reads them where more than 20,000 recordings have no stated length, if `output` is given.
      output: folder of the shards.

    Raises:
      ConversionError: there is no utterance at all.
      RecordingsError: the engine left no result.
      ShardError, LockedError: as for `convert`, before the engine is used.
      CorpusError: `settings.split` is malformed.
    """
    if not listing.utterances:
        raise ConversionError(
            f"there is no usable utterance in this corpus{_listed(listing.skipped)}{_example(listing.skipped)}; "
            "check --input."
        )
    if settings.corpus == AUDIO:
        longest = max(utterance.seconds for utterance in listing.utterances)
        if longest > settings.max_seconds:
            raise ConversionError(
                f"--clip_seconds={longest:g} is more than --max_seconds={settings.max_seconds:g}, so that every whole "
                f"clip would be skipped; add --max_seconds={longest:g}."
            )
    utterances = base.with_splits(listing.utterances, base.parse_split(settings.split), settings.split_by)
    with recordings.with_seconds(listing, utterances, workers, engine, output) as known:
        return planning.plan(listing, known, settings)


def convert(
    plan: ConversionPlan,
    output: str | Path,
    workers: int = 1,
    max_skipped: float = 0.01,
    overwrite: bool = False,
    progress: bool = True,
    engine: Engine | None = None,
) -> Manifest:
    """Converts a corpus, or resumes a conversion that was interrupted.

    Args:
      plan: from `prepare`.
      output: folder of the shards, created where it does not exist; or the URL of one in an object store.
      workers: processes; with one, everything happens in this process.
      max_skipped: the largest fraction of the expected utterances that may be bad.
      overwrite: delete an earlier conversion in `output` that differs or is finished.
      progress: show a progress bar, where the standard error is a terminal.
      engine: of another kind, such as `beam.engine`; None: processes of this machine.

    Returns:
      The content of `manifest.json`.

    Raises:
      ConversionError: too many utterances are bad, or the disk is full.
      WorkerError: a worker process died.
      ShardError: `output` holds other files or another conversion.
      LockedError: another process is converting into `output`.
    """
    target = ConversionOutput(output, plan, overwrite)
    try:
        if target.complete:
            return target.complete
        _check_skipped(target, plan.listing, plan.listing.skipped, max_skipped)
        done, skipped = _write_shards(target, plan, workers, progress, engine)
        skipped = sorted(plan.listing.skipped + skipped, key=lambda skip: (skip.id_or_path, skip.reason))
        _check_skipped(target, plan.listing, skipped, max_skipped)
        manifest = _manifest(plan, done, skipped)
        path = target.write_skipped(skipped)
        if not manifest.splits:
            raise ConversionError(f"{output}: no utterance is left{_listed(skipped)}; each is listed in {path}")
        target.write_manifest(manifest)
        return manifest
    except OSError as error:
        raise ConversionError(
            f"{output}: cannot continue ({error.strerror or error}). Finished shards are kept: fix that, and run the "
            "same command again."
        ) from error
    finally:
        target.close()


def convert_shard(
    directory: str, name: str, fingerprint: str, advance: Callable[[float], object] = lambda seconds: None
) -> None:
    """Converts one shard, in any process on any machine that sees the corpus and the output folder.

    It can run again, or twice at once: a finished shard is left as it is, and an unfinished one appears whole or not.

    Args:
      directory: the output folder.
      name: of the shard.
      fingerprint: of the plan in the folder.
      advance: takes the expected seconds of each utterance that is done.

    Raises:
      ShardError: the folder now belongs to another conversion.
      OSError: the disk is full, for example.
    """
    if finished(directory, name):
        return
    settings, utterances = read_partition(directory, name, fingerprint)

    def results() -> Iterator[list[EncodedUtterance | Skip]]:
        for utterance, source in recordings.with_sources(utterances):
            yield [convert_one(utterance, settings, source)]
            advance(utterance.seconds)
        # A task that outlived its command must not write over the shards of the next conversion.
        read_settings(directory, fingerprint)

    write_shard(directory, name, settings.sample_rate_hz, results())


def convert_one(
    utterance: Utterance, settings: ConversionConfig, source: str | io.BytesIO | None = None
) -> EncodedUtterance | Skip:
    """Decodes the audio of an utterance and encodes its record; bad audio becomes a Skip.

    Args:
      utterance: to convert.
      settings: of the conversion.
      source: the audio, where it has been fetched already.
    """
    source = recordings.source(utterance) if source is None else source
    try:
        part = (utterance.start_seconds or 0.0, None if utterance.to_end else utterance.seconds)
        samples = audio_io.read(source, settings.sample_rate_hz, settings.max_seconds, *part)
    except audio_io.AudioError as error:
        reason = "missing_audio" if error.reason == "missing_file" else error.reason
        return Skip(utterance.id, reason, detail=base.printable(str(error)))
    pcm16, clipped = audio_io.to_pcm16(samples), bool(np.abs(samples).max() > 1)
    seconds = len(pcm16) / settings.sample_rate_hz
    if seconds < settings.min_seconds:
        return Skip(utterance.id, "too_short", detail=f"{utterance.audio}: {seconds:.3f} s")
    if pcm16.min() == pcm16.max():
        # Speech cannot be silent; a rest in music is no defect.
        expected = not utterance.text
        return Skip(utterance.id, "silent", expected, detail=f"{utterance.audio}: every sample is the same")
    record = records.encode(
        utterance.id, utterance.speaker, utterance.text, pcm16, settings.sample_rate_hz, settings.encoding
    )
    return EncodedUtterance(
        records.frame(record), utterance.id, utterance.speaker, utterance.text, len(pcm16), _peak(pcm16), clipped
    )


def _peak(pcm16: np.ndarray) -> float:
    return max(-int(pcm16.min()), int(pcm16.max())) / 32768


def _convert_chunk(utterances: list[Utterance], settings: ConversionConfig) -> list[EncodedUtterance | Skip]:
    return [convert_one(utterance, settings, source) for utterance, source in recordings.with_sources(utterances)]


def _write_shards(
    target: ConversionOutput, plan: ConversionPlan, workers: int, progress: bool, engine: Engine | None
) -> tuple[dict[str, list[Shard]], list[Skip]]:
    todo = [shard for shard, result in zip(plan.shards, target.all_finished(), strict=True) if not result]
    target.write_partitions(todo)
    if engine and todo:
        task = functools.partial(convert_shard, fingerprint=plan.fingerprint)
        engine(str(target.directory), task, [shard.name for shard in todo])
    else:
        with _bar(sum(shard.seconds for shard in todo), progress) as bar:
            _run(target, plan, todo, workers, functools.partial(_advance, bar))
    done: dict[str, list[Shard]] = {}
    skipped: list[Skip] = []
    for shard, result in zip(plan.shards, target.all_finished(), strict=True):
        if result is None:
            raise ConversionError(f"{target.directory / shard.name}: was not written; run the same command again.")
        done.setdefault(shard.split, []).append(result[0])
        skipped += result[1]
    return done, skipped


def _run(
    target: ConversionOutput,
    plan: ConversionPlan,
    todo: list[PlannedShard],
    workers: int,
    advance: Callable[[float], object],
) -> None:
    """Converts shards in processes of this machine; calls `advance` with the seconds of audio that are done."""
    directory = str(target.directory)
    alone, together = _divided(todo, workers)
    chunks = sum(math.ceil(shard.utterances / _CHUNK) for shard in together)
    with Workers(min(workers, len(alone) + chunks), advance) as pool:
        for shard in alone:
            pool.submit(convert_shard, directory, shard.name, plan.fingerprint, report)
        for shard in together:
            _, utterances = read_partition(directory, shard.name, plan.fingerprint)
            arguments = ((chunk, plan.settings) for chunk in chunked(utterances, _CHUNK))
            results = pool.ordered(_convert_chunk, arguments)
            seconds = (sum(each.seconds for each in chunk) for chunk in chunked(utterances, _CHUNK))
            target.write(shard, _counted(results, seconds, advance))
        pool.join()


def _divided(todo: list[PlannedShard], workers: int) -> tuple[list[PlannedShard], list[PlannedShard]]:
    """The shards that are the task of one worker each, as long as there is enough for the others, and the last ones."""
    rest = sum(shard.seconds for shard in todo)
    alone: list[PlannedShard] = []
    together: list[PlannedShard] = []
    for shard in todo:
        rest -= shard.seconds
        (alone if workers > 1 and rest >= (workers - 1) * shard.seconds else together).append(shard)
    return alone, together


def _bar(seconds: float, progress: bool) -> tqdm.tqdm:
    form = "{percentage:3.0f}%|{bar}| {n:.2f}/{total:.2f} h of audio [{elapsed}<{remaining}{postfix}]"
    disable = None if progress else True
    return tqdm.tqdm(total=seconds / 3600, desc="convert", bar_format=form, disable=disable, dynamic_ncols=True)


def _advance(bar: tqdm.tqdm, seconds: float) -> None:
    if not bar.disable:
        elapsed = bar.format_dict["elapsed"]
        if elapsed:
            bar.set_postfix_str(f"{bar.n / elapsed * 60:.2f} h/min", refresh=False)
        bar.update(seconds / 3600)


def _counted(results: Iterable[list], seconds: Iterable[float], advance: Callable[[float], object]) -> Iterator[list]:
    for result, amount in zip(results, seconds, strict=True):
        yield result
        advance(amount)


def _check_skipped(target: ConversionOutput, listing: Listing, skipped: list[Skip], max_skipped: float) -> None:
    """Raises `ConversionError` when more than `max_skipped` of the expected utterances are bad."""
    bad = sum(not skip.expected for skip in skipped)
    if bad <= max_skipped * listing.expected:
        return
    percent = 100 * bad / listing.expected
    path = target.write_skipped(skipped)
    raise ConversionError(
        f"{target.directory}: {bad} of {listing.expected} utterances ({percent:.1f} %) are bad, more than "
        f"--max_skipped={100 * max_skipped:g}%{_listed(skipped)}. Each is listed in {path}; fix them and add "
        f"--overwrite, or skip them with --max_skipped={math.ceil(percent)}%"
    )


def _listed(skipped: Iterable[Skip]) -> str:
    counts = base.reasons(skipped, expected=False)
    return f" ({', '.join(f'{count} {reason}' for reason, count in counts.items())})" if counts else ""


def _example(skipped: Iterable[Skip]) -> str:
    """The detail of the first bad utterance."""
    first = next((skip.detail for skip in skipped if not skip.expected and skip.detail), "")
    return f", such as: {first.rstrip('.')}" if first else ""


def _manifest(plan: ConversionPlan, done: dict[str, list[Shard]], skipped: list[Skip]) -> Manifest:
    splits = {split: shards.total(finished) for split, finished in done.items()}
    order = {split: place for place, split in enumerate(base.SPLITS)}
    names = sorted(splits, key=lambda split: (order.get(split, len(order)), split))
    return Manifest(
        corpus=plan.settings.corpus,
        sample_rate_hz=plan.settings.sample_rate_hz,
        encoding=plan.settings.encoding,
        splits={split: splits[split] for split in names if splits[split].utterances},
        skipped=base.reasons(skipped, expected=False),
        expected_skips=base.reasons(skipped, expected=True),
        speakers=plan.listing.speakers,
        settings=plan.settings,
        fingerprint=plan.fingerprint,
    )
