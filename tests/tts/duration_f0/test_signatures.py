"""The exported model of duration and F0 gives what Python gives."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.export import export
from tfvoice.tts.duration_f0.predict import ProsodyPredictor

UTTERANCES = ["sil M AA1 sil", "", "  T IY0  sil AA2 S ", "S"]


@pytest.fixture(scope="module")
def model(duration_f0_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "1"
    export.export(duration_f0_run.run_dir, folder)
    return folder, tf.saved_model.load(str(folder))


def test_it_gives_what_python_gives(model, duration_f0_run):
    exported = model[1].signatures["serving_default"](phonemes=tf.constant(UTTERANCES))
    expected = ProsodyPredictor(duration_f0_run).predict([text.split() for text in UTTERANCES])
    assert exported["lengths"].numpy().tolist() == [4, 0, 5, 1]
    for row, prosody in enumerate(expected):
        for name, values in prosody._asdict().items():
            np.testing.assert_allclose(exported[name][row, : len(values)], values, rtol=1e-4, atol=1e-5)
            assert not exported[name][row, len(values) :].numpy().any()


def test_an_empty_batch_and_empty_rows(model):
    for texts, shape in (([], (0, 1)), ([""], (1, 1))):
        found = model[1].signatures["predict"](phonemes=tf.constant(texts, tf.string))
        assert found["seconds"].shape == shape and not found["seconds"].numpy().any()


def test_unknown_phonemes_are_refused(model):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"these phonemes are unknown to the model.*ZH1"):
        model[1].signatures["predict"](phonemes=tf.constant(["sil M ZH1"]))


def test_a_card_and_a_description_are_beside_it(model):
    card = (model[0] / "model_card.md").read_text()
    assert "how long each phoneme of an utterance is" in card and "| F0 values of a phoneme | 5 |" in card
    assert '"f0_values": 5' in (model[0] / "tfvoice.json").read_text()
