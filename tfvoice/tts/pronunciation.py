"""Where the phonemes of texts come from, as a configuration: a lexicon, a G2P model and a normaliser."""

import functools
from pathlib import Path
from typing import Literal

from tfvoice.config import Config
from tfvoice.errors import TfvoiceError
from tfvoice.text import lexicon as lexicon_
from tfvoice.text.lexicon import CMUDICT, PronunciationLexicon
from tfvoice.text.phonemes import SILENCE
from tfvoice.tts.g2p.predict import G2pPredictor
from tfvoice.tts.g2p.run import G2pRun
from tfvoice.tts.pronounce import PACKAGED_RUN, Pronouncer

# The value of `PronunciationConfig.g2p` for the model that comes with the package.
PACKAGED = "package"


class PronunciationConfig(Config):
    """Where the phonemes of a text come from.

    Attributes:
      lexicon: `cmudict`, or a file in its format, such as one of another language.
      own_lexicon: a file whose words go before those of `lexicon`; empty: none.
      g2p: for words that the lexicon lacks: `package`, the G2P model that comes with tfvoice, for CMUdict alone, or
        the folder of a run of `tfvoice_train --model=g2p`; empty: utterances with such words are skipped.
      normalizer: of the language of the texts, as in `tfvoice.text.normalize`.
      variants: whether a word may be spoken as any of its pronunciations in the lexicon, or only as the first.
    """

    lexicon: str = CMUDICT
    own_lexicon: str = ""
    g2p: str = PACKAGED
    normalizer: Literal["en", "plain"] = "en"
    variants: bool = False

    def files(self) -> dict[str, str]:
        """The paths among the values, by their names."""
        named = {name: getattr(self, name) for name in ("lexicon", "own_lexicon", "g2p")}
        return {name: path for name, path in named.items() if path not in ("", CMUDICT, PACKAGED)}

    def described(self) -> str:
        """The lexicons in the order in which words are looked up, for a model card."""
        return " after ".join(filter(None, (self.lexicon, self.own_lexicon)))


class PronunciationSources:
    """The lexicon, the G2P model and the normaliser of a configuration; each is loaded when it is first used.

    Args:
      config: what they are.
      folder: that relative paths start from.
    """

    def __init__(self, config: PronunciationConfig, folder: str | Path):
        self._config, self._folder = config, Path(folder)

    @functools.cached_property
    def lexicon(self) -> PronunciationLexicon:
        """The lexicon, own words first; raises `TfvoiceError` where it cannot be read."""
        chosen = self._config
        lexicon = lexicon_.load(chosen.lexicon if chosen.lexicon == CMUDICT else str(self._folder / chosen.lexicon))
        if SILENCE in lexicon.inventory.bases[1:]:
            raise TfvoiceError(f"{lexicon.source}: has the phoneme {SILENCE}, which means silence here; rename it.")
        if not chosen.own_lexicon:
            return lexicon
        return lexicon.after(lexicon_.read(self._folder / chosen.own_lexicon, lexicon.inventory))

    @functools.cached_property
    def g2p(self) -> G2pRun | None:
        """The G2P model; None where there is none. Raises `TfvoiceError` where it cannot be loaded."""
        chosen = self._config
        if chosen.g2p == PACKAGED:
            return G2pRun.load(PACKAGED_RUN) if chosen.lexicon == CMUDICT else None
        return G2pRun.load(self._folder / chosen.g2p) if chosen.g2p else None

    @functools.cached_property
    def pronouncer(self) -> Pronouncer:
        """Texts to words with phonemes."""
        has_g2p = self._config.lexicon == CMUDICT if self._config.g2p == PACKAGED else bool(self._config.g2p)
        return Pronouncer(self.lexicon, self._predict if has_g2p else None, self._config.normalizer)

    @functools.cached_property
    def _predict(self):
        return G2pPredictor(self.g2p).pronounce
