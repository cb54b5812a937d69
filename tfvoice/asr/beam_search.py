"""CTC prefix beam search with n-grams, a lexicon and hotwords, compiled by Numba.

A prefix is a text so far, a node in a tree of characters. It holds the probability of the paths that give it, apart by
whether they end in a blank (Hannun et al., arXiv 1408.2873, algorithm 1). Prefixes are ranked by that and by their
bonus: scores that are settled, of complete words and hotwords, and a forecast of those of the unfinished word. Leading
and repeated spaces are paths of the prefix without them, so that a prefix ends in at most one space.

The first call compiles, and the result is kept on disk.
"""

import math
from typing import NamedTuple

import numpy as np

from tfvoice.asr import ngrams
from tfvoice.compiled import compiled

# Prefixes whose rank is lower than the best by more than this are dropped.
_THRESHOLD = 25.0
# Node of a prefix with which no word of the lexicon begins.
_OUTSIDE = -1
# Label of a candidate that is a prefix of the beam itself.
_SAME = -1


# A node of the prefix tree of a lexicon; node 0 is the root.
#   first_child, sibling: its first child, and the next child of its parent; 0: none.
#   label: class of the character that leads here.
#   word: id in the n-gram table of the word that ends here; -1: none does.
#   forecast: ln of the highest probability, without a context, of a word below or here.
LEXICON_NODE = np.dtype(
    [
        ("first_child", np.int32),
        ("sibling", np.int32),
        ("label", np.int32),
        ("word", np.int32),
        ("forecast", np.float32),
    ],
    align=True,
)


class Hotwords(NamedTuple):
    """An automaton that finds hotwords in the characters of a text (Aho and Corasick, 1975); state 0 is a space.

    Attributes:
      after: int32 `[states, classes without the blank]`: the state after a character.
      bonus: float32 `[states]`: of the hotwords that are complete here.
      forecast: float32 `[states]`: share of the bonus of a hotword of which a part is here.
      most: that any character can add to a score.
    """

    after: np.ndarray
    bonus: np.ndarray
    forecast: np.ndarray
    most: float


class Settings(NamedTuple):
    """Numbers of a search.

    Attributes:
      beam_width: prefixes kept after each frame.
      lm_weight: of ln of the language model's probability.
      word_score: added for each word.
      space: class of the space.
      start: word id of the start of a sentence.
      end: word id of its end.
      lexicon_only: whether only words of the lexicon can be recognised.
    """

    beam_width: int
    lm_weight: float
    word_score: float
    space: int
    start: int
    end: int
    lexicon_only: bool


class Models(NamedTuple):
    """What gives a prefix its bonus: n-grams, `LEXICON_NODE [nodes]`, and hotwords."""

    table: ngrams.Table
    lexicon: np.ndarray
    hotwords: Hotwords


# A prefix, in the beam or not.
#   parent: the prefix without the last character.
#   label: class of the last character.
#   first_child, sibling: the first prefix that is longer by a character, and the next one of its parent; -1: none.
#   place: in the beam; -1: none.
#   node: of the lexicon; `_OUTSIDE`: no word begins like this.
#   letters: of the unfinished word.
#   hot: state of the hotwords.
#   begin: the prefix before the unfinished word.
#   length: of the state of the language model, where a word begins.
#   word_score: ln of the probability of the word that would end here; NaN: not computed yet.
#   settled, forecast: the two parts of its bonus.
_PREFIX = np.dtype(
    [
        *((name, np.int64) for name in ("parent", "label", "first_child", "sibling", "place")),
        *((name, np.int64) for name in ("node", "letters", "hot", "begin", "length")),
        *((name, np.float64) for name in ("word_score", "settled", "forecast")),
    ]
)
# A candidate for the beam after a frame: the prefix at `source` in the beam, itself or longer by a character.
_CANDIDATE = np.dtype([("rank", np.float64), ("source", np.int64), ("label", np.int64), ("node", np.int64)])


