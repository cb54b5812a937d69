"""Writes down what is said in recordings, with a recogniser that was trained before.

  tfvoice_transcribe --run=runs/vctk talk.mp3
  tfvoice_transcribe --run=runs/vctk --format=srt --output=subtitles talk.mp3 lectures/

Any format, sample rate and length will do; a folder stands for all audio files in it and below, and - for the
standard input. The text of one recording is printed alone; that of several follows the name of each and a tab.

--format=json prints one line of JSON for each recording: file, seconds, text, confidence, and words with word, start,
end (seconds) and confidence (0 to 1). srt and vtt are subtitles.

A run whose network reads forwards, as with --config=deepspeech2_streaming, can follow speech as it is spoken:

  arecord -q -t raw -f S16_LE -r 16000 | tfvoice_transcribe --run=runs/live --stream

A recording that cannot be read is reported and the others go on; the exit status is then 1.
"""

import contextlib
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tfvoice.asr import transcript
from tfvoice.audio import files
from tfvoice.cli.flags import DecoderFlags, Flags, UsageError, load_tensorflow
from tfvoice.errors import TfvoiceError

FLAGS = Flags("FILE_OR_DIR...")
RUN = FLAGS.string("run", "Folder of the run that tfvoice_train made.", shape="DIR", required=True)
FORMAT = FLAGS.choice("format", list(transcript.FORMATS), "How to write it down.", "text")
OUTPUT = FLAGS.string("output", "Folder for one file per recording, instead of the standard output.", shape="DIR")
OVERWRITE = FLAGS.boolean("overwrite", "Replace files that are in --output.")
DECODER = DecoderFlags(FLAGS)
STREAM = FLAGS.boolean(
    "stream",
    "Read bare 16-bit little-endian mono samples from the standard input, and print each word when it is final.",
)
STREAM_HZ = FLAGS.integer("stream_hz", "Sample rate of what --stream reads. Without it: that of the run.", None, 1)
CHECKPOINT = FLAGS.choice("checkpoint", ["best", "last"], "Which weights of the run.", "best")
WINDOW_SECONDS = FLAGS.number(
    "window_seconds", "Long recordings are read in pieces of this length. More takes more memory.", 60, 1
)


class _Recording(NamedTuple):
    """Where the audio is, and which file of --output gets its text."""

    path: str
    target: str


def main(argv: list[str]) -> int:
    """Transcribes what the command line names; returns the exit status."""
    DECODER.check()
    if STREAM.value:
        return _follow(argv[1:])
    if STREAM_HZ.present:
        raise UsageError("--stream_hz is for --stream; add that, or leave it out.")
    if not argv[1:]:
        raise UsageError("no recording is named; add a file, a folder, or - for the standard input.")
    recordings, empty = _find(argv[1:])
    alone = len(recordings) == 1 and not any(map(os.path.isdir, argv[1:]))
    _check_output(recordings, alone)

    load_tensorflow()
    from tfvoice.asr.recognizer import Recognizer
    from tfvoice.asr.transcribe import Transcriber

    experiment = Recognizer.load(RUN.value, CHECKPOINT.value)
    transcriber = Transcriber(experiment, DECODER.choose(RUN.value), WINDOW_SECONDS.value)
    for folder in empty:
        _complain(f"{folder}: there is no audio file in this folder; name a file whatever its suffix.")
    failed = len(empty)
    for recording in recordings:
        found = _transcribe(transcriber, recording.path)
        if found is None:
            failed += 1
        else:
            _write(recording, found, alone)
    if failed and len(recordings) + len(empty) > 1:
        _complain(f"{failed} of {len(recordings) + len(empty)} failed.")
    return 1 if failed else 0


