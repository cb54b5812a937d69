"""Prints the texts of a split as a recogniser spells them, one a line: what a language model is made of.

  tfvoice_text --run=runs/vctk --split=train > train.txt

Other text goes through the same spelling with --input, a file or - for the standard input:

  tfvoice_text --run=runs/vctk --input=news.txt > news_spelled.txt
"""

import contextlib
import sys
from collections import Counter

from tfvoice.cli.flags import Flags, UsageError, load_tensorflow

FLAGS = Flags()
RUN = FLAGS.string("run", "Folder of a run of tfvoice_train, whose alphabet is used.", shape="DIR", required=True)
DATA = FLAGS.string(
    "data", "Folder that tfvoice_convert wrote. Without it: the one that the run was trained on.", shape="DIR"
)
SPLIT = FLAGS.string("split", "Split whose texts are printed.", "train", "NAME")
INPUT = FLAGS.string("input", "Text file to spell instead, or - for the standard input.", shape="FILE")


def main(_: list[str]) -> None:
    """Prints the texts of a split, or the lines of a file, as the run's alphabet spells them."""
    if INPUT.value and DATA.value:
        raise UsageError("--input and --data both say what to print; leave one out.")
    load_tensorflow()
    from tfvoice.asr.recognizer import Recognizer
    from tfvoice.text.alphabet import listed

    experiment = Recognizer.open(RUN.value)
    dropped: Counter[str] = Counter()
    with contextlib.ExitStack() as stack:
        if INPUT.value:
            source = sys.stdin.fileno() if INPUT.value == "-" else INPUT.value
            # Text from the web is never all UTF-8; what is not becomes a symbol that no alphabet has.
            texts = stack.enter_context(open(source, encoding="utf-8-sig", errors="replace"))
        else:
            texts = experiment.scan(experiment.data_dir(DATA.value), SPLIT.value).texts
        for text in texts:
            dropped.update(experiment.alphabet.unknown(text))
            if spelled := experiment.alphabet.normalise(text):
                print(spelled)
    if dropped:
        print(f"tfvoice_text: symbols dropped, because the alphabet lacks them: {listed(dropped)}", file=sys.stderr)