class _Prefixes(NamedTuple):
    """All prefixes of a search.

    Attributes:
      rows: `_PREFIX [prefixes]`.
      words: int32 `[prefixes, order - 1]`: of the state of the language model, where a word begins.
      backoffs: float32 `[prefixes, order - 1]`: as well.
    """

    rows: np.ndarray
    words: np.ndarray
    backoffs: np.ndarray


class _Beam(NamedTuple):
    """The prefixes in the beam and ln of the probability of their paths: those that end in a blank, the others, all."""

    prefix: np.ndarray
    blank: np.ndarray
    other: np.ndarray
    total: np.ndarray


def search(values: np.ndarray, models: Models, settings: Settings, count: int) -> list[tuple[list[int], float]]:
    """Finds the best texts.

    Args:
      values: float32 `[frames, classes]`: log probabilities, the blank last.
      models: language model, lexicon and hotwords.
      settings: weights and beam width.
      count: how many texts.

    Returns:
      The labels of each text, single spaces between its words, and its score; the best first, and at least one.
    """
    labels, lengths, scores = _search(np.ascontiguousarray(values, np.float32), models, settings, count)
    rows = zip(labels, lengths, scores, strict=True)
    return [(row[:length].tolist(), float(score)) for row, length, score in rows]


@compiled
def _search(values, models, settings, count):
    frames, classes = values.shape
    prefixes = _start(models, settings, frames)
    used = size = np.int64(1)
    beam = _new_beam(settings.beam_width)
    other_beam = _new_beam(settings.beam_width)
    beam.prefix[0], beam.blank[0], beam.other[0], beam.total[0] = 0, 0.0, -np.inf, 0.0
    prefixes.rows[0].place = 0
    scratch = np.zeros((settings.beam_width, classes), np.int32)
    for frame in range(frames):
        size, used = _step(values[frame], models, settings, prefixes, used, beam, size, other_beam, scratch, frame + 1)
        beam, other_beam = other_beam, beam
    # A last frame that is a space for certain ends the last word of each prefix.
    ending = np.full(classes, -np.inf, np.float32)
    ending[settings.space] = 0.0
    done, used = _step(ending, models, settings, prefixes, used, beam, size, other_beam, scratch, frames + 1)
    if done == 0:
        done = _complete_words(prefixes, settings, beam, size, other_beam)
    return _best(models, settings, prefixes, other_beam, done, min(count, done))


@compiled
def _new_beam(width):
    return _Beam(np.zeros(width, np.int64), np.zeros(width), np.zeros(width), np.zeros(width))


@compiled
def _start(models, settings, frames):
    most, context = 1 + (frames + 1) * settings.beam_width, models.table.order - 1
    prefixes = _Prefixes(
        np.empty(most, _PREFIX), np.empty((most, context), np.int32), np.empty((most, context), np.float32)
    )
    _clear(prefixes, np.int64(0), np.int64(-1), settings.space)
    prefixes.rows[0].node, prefixes.rows[0].letters, prefixes.rows[0].hot, prefixes.rows[0].begin = 0, 0, 0, 0
    prefixes.rows[0].settled, prefixes.rows[0].forecast = 0.0, 0.0
    nothing = ngrams.State(prefixes.words[0].copy(), prefixes.backoffs[0].copy(), 0)
    _, length = ngrams.score(models.table, nothing, settings.start, prefixes.words[0], prefixes.backoffs[0])
    prefixes.rows[0].length = length
    return prefixes


@compiled
def _clear(prefixes, prefix, parent, label):
    prefixes.rows[prefix].parent = parent
    prefixes.rows[prefix].label = label
    prefixes.rows[prefix].first_child = -1
    prefixes.rows[prefix].sibling = -1
    prefixes.rows[prefix].place = -1
    prefixes.rows[prefix].word_score = np.nan


@compiled
def _log_add(a, b):
    if a < b:
        a, b = b, a
    return a if b == -np.inf else a + math.log1p(math.exp(b - a))


