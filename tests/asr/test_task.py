"""What a validation of a recogniser finds, and what it shows of it in TensorBoard."""

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfvoice import experiment
from tfvoice.asr import evaluate
from tfvoice.asr.evaluate import Reading
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.task import Recognition, Sample

SMALL = ("model.width=8", "model.kernel_size=3", "model.dilations=[1]", "model.stacks=1", "features.bins=20")
READINGS = [Reading(f"u{number}", "p1", 1.0, f"said {number}", f"read {number}", 3.0) for number in range(10)]


@pytest.fixture(scope="module")
def training(tmp_path_factory, converted):
    folder = tmp_path_factory.mktemp("runs") / "run"
    return Recognition(Recognizer.create(folder, experiment.resolve("wavenet_asr", overrides=SMALL)), converted)


def test_a_validation_has_the_rates_of_the_split(training, monkeypatch):
    found = training.validate()
    assert found.score == pytest.approx(found.rates["cer"], abs=1e-5) and set(found.rates) == {"wer", "cer"}
    monkeypatch.setattr(evaluate, "score", lambda _: evaluate.Score(0.5, 0.25, 3.0))
    found = training.validate()
    assert found[:4] == (0.25, 3.0, {"wer": 0.5, "cer": 0.25}, "WER  50.0%  CER  25.0%")


def test_tensorboard_gets_transcripts_the_alignment_and_the_audio(training, monkeypatch, tmp_path):
    monkeypatch.setattr(training._reader, "read", lambda: READINGS)
    with tf.summary.create_file_writer(str(tmp_path)).as_default(1):
        training.validate().summaries(1)
    found = EventAccumulator(str(tmp_path), {"tensors": 0})
    found.Reload()
    tags = {
        tag.removeprefix("valid/"): found.Tensors(tag)[0].tensor_proto.string_val for tag in found.Tags()["tensors"]
    }
    assert set(tags) == {"transcripts", "alignment", "audio"}
    assert found.SummaryMetadata("valid/alignment").plugin_data.plugin_name == "images"
    (text,) = tags["transcripts"]
    assert b"- said 9\n- **read 9**" in text and text.count(b"said") == 8
    _, _, png = tags["alignment"]
    picture = tf.io.decode_png(png).numpy()
    assert picture.shape[0] == 480 and len(np.unique(picture)) > 50
    samples, rate = tf.audio.decode_wav(tags["audio"][0])
    there = training.valid_data.index.samples
    assert int(rate) == 16000 and len(samples) == there[there <= 5 * 16000].max(), "the longest that can be drawn"


def test_recordings_that_are_too_long_to_draw_give_way_to_the_shortest(training):
    index = training.train_data.index
    longer = type(index)(**{**vars(index), "samples": index.samples + 80_000})
    sample = Sample(training._sample._experiment, longer)
    assert len(sample.audio) == index.samples.min()
    assert sample.picture(0).shape == (480, 900, 3)
