"""Speaks a text with a voice.

  tfvoice_speak "Please call Stella."

Writes speech.wav. The voice is the one that comes with tfvoice, or one of tfvoice_train --model=deep_voice. A long text
is spoken sentence by sentence, and each sounds as it does alone; with --output=- the samples go to a pipe while they
are made:

  tfvoice_speak --voice=voices/mary --file=story.txt --output=story.flac
  fortune | tfvoice_speak - --output=- --format=raw | aplay -f S16_LE -r 16000

Numbers, dates and abbreviations become words first, see tfvoice_pronounce. Phonemes can be given in braces, as in "I
say {T AH0 M AA1 T OW2}", or alone:

  tfvoice_speak --phonemes "HH AH0 L OW1 sil W ER1 L D"

--copy takes durations and F0 from a recording of the text: what is heard is what the vocoder alone makes of it.
"""

import signal
import sys

from tfvoice import handlers
from tfvoice.cli.command import load_tensorflow
from tfvoice.cli.flags import Flags, UsageError

FLAGS = Flags("[TEXT|-]")
VOICE = FLAGS.string("voice", "Folder of a voice. Default: the voice of the package.", metavar="DIR")
FILE = FLAGS.string("file", "Text file to speak, UTF-8, of any length.", metavar="FILE")
OUTPUT = FLAGS.string("output", "File to write, .wav or .flac; - is the standard output.", "speech.wav", "FILE")
FORMAT = FLAGS.choice(
    "format", ["wav", "flac", "raw"], "Default: by the name of the file, else wav. raw is 16 bits, little-endian.", None
)
PHONEMES = FLAGS.boolean("phonemes", "The text is phonemes of the lexicon, ARPAbet in English; sil is a pause.")
COPY = FLAGS.string("copy", "Recording of the text to take durations and F0 from.", metavar="FILE")
SPEED = FLAGS.number("speed", "Factor of the speed, 0.25 to 4.", 1.0, 0)
PITCH = FLAGS.number("pitch", "Semitones to move F0 by, -12 to 12.", 0.0, -12)
TEMPERATURE = FLAGS.number(
    "temperature", "Below 1 samples are likelier and less noisy. Default: that of the voice.", None, 0
)
SEED = FLAGS.integer("seed", "Seed of the random numbers; the same seed gives the same file.", 0, 0)
FIGURE = FLAGS.string("figure", "PNG to write: spectrogram, phonemes and F0 of the first 30 s.", metavar="FILE")
CHECKPOINT = FLAGS.choice("checkpoint", ["best", "last"], "Which weights of the voice.", "best")
OVERWRITE = FLAGS.boolean("overwrite", "Replace existing files.")


def main(argv: list[str]) -> None:
    """Calls `speech_output.speak`, and prints what it did on the standard error."""
    sources = [*argv[1:], *([FILE.value] if FILE.value else [])]
    if len(sources) != 1:
        raise UsageError('give one text in quotes, - for the standard input, or --file=FILE: tfvoice_speak "Hello."')
    load_tensorflow()
    from tfvoice import compiled
    from tfvoice.tts.voice import run, speech_output
    from tfvoice.tts.voice.speaker import SpeechOptions

    compiled.announce()
    source = speech_output.Source(sources[0], bool(FILE.value), PHONEMES.value, COPY.value)
    target = speech_output.Target(OUTPUT.value, FORMAT.value, FIGURE.value, OVERWRITE.value)
    options = SpeechOptions(SPEED.value, PITCH.value, TEMPERATURE.value, SEED.value)
    voice = VOICE.value or run.PACKAGED_VOICE
    # SIGTERM ends it as Ctrl-C does: what was spoken is kept.
    with handlers.handler(signal.SIGTERM, signal.default_int_handler):
        done = speech_output.speak(voice, source, target, options, CHECKPOINT.value)
    if done.unspoken:
        first = done.unspoken[0]
        fact = f"{len(done.unspoken)}, the first {first.word[:40]!r} at character {first.start + 1}"
        print(f"tfvoice_speak: parts of the text without phonemes were left out: {fact}.", file=sys.stderr)
    name = "standard output" if OUTPUT.value == "-" else OUTPUT.value
    speed = f"{done.seconds / done.taken_seconds:.1f} times real time, the first sound after {done.first_seconds:.2f} s"
    print(f"{name}: {done.seconds:.2f} s of speech in {done.taken_seconds:.2f} s: {speed}.", file=sys.stderr)