@compiled
def _step(values, models, settings, prefixes, used, beam, size, after, scratch, frame):
    """Extends the beam by a frame; returns the size of the beam `after`, and how many prefixes there are."""
    heap = np.empty(settings.beam_width, _CANDIDATE)
    blank, other, total = np.empty(size), np.empty(size), np.empty(size)
    filled, best = np.int64(0), -np.inf
    for place in range(size):
        blank[place], other[place] = _stay(values, settings, prefixes, beam, place, scratch, frame)
        prefix = beam.prefix[place]
        total[place] = _log_add(blank[place], other[place])
        rank = total[place] + prefixes.rows[prefix].settled + prefixes.rows[prefix].forecast
        best = max(best, rank)
        if rank > best - _THRESHOLD:
            filled = _push(heap, filled, rank, place, np.int64(_SAME), np.int64(0))
    # The best are towards the end, since `after` has the order of a heap.
    for place in range(size - 1, -1, -1):
        filled, best = _extend(values, models, settings, prefixes, beam, place, scratch, frame, heap, filled, best)
    for place in range(size):
        prefixes.rows[beam.prefix[place]].place = -1
    size = np.int64(0)
    for index in range(filled):
        if heap[index].rank < best - _THRESHOLD:
            continue
        source, label = heap[index].source, heap[index].label
        prefix = beam.prefix[source]
        if label == _SAME:
            after.blank[size], after.other[size], after.total[size] = blank[source], other[source], total[source]
        else:
            after.blank[size] = -np.inf
            after.other[size] = after.total[size] = _paths(prefixes, beam, source, label) + values[label]
            prefix, used = _child(models, settings, prefixes, used, prefix, label, heap[index].node)
        after.prefix[size] = prefix
        prefixes.rows[prefix].place = size
        size += 1
    return size, used


@compiled
def _paths(prefixes, beam, place, label):
    """ln of the probability of the paths that a character extends: after its own like, only those with a blank."""
    if prefixes.rows[beam.prefix[place]].label == label:
        return beam.blank[place]
    return beam.total[place]


@compiled
def _stay(values, settings, prefixes, beam, place, scratch, frame):
    """ln of the probabilities of a prefix of the beam after a frame, with the paths that come from its parent."""
    prefix = beam.prefix[place]
    label, parent = prefixes.rows[prefix].label, prefixes.rows[prefix].parent
    total = beam.total[place]
    other = (total if label == settings.space else beam.other[place]) + values[label]
    if parent >= 0 and prefixes.rows[parent].place >= 0:
        source = prefixes.rows[parent].place
        scratch[source, label] = frame
        other = _log_add(other, _paths(prefixes, beam, source, label) + values[label])
    return total + values[-1], other


@compiled
def _extend(values, models, settings, prefixes, beam, place, scratch, frame, heap, filled, best):
    """Offers the heap all prefixes that are longer by a character than one of the beam."""
    prefix = beam.prefix[place]
    lexicon, row, space = models.lexicon, prefixes.rows[prefix], settings.space
    # Marks in the scratch of this place: `frame`, the prefix is in the beam already; -frame, the lexicon offered it.
    marks = scratch[place]
    # What no candidate can exceed: most are hopeless without a look at their bonus. Three times faster.
    most = row.settled + models.hotwords.most + max(settings.word_score, 0.0)
    total = beam.total[place] + most
    floor = _floor(heap, filled, best)
    child = np.int64(lexicon[row.node].first_child if row.node != _OUTSIDE else 0)
    while child:
        label = np.int64(lexicon[child].label)
        if marks[label] != frame:
            marks[label] = -frame
            if total + values[label] + settings.lm_weight * lexicon[child].forecast > floor:
                filled, best = _offer(values, models, settings, prefixes, beam, place, label, child, heap, filled, best)
                floor = _floor(heap, filled, best)
        child = np.int64(lexicon[child].sibling)
    if row.label != space and marks[space] != frame and total + values[space] > floor:
        filled, best = _offer(values, models, settings, prefixes, beam, place, space, np.int64(0), heap, filled, best)
        floor = _floor(heap, filled, best)
    if settings.lexicon_only:
        return filled, best
    unscored = row.letters + 1 if row.node != _OUTSIDE else 1
    total += settings.lm_weight * (unscored * _character_score(models) + models.table.word_scores[0])
    for label in range(len(values) - 1):
        if total + values[label] > floor and marks[label] != frame and marks[label] != -frame and label != space:
            outside = np.int64(_OUTSIDE)
            filled, best = _offer(values, models, settings, prefixes, beam, place, label, outside, heap, filled, best)
            floor = _floor(heap, filled, best)
    return filled, best


