"""TFLite's interpreter gives the probabilities of the network."""

from importlib.util import find_spec

import numpy as np
import pytest

from tfvoice import ctc
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.transcribe import Transcriber
from tfvoice.audio import io as audio_io
from tfvoice.errors import TfvoiceError
from tfvoice.export import export, tflite


@pytest.fixture(scope="module")
def models(words_run, tmp_path_factory):
    """The run, and the folder of its TFLite models."""
    return words_run, export.export(words_run.run_dir, tmp_path_factory.mktemp("models") / "1", format="tflite")


KINDS = [
    ("float16", 0.02),
    pytest.param(
        *("int8", 0.1),
        marks=pytest.mark.skipif(not find_spec("ai_edge_quantizer"), reason="needs the extra tflite"),
    ),
]


@pytest.mark.parametrize(("kind", "apart"), KINDS)
def test_probabilities_are_those_of_the_run_at_any_length(models, clips, kind, apart):
    run, folder = models
    model = (folder / f"model_{kind}.tflite").read_bytes()
    transcriber = Transcriber(Recognizer.load(run.run_dir))
    for path in sorted(clips.rglob("*.opus"))[:4]:
        expected = transcriber.log_probabilities(str(path))
        found = tflite.log_probabilities(model, audio_io.read(path, 16000))
        assert found.shape == expected.shape
        assert np.abs(np.exp(found) - np.exp(expected)).max() < apart
        second, first = np.sort(np.exp(expected), axis=1)[:, -2:].T
        assert (found.argmax(axis=1) == expected.argmax(axis=1))[first - second > 2 * apart].all()
        assert len(ctc.best_path(found)[0])


def test_the_folder_holds_models_metadata_and_card(models):
    sizes = {path.name: path.stat().st_size for path in models[1].iterdir()}
    small = sizes.pop("model_int8.tflite", None)
    assert sorted(sizes) == ["model_card.md", "model_float16.tflite", "tfvoice.json"]
    assert (small is not None) == bool(find_spec("ai_edge_quantizer"))
    assert small is None or small < sizes["model_float16.tflite"]


def test_without_the_extra_only_float16_is_written(words_run, tmp_path, monkeypatch):
    monkeypatch.setattr(tflite.importlib.util, "find_spec", lambda name: None)
    folder = export.export(words_run.run_dir, tmp_path / "1", format="tflite")
    assert [path.name for path in folder.glob("*.tflite")] == ["model_float16.tflite"]


def test_a_converted_model_that_differs_is_not_written(words_run, tmp_path, monkeypatch):
    monkeypatch.setattr(tflite, "log_probabilities", lambda model, samples: np.zeros([1, 1]))
    with pytest.raises(TfvoiceError, match=r"model_float16.tflite differs from the network by .* and was not written"):
        export.export(words_run.run_dir, tmp_path / "1", format="tflite")
    assert not list(tmp_path.iterdir())
