"""Tunes the weights of a language model on the validation split and writes the best ones into the run.

  tfvoice_tune_lm --run=runs/vctk --lm=english.arpa
  tfvoice_eval --run=runs/vctk --split=test --decoder=lm

The network runs once; its output is cached in the run, and each trial decodes that with other weights. All trials are
in `report/lm-tuning.json` and plotted in `report/lm-tuning.png`. docs/language_model.md shows how to build a language
model.
"""

from tfvoice import hardware
from tfvoice.cli.command import load_tensorflow
from tfvoice.cli.decoder_flags import DecoderFlags
from tfvoice.cli.flags import Flags

FLAGS = Flags()
RUN = FLAGS.string("run", "Folder of a run of tfvoice_train.", metavar="DIR", required=True)
DECODER = DecoderFlags(FLAGS, tuning=True)
DATA = FLAGS.string(
    "data", "Folder that tfvoice_convert wrote. Default: the one that the run was trained on.", metavar="DIR", url=True
)
SPLIT = FLAGS.string("split", "Split to tune on; never the one of the final evaluation.", "valid", "NAME")
UTTERANCES = FLAGS.integer("utterances", "How many of its utterances each trial decodes.", 300, 1)
CHECKPOINT = FLAGS.choice("checkpoint", ["best", "last"], "Which weights of the network.", "best")
WORKERS = FLAGS.integer("workers", "Parallel trials; each loads the language model.", hardware.cores(), 1)


def main(_: list[str]) -> None:
    """Calls `tune_lm.tune`."""
    load_tensorflow()
    from tfvoice import tasks
    from tfvoice.asr import decoders, tune_lm
    from tfvoice.data import shards
    from tfvoice.run import read_description

    tasks.of_run(RUN.value, "tfvoice_tune_lm")
    # Without a run: weights of an earlier tuning do not count.
    decoder = decoders.choose(None, **DECODER.settings())
    trials, best = tune_lm.tune(
        RUN.value,
        decoder,
        DATA.value,
        SPLIT.value,
        CHECKPOINT.value,
        UTTERANCES.value,
        WORKERS.value,
    )
    print(f"greedy  WER {trials[0].wer:.2%}  CER {trials[0].cer:.2%}")
    print(
        f"lm      WER {best.wer:.2%}  CER {best.cer:.2%}  with lm_weight {best.lm_weight:g} and word_score "
        f"{best.word_score:g}, the best of {len(trials) - 1} pairs"
    )
    print(f"Written to {RUN.value}/decoder.json, and plotted in {RUN.value}/report/lm-tuning.png")
    split = shards.test_split(DATA.value or read_description(RUN.value)["info"]["data"])
    more = (f" --data={DATA.value}" if DATA.value else "") + ("" if decoder.lexicon else " --nolexicon")
    print(f"Next: tfvoice_eval --run={RUN.value} --split={split} --decoder=lm{more}")