@compiled
def _floor(heap, filled, best):
    """The rank that a candidate must exceed."""
    return best - _THRESHOLD if filled < len(heap) else max(heap[0].rank, best - _THRESHOLD)


@compiled
def _offer(values, models, settings, prefixes, beam, place, label, node, heap, filled, best):
    """Offers the heap one prefix."""
    settled, forecast = _bonus(models, settings, prefixes, beam.prefix[place], label, node)
    rank = _paths(prefixes, beam, place, label) + values[label] + settled + forecast
    if rank > _floor(heap, filled, best):
        filled = _push(heap, filled, rank, place, label, node)
    return filled, max(best, rank)


@compiled
def _bonus(models, settings, prefixes, prefix, label, node):
    """The settled score and the forecast of a prefix that a character extends; -inf where no word can end."""
    settled, forecast = prefixes.rows[prefix].settled, 0.0
    inside = prefixes.rows[prefix].node != _OUTSIDE
    if label == settings.space:
        if settings.lexicon_only and models.lexicon[prefixes.rows[prefix].node].word < 0:
            return -np.inf, 0.0
        settled += settings.lm_weight * _word_score(models, prefixes, prefix) + settings.word_score
    elif node != _OUTSIDE:
        forecast = settings.lm_weight * models.lexicon[node].forecast + settings.word_score
    else:
        # The characters of a word outside the lexicon are scored as soon as that is known, or it would crowd the beam.
        unscored = prefixes.rows[prefix].letters + 1 if inside else 1
        settled += settings.lm_weight * unscored * _character_score(models)
        forecast = settings.lm_weight * models.table.word_scores[0] + settings.word_score
    hot = models.hotwords.after[prefixes.rows[prefix].hot, label]
    return settled + models.hotwords.bonus[hot], forecast + models.hotwords.forecast[hot]


@compiled
def _character_score(models):
    """ln of the probability of each character of an unknown word, all being equally likely."""
    return -math.log(models.hotwords.after.shape[1])


@compiled
def _word_score(models, prefixes, prefix):
    """ln of the probability of the word that ends here: one of the lexicon, or `<unk>` and its characters."""
    if not np.isnan(prefixes.rows[prefix].word_score):
        return prefixes.rows[prefix].word_score
    node, characters = prefixes.rows[prefix].node, 0.0
    word = models.lexicon[node].word if node != _OUTSIDE else -1
    if word < 0:
        word = 0
        if node != _OUTSIDE:
            characters = prefixes.rows[prefix].letters * _character_score(models)
    words, backoffs = np.empty_like(prefixes.words[0]), np.empty_like(prefixes.backoffs[0])
    found, _ = ngrams.score(models.table, _state(prefixes, prefix), word, words, backoffs)
    prefixes.rows[prefix].word_score = found + characters
    return prefixes.rows[prefix].word_score


@compiled
def _state(prefixes, prefix):
    """The state of the language model before the unfinished word of a prefix."""
    row = prefixes.rows[prefix].begin
    return ngrams.State(prefixes.words[row], prefixes.backoffs[row], prefixes.rows[row].length)


