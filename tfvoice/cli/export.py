"""Exports a trained model: as a SavedModel, which any TensorFlow server loads, for TFLite, or for ONNX Runtime.

  tfvoice_export --run=runs/english --output=models/english/1

A SavedModel holds everything: a recogniser takes WAV files or samples and gives text with word times; a generator
takes a seed and gives audio; a G2P model takes words and gives phonemes; a voice takes phonemes and gives speech, and
beside it lies the voice itself, which takes text. model_card.md describes the model to its users, tfvoice.json to a
server. Serve it with tfvoice_serve (recognisers and voices) or TensorFlow Serving. Its signatures:

  saved_model_cli show --dir=models/english/1 --tag_set=serve --signature_def=serving_default
"""

from tfvoice import storage
from tfvoice.cli.command import load_tensorflow
from tfvoice.cli.flags import Flags

FLAGS = Flags()
RUN = FLAGS.string("run", "Folder or URL of a run of tfvoice_train.", metavar="DIR", required=True, url=True)
OUTPUT = FLAGS.string(
    "output",
    "Folder or URL of the exported model; for a server its last part must be a version number.",
    metavar="DIR",
    required=True,
    url=True,
)
CHECKPOINT = FLAGS.choice(
    "checkpoint",
    ["best", "last"],
    "Which weights; best are those of the lowest CER, bits per sample or WER on valid.",
    "best",
)
FORMAT = FLAGS.choice(
    "format",
    ["saved_model", "tflite", "onnx"],
    "tflite exports wavenet_asr for phones and small boards: samples to log probabilities, with 16-bit weights and, "
    "after pip install 'tfvoice[tflite]', 8-bit weights as well. onnx exports a recogniser for ONNX Runtime: batches "
    "of samples to log probabilities; it needs pip install 'tfvoice[onnx]'.",
    "saved_model",
)
OVERWRITE = FLAGS.boolean("overwrite", "Replace an exported model in --output.")


def main(_: list[str]) -> None:
    """Calls `export.export`."""
    load_tensorflow()
    from tfvoice.export import export

    path = export.export(RUN.value, OUTPUT.value, CHECKPOINT.value, OVERWRITE.value, FORMAT.value)
    sizes = storage.sizes(path)
    print(f"{path}: {sum(sizes.values()) / 2**20:.1f} MiB; see {path}/model_card.md")
    if FORMAT.value == "tflite" and "model_int8.tflite" not in sizes:
        print("For 8-bit weights as well: pip install 'tfvoice[tflite]'")
