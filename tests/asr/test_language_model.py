"""Laws of decoding with a language model, with models of a few words."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from tfvoice import ctc
from tfvoice.asr import language_model
from tfvoice.asr.language_model import LanguageModel, Search
from tfvoice.asr.lexicon import Hotword
from tfvoice.asr.transcript import Alternative
from tfvoice.errors import TfvoiceError
from tfvoice.lengths import Sequence
from tfvoice.text.alphabet import Alphabet, AlphabetConfig

ALPHABET = Alphabet(AlphabetConfig(characters=" abcd"))
UNIGRAMS = {"ab": -0.5, "ba": -1.0, "CAB": -1.5, "é€": -1.0, "<unk>": -2.0, "<s>": -99, "</s>": -1.0}


def arpa(unigrams=UNIGRAMS, bigrams=None):
    """An ARPA file; the numbers are log10 of probabilities. KenLM wants bigrams; one that is as likely as without."""
    bigrams = bigrams or {"<s> </s>": unigrams["</s>"]}
    lines = ["\\data\\", f"ngram 1={len(unigrams)}", f"ngram 2={len(bigrams)}", "", "\\1-grams:"]
    lines += [f"{value}\t{word}\t0" for word, value in unigrams.items()]
    lines += ["", "\\2-grams:", *(f"{value}\t{words}" for words, value in bigrams.items()), "", "\\end\\", ""]
    return "\n".join(lines)


@pytest.fixture
def model(tmp_path):
    def made(**sections):
        path = tmp_path / "words.arpa"
        path.write_text(arpa(**sections), encoding="utf-8")
        return LanguageModel(path, ALPHABET)

    return made


def emissions(text, sharpness=2.0, seed=0, frames=14):
    """Log probabilities in which the text is likely, but not certain."""
    random = np.random.default_rng(seed)
    logits = random.standard_normal([frames, ALPHABET.size + 1])
    labels = ALPHABET.encode(text)
    for place, label in enumerate(labels):
        logits[1 + 2 * place, label] += sharpness
    logits[0::2, ALPHABET.size] += sharpness
    return tf.nn.log_softmax(logits.astype(np.float32)).numpy()


def spoken(text, log_probabilities):
    """ln of the sum over all paths that give the text, whatever the number of its spaces."""
    words = text.split()
    spaces = itertools.product(range(4), *[range(1, 4)] * (len(words) - 1), range(4 if words else 1))
    labels = []
    for first, *between, last in spaces:
        gaps = [first, *between, last] if words else [first]
        written = "".join(" " * gap + word for gap, word in zip(gaps, [*words, ""], strict=False))
        labels.append(["abcd".find(character) + 1 for character in written])
    rows, lengths = len(labels), [len(row) for row in labels]
    padded = [row + [0] * (max(lengths) - len(row)) for row in labels]
    values = tf.constant(np.repeat(log_probabilities[np.newaxis], rows, axis=0))
    losses = ctc.loss(
        Sequence(values, tf.fill([rows], len(log_probabilities))), tf.constant(padded), tf.constant(lengths)
    )
    possible = ctc.feasible(len(log_probabilities), np.array(padded), np.array(lengths))
    return float(tf.reduce_logsumexp(-losses[possible]))


def score(model, text, log_probabilities, lm_weight, word_score):
    """What a text is worth by the definition."""
    state, language = model.start(), 0.0
    for word in text.split():
        if word in model.vocabulary.words:
            state, found = model.score(state, model.vocabulary.words[word])
        else:
            state, found = model.score(state, "<unk>")
            found -= len(word) * math.log(ALPHABET.size)
        language += found
    language += model.end(state)
    return spoken(text, log_probabilities) + lm_weight * language + word_score * len(text.split())


def test_probabilities_are_those_of_the_model_in_nats(model):
    made = model()
    assert made.score(made.start(), "ab")[1] == pytest.approx(-0.5 * math.log(10))
    assert made.end(made.start()) == pytest.approx(-1.0 * math.log(10))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weights", [(0.0, 0.0), (1.0, 0.0), (0.7, 1.5)])
def test_with_a_lexicon_the_best_sequence_of_words_is_found(model, seed, weights):
    made = model()
    heard = emissions("ab ba", 1.0, seed, frames=11)
    texts = [" ".join(words) for n in range(3) for words in itertools.product(made.vocabulary.words, repeat=n)]
    best = max(texts, key=lambda text: score(made, text, heard, *weights))
    assert Search(made, 500, *weights).best(heard) == best


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.7, 1.5)])
def test_without_a_lexicon_any_text_is_found(model, seed, weights):
    made = model()
    heard = emissions("dd", 3.0, seed, frames=5)
    letters = ["".join(each) for n in range(3) for each in itertools.product("abcd", repeat=n)]
    texts = [*letters, *(f"{a} {b}" for a, b in itertools.product("abcd", repeat=2)), "bd a", "ab ba", "ab ab"]
    best = max(texts, key=lambda text: score(made, text, heard, *weights))
    assert Search(made, 2000, *weights, lexicon=False).best(heard) == best


def test_the_language_model_outweighs_a_small_difference_of_ctc(model):
    heard = emissions("ba", 1.0)
    made = model(bigrams={"<s> ab": -0.001, "<s> ba": -9.0})
    assert Search(made, 100, 0.0, 0.0).best(heard) != Search(made, 100, 20.0, 0.0).best(heard) == "ab"


@pytest.mark.parametrize("beam_width", [1, 3, 50])
@pytest.mark.parametrize("seed", range(4))
def test_with_a_lexicon_no_word_is_left_unfinished(model, beam_width, seed):
    made = model()
    for text in ("ca", "ab c", "b"):
        read = Search(made, beam_width, 0.0, 0.0).best(emissions(text, 9.0, seed, frames=9))
        assert set(read.split()) <= set(made.vocabulary.words)


def test_logits_decode_as_their_log_softmax(model):
    heard, search = emissions("ab ba"), Search(model(), 50, 0.5, 0.0)
    assert search.best(heard + 3.0) == search.best(heard)


def test_words_that_cannot_be_recognised_are_logged(model, caplog):
    model().warn()
    assert (
        "1 of its 4 words cannot be spelled with the alphabet of the run and are skipped, such as 'é€'" in caplog.text
    )
    assert "<unk>" not in caplog.text
    model(unigrams={"ab": -0.5, "<s>": -99, "</s>": -1.0}).warn()
    assert "words.arpa: has no <unk>; without a lexicon, words that it lacks are hardly recognised" in caplog.text


@pytest.mark.parametrize("lexicon", [True, False])
def test_a_word_score_decides_how_many_words_there_are(model, lexicon):
    heard, made = emissions("ab ba", 1.0), model()
    few, many = (Search(made, 200, 0.5, each, lexicon).best(heard) for each in (-20.0, 20.0))
    assert len(few.split()) < len(many.split())


@pytest.mark.parametrize("lexicon", [True, False])
def test_a_batch_in_a_graph_decodes_like_its_rows(model, lexicon):
    search = Search(model(), 50, 0.5, 0.0, lexicon)
    rows = [emissions("ab", seed=1, frames=9), emissions("cab ab", seed=2)]
    values = np.full([3, 14, ALPHABET.size + 1], 7.0, np.float32)
    for row, target in zip(rows, values, strict=False):
        target[: len(row)] = row + 3.0
    logits = Sequence(tf.constant(values), tf.constant([9, 14, 0]))
    ids = tf.function(search)(logits)
    assert [ALPHABET.decode(row) for row in ids.to_list()] == [*(search.best(row) for row in rows), ""]
    assert search.break_class == 0


def test_errors_say_what_to_do(model, tmp_path):
    with pytest.raises(TfvoiceError, match=r"--lm=nowhere: no such file; docs/language_model.md"):
        LanguageModel("nowhere", ALPHABET)
    (tmp_path / "corrupt.arpa").write_text("hello\n")
    with pytest.raises(TfvoiceError, match=r"corrupt.arpa: is no language model \(line 1 should be .* KenLM binary.$"):
        LanguageModel(tmp_path / "corrupt.arpa", ALPHABET)
    with pytest.raises(TfvoiceError, match=r"none of its 1 words, such as 'привет', can be spelled with the alphabet"):
        model(unigrams={"привет": -1.0, "<unk>": -2.0, "<s>": -99, "</s>": -1.0})
    without = Alphabet(AlphabetConfig(characters="abcd"))
    made = LanguageModel(tmp_path / "words.arpa", without) if model() else None
    with pytest.raises(TfvoiceError, match=r"the alphabet of the run has no space"):
        Search(made, 10, 1.0, 0.0)


@pytest.mark.parametrize("lexicon", [True, False])
def test_the_best_texts_are_in_order_and_scored_by_the_definition(model, lexicon):
    made, log_probabilities = model(), emissions("ab ba", 1.0, frames=11)
    found = Search(made, 2000, 0.7, 1.5, lexicon).n_best(log_probabilities, 6)
    scores = {ALPHABET.decode(labels): value for labels, value in found}
    assert len(scores) == 6 and list(scores.values()) == sorted(scores.values(), reverse=True)
    for text, value in scores.items():
        assert value == pytest.approx(score(made, text, log_probabilities, 0.7, 1.5), abs=0.05)


def test_a_hotword_is_preferred_and_may_be_unknown_to_the_model(model):
    made, log_probabilities = model(), emissions("dab", 2.0, frames=8)
    assert "dab" not in Search(made, 100, 0.5, 0.0).best(log_probabilities)
    assert Search(made, 100, 0.5, 0.0, hotwords=[Hotword("dab", 10.0)]).best(log_probabilities) == "dab"
    heard = emissions("ab ba", 0.5)
    plain, phrase = (
        Search(made, 500, 0.5, 0.0, hotwords=hotwords).n_best(heard, 400) for hotwords in ((), [Hotword("ba ab", 3.0)])
    )
    with_it, without = ({ALPHABET.decode(labels): value for labels, value in found} for found in (phrase, plain))
    for text in ("ba ab", "ab ba ab", "ab ba"):
        assert with_it[text] == pytest.approx(without[text] + 3.0 * ("ba ab" in text), abs=0.05)


def test_the_best_texts_of_pieces_are_combined():
    pieces = [[Alternative("a", -1.0), Alternative("b", -1.5)], [Alternative("", -2.0), Alternative("c", -2.2)]]
    assert language_model.combine(pieces, 3) == [("a", -3.0), ("a c", -3.2), ("b", -3.5)]


def test_a_text_that_pieces_give_in_several_ways_is_listed_once_with_its_best_score():
    pieces = [[Alternative("a", -1.0), Alternative("a b", -1.2)], [Alternative("b c", -2.0), Alternative("c", -2.1)]]
    found = language_model.combine(pieces, 4)
    assert found == [("a b c", -3.0), ("a c", -3.1), ("a b b c", -3.2)]


def test_words_are_keyed_by_their_spelling_and_the_first_counts():
    found = language_model.spell(["Hello", "hello", "don't", "é€", "--"], Alphabet(AlphabetConfig()))
    assert found.words == {"hello": "Hello", "don't": "don't"} and found.unspelled == ["é€", "--"]
