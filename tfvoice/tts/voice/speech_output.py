"""Speech to files and pipes, while it is made."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from tfvoice import storage
from tfvoice.audio import io as audio_io
from tfvoice.data.aligned import PhonemeAlignment
from tfvoice.errors import TfvoiceError
from tfvoice.report import plots
from tfvoice.text import lines
from tfvoice.text.phonemes import SILENCE
from tfvoice.tts import alignment_output
from tfvoice.tts.alignment_output import AlignedClip
from tfvoice.tts.pronounce import PronouncedWord
from tfvoice.tts.voice import speaker as speaker_
from tfvoice.tts.voice.run import VoiceRun
from tfvoice.tts.voice.speaker import Speaker, SpeechOptions, SpokenSentence, UnspeakableSentence

FORMATS = ("wav", "flac", "raw")
# Of speech that is plotted.
_PLOTTED_SECONDS = 30.0
_PIPE = "-"


class Source(NamedTuple):
    """What is to be spoken.

    Attributes:
      text: a text; `-` for the standard input.
      is_file: whether `text` is the path of a text file.
      phonemes: whether the text is phonemes.
      copy: path of a recording of the text, whose durations and F0 are taken; None: they are predicted.
    """

    text: str
    is_file: bool = False
    phonemes: bool = False
    copy: str | None = None


class Target(NamedTuple):
    """Where speech goes.

    Attributes:
      output: path of a file, or `-` for the standard output.
      format: one of `FORMATS`; None: by the name of the file, `wav` for the standard output.
      figure: path of a PNG; None: there is none.
      overwrite: replace existing files.
    """

    output: str
    format: str | None = None
    figure: str | None = None
    overwrite: bool = False


class SpeechSummary(NamedTuple):
    """What was spoken.

    Attributes:
      seconds: of speech.
      taken_seconds: from the loaded voice to the last sample.
      first_seconds: from the loaded voice to the first samples.
      unspoken: parts of the text without phonemes.
    """

    seconds: float
    taken_seconds: float
    first_seconds: float
    unspoken: list[PronouncedWord]


def speak(
    voice_dir: str | Path, source: Source, target: Target, options: SpeechOptions, checkpoint: str = "best"
) -> SpeechSummary:
    """Speaks a text with a voice; writes a file, or to a pipe while it speaks.

    Args:
      voice_dir: folder of the voice.
      source: what is to be spoken.
      target: where speech goes.
      options: how it is spoken.
      checkpoint: of the voice, `best` or `last`.

    Raises:
      TfvoiceError: the voice, the text, an option or the target cannot be used.
      KeyboardInterrupt: Ctrl-C; the message says how much was written.
    """
    speaker_.check(options)
    _check_target(target)
    speaker = Speaker(VoiceRun.load(voice_dir, checkpoint))
    rate_hz, unspoken, interrupted = speaker.voice.sample_rate_hz, [], False
    start, first, written, plotted = time.monotonic(), 0.0, 0, _Plotted(rate_hz)
    bar = tqdm(unit="s", desc="speech", bar_format="{desc}: {n:.1f} s [{elapsed}]", disable=None)
    with _opened(target, rate_hz) as write, bar:
        try:
            for sentence, block in _blocks(speaker, source, options, unspoken):
                write(block)
                first = first or time.monotonic() - start
                written += len(block)
                plotted.add(sentence, block)
                bar.update(len(block) / rate_hz)
        except KeyboardInterrupt:
            if not written:
                raise KeyboardInterrupt("nothing was spoken yet.") from None
            interrupted = True
    if interrupted:
        raise KeyboardInterrupt(f"{target.output} holds the first {written / rate_hz:.1f} s.")
    if target.figure:
        plots.write(Path(target.figure), plotted.figure())
    return SpeechSummary(written / rate_hz, time.monotonic() - start, first, unspoken)


def _check_target(target: Target) -> None:
    suffix = Path(target.output).suffix.lower().removeprefix(".")
    if target.output != _PIPE and target.format not in (None, "raw", suffix):
        raise TfvoiceError(f"--output={target.output} --format={target.format}: end the name in .{target.format}.")
    if target.output == _PIPE and target.format == "flac":
        raise TfvoiceError("--format=flac: a pipe takes wav or raw; name a file with --output=FILE.flac.")
    for path in filter(None, (None if target.output == _PIPE else target.output, target.figure)):
        if Path(path).exists() and not target.overwrite:
            raise TfvoiceError(f"{path}: already exists; name another file with --output, or --overwrite.")


@contextlib.contextmanager
def _opened(target: Target, rate_hz: int) -> Iterator[Callable[[np.ndarray], object]]:
    """What writes blocks of samples; a file appears at the end."""
    if target.output != _PIPE and target.format != "raw":
        with audio_io.Writer(target.output, rate_hz) as writer:
            yield writer.write
        return
    with contextlib.ExitStack() as stack:
        if target.output == _PIPE:
            file = sys.stdout.buffer
        else:
            file = stack.enter_context(open(stack.enter_context(storage.staged(Path(target.output))), "wb"))
        if target.format != "raw":
            file.write(audio_io.streamed_wav_header(rate_hz))

        def write(samples: np.ndarray) -> None:
            file.write(audio_io.to_pcm16(samples).astype("<i2").tobytes())
            file.flush()

        yield write


def _blocks(
    speaker: Speaker, source: Source, options: SpeechOptions, unspoken: list[PronouncedWord]
) -> Iterator[tuple[SpokenSentence | None, np.ndarray]]:
    """Blocks of samples, each with the sentence that begins with it; what is not spoken is added to `unspoken`.

    Raises:
      TfvoiceError: nothing in the text can be spoken.
    """
    spoken, error = 0, None
    for sentence in _sentences(speaker, source, options):
        if isinstance(sentence, UnspeakableSentence):
            error = error or sentence.error
            unspoken.append(PronouncedWord(sentence.text, (), "unspoken", (), sentence.start))
            continue
        if spoken:
            yield None, speaker.pause(options)
        unspoken += [word._replace(start=word.start + sentence.start) for word in sentence.unspoken]
        for place, block in enumerate(speaker.stream(sentence, options)):
            yield sentence if not place else None, block
        spoken += 1
    if not spoken:
        raise error or TfvoiceError("The text is empty; give some words.")


def _sentences(
    speaker: Speaker, source: Source, options: SpeechOptions
) -> Iterator[SpokenSentence | UnspeakableSentence]:
    parts = lines.read(source.text) if source.is_file or source.text == lines.STDIN else [source.text]
    if not source.phonemes and not source.copy:
        yield from speaker.sentences(parts, options)
        return
    text = "".join(parts)
    if source.copy:
        samples = audio_io.read(source.copy, speaker.voice.sample_rate_hz)
        yield speaker.plan_copy(samples, text, source.copy, options)
    else:
        yield speaker.plan_phonemes(text, options)


class _Plotted:
    """The start of what is spoken, for a figure.

    Args:
      rate_hz: of the samples.
    """

    def __init__(self, rate_hz: int):
        self._rate_hz, self._samples = rate_hz, 0
        self._blocks: list[np.ndarray] = []
        self._sentences: list[tuple[int, SpokenSentence]] = []

    def add(self, sentence: SpokenSentence | None, block: np.ndarray) -> None:
        """Keeps a block, and the sentence that begins with it."""
        if self._samples > _PLOTTED_SECONDS * self._rate_hz:
            return
        if sentence:
            self._sentences.append((self._samples, sentence))
        self._blocks.append(block)
        self._samples += len(block)

    def figure(self) -> np.ndarray:
        """The spectrogram with phonemes and F0, uint8 `[height, width, 3]`."""
        phonemes, ends, contours = [], [], []
        for number, (start, sentence) in enumerate(self._sentences):
            if number:
                # The pause before it.
                pause = start - ends[-1]
                phonemes.append(SILENCE)
                ends.append(start)
                contours.append(np.zeros(pause // sentence.alignment.frame_samples, np.float32))
            phonemes += sentence.alignment.phonemes
            ends += (sentence.alignment.ends + start).tolist()
            contours.append(sentence.alignment.f0_hz)
        frame_samples = self._sentences[0][1].alignment.frame_samples
        alignment = PhonemeAlignment(phonemes, np.array(ends), np.concatenate(contours), frame_samples)
        text = " ".join(filter(None, (sentence.text for _, sentence in self._sentences)))
        audio = np.concatenate(self._blocks)[: ends[-1]]
        return alignment_output.figure(AlignedClip("", text, self._rate_hz, audio, alignment, float("nan")))
