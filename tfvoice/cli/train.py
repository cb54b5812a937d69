"""Trains a model: a speech recogniser, a voice or an audio generator on a converted corpus, a G2P model on a lexicon.

  tfvoice_train --model=wavenet_asr --data=vctk_records --run=runs/vctk

The run folder holds everything: configuration, alphabet, checkpoints, `metrics.jsonl` and TensorBoard logs
(`tensorboard --logdir=runs/vctk/logs`). The same command resumes a run that was stopped or killed; Ctrl-C saves it
first. After pip install 'tfvoice[s3]' or 'tfvoice[gs]', --data and --run can be URLs of an object store. The
configuration is the model's defaults, changed by a TOML file or key by key:

  tfvoice_train --model=wavenet_asr --data=vctk_records --run=runs/small \\
      --config=wavenet_asr_faithful --set training.batch_size=8 --set training.epochs=20

A new run can start from the weights and the configuration of another one, for other data or another alphabet, and a run
that has finished can be extended, with a learning-rate schedule of its own for the further epochs:

  tfvoice_train --init_from=runs/vctk --data=my_records --run=runs/mine --epochs=10
  tfvoice_train --data=vctk_records --run=runs/vctk --epochs=+20

A voice that speaks texts has several parts, which are trained in turn; how long each will take is printed first:

  tfvoice_train --model=deep_voice --data=mary_records --run=voices/mary --set vocoder.training.epochs=30

Several processes train one model together where TF_CONFIG names them, as on Kubernetes, where srun starts them, or on
one machine with --processes. Each computes its share of every batch:

  tfvoice_train --model=wavenet_asr --data=vctk_records --run=runs/vctk --processes=4
"""

from tfvoice import hardware, remote
from tfvoice.cli.cluster_flags import ClusterFlags
from tfvoice.cli.command import all_kept, resumable
from tfvoice.cli.flags import Flags
from tfvoice.cli.signals import StopRequest

FLAGS = Flags()
_MODELS = "wavenet_asr, deepspeech2, sample_rnn, g2p, segmentation, duration_f0, vocoder, deep_voice"
MODEL = FLAGS.string("model", f"{_MODELS}. Default: as --init_from, else wavenet_asr.", metavar="NAME")
_DATA = "What tfvoice_convert wrote, for duration_f0 and vocoder tfvoice_align; for g2p, cmudict or a lexicon."
DATA = FLAGS.string("data", _DATA, metavar="DIR", required=True, url=True)
_RUN = "Folder or URL of the run: a new one, or one to resume."
RUN = FLAGS.string("run", _RUN, metavar="DIR", required=True, url=True)
CONFIG = FLAGS.string(
    "config",
    "TOML file with the keys that differ from the defaults, or the name of a configuration of tfvoice.",
    metavar="FILE",
)
INIT_FROM = FLAGS.string(
    "init_from",
    "Folder of a run, trained or imported, that a new run starts from: its configuration takes the place of the "
    "defaults, and every tensor of the same name and shape is taken, the output character by character.",
    metavar="RUN",
)
SET = FLAGS.strings("set", "Sets one key of the configuration.", "SECTION.KEY=VALUE")
EPOCHS = FLAGS.string(
    "epochs",
    "Passes over the training split; short for --set=training.epochs=N. --epochs=+N extends a run that has finished "
    "by N epochs, perhaps of other data.",
    metavar="N|+N",
)
MAX_STEPS = FLAGS.integer("max_steps", "Stop after this many steps of the run; the same command resumes it.", None, 1)
MAX_MINUTES = FLAGS.number("max_minutes", "Stop after this many minutes of training of the run.", None, 0)
CHECKPOINT_MINUTES = FLAGS.number("checkpoint_minutes", "Minutes between checkpoints within an epoch.", 5.0, 0)
OVERWRITE = FLAGS.boolean("overwrite", "Start from scratch in a folder that holds another run.")
CLUSTER = ClusterFlags(FLAGS)


def main(_: list[str]) -> int | None:
    """Calls `tasks.train`, in one process or in several."""
    return CLUSTER.run(_train)


def _train(cluster) -> None:
    from tfvoice import compiled, tasks
    from tfvoice.data import shards
    from tfvoice.training.trainer import StopConditions

    compiled.announce()
    config = _config(tasks) if cluster.is_chief else None
    print(hardware.describe(), flush=True)
    with all_kept(), resumable(RUN.value), StopRequest() as stop:
        limits = (MAX_STEPS.value, MAX_MINUTES.value, CHECKPOINT_MINUTES.value)
        conditions = StopConditions(*limits, requested=lambda: stop.requested)
        state = tasks.train(RUN.value, DATA.value, config, conditions, OVERWRITE.value, INIT_FROM.value)
    if state is None:
        # A voice of which parts are missing.
        return
    if remote.is_url(RUN.value):
        print(f"Next: tfvoice_export --run={RUN.value} --output=models/{RUN.value.rstrip('/').rpartition('/')[2]}/1")
        return
    checkpoint = "" if state.best_validation else " --checkpoint=last"
    print(f"Next: tfvoice_eval --run={RUN.value}{checkpoint} --split={shards.test_split(DATA.value)}")


def _config(tasks):
    """The configuration that the flags ask for."""
    from tfvoice.run import is_run
    from tfvoice.training import start

    resumed = not OVERWRITE.value and is_run(RUN.value)
    base, overrides = INIT_FROM.value, list(SET.value)
    if EPOCHS.value is not None:
        overrides.append(f"training.epochs={start.epochs(EPOCHS.value, RUN.value, OVERWRITE.value)}")
        base = RUN.value if EPOCHS.value.startswith("+") else base
    # A run that exists holds the configuration that it started from.
    source = RUN.value if base and resumed else base
    return tasks.resolve(MODEL.value or (None if base else "wavenet_asr"), CONFIG.value, overrides, source)
