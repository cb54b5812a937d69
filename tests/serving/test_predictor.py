"""Exported models in use."""

import json

import numpy as np
import pytest

from tfvoice import experiment
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.transcribe import Transcriber
from tfvoice.errors import TfvoiceError
from tfvoice.export import export
from tfvoice.serving.predictor import Served, newest
from tfvoice.training import checkpoints


def test_a_batch_reads_as_each_recording_does(exported, float_wav):
    run, folder = exported
    served, transcriber = Served(folder), Transcriber(Recognizer.load(run.run_dir))
    assert (served.name, served.version, served.sample_rate_hz, served.streams) == ("english", 2, 16000, False)
    random = np.random.default_rng(0)
    waves = [random.normal(0, 0.1, count).astype(np.float32) for count in (16000, 5000, 31000, 0)]
    found = served.read(waves)
    for wave, one in zip(waves[:3], found, strict=False):
        wanted = transcriber.log_probabilities(float_wav(wave))
        assert len(wanted) and one.seconds == len(wave) / 16000
        assert one.text == transcriber.transcribe(float_wav(wave)).text
        assert one.text == " ".join(word.text for word in one.words) and one.text
    assert found[3].text == "" and found[3].words == [] and found[3].confidence is None


def test_lengths_are_powers_of_two_of_seconds(exported):
    served = Served(exported[1])
    assert [served.bucket(count) for count in (0, 1, 16000, 16001, 32001, 65000)] == [
        16000 * seconds for seconds in (1, 1, 1, 1.5, 3, 6)
    ]
    served.warm_up(2, 1.5)


def test_the_highest_version_is_taken(exported, tmp_path):
    folder = exported[1]
    assert newest(folder) == folder / "2" and newest(folder / "2") == folder / "2"
    with pytest.raises(TfvoiceError, match=r"holds no exported model; make one with tfvoice_export"):
        newest(tmp_path)


def test_what_is_no_recogniser_is_told(exported, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(TfvoiceError, match=r"has no tfvoice.json, so tfvoice_export did not write it"):
        Served(tmp_path)
    (tmp_path / "tfvoice.json").write_text(json.dumps({"task": "generation"}))
    with pytest.raises(TfvoiceError, match="generates audio and does not read it"):
        Served(tmp_path)
    for text in ("3", "[1]", "{"):
        (tmp_path / "tfvoice.json").write_text(text)
        with pytest.raises(TfvoiceError, match=r"has no tfvoice.json, so tfvoice_export did not write it"):
            Served(tmp_path)
    for known in ({"sample_rate_hz": None, "max_seconds": 1}, {}, {"sample_rate_hz": 16000, "max_seconds": 1}):
        (tmp_path / "tfvoice.json").write_text(json.dumps({"task": "recognition"} | known))
        with pytest.raises(TfvoiceError, match="the model does not load, it is damaged; export the run again"):
            Served(tmp_path)


def test_speech_is_followed(tmp_path):
    small = ("model.units=12", "model.layers=2", "model.convolution_channels=3", "model.bidirectional=false")
    settings = experiment.resolve(
        "deepspeech2", overrides=[*small, "model.lookahead=4", "features.normalization=none", "features.kind=log_mel"]
    )
    run = Recognizer.create(tmp_path / "live", settings)
    for number, weight in enumerate(run.model.trainable_variables):
        weight.assign(0.5 * np.random.default_rng(number).standard_normal(weight.shape))
    checkpoints.save(run.checkpoint("best"), {"weights": run.model.weights}, {})
    served = Served(export.export(run.run_dir, tmp_path / "models" / "1"))
    assert served.streams
    wave = np.random.default_rng(5).normal(0, 0.2, 24000).astype(np.float32)
    following = served.follow()
    parts = [following.step(part, final) for part, final in ((wave[:9000], False), (wave[9000:], True))]
    assert "".join(parts) == served.follow().step(wave, True) and "".join(parts)
