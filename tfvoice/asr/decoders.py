"""From logits to labels: the decoders by name, and the weights that a run remembers for its language model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import pydantic
import tensorflow as tf

from tfvoice import ctc
from tfvoice.asr.language_model import LanguageModel, Search
from tfvoice.config import Config
from tfvoice.errors import TfvoiceError
from tfvoice.lengths import Sequence
from tfvoice.text.alphabet import Alphabet
from tfvoice.training import checkpoints

FILE = "decoder.json"

Name = Literal["greedy", "beam", "lm"]
DECODERS = get_args(Name)


class DecoderConfig(Config):
    """How text is found in the output of a network.

    Attributes:
      name: `greedy`, the best class of each frame; `beam`, the best sum over paths; `lm`, also asks a language model.
      beam_width: prefixes that are kept after each frame.
      lm: path of an ARPA file or a KenLM binary.
      lm_weight: of ln of the language model's probability.
      word_score: added for each word.
      lexicon: whether only words of the language model can be read.
    """

    name: Name = "greedy"
    beam_width: int = pydantic.Field(100, ge=1)
    lm: str | None = None
    lm_weight: float = pydantic.Field(0.5, ge=0, allow_inf_nan=False)
    word_score: pydantic.FiniteFloat = 0.0
    lexicon: bool = True

    def __str__(self) -> str:
        if self.name == "greedy":
            return self.name
        if self.name == "beam":
            return f"beam of {self.beam_width}"
        words = "its words only" if self.lexicon else "any word"
        return (
            f"lm {Path(self.lm or '').name}, {words}, weight {self.lm_weight:g}, word score {self.word_score:g}, "
            f"beam of {self.beam_width}"
        )


class Decoder(NamedTuple):
    """A decoder that is ready.

    Attributes:
      labels: logits to ragged int32 `[batch, (labels)]`; works in a graph too.
      break_class: the class at which a long recording can be cut in two without changing what is read.
    """

    labels: Callable[[Sequence], tf.RaggedTensor]
    break_class: int


def build(config: DecoderConfig, alphabet: Alphabet) -> Decoder:
    """Makes a decoder; raises `TfvoiceError` where its language model cannot be used."""
    blank = alphabet.size
    if config.name == "greedy":
        return Decoder(lambda logits: ctc.greedy(logits).ids, blank)
    if config.name == "beam":
        return Decoder(lambda logits: ctc.beam(logits, config.beam_width).ids, blank)
    if not config.lm:
        raise TfvoiceError(
            "--decoder=lm: needs --lm=FILE, an ARPA file or a KenLM binary, or a run that tfvoice_tune_lm has tuned."
        )
    model = LanguageModel(config.lm, alphabet)
    model.warn()
    search = search_with(model, config)
    return Decoder(search, search.break_class)


def search_with(model: LanguageModel, config: DecoderConfig) -> Search:
    """Makes the search of the decoder `lm` with a model that is loaded."""
    return Search(model, config.beam_width, config.lm_weight, config.word_score, config.lexicon)


def choose(run_dir: str | Path | None, name: str = "greedy", lexicon: bool = True, **given) -> DecoderConfig:
    """Puts the settings of a decoder together: what is given, then what the run remembers, then the defaults.

    What a run remembers belongs to one language model, and is not used with another.

    Args:
      run_dir: folder of the run; None: nothing is remembered.
      name: of the decoder.
      lexicon: as in `DecoderConfig`.
      given: other attributes of `DecoderConfig`; None where nothing was said.

    Raises:
      TfvoiceError: there is no such decoder, or a number is out of range.
    """
    if name not in DECODERS:
        raise TfvoiceError(f"--decoder={name}: there is no such decoder; use one of {', '.join(DECODERS)}.")
    remembered = _remembered(run_dir).get(_key(lexicon)) if name == "lm" and run_dir is not None else None
    other = remembered and given.get("lm") and Path(given["lm"]).resolve() != Path(remembered.lm or "")
    values = remembered.model_dump() if remembered and not other else {}
    values |= {key: value for key, value in given.items() if value is not None}
    try:
        return DecoderConfig(**{**values, "name": name, "lexicon": lexicon})
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise TfvoiceError(f"--{first['loc'][0]}={first['input']}: {first['msg'].lower()}.") from None


def remember(run_dir: str | Path, config: DecoderConfig) -> Path:
    """Writes the settings of the decoder `lm` into a run, where `choose` finds them; returns the path."""
    path = Path(run_dir) / FILE
    found = {**_remembered(run_dir), _key(config.lexicon): config}
    content = {key: each.model_dump(exclude={"name", "lexicon"}) for key, each in found.items()}
    checkpoints.write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())
    return path


def _key(lexicon: bool) -> str:
    return "lexicon" if lexicon else "any_word"


def _remembered(run_dir: str | Path) -> dict[str, DecoderConfig]:
    path = Path(run_dir) / FILE
    if not path.is_file():
        return {}
    try:
        content = dict(json.loads(path.read_text(encoding="utf-8")))
        return {
            _key(lexicon): DecoderConfig(**{**content[_key(lexicon)], "name": "lm", "lexicon": lexicon})
            for lexicon in (True, False)
            if _key(lexicon) in content
        }
    except (ValueError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise TfvoiceError(f"{path}: is damaged ({reason}); delete it, or run tfvoice_tune_lm again.") from None
