"""Trains a model on a converted corpus: a recogniser of speech, or a generator of audio.

  tfvoice_train --model=wavenet_asr --data=vctk_records --run=runs/vctk

The run folder then holds everything: configuration, alphabet, checkpoints, `metrics.jsonl` and TensorBoard logs
(`tensorboard --logdir=runs/vctk/logs`). The same command goes on with a run that was stopped or killed. Change any
number of the configuration with a TOML file, or one by one:

  tfvoice_train --model=wavenet_asr --data=vctk_records --run=runs/small \\
      --config=wavenet_asr_faithful --set training.batch_size=8 --set training.epochs=20
"""

from tfvoice.cli.flags import Flags, load_tensorflow

FLAGS = Flags()
MODEL = FLAGS.string("model", "Name of the model: wavenet_asr, deepspeech2 or sample_rnn.", "wavenet_asr", "NAME")
DATA = FLAGS.string(
    "data", "Folder that tfvoice_convert wrote; it needs the splits train and valid.", shape="DIR", required=True
)
RUN = FLAGS.string("run", "Folder of the run: made if absent, else continued.", shape="DIR", required=True)
CONFIG = FLAGS.string(
    "config", "TOML file with what differs from the defaults, or the name of one that comes with tfvoice.", shape="FILE"
)
SET = FLAGS.strings("set", "One key of the configuration.", "SECTION.KEY=VALUE")
EPOCHS = FLAGS.integer("epochs", "Passes over the training split; short for --set=training.epochs=N.", None, 1)
MAX_STEPS = FLAGS.integer("max_steps", "Stop after so many steps in all; the same command goes on later.", None, 1)
MAX_MINUTES = FLAGS.number("max_minutes", "Stop after so many minutes of training in all.", None, 0)
CHECKPOINT_MINUTES = FLAGS.number("checkpoint_minutes", "Time between checkpoints inside an epoch.", 5.0, 0)
OVERWRITE = FLAGS.boolean("overwrite", "Start anew where the folder holds another run.")


def main(_: list[str]) -> None:
    """Calls `training.train`."""
    load_tensorflow()
    from tfvoice import experiment
    from tfvoice.training import trainer

    overrides = list(SET.value)
    if EPOCHS.value is not None:
        overrides.append(f"training.epochs={EPOCHS.value}")
    settings = experiment.resolve(MODEL.value, CONFIG.value, overrides)
    limits = trainer.Limits(MAX_STEPS.value, MAX_MINUTES.value, CHECKPOINT_MINUTES.value)
    state = trainer.train(RUN.value, DATA.value, settings, limits, OVERWRITE.value)
    checkpoint = "" if state.best_validation else " --checkpoint=last"
    print(f"Next: tfvoice_eval --run={RUN.value}{checkpoint} --split=test")
