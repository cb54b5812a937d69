"""Words as classes of characters: the prefix tree of a lexicon, and hotwords with their automaton."""

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfvoice.asr.beam_search import LEXICON_NODE, Hotwords
from tfvoice.asr.ngrams import compiled
from tfvoice.errors import TfvoiceError
from tfvoice.text.alphabet import Alphabet

# ln of how much more likely a hotword becomes; pyctcdecode's default.
_WEIGHT = 10.0


class Hotword(NamedTuple):
    """A word or a phrase that is expected, as the alphabet spells it, and what it adds to the score of a text."""

    text: str
    weight: float


def build_lexicon(spellings: Sequence[Sequence[int]], words: Sequence[int], scores: np.ndarray) -> np.ndarray:
    """Builds the prefix tree, `LEXICON_NODE [nodes]`.

    Args:
      spellings: the classes of each word, no two words alike.
      words: the id of each word in the n-gram table.
      scores: ln of the probability of each word without a context.
    """
    order = sorted(range(len(words)), key=spellings.__getitem__)
    lengths = np.array([len(spellings[place]) for place in order], np.int64)
    labels = np.array([label for place in order for label in spellings[place]], np.int32)
    places = np.array(order, np.int64)
    return _tree(labels, lengths, np.array(words, np.int32)[places], np.asarray(scores, np.float32)[places])


@compiled
def _tree(labels, lengths, words, scores):
    """The tree of words in lexicographic order: each shares with the one before it the path that it can."""
    nodes = np.zeros(1 + len(labels), LEXICON_NODE)
    for node in nodes:
        node.word, node.forecast = -1, -np.inf
    path = np.zeros(1 + lengths.max(), np.int32)
    used, start, depth = 1, 0, 0
    for row in range(len(lengths)):
        spelling = labels[start : start + lengths[row]]
        start += lengths[row]
        shared = 0
        while shared < min(depth, len(spelling)) and nodes[path[shared + 1]].label == spelling[shared]:
            shared += 1
        for place in range(shared, len(spelling)):
            parent = path[place]
            nodes[used].label, nodes[used].sibling = spelling[place], nodes[parent].first_child
            nodes[parent].first_child = used
            path[place + 1] = used
            used += 1
        depth = len(spelling)
        nodes[path[depth]].word = words[row]
        for place in range(depth + 1):
            nodes[path[place]].forecast = max(nodes[path[place]].forecast, scores[row])
    return nodes[:used].copy()


def build_hotwords(hotwords: Sequence[Hotword], alphabet: Alphabet) -> Hotwords:
    """Builds the automaton; a hotword is found where it stands as words of its own."""
    space = alphabet.characters.index(" ")
    children: list[dict[int, int]] = [{}]
    bonus, forecast = [0.0], [0.0]
    for hotword in hotwords:
        state = 0
        # The space before it is the state 0.
        spelling = [*alphabet.encode(hotword.text), space]
        for place, label in enumerate(spelling, 1):
            if label not in children[state]:
                children[state][label] = len(children)
                children.append({})
                bonus.append(0.0)
                forecast.append(0.0)
            state = children[state][label]
            if place < len(spelling) and abs(share := hotword.weight * place / len(spelling)) > abs(forecast[state]):
                forecast[state] = share
        bonus[state] += hotword.weight
    return _automaton(children, bonus, forecast, alphabet.size, space)


def _automaton(children, bonus, forecast, classes: int, space: int) -> Hotwords:
    """Adds to a tree of hotwords, breadth first, the state after a character that none of them has there."""
    # One state more: no part of a hotword, and no space before one.
    nothing = len(children)
    after = np.full([nothing + 1, classes], nothing, np.int32)
    after[nothing, space] = 0
    bonus, forecast = np.array([*bonus, 0.0], np.float32), np.array([*forecast, 0.0], np.float32)
    queue = deque([(0, nothing)])
    while queue:
        # The longest end of what is here that another hotword begins with.
        state, end = queue.popleft()
        after[state] = after[end]
        bonus[state] += bonus[end]
        forecast[state] = max(forecast[state], forecast[end], key=abs)
        for label, child in children[state].items():
            queue.append((child, after[end, label]))
            after[state, label] = child
    return Hotwords(after, bonus, forecast, float((bonus + forecast).max()))


def read_hotwords(path: str | Path, alphabet: Alphabet) -> list[Hotword]:
    """Reads a file of hotwords: a word or a phrase in each line, and perhaps a tab and a weight; # begins a comment.

    Raises:
      TfvoiceError: the file cannot be read, has no hotword, or one that the alphabet cannot spell.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise TfvoiceError(f"--hotwords={path}: {(error.strerror or str(error)).lower()}; name a text file.") from None
    except UnicodeDecodeError:
        raise TfvoiceError(f"--hotwords={path}: is not UTF-8; save it as UTF-8.") from None
    hotwords = []
    for number, line in enumerate(lines, 1):
        text, _, weight = line.partition("\t")
        if not text.strip() or text.startswith("#"):
            continue
        if dropped := alphabet.unknown(text):
            symbol = next(iter(dropped))
            raise TfvoiceError(
                f"--hotwords={path}: line {number}, {text!r}, has {symbol!r}, which is not in the alphabet of the run; "
                "write it as it is spoken."
            )
        try:
            value = float(weight) if weight.strip() else _WEIGHT
        except ValueError:
            value = float("nan")
        if not abs(value) < float("inf") or not alphabet.normalise(text):
            raise TfvoiceError(
                f"--hotwords={path}: line {number}, {line!r}, should be a word or a phrase, and perhaps a tab and a "
                f"weight, such as 'anna\\t{_WEIGHT:g}'."
            )
        hotwords.append(Hotword(alphabet.normalise(text), value))
    if not hotwords:
        raise TfvoiceError(f"--hotwords={path}: has no words; write one in each line.")
    return hotwords
