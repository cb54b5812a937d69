"""Laws of words to phonemes: spelling, order, batches."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice.tts.g2p import data as data_
from tfvoice.tts.g2p import predict
from tfvoice.tts.g2p import search as search_
from tfvoice.tts.g2p.predict import G2pPredictor


@pytest.fixture(scope="module")
def predictor(g2p_run):
    return G2pPredictor(g2p_run)


def test_the_result_is_that_of_the_search(g2p_run, predictor):
    for word in ("abc", "e", "deadbee"):
        ids = np.array([["abcde".index(letter) for letter in word]], np.int32)
        best = search_.search(g2p_run.model, ids, np.array([ids.shape[1]], np.int32), 5)
        assert predictor.pronounce([word]) == [data_.decode(g2p_run.inventory, best.classes[0, 0].numpy())]


def test_words_keep_their_order_and_are_pronounced_as_if_alone(predictor, monkeypatch):
    words = ["bad", "a", "decade", "", "cab", "a", "abba", "?"]
    alone = [predictor.pronounce([word])[0] for word in words]
    assert predictor.pronounce(words) == alone and alone[1] == alone[5]
    monkeypatch.setattr(predict, "_BATCH", 3)
    assert predictor.pronounce(words) == alone
    assert predictor.pronounce([]) == []


def test_case_accents_and_unknown_characters(g2p_run, predictor):
    plain = predictor.pronounce(["abcde"])
    for word in ("ABCDE", "àbçdé", "a-b.c d!e", "ábcdе́e".replace("е", ""), "a!bcde"):
        assert predictor.pronounce([word]) == plain, word
    # A word of which letters would be dropped is not pronounced.
    assert predictor.pronounce(["", "xyz", "日本", "abcx", "ab日"]) == [()] * 5
    assert predictor.pronounce(["a\U0001f600bcde"]) == [()]
    assert predictor.pronounce(["a" * (predict.LONGEST + 1), "a" * 100_000]) == [(), ()]


def test_the_spelling_table_prefers_the_letter_itself():
    table = predict.spelling_table("aäé")
    assert [table[ord(letter)] for letter in "aäAÄéÉÅ"] == [0, 1, 0, 1, 2, 2, 0]
    assert (table[ord("b")], table[ord("-")], table[0x301]) == (-2, -1, -1) and len(table) < 0x2000


def test_other_weights_have_effect(g2p_run, predictor):
    bias = g2p_run.model.output_layer.bias
    kept = np.array(bias)
    try:
        bias.assign(np.where(np.arange(len(kept)) == 2, 50.0, 0.0))
        after = predictor.pronounce(["abcde"])
    finally:
        bias.assign(kept)
    assert set(after[0]) == {g2p_run.inventory.symbols[1]} and predictor.pronounce(["abcde"]) != after


def test_log_probabilities_belong_to_the_phonemes(g2p_run):
    phonemes, scores = predict.words_to_phonemes(g2p_run, tf.constant(["abc", "?"]), 2)
    classes = data_.encode(g2p_run.inventory, phonemes.numpy()[0].decode().split())
    logits = g2p_run.model(*(np.array(one, np.int32) for one in ([[0, 1, 2]], [3], [classes], [len(classes)])))
    taken = tf.gather(tf.nn.log_softmax(logits)[0], [*classes, 0], batch_dims=1)
    assert float(scores[0]) == pytest.approx(float(tf.reduce_sum(taken)), abs=1e-4)
    assert phonemes.numpy()[1] == b""
