"""The walk of docs/walk.md: from a wav to its text, step by step, in the pipeline, and with the commands."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfvoice import ctc, tasks
from tfvoice.asr import decoders, metrics, scoring
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.transcribe import Transcriber
from tfvoice.audio import features, io
from tfvoice.cli import eval, train, transcribe
from tfvoice.data import records

BIN = Path(__file__).parent.parent / "bin"
SMALL = ("model.width=8", "model.kernel_size=3", "model.dilations=[1,2]", "model.stacks=1", "features.bins=20")
TRAINING = ("training.epochs=2", "training.batch_size=4", "training.xla=off")


@pytest.fixture(scope="module")
def run(tmp_path_factory, random_words):
    """A run with random weights whose transcripts are not empty."""
    settings = tasks.resolve("wavenet_asr", overrides=SMALL)
    run = Recognizer.create(tmp_path_factory.mktemp("runs") / "run", settings)
    random_words(run.model)
    return run


def test_a_clip_has_the_same_transcript_step_by_step_in_the_pipeline_and_as_a_recording(run, clips, converted):
    scanned = run.scan(converted, "train")
    number = int(np.argmax(scanned.samples))
    name, text = scanned.ids[number], scanned.texts[number]
    path = clips / "wav48" / "p900" / f"{Path(name).name}.opus"

    # Step by step: file, record, features and labels, logits, loss and text.
    samples = io.read(str(path), 16000)
    record = records.encode(name, "p900", text, samples, 16000)
    assert record == scanned.read([number])[0]
    audio = records.decode(record)["audio"][tf.newaxis]
    np.testing.assert_allclose(audio[0], samples, atol=1 / 32768)
    inputs = features.compute(run.config.features, audio, tf.constant([audio.shape[1]]))
    labels = run.alphabet.encode(run.alphabet.normalise(text))
    logits = run.model(inputs.values, inputs.lengths)
    loss = float(ctc.loss(logits, tf.constant([labels]), tf.constant([len(labels)]))[0])
    hypothesis = " ".join(run.alphabet.decode(ctc.greedy(logits).ids.to_list()[0]).split())
    assert len(hypothesis.split()) > 1

    # In the tf.data pipeline, in a padded batch.
    decode = decoders.build(decoders.DecoderConfig(), run.alphabet).labels
    evaluator = scoring.Evaluator(run.network, run.pipeline(scanned), run.alphabet, decode)
    (result,) = (result for result in evaluator.evaluate() if result.id == name)
    assert result.hypothesis == hypothesis
    assert result.loss == pytest.approx(loss, rel=1e-4)
    assert result.reference == run.alphabet.normalise(text)
    assert metrics.rate([metrics.character_errors(result.reference, hypothesis)]) > 0

    # As a recording that was not converted: its samples are not rounded to 16 bits.
    log_probabilities = Transcriber(run).log_probabilities(str(path))
    np.testing.assert_allclose(log_probabilities, tf.nn.log_softmax(logits.values)[0], atol=0.05)


def test_four_commands_lead_from_a_corpus_to_a_transcript(clips, tmp_path):
    def command(name, *arguments):
        done = subprocess.run(
            [sys.executable, BIN / f"tfvoice_{name}", *arguments],
            capture_output=True, text=True, cwd=tmp_path, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    command("convert", "--corpus=vctk", f"--input={clips}", "--output=records", "--split=60/20/20", "--split_by=text")
    settings = [f"--set={override}" for override in (*SMALL, *TRAINING)]
    out = command("train", "--model=wavenet_asr", "--data=records", "--run=run", *settings)
    assert len(re.findall(r"^epoch +\d", out, re.MULTILINE)) == 2
    out = command("eval", "--run=run", "--split=test")
    report = json.loads((tmp_path / "run" / "report" / "eval-test.json").read_text())
    assert f"{report['wer']['rate']:.2%}" in out and f"{report['cer']['rate']:.2%}" in out
    out = command("transcribe", "--run=run", "--format=json", str(next((clips / "wav48" / "p900").iterdir())))
    assert json.loads(out)["seconds"] > 0


def test_the_same_commands_train_the_other_recogniser(in_process, clips, converted, tmp_path):
    def command(module, *arguments):
        status, out, err = in_process(module.main, f"tfvoice_{module.__name__.rpartition('.')[2]}", *arguments)
        assert status == 0, err
        return out

    run, small = f"--run={tmp_path / 'run'}", ("model.units=8", "model.layers=2", "model.convolution_channels=4")
    settings = [f"--set={override}" for override in (*small, *TRAINING)]
    command(train, "--model=deepspeech2", f"--data={converted}", run, *settings)
    assert "WER " in command(eval, run, "--split=test")
    out = command(transcribe, run, "--format=json", next((clips / "wav48" / "p900").iterdir()))
    assert json.loads(out)["seconds"] > 0
