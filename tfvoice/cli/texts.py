"""Prints the normalised transcripts of a split, one a line: training text for a language model.

  tfvoice_text --run=runs/vctk --split=train > train.txt

--input normalises other text in the same way, that of a file or, with -, of the standard input:

  tfvoice_text --run=runs/vctk --input=news.txt > news_normalised.txt
"""

import contextlib
import sys
from collections import Counter

from tfvoice.cli.command import load_tensorflow
from tfvoice.cli.flags import Flags, UsageError

FLAGS = Flags()
RUN = FLAGS.string("run", "Folder of a run of tfvoice_train, whose alphabet is used.", metavar="DIR", required=True)
DATA = FLAGS.string(
    "data", "Folder that tfvoice_convert wrote. Default: the one that the run was trained on.", metavar="DIR"
)
SPLIT = FLAGS.string("split", "Split whose transcripts are printed.", "train", "NAME")
INPUT = FLAGS.string("input", "Text file to normalise instead, or - for the standard input.", metavar="FILE")


def main(_: list[str]) -> None:
    """Prints the transcripts of a split, or the lines of a file, as the run's alphabet normalises them."""
    if INPUT.value and DATA.value:
        raise UsageError("--input and --data both name the text to print; leave one of them out.")
    load_tensorflow()
    from tfvoice import tasks
    from tfvoice.text.alphabet import format_counts

    run = tasks.of_run(RUN.value, "tfvoice_text").run.open(RUN.value)
    dropped: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        if INPUT.value:
            source = sys.stdin.fileno() if INPUT.value == "-" else INPUT.value
            # Text from the web is rarely UTF-8 throughout; invalid bytes become U+FFFD, which no alphabet has.
            texts = stack.enter_context(open(source, encoding="utf-8-sig", errors="replace"))
        else:
            texts = run.scan(run.data_dir(DATA.value), SPLIT.value).texts
        for text in texts:
            dropped.update(run.alphabet.unknown(text))
            if normalised := run.alphabet.normalise(text):
                print(normalised)
    if dropped:
        print(f"tfvoice_text: dropped symbols that are not in the alphabet: {format_counts(dropped)}", file=sys.stderr)
