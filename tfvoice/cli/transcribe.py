"""Transcribes recordings with a trained recogniser.

  tfvoice_transcribe --run=runs/vctk talk.mp3
  tfvoice_transcribe --run=runs/vctk --format=srt --output=subtitles talk.mp3 lectures/

Any format, sample rate and length. A folder means all audio files in it and its subfolders, and - the standard input.
For one recording only the text is printed; for several, each line is the file name, a tab and the text.

--format=json prints a line of JSON for each recording: file, seconds, text, confidence, and words with word, start,
end (in seconds) and confidence (0 to 1); with --decoder=lm --nbest=N also alternatives, the N best texts with their
scores. srt and vtt are subtitles.

A unidirectional model, such as one of --config=deepspeech2_streaming, can transcribe live audio:

  arecord -q -t raw -f S16_LE -r 16000 | tfvoice_transcribe --run=runs/live --stream

A recording that cannot be transcribed is reported, the others are still transcribed, and the exit status is 1. One that
is cut off is transcribed up to there, with a warning.
"""

import contextlib
import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tfvoice import handlers
from tfvoice.asr import transcript
from tfvoice.audio import decoding
from tfvoice.cli.command import load_tensorflow
from tfvoice.cli.decoder_flags import DecoderFlags
from tfvoice.cli.flags import Flags, UsageError
from tfvoice.errors import TfvoiceError

FLAGS = Flags("FILE_OR_DIR...")
RUN = FLAGS.string("run", "Folder of a run of tfvoice_train.", metavar="DIR", required=True)
FORMAT = FLAGS.choice("format", list(transcript.FORMATS), "Output format.", "text")
OUTPUT = FLAGS.string("output", "Folder for one file per recording, instead of the standard output.", metavar="DIR")
OVERWRITE = FLAGS.boolean("overwrite", "Replace files in --output.")
DECODER = DecoderFlags(FLAGS)
NBEST = FLAGS.integer("nbest", "With lm and --format=json, how many of the best texts are listed.", 1, 1)
STREAM = FLAGS.boolean(
    "stream",
    "Transcribe raw 16-bit little-endian mono PCM from the standard input, and print each word when it is final.",
)
STREAM_HZ = FLAGS.integer("stream_hz", "Sample rate of the PCM of --stream. Default: that of the model.", None, 1)
CHECKPOINT = FLAGS.choice("checkpoint", ["best", "last"], "Which weights; best is the lowest CER on valid.", "best")
WINDOW_SECONDS = FLAGS.number(
    "window_seconds", "Long recordings are transcribed in windows of this length; longer ones take more memory.", 60, 1
)


class _Input(NamedTuple):
    """The path of a recording, and that of its transcript in --output."""

    path: str
    target: str


def main(argv: list[str]) -> int:
    """Calls `Transcriber.transcribe` for each recording; returns the exit status."""
    decoder = DECODER.settings()
    if NBEST.present:
        if DECODER.name != "lm" or FORMAT.value != "json":
            raise UsageError("--nbest is for --decoder=lm --format=json; add these, or leave it out.")
        decoder["nbest"] = NBEST.value
    if STREAM.value:
        return _stream(argv[1:])
    if STREAM_HZ.present:
        raise UsageError("--stream_hz is for --stream; add that, or leave it out.")
    if not argv[1:]:
        raise UsageError("no recording is given; add a file, a folder, or - for the standard input.")
    recordings, empty = _find_recordings(argv[1:])
    single = len(recordings) == 1 and not any(map(os.path.isdir, argv[1:]))
    _check_output(recordings, single)

    load_tensorflow()
    from tfvoice import compiled, tasks
    from tfvoice.asr import decoders
    from tfvoice.asr.transcribe import Transcriber

    compiled.announce()
    run = tasks.load(RUN.value, CHECKPOINT.value, "tfvoice_transcribe")
    transcriber = Transcriber(run, decoders.choose(RUN.value, **decoder), WINDOW_SECONDS.value)
    for folder in empty:
        _print_error(f"{folder}: there is no audio file in this folder; a file given by name can have any suffix.")
    failed = len(empty)
    for recording in recordings:
        transcribed = _transcribe(transcriber, recording.path)
        if transcribed is None or not _write(recording, transcribed, single):
            failed += 1
    if failed and len(recordings) + len(empty) > 1:
        _print_error(f"{failed} of {len(recordings) + len(empty)} failed.")
    return 1 if failed else 0


