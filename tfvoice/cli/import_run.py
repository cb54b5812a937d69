"""Imports a recogniser that was trained with deepspeech.pytorch (version 3, a Lightning checkpoint) as a run.

  tfvoice_import --from=deepspeech.pytorch --checkpoint=librispeech_pretrained_v3.ckpt --run=runs/librispeech
  tfvoice_transcribe --run=runs/librispeech talk.wav

The checkpoint is parsed without executing any code in it, and PyTorch is not needed. What else it holds, such as the
states of optimizers, is ignored.
"""

from tfvoice.cli.command import load_tensorflow
from tfvoice.cli.flags import Flags

FLAGS = Flags()
FROM = FLAGS.choice("from", ["deepspeech.pytorch"], "The software that trained it.", required=True)
CHECKPOINT = FLAGS.string("checkpoint", "Checkpoint file.", metavar="FILE", required=True)
RUN = FLAGS.string("run", "Folder of the new run.", metavar="DIR", required=True)
PAD_MODE = FLAGS.choice(
    "pad_mode",
    ["reflect", "constant"],
    "How librosa padded both ends of the audio in training: reflect before version 0.9.0 (2022), constant since. "
    "Default: constant for a checkpoint of PyTorch Lightning 1.6 (2022) or later, otherwise reflect.",
)
OVERWRITE = FLAGS.boolean("overwrite", "Replace a run in the folder.")


def main(_: list[str]) -> None:
    """Calls `deepspeech_pytorch.import_run`."""
    load_tensorflow()
    from tfvoice.converters import deepspeech_pytorch

    run = deepspeech_pytorch.import_run(CHECKPOINT.value, RUN.value, PAD_MODE.value, OVERWRITE.value)
    model = run.config.model
    cell = f"{'bidirectional' if model.bidirectional else 'unidirectional'} {model.cell}"
    print(
        f"{model.layers} layers of {model.units} units, {cell}; {run.model.count_params():,} parameters; "
        f"{run.alphabet.size} characters: {run.alphabet.characters}"
    )
    print(f"Next: tfvoice_transcribe --run={RUN.value} FILE")
