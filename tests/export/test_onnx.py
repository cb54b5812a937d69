"""ONNX Runtime gives the log probabilities of the network."""

import numpy as np
import pytest
from samples import recognizer

pytest.importorskip("tf2onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")

import onnx as onnx_

from tfvoice import checkpoints, ctc
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.transcribe import Transcriber
from tfvoice.audio import io as audio_io
from tfvoice.errors import TfvoiceError
from tfvoice.export import export, onnx

WAVENET = ("model.width=8", "model.kernel_size=5", "model.stacks=1")
DEEPSPEECH2 = ("model.units=8", "model.layers=2", "model.convolution_channels=4")
RUNS = {
    "wavenet_asr": ("wavenet_asr", (*WAVENET, "model.dilations=[1,2,4]", "features.bins=20")),
    "self-conditioned, mfcc": (
        "wavenet_asr",
        (*WAVENET, "model.dilations=[1,2]", "model.intermediate=[1]", "features.kind=mfcc", "model.stride=3"),
    ),
    "reflected, corpus statistics": (
        "wavenet_asr",
        (
            *(*WAVENET, "model.dilations=[3]", "features.normalization=corpus"),
            *("features.pad_mode=reflect", "features.fft_size=400"),
        ),
    ),
    "lstm": ("deepspeech2", DEEPSPEECH2),
    "gru, unidirectional": (
        "deepspeech2",
        (
            *(*DEEPSPEECH2, "model.cell=gru", "features.normalization=utterance_scalar"),
            *("model.bidirectional=false", "model.lookahead=3"),
        ),
    ),
    "rnn": ("deepspeech2", (*DEEPSPEECH2, "model.cell=rnn", "model.padded_convolutions=false")),
}


@pytest.mark.parametrize(("model", "overrides"), RUNS.values(), ids=RUNS)
def test_log_probabilities_are_those_of_the_run_in_any_batch(model, overrides, clips, tmp_path):
    run = recognizer(tmp_path / "run", model, overrides)
    checkpoints.save(run.checkpoint("best"), {"weights": run.model.weights}, {})
    folder = export.export(run.run_dir, tmp_path / "1", format="onnx")
    assert sorted(path.name for path in folder.iterdir()) == ["model.onnx", "model_card.md", "tfvoice.json"]
    data = (folder / onnx.FILE).read_bytes()
    onnx_.checker.check_model(onnx_.load_from_string(data))
    transcriber = Transcriber(Recognizer.load(run.run_dir))
    paths = sorted(clips.rglob("*.opus"))[:3]
    recordings = [audio_io.read(path, 16000) for path in paths]
    lengths = np.array([*map(len, recordings), 0, 1, 100], np.int32)
    batch = np.full([len(lengths), max(lengths)], 0.7, np.float32)
    for row, samples in enumerate(recordings):
        batch[row, : len(samples)] = samples
    found = onnx.log_probabilities(data, batch, lengths)
    for row, path in enumerate(paths):
        expected = transcriber.log_probabilities(str(path))
        assert found["frames"][row] == len(expected)
        values = found["log_probs"][row, : len(expected)]
        np.testing.assert_allclose(values, expected, atol=2e-3)
        assert ctc.best_path(values)[0] == ctc.best_path(expected)[0]
    assert np.isfinite(found["log_probs"]).all()


def test_a_converted_model_that_differs_is_not_written(words_run, tmp_path, monkeypatch):
    right = onnx.log_probabilities

    def wrong(*arguments):
        outputs = right(*arguments)
        return outputs | {"log_probs": outputs["log_probs"] + 0.1}

    monkeypatch.setattr(onnx, "log_probabilities", wrong)
    with pytest.raises(TfvoiceError, match=r"model.onnx differs from the network by .* and was not written"):
        export.export(words_run.run_dir, tmp_path / "1", format="onnx")
    assert not list(tmp_path.iterdir())


def test_without_the_extra_the_error_names_it(words_run, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TfvoiceError, match=r"--format=onnx needs tf2onnx; .* pip install 'tfvoice\[onnx\]'"):
        export.export(words_run.run_dir, tmp_path / "1", format="onnx")


def test_a_generator_has_no_form(generator_run, tmp_path):
    with pytest.raises(TfvoiceError, match=r"--format=onnx: sample_rnn, the model of .*, has no such form"):
        export.export(generator_run.run_dir, tmp_path / "1", format="onnx")
