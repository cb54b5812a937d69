"""From a corpus to shards: audio is decoded, mixed down and resampled in worker processes.

No process of a conversion imports TensorFlow. All shards are planned first (`planning.plan`), so that the bytes of the
output do not depend on the number of workers. A shard is one task, `convert_shard`, that finds all it needs in the
output folder and leaves its result there. The last shards, for which there is no longer one for each worker, are
decoded by all workers together and written by the parent: a small corpus has one shard.
"""

import functools
import io
import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import tqdm

from tfvoice import remote, storage
from tfvoice.audio import container
from tfvoice.audio import io as audio_io
from tfvoice.data import planning, records, shards
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
from tfvoice.data.shards import ConversionConfig, Manifest, Shard
from tfvoice.data.workers import Workers, report
from tfvoice.errors import TfvoiceError

# The corpus that is any folder of audio, cut into clips.
AUDIO = "audio"

# Runs `convert_shard` for each name of a shard, given the output folder, the names and the fingerprint of the plan.
Engine = Callable[[str, list[str], str], None]

_CHUNK = 8
_HEADER_CHUNK = 512
# Formats whose header states the length; for others only decoding would.
_SUFFIXES_WITH_LENGTH = (".wav", ".flac", ".ogg", ".opus", ".sph")
# Of these, an object is read whole.
_SUFFIXES_WITH_LENGTH_AT_END = (".ogg", ".opus")
_TYPICAL_BYTES_PER_SECOND = 8000
# Of an object, what holds a header.
_HEAD_BYTES = 1 << 16


class ConversionError(TfvoiceError):
    """A conversion that cannot start, or whose result cannot be used."""


def prepare(listing: Listing, settings: ConversionConfig, workers: int = 1) -> ConversionPlan:
    """Assigns splits, finds the length of every recording, and plans the shards.

    Args:
      listing: from the reader of a corpus.
      settings: of the conversion.
      workers: processes that read the headers.

    Raises:
      ConversionError: there is no utterance at all.
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
    chunks = ((chunk,) for chunk in _chunks(utterances, _HEADER_CHUNK))
    unknown = sum(utterance.seconds is None for utterance in listing.utterances)
    # Starting a process takes as long as reading some thousand headers.
    with Workers(min(workers, unknown // (8 * _HEADER_CHUNK))) as pool:
        known = itertools.chain.from_iterable(pool.ordered(_with_seconds, chunks))
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
        for utterance, source in _with_sources(utterances):
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
    source = _source(utterance) if source is None else source
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


def _with_sources(utterances: list[Utterance]) -> Iterator[tuple[Utterance, str | io.BytesIO]]:
    """Yields each utterance with what its audio is read from; some objects are fetched ahead."""
    of_a_store = any(remote.is_url(utterance.audio) for utterance in utterances)
    sources = remote.mapped(_source, utterances) if of_a_store else map(_source, utterances)
    return zip(utterances, sources, strict=True)


def _source(utterance: Utterance) -> str | io.BytesIO:
    """The file of an utterance, or the content of its object.

    Raises:
      OSError: the store cannot be reached, which is no defect of the audio.
    """
    if remote.is_url(utterance.audio):
        return _fetched(utterance.audio)
    if not utterance.bare_hz or not os.path.isfile(utterance.audio):
        return utterance.audio
    wav = io.BytesIO(audio_io.with_header(Path(utterance.audio).read_bytes(), utterance.bare_hz))
    # For error messages; soundfile would take a name that ends in .raw for the format.
    wav.name = f"{utterance.audio} at {utterance.bare_hz} Hz"
    return wav


def _fetched(url: str, end: int | None = None) -> str | io.BytesIO:
    """The content of an object, or its first bytes; the URL where there is none, which no audio can be read from."""
    try:
        content = io.BytesIO(storage.place(url).read_bytes(end))
    except FileNotFoundError:
        return url
    content.name = url
    return content


def _convert_chunk(utterances: list[Utterance], settings: ConversionConfig) -> list[EncodedUtterance | Skip]:
    return [convert_one(utterance, settings, source) for utterance, source in _with_sources(utterances)]


def _with_seconds(utterances: list[Utterance]) -> list[Utterance]:
    of_a_store = any(utterance.seconds is None and remote.is_url(utterance.audio) for utterance in utterances)
    return list(remote.mapped(_planned, utterances) if of_a_store else map(_planned, utterances))


def _planned(utterance: Utterance) -> Utterance:
    """An utterance with its expected length; a length that the corpus states is what is read, from 0 on by default."""
    to_end = utterance.seconds is None
    start_seconds = utterance.start_seconds if to_end else utterance.start_seconds or 0.0
    return replace(utterance, start_seconds=start_seconds, seconds=_expected_seconds(utterance), to_end=to_end)


def _expected_seconds(utterance: Utterance) -> float:
    """Expected length of the audio: as the corpus states it, from its header, or from its size."""
    if utterance.seconds is not None:
        return utterance.seconds
    try:
        if utterance.bare_hz:
            return os.path.getsize(utterance.audio) / (2 * utterance.bare_hz)
        if utterance.audio.lower().endswith(_SUFFIXES_WITH_LENGTH):
            seconds = _stated_seconds(utterance.audio)
        else:
            seconds = storage.size(storage.place(utterance.audio)) / _TYPICAL_BYTES_PER_SECOND
        return max(0.0, seconds - (utterance.start_seconds or 0.0))
    except (audio_io.AudioError, FileNotFoundError):
        return 0.0
    except OSError:
        # A store that cannot be reached now would change the plan.
        if remote.is_url(utterance.audio):
            raise
        return 0.0


def _stated_seconds(audio: str) -> float:
    """Length of the audio by its header. An estimate is enough: planning does not read the audio of a corpus."""
    if not remote.is_url(audio):
        return audio_io.seconds(audio, search=False)
    content = _fetched(audio, None if audio.lower().endswith(_SUFFIXES_WITH_LENGTH_AT_END) else _HEAD_BYTES)
    if not isinstance(content, str):
        promised = container.examine(content, search=False).promised_seconds
        content.seek(0)
        if promised is not None:
            return promised
    return audio_io.seconds(content, search=False)


def _write_shards(
    target: ConversionOutput, plan: ConversionPlan, workers: int, progress: bool, engine: Engine | None
) -> tuple[dict[str, list[Shard]], list[Skip]]:
    todo = [shard for shard, result in zip(plan.shards, target.all_finished(), strict=True) if not result]
    target.write_partitions(todo)
    if engine and todo:
        engine(str(target.directory), [shard.name for shard in todo], plan.fingerprint)
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
            arguments = ((chunk, plan.settings) for chunk in _chunks(utterances, _CHUNK))
            results = pool.ordered(_convert_chunk, arguments)
            seconds = (sum(each.seconds for each in chunk) for chunk in _chunks(utterances, _CHUNK))
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


def _chunks(utterances: Iterable[Utterance], size: int) -> Iterator[list[Utterance]]:
    utterances = iter(utterances)
    while chunk := list(itertools.islice(utterances, size)):
        yield chunk


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
