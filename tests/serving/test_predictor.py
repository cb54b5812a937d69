"""Exported models: transcripts as the run's own, and refusal of what does not transcribe."""

import json

import numpy as np
import pytest
import tensorflow as tf
from samples import speech, streaming_export

from tfvoice import storage
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.streaming import StreamingTranscriber
from tfvoice.asr.transcribe import Transcriber
from tfvoice.errors import TfvoiceError
from tfvoice.export import export
from tfvoice.serving.predictor import Predictor, latest_version


@pytest.fixture(scope="module")
def predictor(exported):
    return Predictor(exported[1])


def test_a_batch_gets_the_transcripts_of_its_recordings(predictor, words_run, float_wav):
    transcriber = Transcriber(Recognizer.load(words_run.run_dir))
    assert (predictor.name, predictor.version, predictor.sample_rate_hz, predictor.streams) == (
        "english",
        2,
        16000,
        False,
    )
    random = np.random.default_rng(0)
    waveforms = [random.normal(0, 0.1, count).astype(np.float32) for count in (16000, 5000, 31000, 0)]
    *transcripts, empty = predictor.transcribe(waveforms)
    for waveform, transcript in zip(waveforms[:3], transcripts, strict=True):
        expected = transcriber.transcribe(float_wav(waveform))
        assert transcript.seconds == len(waveform) / 16000
        assert transcript.text == expected.text and len(transcript.words) > 1
        assert [word.text for word in transcript.words] == [word.text for word in expected.words]
        np.testing.assert_allclose(
            [word[1:] for word in transcript.words], [word[1:] for word in expected.words], atol=1e-4
        )
    assert empty.text == "" and empty.words == [] and empty.confidence is None


def test_buckets_are_powers_of_two_and_halfway_between(predictor):
    assert [predictor.bucket(count) for count in (0, 1, 16000, 16001, 32001, 65000)] == [
        16000 * seconds for seconds in (1, 1, 1, 1.5, 3, 6)
    ]


def test_warm_up_covers_every_bucket_alone_and_in_a_full_batch(predictor, monkeypatch):
    shapes = []
    monkeypatch.setattr(predictor, "transcribe", lambda waves: shapes.append((len(waves), len(waves[0]) / 16000)))
    assert predictor.warm_up(4, 2.5) > 0
    assert shapes == [(count, seconds) for count in (1, 4) for seconds in (1, 1.5, 2, 3)]


def test_the_highest_version_is_loaded(exported, tmp_path):
    folder = exported[1]
    assert latest_version(folder) == folder / "2" and latest_version(folder / "2") == folder / "2"
    with pytest.raises(TfvoiceError, match=r"holds no exported model; make one with tfvoice_export"):
        latest_version(tmp_path)


def test_a_model_of_a_store_is_served_from_a_copy(exported, store, monkeypatch):
    for path in exported[1].rglob("*"):
        if path.is_file():
            storage.place(f"{store}/english/{path.relative_to(exported[1])}").upload(path)
    assert str(latest_version(f"{store}/english")) == f"{store}/english/2"
    predictor = Predictor(f"{store}/english")
    assert (predictor.name, predictor.version) == ("english", 2)
    monkeypatch.setattr(type(storage.place(store)), "download", lambda *_: pytest.fail("downloaded again"))
    assert Predictor(f"{store}/english/2").sample_rate_hz == 16000
    storage.write(f"{store}/english/3/saved_model.pb", "")
    storage.write(f"{store}/english/3/.tfvoice-upload", "")
    assert str(latest_version(f"{store}/english")) == f"{store}/english/2"
    with pytest.raises(TfvoiceError, match=rf"^{store}/none: holds no exported model; make one with tfvoice_export"):
        Predictor(f"{store}/none")


def test_name_and_version_are_those_of_the_path(exported, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(exported[1])
    (tmp_path / "²").symlink_to(exported[1] / "1")
    monkeypatch.chdir(exported[1] / "2")
    model = tf.saved_model.load(str(exported[1] / "2"))
    monkeypatch.setattr(tf.saved_model, "load", lambda path: model)
    places = ((".", "english", 2), ("../1", "english", 1), (tmp_path / "link", "link", 2), (tmp_path / "²", "²", 1))
    for path, name, version in places:
        predictor = Predictor(path)
        assert (predictor.name, predictor.version) == (name, version)


def test_a_folder_without_a_readable_description_is_refused(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(TfvoiceError, match=r"has no tfvoice.json, so tfvoice_export did not write it"):
        Predictor(tmp_path)
    for text in ("3", "[1]", "{"):
        (tmp_path / "tfvoice.json").write_text(text)
        with pytest.raises(TfvoiceError, match=r"has no tfvoice.json, so tfvoice_export did not write it"):
            Predictor(tmp_path)


def test_a_damaged_model_is_refused(exported, tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    (tmp_path / "tfvoice.json").write_text(json.dumps({"sample_rate_hz": 16000, "max_seconds": 1}))
    with pytest.raises(TfvoiceError, match="the model does not load, it is damaged; export the run again"):
        Predictor(tmp_path)
    model = exported[1] / "2"
    for name in ("saved_model.pb", "variables"):
        (tmp_path / name).unlink(missing_ok=True)
        (tmp_path / name).symlink_to(model / name)
    for description in ({"sample_rate_hz": None, "max_seconds": 1}, {"sample_rate_hz": 16000}, {}):
        (tmp_path / "tfvoice.json").write_text(json.dumps(description))
        with pytest.raises(TfvoiceError, match="the model does not load, it is damaged; export the run again"):
            Predictor(tmp_path)


def test_an_exported_generator_is_refused(generator_run, tmp_path):
    model = export.export(generator_run.run_dir, tmp_path / "piano" / "1")
    with pytest.raises(TfvoiceError, match="piano/1: does not transcribe waveforms; serve it with TensorFlow Serving"):
        Predictor(model)


def test_signatures_decide_and_not_the_name_of_the_task(exported, tmp_path):
    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.float32, "waveform")])
    def louder(waveform):
        return {"waveform": 2 * waveform}

    tf.saved_model.save(module, str(tmp_path), {"waveform": louder})
    description = {"task": "recognition", "sample_rate_hz": 16000, "max_seconds": 1}
    (tmp_path / "tfvoice.json").write_text(json.dumps(description))
    with pytest.raises(TfvoiceError, match="does not transcribe waveforms"):
        Predictor(tmp_path)

    for name in ("saved_model.pb", "variables"):
        (tmp_path / "renamed").mkdir(exist_ok=True)
        (tmp_path / "renamed" / name).symlink_to(exported[1] / "2" / name)
    (tmp_path / "renamed" / "tfvoice.json").write_text(json.dumps(description | {"task": "speech to text"}))
    assert Predictor(tmp_path / "renamed").sample_rate_hz == 16000


def test_a_stream_session_gives_the_text_of_the_run_in_any_chunks(tmp_path):
    run, model = streaming_export(tmp_path)
    predictor = Predictor(model)
    assert predictor.streams
    samples = speech(3)
    expected = " ".join(word.text for word in StreamingTranscriber(run).words([samples]))
    for cuts in ([], [9000], [1000, 1001, 9000]):
        session = predictor.stream()
        chunks = np.split(samples, cuts)
        text = "".join(session.step(chunk, number == len(cuts)) for number, chunk in enumerate(chunks))
        assert len(expected) > 20 and " ".join(text.split()) == expected
