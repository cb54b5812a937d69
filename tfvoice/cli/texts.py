"""Prints the normalised transcripts of a split, one a line, for a language model; or an alphabet for them.

  tfvoice_text --run=runs/vctk --split=train > train.txt

--input normalises other text in the same way, that of a file or, with -, of the standard input:

  tfvoice_text --run=runs/vctk --input=news.txt > news_normalised.txt

--alphabet proposes an alphabet for the transcripts of converted data, for a manifest or for a text file. Its output is
a configuration for `tfvoice_train --config=FILE`, with the counts of all letters as comments:

  tfvoice_text --alphabet --data=records > alphabet.toml
"""

import sys
from collections import Counter
from collections.abc import Iterator

from tfvoice.cli.command import load_tensorflow
from tfvoice.cli.flags import Flags, UsageError
from tfvoice.errors import TfvoiceError

FLAGS = Flags()
RUN = FLAGS.string("run", "Folder of a run of tfvoice_train, whose alphabet is used.", metavar="DIR")
ALPHABET = FLAGS.boolean("alphabet", "Propose an alphabet for the texts, as a configuration, and print no text.")
DATA = FLAGS.string(
    "data", "Folder that tfvoice_convert wrote. Default: the one that the run was trained on.", metavar="DIR"
)
SPLIT = FLAGS.string("split", "Split whose transcripts are printed.", "train", "NAME")
INPUT = FLAGS.string(
    "input", "Text file or manifest (.csv, .tsv, .json, .jsonl) instead, or - for the standard input.", metavar="FILE"
)


def main(_: list[str]) -> None:
    """Prints the texts as the run's alphabet normalises them, or with --alphabet an alphabet for them."""
    if INPUT.value and DATA.value:
        raise UsageError("--input and --data both name the text; leave one of them out.")
    if ALPHABET.value:
        _propose()
        return
    if not RUN.value:
        raise UsageError("--run is missing; add --run=DIR, or --alphabet for an alphabet of the text.")
    load_tensorflow()
    from tfvoice import tasks
    from tfvoice.text.alphabet import format_counts

    run = tasks.of_run(RUN.value, "tfvoice_text").run.open(RUN.value)
    dropped: Counter[str] = Counter()
    for text in _input() if INPUT.value else run.scan(run.data_dir(DATA.value), SPLIT.value).texts:
        dropped.update(run.alphabet.unknown(text))
        if normalised := run.alphabet.normalise(text):
            print(normalised)
    if dropped:
        print(f"tfvoice_text: dropped symbols that are not in the alphabet: {format_counts(dropped)}", file=sys.stderr)


def _propose() -> None:
    if RUN.value:
        raise UsageError("--alphabet takes its texts from --data or --input; leave out --run.")
    if not (DATA.value or INPUT.value):
        raise UsageError("--alphabet needs texts; add --data=DIR or --input=FILE.")
    from tfvoice.text import proposal

    if INPUT.value:
        texts = list(_input())
    else:
        load_tensorflow()
        from tfvoice.data import index

        texts = index.read_texts(DATA.value, SPLIT.value)
    source = "the standard input" if INPUT.value == "-" else INPUT.value or DATA.value
    print(proposal.propose(texts, source).as_toml(), end="")


def _input() -> Iterator[str]:
    """The transcripts of a manifest, or the lines of a text file."""
    from tfvoice.data.corpora import manifest
    from tfvoice.text import lines

    if INPUT.value.lower().endswith(manifest.SUFFIXES):
        listing = manifest.read(INPUT.value)
        if not listing.utterances and listing.skipped:
            raise TfvoiceError(f"{INPUT.value}: no row can be used; {listing.skipped[0].detail}.")
        yield from (utterance.text for utterance in listing.utterances)
        return
    # Text from the web is rarely UTF-8 throughout; invalid bytes become U+FFFD, which no alphabet has.
    yield from (line.rstrip("\n") for line in lines.read(INPUT.value, "replace"))