def _stream(arguments: list[str]) -> int:
    """Transcribes the standard input while it arrives; returns the exit status."""
    if arguments or OUTPUT.present or OVERWRITE.present:
        raise UsageError("--stream reads the standard input and prints; leave out files, --output and --overwrite.")
    if DECODER.name != "greedy" or FORMAT.value not in ("text", "json"):
        raise UsageError("--stream needs --decoder=greedy and --format=text or json.")
    if WINDOW_SECONDS.present:
        raise UsageError("--stream has no windows; leave out --window_seconds.")
    load_tensorflow()
    from tfvoice import tasks
    from tfvoice.asr import words
    from tfvoice.asr.streaming import StreamingTranscriber
    from tfvoice.audio import io

    run = tasks.load(RUN.value, CHECKPOINT.value, "tfvoice_transcribe")
    rate_hz = run.config.features.sample_rate_hz
    transcriber = StreamingTranscriber(run)
    as_json = FORMAT.value == "json"
    end = "\n" if as_json else words.separator(run.alphabet)
    with _interrupt_ends_stdin() as interrupted:
        for word in transcriber.words(io.read_pcm16(sys.stdin.buffer, STREAM_HZ.value or rate_hz, rate_hz)):
            print(transcript.word_to_json(word) if as_json else word.text, end=end, flush=True)
    if not as_json:
        print(flush=True)
    if interrupted:
        raise KeyboardInterrupt("everything up to then is transcribed.")
    return 0


@contextlib.contextmanager
def _interrupt_ends_stdin() -> Iterator[list[int]]:
    """The first Ctrl-C ends the standard input, which is how one stops a microphone; yields the signals received."""
    received = []

    def end(number, _):
        received.append(number)
        signal.signal(number, before)
        # A read that is blocked is restarted after this, and returns the end of the file.
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), sys.stdin.fileno())

    before = signal.getsignal(signal.SIGINT)
    with handlers.handler(signal.SIGINT, end):
        yield received


def _find_recordings(arguments: list[str]) -> tuple[list[_Input], list[str]]:
    """Returns each recording once, those of a folder sorted by path, and the folders without any."""
    recordings, empty = {}, []
    for argument in arguments:
        if not os.path.isdir(argument):
            name = "stdin" if argument == "-" else os.path.basename(argument)
            recordings.setdefault(argument, _Input(argument, _target(name)))
            continue
        paths = sorted(decoding.find_audio(argument))
        if not paths:
            empty.append(argument)
        for path in paths:
            recordings.setdefault(path, _Input(path, _target(os.path.relpath(path, argument))))
    return _distinct(list(recordings.values())), empty


def _target(name: str) -> str:
    return os.path.join(OUTPUT.value or "", os.path.splitext(name)[0] + transcript.SUFFIXES[FORMAT.value])


def _distinct(recordings: list[_Input]) -> list[_Input]:
    """Keeps the suffix of recordings that differ in nothing else: x.wav.txt beside x.mp3.txt."""
    stems = Counter(os.path.splitext(recording.path)[0] for recording in recordings)
    suffix = transcript.SUFFIXES[FORMAT.value]
    distinct = []
    for path, target in recordings:
        stem, own = os.path.splitext(path)
        distinct.append(_Input(path, target.removesuffix(suffix) + own + suffix if stems[stem] > 1 else target))
    return distinct


def _check_output(recordings: list[_Input], single: bool) -> None:
    """Refuses, before anything is transcribed, an output that could not be written."""
    if not OUTPUT.value:
        if not single and FORMAT.value in ("srt", "vtt"):
            raise UsageError(f"--format={FORMAT.value} is for one recording; add --output=DIR for one file each.")
        return
    if os.path.exists(OUTPUT.value) and not os.path.isdir(OUTPUT.value):
        raise UsageError(f"--output={OUTPUT.value}: is a file; name a folder.")
    seen: dict[str, str] = {}
    for path, target in recordings:
        if target in seen:
            raise UsageError(f"{seen[target]} and {path} would both become {target}; transcribe them one by one.")
        seen[target] = path
        if os.path.exists(target) and not OVERWRITE.value:
            raise UsageError(f"{target} already exists; add --overwrite to replace it.")


def _transcribe(transcriber, path: str) -> transcript.Transcript | None:
    cut_off: list[TfvoiceError] = []
    try:
        source = sys.stdin.buffer if path == "-" else path
        transcribed = transcriber.transcribe(source, progress=True, on_cut_off=cut_off.append)
    except (TfvoiceError, OSError) as error:
        if FLAGS.debug:
            traceback.print_exc()
        _print_error(str(error))
        return None
    if cut_off:
        _print_error(f"{cut_off[0]} It is transcribed up to there.")
    return transcribed


def _write(recording: _Input, transcribed: transcript.Transcript, single: bool) -> bool:
    """Writes or prints a transcript; returns whether that was possible."""
    # A file name that is not UTF-8 cannot be printed unchanged.
    name = os.fsencode(recording.path).decode("utf-8", "replace")
    content = transcript.FORMATS[FORMAT.value](name, transcribed)
    if OUTPUT.value:
        from tfvoice import storage

        target = Path(recording.target)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            storage.write(target, content.encode())
        except OSError as error:
            _print_error(f"{target}: cannot be written ({error.strerror or error}); choose another --output.")
            return False
    else:
        label = f"{name}\t" if FORMAT.value == "text" and not single else ""
        print(label + content, end="", flush=True)
    return True


def _print_error(sentence: str) -> None:
    print(f"tfvoice_transcribe: {sentence}", file=sys.stderr)
