"""Measures a trained model: a recogniser by word and character error rates, a generator by bits per sample and by how
its samples sound, in numbers; with intervals, and the worst utterances.

  tfvoice_eval --run=runs/vctk --split=test
  tfvoice_eval --run=runs/vctk --split=test --decoder=lm --lm=english.arpa

The data of the run is used unless --data names another converted corpus. Everything is also written into
the run: `report/eval-<split>.json` for programs, and `report/eval-<split>.html` for people, one file with audio,
pictures and curves that opens anywhere. Runs stand side by side in it with --compare:

  tfvoice_eval --run=runs/new --split=test --compare=runs/old
"""

from tfvoice.cli.flags import DecoderFlags, Flags, load_tensorflow

FLAGS = Flags()
RUN = FLAGS.string("run", "Folder of a run of tfvoice_train.", shape="DIR", required=True)
DATA = FLAGS.string(
    "data", "Folder that tfvoice_convert wrote. Without it: the one that the run was trained on.", shape="DIR"
)
SPLIT = FLAGS.string("split", "Split to measure: train, valid or test.", "test", "NAME")
CHECKPOINT = FLAGS.choice("checkpoint", ["best", "last"], "Which weights; best is by CER or bits on valid.", "best")
DECODER = DecoderFlags(FLAGS)
COMPARE = FLAGS.strings("compare", "Another run whose report of this split stands beside it in the page.", "DIR")
WORST = FLAGS.integer("worst", "How many of the worst utterances to print.", 5, 0)


def main(_: list[str]) -> None:
    """Calls `evaluation.evaluate_run`, or `audition.evaluate_run`."""
    load_tensorflow()
    from tfvoice import tasks

    task = tasks.of_run(RUN.value)
    report, path = task.evaluate(
        RUN.value,
        DATA.value,
        SPLIT.value,
        CHECKPOINT.value,
        DECODER.choose(RUN.value),
        tuple(COMPARE.value),
    )
    print(task.as_text(report, WORST.value))
    print(f"\nWritten to {path}")
