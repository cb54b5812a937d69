"""Trains a recogniser on a converted corpus.

  tfvoice_train --model=wavenet_asr --data=vctk_records --run=runs/vctk

The run folder then holds everything: configuration, alphabet, checkpoints, `metrics.jsonl` and TensorBoard logs
(`tensorboard --logdir=runs/vctk/logs`). The same command goes on with a run that was stopped or killed. Change any
number of the configuration with a TOML file, or one by one:

  tfvoice_train --model=wavenet_asr --data=vctk_records --run=runs/small \
      --config=wavenet_asr_faithful --set training.batch_size=8 --set training.epochs=20
"""

from absl import flags

from tfvoice.cli.flags import run

FLAGS = flags.FLAGS
flags.DEFINE_string("model", "wavenet_asr", "Name of the model: wavenet_asr.")
flags.DEFINE_string("data", None, "Folder that tfvoice_convert wrote; it needs the splits train and valid.")
flags.DEFINE_string("run", None, "Folder of the run; made if it does not exist, continued if it does.")
flags.DEFINE_string("config", None, "TOML file with what differs from the defaults, or the name of a shipped one.")
flags.DEFINE_multi_string("set", [], "One key of the configuration, as section.key=value. May be repeated.")
flags.DEFINE_integer("epochs", None, "Passes over the training split; short for --set training.epochs=N.", 1)
flags.DEFINE_integer("max_steps", None, "Stop after so many steps in all; the same command goes on later.", 1)
flags.DEFINE_float("max_minutes", None, "Stop after so many minutes of training in all.", 0.0)
flags.DEFINE_float("checkpoint_minutes", 5.0, "Minutes between checkpoints inside an epoch.", 0.0)
flags.DEFINE_boolean("overwrite", False, "Start anew where the folder holds another run.")
flags.mark_flags_as_required(["data", "run"])


def main(_) -> None:
    """Calls `training.train`."""
    from tfvoice import experiment, training

    overrides = list(FLAGS.set)
    if FLAGS.epochs is not None:
        overrides.append(f"training.epochs={FLAGS.epochs}")
    settings = experiment.resolve(FLAGS.model, FLAGS.config, overrides)
    limits = training.Limits(FLAGS.max_steps, FLAGS.max_minutes, FLAGS.checkpoint_minutes)
    training.train(FLAGS.run, FLAGS.data, settings, limits, FLAGS.overwrite)
    print(f"Next: tfvoice_eval --run={FLAGS.run} --split=test")


def start() -> None:
    """Entry point of bin/tfvoice_train."""
    run(main)
