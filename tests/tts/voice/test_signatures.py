"""An exported voice speaks, with the logits of the network; beside it lies the voice for servers with tfvoice."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.audio import quantize
from tfvoice.errors import TfvoiceError
from tfvoice.export import export
from tfvoice.tts.duration_f0 import prosody
from tfvoice.tts.vocoder import conditioning, synthesis
from tfvoice.tts.voice import signatures
from tfvoice.tts.voice.run import VoiceRun
from tfvoice.tts.voice.speaker import Speaker, SpeechOptions

OPTIONS = SpeechOptions(speed=2.0, pitch=2.0, temperature=0.75, seed=5)


@pytest.fixture(scope="module")
def exported(voice_run, tmp_path_factory):
    """The folder of an export."""
    return export.export(voice_run.run_dir, tmp_path_factory.mktemp("models") / "noise" / "1")


@pytest.fixture(scope="module")
def loaded(exported):
    return tf.saved_model.load(str(exported)).signatures


@pytest.fixture(scope="module")
def planned(voice_run):
    return Speaker(voice_run, threads=1).plan("A cat.", OPTIONS)


def inputs(voice_run, planned, **changed):
    classes, stresses = prosody.symbol_classes(planned.alignment.phonemes, voice_run.vocoder.bases)
    scalars = {"speed": OPTIONS.speed, "pitch": OPTIONS.pitch, "temperature": OPTIONS.temperature}
    values = {name: tf.constant(value, tf.float32) for name, value in scalars.items()}
    values |= {"phonemes": tf.constant(classes), "stresses": tf.constant(stresses), "seed": tf.constant(OPTIONS.seed)}
    return values | changed


def test_the_export_speaks_as_the_network_says(voice_run, loaded, planned):
    found = loaded["speak"](**inputs(voice_run, planned))
    np.testing.assert_array_equal(found["ends"], planned.alignment.ends)
    np.testing.assert_allclose(found["f0_hz"], planned.alignment.f0_hz, rtol=1e-5)
    waveform, run = found["waveform"].numpy(), voice_run.vocoder
    assert waveform.shape == (planned.alignment.ends[-1],) and len(np.unique(waveform)) > 20
    # Each sample is the one that the logits of the whole sequence and the random number choose.
    drawn, lead, silence = quantize.encode(run.config.quantization, waveform).numpy(), run.sizes.lead, run.sizes.silence
    levels = np.concatenate([np.full(2 + 64 * lead, run.config.quantization.silence), drawn]).astype(np.int32)
    frames = conditioning.frames(planned.alignment, run.bases, run.statistics, silence)
    rows = (frames.phonemes.astype(np.int32), frames.stresses.astype(np.int32), frames.f0)
    count = tf.constant([len(frames.f0)])
    biases = run.model.condition(*(tf.constant(values[np.newaxis]) for values in rows), count)
    logits = run.model(levels[np.newaxis], biases[:, silence - lead :])[0].numpy().astype(np.float64) / 0.75
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))[64 * lead :]
    cumulative = np.pad(np.cumsum(shares / shares.sum(axis=1, keepdims=True), axis=1), [(0, 0), (1, 0)])
    noise, rows = synthesis.uniform_noise(OPTIONS.seed, 64 * silence, 64 * len(frames.f0)), np.arange(len(drawn))
    assert (cumulative[rows, drawn] - 1e-4 <= noise).all() and (noise <= cumulative[rows, drawn + 1] + 1e-4).all()


def test_the_parts_have_their_signatures(voice_run, loaded, planned):
    assert {"serving_default", "speak", "predict", "logits"} <= set(loaded)
    found = loaded["predict"](phonemes=tf.constant([" ".join(planned.alignment.phonemes)]))
    assert found["seconds"].shape == (1, len(planned.alignment.phonemes)) and found["lengths"].numpy().tolist() == [6]
    random, run = np.random.default_rng(0), voice_run.vocoder
    levels = tf.constant(random.integers(0, 256, (1, 2 + 3 * 64)), tf.int32)
    phonemes, stresses = tf.constant(random.integers(0, 9, (1, 3, 5)), tf.int32), tf.zeros([1, 3, 5], tf.int32)
    f0 = tf.zeros([1, 3, 2])
    logits = loaded["logits"](levels=levels, phonemes=phonemes, stresses=stresses, f0=f0)["logits"]
    biases = run.model.condition(phonemes, stresses, f0, tf.constant([3]))
    np.testing.assert_allclose(logits, run.model(levels, biases), atol=1e-5)


INVALID = {
    "no phonemes": ({"phonemes": tf.zeros([0], tf.int32)}, "must begin and end with sil"),
    "no silence at the end": ({"phonemes": tf.constant([0, 3, 3, 3, 3, 3])}, "must begin and end with sil"),
    "other stresses": ({"stresses": tf.zeros([2], tf.int32)}, "stresses be as many"),
    "too slow": ({"speed": tf.constant(0.1)}, "speed must be 0.25 to 4"),
    "NaN": ({"temperature": tf.constant(np.nan, tf.float32)}, "temperature above 0"),
}


@pytest.mark.parametrize(("changed", "sentence"), INVALID.values(), ids=INVALID)
def test_inputs_that_cannot_be_spoken_get_a_sentence(voice_run, loaded, planned, changed, sentence):
    with pytest.raises(tf.errors.InvalidArgumentError, match=sentence):
        loaded["speak"](**inputs(voice_run, planned, **changed))


def test_the_export_has_the_voice_and_its_description(exported):
    known = json.loads((exported / "tfvoice.json").read_text())
    assert (known["model"], known["task"], known["sample_rate_hz"]) == ("deep_voice", "voice", 16000)
    assert known["phonemes"][0] == "sil" and "Speaks texts" in (exported / "model_card.md").read_text()
    voice = VoiceRun.load(exported / "assets.extra" / "voice")
    assert Speaker(voice, threads=1).plan("A cat.").alignment.phonemes == ["sil", "AH0", "K", "AE1", "T", "sil"]


def test_parts_of_other_phonemes_are_refused(voice_run, monkeypatch):
    monkeypatch.setattr(voice_run.vocoder, "labels", ["sil", "A"])
    with pytest.raises(TfvoiceError, match="its parts know other phonemes"):
        signatures.signatures(voice_run)
