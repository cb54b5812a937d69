"""Finds how much a language model should count, by trying weights on the validation split, and writes it into the run.

  tfvoice_tune_lm --run=runs/vctk --lm=english.arpa
  tfvoice_eval --run=runs/vctk --split=test --decoder=lm

The network runs once; its output is kept in the run, and each trial decodes that again with other weights. All trials
are in `report/lm-tuning.json`, and drawn in `report/lm-tuning.png`. docs/language_model.md shows how to make a
language model.
"""

from tfvoice import hardware
from tfvoice.cli.flags import DecoderFlags, Flags, load_tensorflow

FLAGS = Flags()
RUN = FLAGS.string("run", "Folder of a run of tfvoice_train.", shape="DIR", required=True)
DECODER = DecoderFlags(FLAGS, language_model=True)
DATA = FLAGS.string(
    "data", "Folder that tfvoice_convert wrote. Without it: the one that the run was trained on.", shape="DIR"
)
SPLIT = FLAGS.string("split", "Split to try on; never the one that is measured in the end.", "valid", "NAME")
UTTERANCES = FLAGS.integer("utterances", "How many of its utterances each trial reads.", 300, 1)
CHECKPOINT = FLAGS.choice("checkpoint", ["best", "last"], "Which weights of the network.", "best")
WORKERS = FLAGS.integer("workers", "Trials at the same time; each holds the language model.", hardware.cores(), 1)


def main(_: list[str]) -> None:
    """Calls `tuning.tune`."""
    load_tensorflow()
    from tfvoice.asr import tune_lm

    trials, best = tune_lm.tune(
        RUN.value,
        DECODER.choose(RUN.value),
        DATA.value,
        SPLIT.value,
        CHECKPOINT.value,
        UTTERANCES.value,
        WORKERS.value,
    )
    print(f"greedy  WER {trials[0].wer:.2%}  CER {trials[0].cer:.2%}")
    print(
        f"lm      WER {best.wer:.2%}  CER {best.cer:.2%}  with lm_weight {best.lm_weight:g} and word_score "
        f"{best.word_score:g}, of {len(trials) - 1} pairs"
    )
    print(f"Written to {RUN.value}/decoder.json, and drawn in {RUN.value}/report/lm-tuning.png")
    print(f"Next: tfvoice_eval --run={RUN.value} --split=test --decoder=lm")
