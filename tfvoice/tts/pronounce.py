"""Text to phonemes: phonemes given inline, then the normaliser, and of its words the lexicon, then a G2P model."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from tfvoice.text import phonemes
from tfvoice.text.lexicon import PronunciationLexicon
from tfvoice.text.normalize import Normalizer, normalize
from tfvoice.text.phonemes import Pronunciation
from tfvoice.text.tokens import Token, Unspoken

# The run that comes with the package, from `g2p_run.pack`.
PACKAGED_RUN = Path(__file__).parent / "data" / "g2p"

# Words to phonemes, empty for a word that has none.
Predict = Callable[[Sequence[str]], list[Pronunciation]]


class PronouncedWord(NamedTuple):
    """A word of a text and its phonemes.

    Attributes:
      word: in lower case; of phonemes in braces, and of what cannot be spoken, these as written.
      phonemes: empty where there are none.
      by: `inline`, `lexicon`, `rule` (lexicon and an ending), `g2p`, `unknown`, or `unspoken` (no word: an emoji).
      variants: all pronunciations that the lexicon has.
    """

    word: str
    phonemes: Pronunciation
    by: Literal["inline", "lexicon", "rule", "g2p", "unknown", "unspoken"]
    variants: tuple[Pronunciation, ...] = ()


class Pronouncer:
    """Pronounces texts.

    Args:
      lexicon: looked up first; the first pronunciation of a word is taken.
      predict: pronounces the words that the lexicon lacks, such as `G2pPredictor.pronounce`; None: they are `unknown`.
      normalizer: of the language; see `tfvoice.text.normalize`.
    """

    def __init__(
        self, lexicon: PronunciationLexicon, predict: Predict | None = None, normalizer: str | Normalizer = "en"
    ):
        self._lexicon = lexicon
        self._predict = predict
        self._normalizer = normalizer

    def pronounce(self, text: str) -> list[PronouncedWord]:
        """The words of a text in their order, with their phonemes.

        Raises:
          PhonemeError: braces in the text hold anything but phonemes.
          TfvoiceError: there is no normaliser of that name.
        """
        pronounced = []
        for segment in phonemes.split_inline(text, self._lexicon.inventory):
            if segment.phonemes is not None:
                pronounced.append(PronouncedWord(segment.text, segment.phonemes, "inline"))
                continue
            normalized = normalize(segment.text, self._normalizer)
            words = [token for token in normalized.tokens if not token.is_pause]
            pronounced += map(self._look_up, sorted([*words, *normalized.unspoken], key=lambda part: part.start))
        return self._predicted(pronounced)

    def _look_up(self, part: Token | Unspoken) -> PronouncedWord:
        if isinstance(part, Unspoken):
            return PronouncedWord(part.text, (), "unspoken")
        # CMUdict has the names of letters with a dot: "a." is not the article.
        found = (part.letter and self._lexicon.find(f"{part.text}.")) or self._lexicon.find(part.text)
        if not found:
            return PronouncedWord(part.text, (), "unknown")
        return PronouncedWord(part.text, found.pronunciations[0], found.by, tuple(found.pronunciations))

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