@compiled
def _child(models, settings, prefixes, used, parent, label, node):
    """Finds or makes the prefix that is longer by a character; returns it, and how many prefixes there are."""
    child = prefixes.rows[parent].first_child
    while child >= 0:
        if prefixes.rows[child].label == label:
            return child, used
        child = prefixes.rows[child].sibling
    child = used
    _clear(prefixes, child, parent, label)
    prefixes.rows[child].sibling = prefixes.rows[parent].first_child
    prefixes.rows[parent].first_child = child
    prefixes.rows[child].settled, prefixes.rows[child].forecast = _bonus(
        models, settings, prefixes, parent, label, node
    )
    prefixes.rows[child].hot = models.hotwords.after[prefixes.rows[parent].hot, label]
    prefixes.rows[child].node = node
    if label != settings.space:
        prefixes.rows[child].letters = prefixes.rows[parent].letters + 1
        prefixes.rows[child].begin = prefixes.rows[parent].begin
        return child, used + 1
    prefixes.rows[child].letters = 0
    prefixes.rows[child].begin = child
    word = models.lexicon[prefixes.rows[parent].node].word if prefixes.rows[parent].node != _OUTSIDE else -1
    _, prefixes.rows[child].length = ngrams.score(
        models.table, _state(prefixes, parent), max(word, 0), prefixes.words[child], prefixes.backoffs[child]
    )
    return child, used + 1


@compiled
def _push(heap, filled, rank, source, label, node):
    """Adds a candidate, in the place of the worst where the heap is full; returns how many there are."""
    size = len(heap)
    if filled < size:
        place = filled
        while place and heap[(place - 1) // 2].rank > rank:
            heap[place] = heap[(place - 1) // 2]
            place = (place - 1) // 2
    else:
        place = 0
        while 2 * place + 1 < size:
            lower = 2 * place + 1
            if lower + 1 < size and heap[lower + 1].rank < heap[lower].rank:
                lower += 1
            if heap[lower].rank >= rank:
                break
            heap[place] = heap[lower]
            place = lower
    heap[place].rank, heap[place].source, heap[place].label, heap[place].node = rank, source, label, node
    return min(filled + 1, size)


@compiled
def _complete_words(prefixes, settings, beam, size, after):
    """Where all prefixes end in a part of a word: takes the best without that; returns the size of the beam `after`."""
    best, rank = 0, -np.inf
    for place in range(size):
        prefix = beam.prefix[place]
        found = beam.total[place] + prefixes.rows[prefix].settled + prefixes.rows[prefix].forecast
        if found > rank:
            best, rank = place, found
    after.prefix[0], after.total[0] = prefixes.rows[beam.prefix[best]].begin, beam.total[best]
    return np.int64(1)


@compiled
def _best(models, settings, prefixes, beam, size, count):
    """The labels of the best texts, their lengths and their scores."""
    scores = np.empty(size)
    for place in range(size):
        prefix = beam.prefix[place]
        words, backoffs = np.empty_like(prefixes.words[0]), np.empty_like(prefixes.backoffs[0])
        end, _ = ngrams.score(models.table, _state(prefixes, prefix), settings.end, words, backoffs)
        scores[place] = beam.total[place] + prefixes.rows[prefix].settled + settings.lm_weight * end
    order = np.argsort(-scores)[:count]
    lengths = np.zeros(count, np.int64)
    for row in range(count):
        # Its last character is a space, and so is the root.
        prefix = prefixes.rows[beam.prefix[order[row]]].parent
        while prefix > 0:
            lengths[row] += 1
            prefix = prefixes.rows[prefix].parent
    labels = np.zeros((count, max(1, lengths.max())), np.int32)
    for row in range(count):
        prefix = prefixes.rows[beam.prefix[order[row]]].parent
        for column in range(lengths[row] - 1, -1, -1):
            labels[row, column] = prefixes.rows[prefix].label
            prefix = prefixes.rows[prefix].parent
    return labels, lengths, scores[order]
