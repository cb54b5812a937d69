"""From a corpus to shards: audio is decoded, mixed down and resampled in worker processes, and written in order.

No process of a conversion imports TensorFlow. The parent plans all shards first (`shards.plan`), so that the bytes of
the output do not depend on the number of workers.
"""

import io
import itertools
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import tqdm

from tfvoice.audio import io as audio_io
from tfvoice.data import records, shards
from tfvoice.data.corpora import base
from tfvoice.data.corpora.base import Listing, Skip, Utterance
from tfvoice.data.output import ConversionOutput, EncodedUtterance
from tfvoice.data.shards import ConversionConfig, ConversionPlan, Manifest, Shard
from tfvoice.data.workers import Workers
from tfvoice.errors import TfvoiceError

# The corpus that is any folder of audio, cut into clips.
AUDIO = "audio"

_CHUNK = 8
_HEADER_CHUNK = 512
# Formats whose header states the length; for others only decoding would.
_SUFFIXES_WITH_LENGTH = (".wav", ".flac", ".ogg", ".opus", ".sph")
_TYPICAL_BYTES_PER_SECOND = 8000


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
    listing = base.with_splits(listing, base.parse_split(settings.split), settings.split_by)
    chunks = [(chunk,) for chunk in _chunks(listing.utterances, _HEADER_CHUNK)]
    # Starting a process takes as long as reading some thousand headers.
    with Workers(min(workers, len(chunks) // 8)) as pool:
        utterances = list(itertools.chain.from_iterable(pool.ordered(_with_seconds, chunks)))
    return shards.plan(replace(listing, utterances=utterances), settings)


def convert(
    plan: ConversionPlan,
    output: str | Path,
    workers: int = 1,
    max_skipped: float = 0.01,
    overwrite: bool = False,
    progress: bool = True,
) -> Manifest:
    """Converts a corpus, or resumes a conversion that was interrupted.

    Args:
      plan: from `prepare`.
      output: folder of the shards, created where it does not exist.
      workers: processes; with one, everything happens in this process.
      max_skipped: the largest fraction of the expected utterances that may be bad.
      overwrite: delete an earlier conversion in `output` that differs or is finished.
      progress: show a progress bar, where the standard error is a terminal.

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
        done, skipped = _write_shards(target, plan, workers, progress)
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


def convert_one(utterance: Utterance, settings: ConversionConfig) -> EncodedUtterance | Skip:
    """Decodes the audio of an utterance and encodes its record; bad audio becomes a Skip."""
    try:
        part = (utterance.start_seconds or 0.0, None if utterance.to_end else utterance.seconds)
        samples = audio_io.read(_source(utterance), settings.sample_rate_hz, settings.max_seconds, *part)
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


def _source(utterance: Utterance) -> str | io.BytesIO:
    if not utterance.bare_hz or not os.path.isfile(utterance.audio):
        return utterance.audio
    wav = io.BytesIO(audio_io.with_header(Path(utterance.audio).read_bytes(), utterance.bare_hz))
    # For error messages; soundfile would take a name that ends in .raw for the format.
    wav.name = f"{utterance.audio} at {utterance.bare_hz} Hz"
    return wav


def _convert_chunk(utterances: list[Utterance], settings: ConversionConfig) -> list[EncodedUtterance | Skip]:
    return [convert_one(utterance, settings) for utterance in utterances]


def _with_seconds(utterances: list[Utterance]) -> list[Utterance]:
    return [_planned(utterance) for utterance in utterances]


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
            # An estimate is enough: planning does not read the audio of a corpus.
            seconds = audio_io.seconds(utterance.audio, search=False)
        else:
            seconds = os.path.getsize(utterance.audio) / _TYPICAL_BYTES_PER_SECOND
        return max(0.0, seconds - (utterance.start_seconds or 0.0))
    except (audio_io.AudioError, OSError):
        return 0.0


def _write_shards(
    target: ConversionOutput, plan: ConversionPlan, workers: int, progress: bool
) -> tuple[dict[str, list[Shard]], list[Skip]]:
    finished = {shard.name: target.finished(shard) for shard in plan.shards}
    todo = {shard.name: shard for shard in plan.shards if not finished[shard.name]}
    tasks = [(name, chunk) for name, shard in todo.items() for chunk in _chunks(shard.utterances, _CHUNK)]
    bar = _bar(sum(shard.seconds for shard in todo.values()), progress)
    with Workers(min(workers, len(tasks))) as pool, bar:
        results = pool.ordered(_convert_chunk, ((chunk, plan.settings) for _, chunk in tasks))
        named = ((name, _counted(bar, chunk, result)) for (name, chunk), result in zip(tasks, results, strict=True))
        for name, group in itertools.groupby(named, key=lambda item: item[0]):
            finished[name] = target.write(todo[name], (result for _, result in group))
    done: dict[str, list[Shard]] = {}
    for shard in plan.shards:
        done.setdefault(shard.split, []).append(finished[shard.name][0])
    return done, [skip for _, skips in finished.values() for skip in skips]


def _chunks(utterances: list[Utterance], size: int) -> Iterator[list[Utterance]]:
    for start in range(0, len(utterances), size):
        yield utterances[start : start + size]


def _bar(seconds: float, progress: bool) -> tqdm.tqdm:
    form = "{percentage:3.0f}%|{bar}| {n:.2f}/{total:.2f} h of audio [{elapsed}<{remaining}{postfix}]"
    disable = None if progress else True
    return tqdm.tqdm(total=seconds / 3600, desc="convert", bar_format=form, disable=disable, dynamic_ncols=True)


def _counted(bar: tqdm.tqdm, utterances: list[Utterance], chunk: list) -> list:
    if not bar.disable:
        elapsed = bar.format_dict["elapsed"]
        if elapsed:
            bar.set_postfix_str(f"{bar.n / elapsed * 60:.2f} h/min", refresh=False)
        bar.update(sum(utterance.seconds for utterance in utterances) / 3600)
    return chunk


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
