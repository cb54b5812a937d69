"""From logits to labels: the decoders by name, and the weights that a run remembers for its language model."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import pydantic
import tensorflow as tf

from tfvoice import checkpoints, ctc
from tfvoice.config import Config
from tfvoice.errors import TfvoiceError
from tfvoice.language_model import LanguageModel, Search
from tfvoice.lengths import Sequence
from tfvoice.text import Alphabet

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
    lm_weight: float = pydantic.Field(0.5, ge=0)
    word_score: float = 0.0
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
    search = search_with(LanguageModel(config.lm, alphabet), config)
    return Decoder(search, search.break_class)


def search_with(model: LanguageModel, config: DecoderConfig) -> Search:
    """Makes the search of the decoder `lm` with a model that is loaded."""
    return Search(model, config.beam_width, config.lm_weight, config.word_score, config.lexicon)


def choose(run_dir: str | Path, name: str = "greedy", lexicon: bool = True, **given) -> DecoderConfig:
    """Puts the settings of a decoder together: what is given, then what the run remembers, then the defaults.

    Args:
      run_dir: folder of the run.
      name: of the decoder.
      lexicon: as in `DecoderConfig`.
      given: other attributes of `DecoderConfig`; None where nothing was said.

    Raises:
      TfvoiceError: there is no such decoder, or a number is out of range.
    """
    if name not in DECODERS:
        raise TfvoiceError(f"--decoder={name}: there is no such decoder; use one of {', '.join(DECODERS)}.")
    values = {key: value for key, value in given.items() if value is not None}
    remembered = _remembered(run_dir).get(_key(lexicon), {}) if name == "lm" else {}
    try:
        return DecoderConfig(**{**remembered, **values, "name": name, "lexicon": lexicon})
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise TfvoiceError(f"--{first['loc'][0]}={first['input']}: {first['msg'].lower()}.") from None


def remember(run_dir: str | Path, config: DecoderConfig) -> Path:
    """Writes the settings of the decoder `lm` into a run, where `choose` finds them; returns the path."""
    path = Path(run_dir) / FILE
    content = config.model_dump(exclude={"name", "lexicon"})
    content = {**_remembered(run_dir), _key(config.lexicon): content}
    checkpoints.write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())
    return path


def _key(lexicon: bool) -> str:
    return "lexicon" if lexicon else "any_word"


def _remembered(run_dir: str | Path) -> dict[str, dict]:
    path = Path(run_dir) / FILE
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TfvoiceError(f"{path}: is damaged ({error}); delete it, or run tfvoice_tune_lm again.") from None
