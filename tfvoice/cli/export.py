"""Writes a trained model as a SavedModel, which any TensorFlow server loads.

  tfvoice_export --run=runs/english --output=models/english/1

Audio goes in, as WAV files or as samples, and text with times comes out; or a seed goes in and audio comes out. All of
it is in the graph. Beside it lie model_card.md for people and tfvoice.json for servers; tfvoice_serve serves it, and so
does TensorFlow Serving. What goes in and comes out:

  saved_model_cli show --dir=models/english/1 --tag_set=serve --signature_def=serving_default
"""

from tfvoice.cli.flags import Flags, load_tensorflow

FLAGS = Flags()
RUN = FLAGS.string("run", "Folder of a run of tfvoice_train.", shape="DIR", required=True)
OUTPUT = FLAGS.string(
    "output", "Folder for the model; servers want its last part to be a version, a number.", shape="DIR", required=True
)
CHECKPOINT = FLAGS.choice("checkpoint", ["best", "last"], "Which weights; best is by CER or bits on valid.", "best")
FORMAT = FLAGS.choice(
    "format",
    ["saved_model", "tflite"],
    "tflite is for wavenet_asr on telephones and small boards: samples to log probabilities, weights of 16 bits, and, "
    "with pip install 'tfvoice[tflite]', of 8.",
    "saved_model",
)
OVERWRITE = FLAGS.boolean("overwrite", "Replace a model that is there.")


def main(_: list[str]) -> None:
    """Calls `exporting.export`."""
    load_tensorflow()
    from tfvoice.export import export

    path = export.export(RUN.value, OUTPUT.value, CHECKPOINT.value, OVERWRITE.value, FORMAT.value)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    print(f"{path}: {size / 2**20:.1f} MiB; see {path}/model_card.md")
    if FORMAT.value == "tflite" and not (path / "model_int8.tflite").is_file():
        print("For weights of 8 bits as well: pip install 'tfvoice[tflite]'")
