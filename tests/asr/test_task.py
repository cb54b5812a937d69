"""The validation of a recogniser and its summaries in TensorBoard; what the task says about a run."""

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tfvoice import tasks
from tfvoice.asr import scoring
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.scoring import ScoredUtterance
from tfvoice.asr.task import RECOGNITION, RecognizerTraining, ValidationExample

SMALL = ("model.width=8", "model.kernel_size=3", "model.dilations=[1]", "model.stacks=1", "features.bins=20")
RESULTS = [
    ScoredUtterance(f"u{number}", "p1", 1.0, f"reference {number}", f"hypothesis {number}", 3.0) for number in range(10)
]


@pytest.fixture(scope="module")
def training(tmp_path_factory, converted):
    folder = tmp_path_factory.mktemp("runs") / "run"
    return RecognizerTraining(Recognizer.create(folder, tasks.resolve("wavenet_asr", overrides=SMALL)), converted)


def test_a_validation_has_the_rates_of_the_split(training, monkeypatch):
    found = training.validate()
    assert found.score == pytest.approx(found.rates["cer"], abs=1e-5) and set(found.rates) == {"wer", "cer"}
    monkeypatch.setattr(scoring, "score", lambda _: scoring.Score(0.5, 0.25, 3.0))
    found = training.validate()
    assert found[:4] == (0.25, 3.0, {"wer": 0.5, "cer": 0.25}, "WER  50.0%  CER  25.0%")


def test_transcripts_alignment_and_audio_are_logged(training, monkeypatch, tmp_path):
    monkeypatch.setattr(training._evaluator, "evaluate", lambda: RESULTS)
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
    assert b"- reference 9\n- **hypothesis 9**" in text and text.count(b"reference") == 8
    _, _, png = tags["alignment"]
    picture = tf.io.decode_png(png).numpy()
    assert picture.shape[0] == 480 and len(np.unique(picture)) > 50
    samples, rate = tf.audio.decode_wav(tags["audio"][0])
    there = training.valid_data.index.samples
    assert int(rate) == 16000 and len(samples) == there[there <= 5 * 16000].max(), "the longest that can be plotted"


def test_without_a_short_utterance_the_shortest_is_plotted(training):
    index = training.train_data.index
    longer = type(index)(**{**vars(index), "samples": index.samples + 80_000})
    example = ValidationExample(training._example._run, longer)
    assert len(example.audio) == index.samples.min()
    assert example.plot(0).shape == (480, 900, 3)


def test_the_results_of_a_report_fit_in_a_line():
    rate = {"rate": 0.25, "interval_95": [0.2, 0.3]}
    report = {"wer": rate, "cer": rate, "scored": 7, "total": 8, "decoder": "greedy"}
    line = "WER 25.0 % [20.0, 30.0]; CER 25.0 % [20.0, 30.0]; 7 of 8 utterances scored, greedy"
    assert RECOGNITION.format_result(report) == line
    assert RECOGNITION.format_result({"bits_per_sample": 4.0}) == ""
