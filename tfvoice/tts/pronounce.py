"""Text to phonemes: phonemes given inline, then the lexicon, then a G2P model.

`_words` is the seam to the normaliser: how a written text becomes spoken words.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from tfvoice.text import phonemes
from tfvoice.text.lexicon import PronunciationLexicon
from tfvoice.text.phonemes import Pronunciation

# The run that comes with the package, from `g2p_run.pack`.
PACKAGED_RUN = Path(__file__).parent / "data" / "g2p"

# Words to phonemes, empty for a word that has none.
Predict = Callable[[Sequence[str]], list[Pronunciation]]

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*['’]?")


class PronouncedWord(NamedTuple):
    """A word of a text and its phonemes.

    Attributes:
      word: in lower case; of phonemes in braces, these as written.
      phonemes: empty where there are none.
      by: `inline`, `lexicon`, `rule` (lexicon and an ending), `g2p`, or `unknown`.
    """

    word: str
    phonemes: Pronunciation
    by: Literal["inline", "lexicon", "rule", "g2p", "unknown"]


class Pronouncer:
    """Pronounces texts.

    Args:
      lexicon: looked up first; the first pronunciation of a word is taken.
      predict: pronounces the words that the lexicon lacks, such as `G2pPredictor.pronounce`; None: they are `unknown`.
    """

    def __init__(self, lexicon: PronunciationLexicon, predict: Predict | None = None):
        self._lexicon = lexicon
        self._predict = predict

    def pronounce(self, text: str) -> list[PronouncedWord]:
        """The words of a text in their order, with their phonemes.

        Raises:
          PhonemeError: braces in the text hold anything but phonemes.
        """
        pronounced = []
        for segment in phonemes.split_inline(text, self._lexicon.inventory):
            if segment.phonemes is not None:
                pronounced.append(PronouncedWord(segment.text, segment.phonemes, "inline"))
            else:
                pronounced += map(self._look_up, _words(segment.text))
        return self._predicted(pronounced)

    def _look_up(self, word: str) -> PronouncedWord:
        found = self._lexicon.find(word)
        return PronouncedWord(word, found.pronunciations[0], found.by) if found else PronouncedWord(word, (), "unknown")

    def _predicted(self, pronounced: list[PronouncedWord]) -> list[PronouncedWord]:
        """The words, with the unknown ones predicted, each once."""
        unknown = list(dict.fromkeys(one.word for one in pronounced if one.by == "unknown"))
        if not unknown or self._predict is None:
            return pronounced
        found = {word: each for word, each in zip(unknown, self._predict(unknown), strict=True) if each}
        return [
            PronouncedWord(one.word, found[one.word], "g2p") if one.by == "unknown" and one.word in found else one
            for one in pronounced
        ]


def _words(text: str) -> list[str]:
    """The words of a text, split plainly: letters and apostrophes, in lower case."""
    return [match[0].replace("’", "'").lower() for match in _WORD.finditer(text)]
