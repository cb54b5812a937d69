"""Makes a run of a recogniser that was trained with deepspeech.pytorch (version 3, a Lightning checkpoint).

  tfvoice_import --from=deepspeech.pytorch --checkpoint=librispeech_pretrained_v3.ckpt --run=runs/librispeech
  tfvoice_transcribe --run=runs/librispeech talk.wav

Nothing in the file is executed, and PyTorch is not needed. A file that is not understood is refused.
"""

from tfvoice.cli.flags import Flags, load_tensorflow

FLAGS = Flags()
FROM = FLAGS.choice("from", ["deepspeech.pytorch"], "What trained it.", required=True)
CHECKPOINT = FLAGS.string("checkpoint", "File of the checkpoint.", shape="FILE", required=True)
RUN = FLAGS.string("run", "Folder of the run to make.", shape="DIR", required=True)
PAD_MODE = FLAGS.choice(
    "pad_mode",
    ["reflect", "constant"],
    "What librosa put beyond both ends of the audio in training: reflect before version 0.10 (2023), constant since.",
    "reflect",
)
OVERWRITE = FLAGS.boolean("overwrite", "Replace a run that is in the folder.")


def main(_: list[str]) -> None:
    """Calls `importing.import_run`."""
    load_tensorflow()
    from tfvoice.converters import deepspeech_pytorch

    made = deepspeech_pytorch.import_run(CHECKPOINT.value, RUN.value, PAD_MODE.value, OVERWRITE.value)
    form = made.config.model
    kind = f"{'bidirectional' if form.bidirectional else 'unidirectional'} {form.cell}"
    print(
        f"{form.layers} layers of {form.units} units, {kind}; {made.model.count_params():,} numbers; "
        f"{made.alphabet.size} characters: {made.alphabet.characters}"
    )
    print(f"Next: tfvoice_transcribe --run={RUN.value} FILE")
