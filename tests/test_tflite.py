"""TFLite's interpreter reads what the network reads."""

import numpy as np
import pytest

from tfvoice import ctc, exporting, tflite
from tfvoice.audio import io as audio_io
from tfvoice.errors import TfvoiceError
from tfvoice.recognizer import Recognizer
from tfvoice.transcription import Transcriber


@pytest.fixture(scope="module")
def models(exported, tmp_path_factory):
    """The run, and the folder of its TFLite models."""
    run, _ = exported
    return run, exporting.export(run.run_dir, tmp_path_factory.mktemp("models") / "1", kind="tflite")


@pytest.mark.parametrize("name, apart", [("float16", 0.02), ("int8", 0.2)])
def test_probabilities_are_those_of_the_run_at_any_length(models, clips, name, apart):
    run, folder = models
    model = (folder / f"model_{name}.tflite").read_bytes()
    transcriber = Transcriber(Recognizer.load(run.run_dir))
    for path in sorted(clips.rglob("*.opus"))[:4]:
        wanted = transcriber.log_probabilities(str(path))
        found = tflite.log_probabilities(model, audio_io.read(path, 16000))
        assert found.shape == wanted.shape
        assert np.abs(np.exp(found) - np.exp(wanted)).max() < apart
        if name == "float16":
            sure = np.sort(np.exp(wanted), axis=1)[:, -1] - np.sort(np.exp(wanted), axis=1)[:, -2] > apart
            assert (found.argmax(axis=1) == wanted.argmax(axis=1))[sure].all()
            assert len(ctc.best_path(found)[0])


def test_the_folder_tells_what_to_do_with_the_classes(models):
    assert sorted(path.name for path in models[1].iterdir()) == [
        "model_card.md",
        "model_float16.tflite",
        "model_int8.tflite",
        "tfvoice.json",
    ]


def test_what_reads_otherwise_is_not_written(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(tflite, "log_probabilities", lambda model, samples: np.zeros([1, 1]))
    with pytest.raises(TfvoiceError, match=r"in float16 differs from the network by .* and was not written"):
        exporting.export(exported[0].run_dir, tmp_path / "1", kind="tflite")
    assert not list(tmp_path.iterdir())
