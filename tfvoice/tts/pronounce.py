"""Text to phonemes: phonemes given inline, then the normaliser, and of its words the lexicon, then a G2P model."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from tfvoice.errors import TfvoiceError
from tfvoice.text import lexicon as lexicon_
from tfvoice.text import lines, phonemes
from tfvoice.text.lexicon import PronunciationLexicon
from tfvoice.text.normalize import Normalizer, normalize
from tfvoice.text.phonemes import PhonemeError, Pronunciation
from tfvoice.text.tokens import Token, Unspoken

# The run that comes with the package, from `g2p_run.pack`.
PACKAGED_RUN = Path(__file__).parent / "data" / "g2p"
# The normaliser that CMUdict and that run are for.
ENGLISH = "en"

# Words to phonemes, empty for a word that has none.
Predict = Callable[[Sequence[str]], list[Pronunciation]]


# Words of lines that are pronounced at once: a model takes some of them at a time.
_AT_ONCE = 4096


class PronouncedWord(NamedTuple):
    """A word of a text and its phonemes.

    Attributes:
      word: in lower case; of phonemes in braces, and of what cannot be spoken, these as written.
      phonemes: empty where there are none.
      by: `inline`, `lexicon`, `rule` (lexicon and an ending), `g2p`, `unknown`, `unspoken` (no word: an emoji), or
        `pause`.
      variants: all pronunciations that the lexicon has.
      start: where it begins in the text.
    """

    word: str
    phonemes: Pronunciation
    by: Literal["inline", "lexicon", "rule", "g2p", "unknown", "unspoken", "pause"]
    variants: tuple[Pronunciation, ...] = ()
    start: int = 0


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

    def pronounce(self, text: str, pauses: bool = False) -> list[PronouncedWord]:
        """The words of a text in their order, with their phonemes.

        Args:
          text: any Unicode.
          pauses: whether its pauses are among them, with the phoneme of silence.

        Raises:
          PhonemeError: braces in the text hold anything but phonemes, or have no partner.
          TfvoiceError: there is no normaliser of that name.
        """
        return self._predicted(self._looked_up(text, pauses))

    def pronounce_lines(
        self, lines: Iterable[str], source: str, at_once: int = _AT_ONCE
    ) -> Iterator[tuple[int, PronouncedWord]]:
        """The number of the line and the word, for each word of many lines.

        Args:
          lines: such as those of an open file.
          source: of the lines, for messages.
          at_once: words to collect before the model is asked.

        Raises:
          PhonemeError: as for `pronounce`; names the line, after the words before it.
        """
        numbers: list[int] = []
        pending: list[PronouncedWord] = []
        for number, line in enumerate(lines, 1):
            try:
                words = self._looked_up(line)
            except PhonemeError as error:
                yield from zip(numbers, self._predicted(pending), strict=True)
                raise PhonemeError(f"{source}: line {number}: {error}") from None
            pending += words
            numbers += [number] * len(words)
            if len(pending) >= at_once:
                yield from zip(numbers, self._predicted(pending), strict=True)
                numbers, pending = [], []
        yield from zip(numbers, self._predicted(pending), strict=True)

    def _looked_up(self, text: str, pauses: bool = False) -> list[PronouncedWord]:
        """The words of a text, with the phonemes of those that the lexicon has."""
        pronounced = []
        for segment in phonemes.split_inline(text, self._lexicon.inventory):
            if segment.phonemes is not None:
                pronounced.append(PronouncedWord(segment.text, segment.phonemes, "inline", (), segment.start))
                continue
            normalized = normalize(segment.text, self._normalizer)
            words = [token for token in normalized.tokens if pauses or not token.is_pause]
            for part in sorted([*words, *normalized.unspoken], key=lambda part: part.start):
                pronounced.append(self._look_up(part)._replace(start=segment.start + part.start))
        return pronounced

    def _look_up(self, part: Token | Unspoken) -> PronouncedWord:
        if isinstance(part, Unspoken):
            return PronouncedWord(part.text, (), "unspoken")
        if part.is_pause:
            return PronouncedWord(part.text, (phonemes.SILENCE,), "pause")
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
            one._replace(phonemes=found[one.word], by="g2p") if one.by == "unknown" and one.word in found else one
            for one in pronounced
        ]


def packaged_run(normalizer: str) -> Path | None:
    """The run that comes with the package, which is for English; None where there is none for a normaliser."""
    return PACKAGED_RUN if normalizer == ENGLISH and PACKAGED_RUN.is_dir() else None


def load_lexicon(path: str | None, normalizer: str) -> PronunciationLexicon:
    """The lexicon of a language.

    Args:
      path: the user's own. Its words go before CMUdict in English; for any other normaliser it is the whole lexicon.
      normalizer: name, see `tfvoice.text.normalize`.

    Raises:
      TfvoiceError: there is none, or it cannot be read.
    """
    if normalizer != ENGLISH:
        if not path:
            raise TfvoiceError(f"--normalizer={normalizer}: needs --lexicon=FILE, the words of the language.")
        return lexicon_.load(path)
    words = lexicon_.cmudict()
    return words.after(lexicon_.read(path, words.inventory)) if path else words


def open_text(argument: str) -> tuple[Iterable[str], str]:
    """The lines of a file or, for `-`, of the standard input, or the text itself; and what it is called in messages.

    Raises:
      TfvoiceError: the file is not there or, while its lines are read, is not UTF-8.
    """
    # Asking the system for a path of several pages is an error.
    if argument == "-" or (len(argument) < 4096 and Path(argument).is_file()):
        return lines.read(argument), "standard input" if argument == lines.STDIN else argument
    if argument.endswith(".txt") and not any(map(str.isspace, argument)):
        raise TfvoiceError(f"{argument}: no such file; name a file, or give a text in quotes.")
    return [argument], "the text"
