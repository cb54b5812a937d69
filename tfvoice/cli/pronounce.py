"""Prints the phonemes of a text, word by word, and where they come from.

  tfvoice_pronounce --run=runs/g2p "The Fozzwick isn't in any dictionary."

Numbers, dates, abbreviations and the like become words first. Each line is a word, a tab, its phonemes, a tab, and the
source: lexicon; rule, a word of it with an ending; g2p, the model of --run; inline, phonemes that the text
gives in braces, as {HH AH0 L OW1}; unknown; or unspoken, no word, such as an emoji. A file is read line by line.
The lexicon is CMUdict; words of --lexicon, in the same format, go before it:

  tfvoice_pronounce --lexicon=names.dict --run=runs/g2p story.txt

Another language has a lexicon and a normaliser of its own:

  tfvoice_pronounce --normalizer=plain --lexicon=german.dict --run=runs/german "Ein Text."
"""

import functools
import sys
from collections import Counter

from tfvoice.cli.command import load_tensorflow
from tfvoice.cli.flags import Flags, UsageError
from tfvoice.errors import TfvoiceError

FLAGS = Flags("TEXT_OR_FILE")
LEXICON = FLAGS.string("lexicon", "Lexicon in the format of CMUdict, whose words go before it.", metavar="FILE")
RUN = FLAGS.string(
    "run",
    "Folder of a run of tfvoice_train --model=g2p, for words without an entry. Default: that of the package, if any; "
    "none with another normaliser.",
    metavar="DIR",
)
CHECKPOINT = FLAGS.choice("checkpoint", ["best", "last"], "Which weights; best is the lowest WER on valid.", "best")
NORMALIZER = FLAGS.string(
    "normalizer",
    "What makes words of a text: en, English; plain, any script with blanks between its words, without digits and "
    "symbols; or MODULE:FUNCTION, Python of your own on PYTHONPATH, which is run. With any but en, --lexicon is the "
    "whole lexicon.",
    "en",
    metavar="NAME",
)


def main(argv: list[str]) -> int:
    """Calls `Pronouncer.pronounce_lines`; returns the exit status, 1 where a word has no phonemes."""
    if len(argv) != 2:
        raise UsageError("give one text in quotes, a file, or - for the standard input.")
    from tfvoice.text import normalize
    from tfvoice.tts import pronounce

    normalizer = normalize.find(NORMALIZER.value)
    words = pronounce.load_lexicon(LEXICON.value, NORMALIZER.value)
    run = RUN.value or pronounce.packaged_run(NORMALIZER.value)
    pronouncer = pronounce.Pronouncer(words, _first_use(run, words.inventory) if run else None, normalizer)
    counts, first = Counter(), {}
    # What is typed is answered at once.
    at_once = {"at_once": 1} if argv[1] == "-" and sys.stdin.isatty() else {}
    for line, word in pronouncer.pronounce_lines(*pronounce.open_text(argv[1]), **at_once):
        counts[word.by] += 1
        first.setdefault(word.by, f"the first {word.word[:40]!r} at line {line}, character {word.start + 1}")
        print(word.word, " ".join(word.phonemes), word.by, sep="\t")
    if not counts:
        raise TfvoiceError("the text is empty; give some words.")
    facts = {"unknown": "words without phonemes", "unspoken": "parts of the text that are no words"}
    more = "" if run else ", or a G2P model with --run=DIR"
    for by, advice in {"unknown": f"add them to --lexicon{more}", "unspoken": "delete them"}.items():
        if counts[by]:
            print(f"tfvoice_pronounce: {facts[by]}: {counts[by]}, {first[by]}; {advice}.", file=sys.stderr)
    return 1 if counts["unknown"] or counts["unspoken"] else 0


def _first_use(run, inventory):
    """What pronounces words by a model, which is loaded for the first of them: TensorFlow takes seconds to start."""

    @functools.cache
    def load():
        load_tensorflow()
        from tfvoice import tasks
        from tfvoice.tts.g2p.predict import G2pPredictor

        loaded = tasks.load(run, CHECKPOINT.value, "tfvoice_pronounce")
        if set(loaded.inventory.symbols).isdisjoint(inventory.symbols):
            raise TfvoiceError(f"{run}: has no phoneme of the lexicon; name a run that was trained for its language.")
        return G2pPredictor(loaded)

    return lambda words: load().pronounce(words)