def _follow(arguments: list[str]) -> int:
    """Transcribes the standard input as it arrives."""
    if arguments or OUTPUT.present or OVERWRITE.present:
        raise UsageError("--stream reads the standard input and prints; leave files, --output and --overwrite out.")
    if DECODER.name != "greedy" or FORMAT.value not in ("text", "json"):
        raise UsageError("--stream goes with --decoder=greedy and --format=text or json.")
    if WINDOW_SECONDS.present:
        raise UsageError("--stream has windows of its own; leave --window_seconds out.")
    load_tensorflow()
    from tfvoice.asr.recognizer import Recognizer
    from tfvoice.asr.streaming import StreamingTranscriber
    from tfvoice.audio import io

    experiment = Recognizer.load(RUN.value, CHECKPOINT.value)
    rate_hz = experiment.config.features.sample_rate_hz
    transcriber = StreamingTranscriber(experiment)
    as_json = FORMAT.value == "json"
    with _interrupt_as_end() as interrupted:
        for word in transcriber.words(io.read_pcm16(sys.stdin.buffer, STREAM_HZ.value or rate_hz, rate_hz)):
            print(transcript.word_to_json(word) if as_json else word.text, end="\n" if as_json else " ", flush=True)
    if not as_json:
        print(flush=True)
    if interrupted:
        raise KeyboardInterrupt("what was said until then is written.")
    return 0


@contextlib.contextmanager
def _interrupt_as_end() -> Iterator[list[int]]:
    """Makes the first Ctrl-C the end of the standard input, which is how one stops a microphone; yields what came."""
    interrupted = []

    def end(number, _):
        interrupted.append(number)
        signal.signal(signal.SIGINT, before)
        # A read that is waiting begins anew after this, and finds nothing more.
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), sys.stdin.fileno())

    before = signal.signal(signal.SIGINT, end)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def _find(arguments: list[str]) -> tuple[list[_Recording], list[str]]:
    """Lists each recording once, those of a folder sorted by path, and the folders without any."""
    recordings, empty = {}, []
    for argument in arguments:
        if not os.path.isdir(argument):
            name = "stdin" if argument == "-" else os.path.basename(argument)
            recordings.setdefault(argument, _Recording(argument, _target(name)))
            continue
        found = sorted(files.below(argument))
        if not found:
            empty.append(argument)
        for path in found:
            recordings.setdefault(path, _Recording(path, _target(os.path.relpath(path, argument))))
    return list(recordings.values()), empty


def _target(name: str) -> str:
    return os.path.join(OUTPUT.value or "", os.path.splitext(name)[0] + transcript.SUFFIXES[FORMAT.value])


def _check_output(recordings: list[_Recording], alone: bool) -> None:
    """Refuses, before any work is done, what could not be written in the end."""
    if not OUTPUT.value:
        if not alone and FORMAT.value in ("srt", "vtt"):
            raise UsageError(f"--format={FORMAT.value} is for one recording; add --output=DIR for one file each.")
        return
    if os.path.exists(OUTPUT.value) and not os.path.isdir(OUTPUT.value):
        raise UsageError(f"--output={OUTPUT.value}: this is a file; name a folder.")
    seen: dict[str, str] = {}
    for path, target in recordings:
        if target in seen:
            raise UsageError(f"{seen[target]} and {path} would both become {target}; transcribe them one by one.")
        seen[target] = path
        if os.path.exists(target) and not OVERWRITE.value:
            raise UsageError(f"{target} is there already; add --overwrite to replace it.")


def _transcribe(transcriber, path: str) -> transcript.Transcript | None:
    try:
        return transcriber.transcribe(sys.stdin.buffer if path == "-" else path, progress=True)
    except (TfvoiceError, OSError) as error:
        if FLAGS.debug:
            traceback.print_exc()
        _complain(str(error))
        return None


def _write(recording: _Recording, found: transcript.Transcript, alone: bool) -> None:
    # A name that is not UTF-8 cannot be printed as it is.
    name = os.fsencode(recording.path).decode("utf-8", "replace")
    content = transcript.FORMATS[FORMAT.value](name, found)
    if OUTPUT.value:
        from tfvoice.training import checkpoints

        target = Path(recording.target)
        target.parent.mkdir(parents=True, exist_ok=True)
        checkpoints.write_atomically(target, content.encode())
    else:
        label = f"{name}\t" if FORMAT.value == "text" and not alone else ""
        print(label + content, end="", flush=True)


def _complain(sentence: str) -> None:
    print(f"tfvoice_transcribe: {sentence}", file=sys.stderr)
