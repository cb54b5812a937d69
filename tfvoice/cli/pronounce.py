"""Prints the phonemes of a text, word by word, and where they come from.

  tfvoice_pronounce --run=runs/g2p "The Fozzwick isn't in any dictionary."

Numbers, dates, abbreviations and the like become words first. Each line is a word, a tab, its phonemes, a tab, and the
source: lexicon; rule, a word of it with an ending; g2p, the model of --run; inline, phonemes that the text
gives in braces, as {HH AH0 L OW1}; unknown; or unspoken, no word, such as an emoji. A file is read line by line.
The lexicon is CMUdict; words of --lexicon, in the same format, go before it:

  tfvoice_pronounce --lexicon=names.dict --run=runs/g2p story.txt
"""

import functools
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from tfvoice.cli.command import load_tensorflow
from tfvoice.cli.flags import Flags, UsageError
from tfvoice.errors import TfvoiceError

FLAGS = Flags("TEXT_OR_FILE")
LEXICON = FLAGS.string("lexicon", "Lexicon in the format of CMUdict, whose words go before it.", metavar="FILE")
RUN = FLAGS.string(
    "run",
    "Folder of a run of tfvoice_train --model=g2p, for words without an entry. Default: that of the package, if any.",
    metavar="DIR",
)
CHECKPOINT = FLAGS.choice("checkpoint", ["best", "last"], "Which weights; best is the lowest WER on valid.", "best")


def main(argv: list[str]) -> int:
    """Calls `Pronouncer.pronounce`; returns the exit status, 1 where a word has no phonemes."""
    if len(argv) != 2:
        raise UsageError("give one text in quotes, a file, or - for the standard input.")
    from tfvoice.text import lexicon
    from tfvoice.tts.pronounce import PACKAGED_RUN, Pronouncer

    run = RUN.value or (PACKAGED_RUN if PACKAGED_RUN.is_dir() else None)
    words = lexicon.cmudict()
    if LEXICON.value:
        words = words.after(lexicon.read(LEXICON.value, words.inventory))
    pronouncer = Pronouncer(words, _first_use(run) if run else None)
    unknown = unspoken = 0
    for text in _texts(argv[1]):
        for word in pronouncer.pronounce(text):
            unknown += word.by == "unknown"
            unspoken += word.by == "unspoken"
            print(word.word, " ".join(word.phonemes), word.by, sep="\t")
    if unknown:
        advice = "add them to --lexicon" if run else "add them to --lexicon, or a G2P model with --run=DIR"
        print(f"tfvoice_pronounce: words without phonemes: {unknown}; {advice}.", file=sys.stderr)
    if unspoken:
        print(f"tfvoice_pronounce: parts of the text that are no words: {unspoken}; delete them.", file=sys.stderr)
    return 1 if unknown or unspoken else 0


def _first_use(run):
    """What pronounces words by a model, which is loaded for the first of them: TensorFlow takes seconds to start."""

    @functools.cache
    def load():
        load_tensorflow()
        from tfvoice import tasks
        from tfvoice.tts.g2p.predict import G2pPredictor

        return G2pPredictor(tasks.load(run, CHECKPOINT.value, "tfvoice_pronounce"))

    return lambda words: load().pronounce(words)


def _texts(argument: str) -> Iterable[str]:
    """The lines of a file or of the standard input, or the text itself."""
    # Asking the system for a path of several pages is an error.
    is_file = argument == "-" or (len(argument) < 4096 and Path(argument).is_file())
    return _lines(argument) if is_file else [argument]


def _lines(path: str) -> Iterator[str]:
    try:
        with open(sys.stdin.fileno() if path == "-" else path, encoding="utf-8-sig") as file:
            yield from file
    except UnicodeDecodeError:
        raise TfvoiceError(f"{path}: is not UTF-8; save it as UTF-8.") from None
