"""Laws of choosing a decoder and of the weights that a run keeps for it."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice import ctc
from tfvoice.asr import decoders
from tfvoice.asr.decoders import DecoderConfig
from tfvoice.cli import decoder_flags
from tfvoice.errors import TfvoiceError
from tfvoice.lengths import Sequence
from tfvoice.text.alphabet import Alphabet, AlphabetConfig

ALPHABET = Alphabet(AlphabetConfig(characters=" ab"))


def test_the_commands_know_all_decoders():
    assert decoder_flags.DECODERS == decoders.DECODERS


@pytest.mark.parametrize("name", ["greedy", "beam"])
def test_greedy_and_beam_are_those_of_ctc(name):
    values = np.random.default_rng(0).standard_normal([2, 20, 4]).astype(np.float32)
    logits = Sequence(tf.constant(values), tf.constant([20, 11]))
    decoder = decoders.build(DecoderConfig(name=name, beam_width=7), ALPHABET)
    expected = ctc.greedy(logits).ids if name == "greedy" else ctc.beam(logits, 7).ids
    assert decoder.labels(logits).to_list() == expected.to_list() and decoder.break_class == 3


def test_options_override_tuned_weights_which_override_the_defaults(tmp_path):
    assert decoders.choose(tmp_path, "lm", lm="a.arpa", lm_weight=None) == DecoderConfig(name="lm", lm="a.arpa")
    tuned = DecoderConfig(name="lm", lm="/b.arpa", lm_weight=0.7, word_score=1.5, beam_width=30)
    assert decoders.save_tuned(tmp_path, tuned) == tmp_path / "decoder.json"
    assert decoders.choose(tmp_path, "lm") == tuned
    assert decoders.choose(tmp_path, "lm", word_score=0.0) == tuned.model_copy(update={"word_score": 0.0})
    assert decoders.choose(tmp_path, "beam") == DecoderConfig(name="beam")


def test_tuned_weights_belong_to_one_language_model_and_search(tmp_path):
    tuned = DecoderConfig(name="lm", lm=str(tmp_path / "b.arpa"), lm_weight=0.7, word_score=1.5, beam_width=30)
    decoders.save_tuned(tmp_path, tuned)
    assert decoders.choose(tmp_path, "lm", lm=str(tmp_path / "." / "b.arpa")).lm_weight == 0.7
    assert decoders.choose(tmp_path, "lm", lm="c.arpa") == DecoderConfig(name="lm", lm="c.arpa")
    assert decoders.choose(tmp_path, "lm", lexicon=False, lm="c") == DecoderConfig(name="lm", lm="c", lexicon=False)
    free = tuned.model_copy(update={"lm_weight": 0.1, "lexicon": False})
    decoders.save_tuned(tmp_path, free)
    assert (decoders.choose(tmp_path, "lm"), decoders.choose(tmp_path, "lm", lexicon=False)) == (tuned, free)


def test_a_decoder_describes_itself():
    assert str(DecoderConfig()) == "greedy" and str(DecoderConfig(name="beam", beam_width=4)) == "beam of 4"
    text = str(DecoderConfig(name="lm", lm="/x/y.arpa", lm_weight=0.25, lexicon=False, hotwords="/z/n.txt"))
    assert text == "lm y.arpa, any word, weight 0.25, word score 0, beam of 100, hotwords n.txt"


def test_errors_name_the_option_and_the_remedy(tmp_path):
    with pytest.raises(TfvoiceError, match=r"^--decoder=fast: there is no such decoder; use one of greedy, beam, lm.$"):
        decoders.choose(tmp_path, "fast")
    with pytest.raises(TfvoiceError, match=r"^--beam_width=0: input should be greater than or equal to 1.$"):
        decoders.choose(tmp_path, "beam", beam_width=0)
    with pytest.raises(TfvoiceError, match=r"^--decoder=lm: needs --lm=FILE"):
        decoders.build(DecoderConfig(name="lm"), ALPHABET)
    with pytest.raises(TfvoiceError, match=r"^--word_score=nan: input should be a finite number.$"):
        decoders.choose(tmp_path, "lm", word_score=float("nan"))
    for content in ("{", "[1]", '{"lexicon": 3}', '{"lexicon": {"lm_weight": -1}}', '{"lexicon": {"beam": 1}}', "3"):
        (tmp_path / "decoder.json").write_text(content)
        with pytest.raises(TfvoiceError, match=r"decoder.json: is damaged .* delete it, or run tfvoice_tune_lm again"):
            decoders.choose(tmp_path, "lm")
