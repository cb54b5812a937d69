"""Evaluates a trained model on a split: word and character error rates of a recogniser, bits per sample of a generator
and the statistics of its samples, word and phoneme error rates of a G2P model, all of these of a voice. Each has a
confidence interval; the worst utterances or words are listed.

  tfvoice_eval --run=runs/vctk --split=test
  tfvoice_eval --run=runs/vctk --split=test --decoder=lm --lm=english.arpa

Without --data the data of the run is used. The results are also written to `report/eval-<split>.json` in the run, and
to `report/eval-<split>.html`, one self-contained page with audio, plots and error analysis; for other data to
`report/eval-<split>-<data>.json` and `.html`. --compare adds the results of other runs to that page:

  tfvoice_eval --run=runs/new --split=test --compare=runs/old

How well a voice is understood is measured by a recogniser, on recordings, on copies of them and on its own speech:

  tfvoice_eval --run=voices/mary --recognizer=runs/vctk
"""

from tfvoice import hardware
from tfvoice.cli.command import load_tensorflow
from tfvoice.cli.decoder_flags import DecoderFlags
from tfvoice.cli.flags import Flags, UsageError

FLAGS = Flags()
RUN = FLAGS.string("run", "Folder of a run of tfvoice_train.", metavar="DIR", required=True)
DATA = FLAGS.string(
    "data",
    "Folder that tfvoice_convert wrote, or tfvoice_align, or a lexicon. Default: what the run was trained on.",
    metavar="DIR",
    url=True,
)
SPLIT = FLAGS.string("split", "Split to evaluate: train, valid or test.", "test", "NAME")
CHECKPOINT = FLAGS.choice(
    "checkpoint", ["best", "last"], "Which weights; best is the lowest CER, bits per sample or WER on valid.", "best"
)
DECODER = DecoderFlags(FLAGS)
COMPARE = FLAGS.strings("compare", "Another run, whose report of this split is shown beside it in the page.", "DIR")
RECOGNIZER = FLAGS.string("recognizer", "Run of a recogniser that transcribes what a voice speaks.", metavar="DIR")
WORST = FLAGS.integer("worst", "How many of the worst utterances to print.", 5, 0)


def main(_: list[str]) -> None:
    """Calls `Task.evaluate` of the run's task."""
    decoder = DECODER.settings()
    load_tensorflow()
    from tfvoice import compiled, tasks
    from tfvoice.report import evaluation

    compiled.announce()
    task, more = tasks.of_run(RUN.value), {}
    if RECOGNIZER.value:
        if task.name != "voice":
            raise UsageError(f"--recognizer is for voices, and {RUN.value} is a run of {task.summary}; leave it out.")
        more = {"recognizer": RECOGNIZER.value}
    print(hardware.describe(), flush=True)
    compare = tuple(COMPARE.value)
    try:
        report, path = task.evaluate(RUN.value, DATA.value, SPLIT.value, CHECKPOINT.value, compare, decoder, **more)
    except evaluation.UnwrittenReportError as error:
        print(task.format_report(error.report, WORST.value))
        raise
    print(task.format_report(report, WORST.value))
    print(f"\nWritten to {path}")
