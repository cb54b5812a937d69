"""From logits to labels: the decoders by name, and the language model weights that a run keeps."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import pydantic
import tensorflow as tf

from tfvoice import ctc, storage
from tfvoice.asr import lexicon as lexicon_
from tfvoice.asr.language_model import Hypothesis, LanguageModel, Search
from tfvoice.config import Config
from tfvoice.errors import TfvoiceError
from tfvoice.lengths import Sequence
from tfvoice.text.alphabet import Alphabet

FILE = "decoder.json"

Name = Literal["greedy", "beam", "lm"]
DECODERS = get_args(Name)


class DecoderConfig(Config):
    """How the output of a network is decoded.

    Attributes:
      name: `greedy`, the best class of each frame; `beam`, prefix beam search; `lm`, beam search with a language model.
      beam_width: prefixes that are kept after each frame.
      lm: path of an ARPA file or a KenLM binary.
      lm_weight: of ln of the language model's probability.
      word_score: added for each word.
      lexicon: whether only words of the language model can be recognised.
      hotwords: path of a file of expected words and phrases, for `lm`; see `lexicon.read_hotwords`.
      nbest: how many texts a transcript lists, for `lm`; 1: only the best.
    """

    name: Name = "greedy"
    beam_width: int = pydantic.Field(100, ge=1)
    lm: str | None = None
    lm_weight: float = pydantic.Field(0.5, ge=0, allow_inf_nan=False)
    word_score: pydantic.FiniteFloat = 0.0
    lexicon: bool = True
    hotwords: str | None = None
    nbest: int = pydantic.Field(1, ge=1)

    def __str__(self) -> str:
        if self.name == "greedy":
            return self.name
        if self.name == "beam":
            return f"beam of {self.beam_width}"
        words = "its words only" if self.lexicon else "any word"
        hotwords = f", hotwords {Path(self.hotwords).name}" if self.hotwords else ""
        return (
            f"lm {Path(self.lm or '').name}, {words}, weight {self.lm_weight:g}, word score {self.word_score:g}, "
            f"beam of {self.beam_width}{hotwords}"
        )


class Decoder(NamedTuple):
    """A decoder that is built.

    Attributes:
      labels: logits to ragged int32 `[batch, (labels)]`, eagerly or in a graph.
      break_class: the class at which a long recording can be split without changing the text.
      n_best: log probabilities `[frames, classes]` and a number to so many hypotheses, the best first; None: there is
        only one.
    """

    labels: Callable[[Sequence], tf.RaggedTensor]
    break_class: int
    n_best: Callable[[np.ndarray, int], list[Hypothesis]] | None = None


def build(config: DecoderConfig, alphabet: Alphabet) -> Decoder:
    """Builds a decoder; raises `TfvoiceError` where its language model cannot be used."""
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
    return Decoder(search, search.break_class, search.n_best)


def search_with(model: LanguageModel, config: DecoderConfig) -> Search:
    """Builds the beam search of the decoder `lm` for a loaded model."""
    hotwords = lexicon_.read_hotwords(config.hotwords, model.alphabet) if config.hotwords else ()
    return Search(model, config.beam_width, config.lm_weight, config.word_score, config.lexicon, hotwords)


def choose(run_dir: str | Path | None, name: str = "greedy", lexicon: bool = True, **options) -> DecoderConfig:
    """The configuration of a decoder: the options, then the tuned weights of the run, then the defaults.

    Tuned weights belong to one language model, and are not used with another.

    Args:
      run_dir: folder of the run; None: no tuned weights.
      name: of the decoder.
      lexicon: as in `DecoderConfig`.
      options: other attributes of `DecoderConfig`; None is no option.

    Raises:
      TfvoiceError: there is no such decoder, or a number is out of range.
    """
    if name not in DECODERS:
        raise TfvoiceError(f"--decoder={name}: there is no such decoder; use one of {', '.join(DECODERS)}.")
    tuned = _tuned(run_dir).get(_key(lexicon)) if name == "lm" and run_dir is not None else None
    other_model = tuned and options.get("lm") and Path(options["lm"]).resolve() != Path(tuned.lm or "")
    values = tuned.model_dump() if tuned and not other_model else {}
    values |= {key: value for key, value in options.items() if value is not None}
    try:
        return DecoderConfig(**{**values, "name": name, "lexicon": lexicon})
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        raise TfvoiceError(f"--{first['loc'][0]}={first['input']}: {first['msg'].lower()}.") from None


def save_tuned(run_dir: str | Path, config: DecoderConfig) -> Path:
    """Writes the tuned configuration of the decoder `lm` into a run, where `choose` looks for it; returns the path."""
    path = Path(run_dir) / FILE
    configs = {**_tuned(run_dir), _key(config.lexicon): config}
    content = {key: each.model_dump(exclude={"name", "lexicon", "hotwords", "nbest"}) for key, each in configs.items()}
    storage.write(path, (json.dumps(content, indent=2) + "\n").encode())
    return path


def _key(lexicon: bool) -> str:
    return "lexicon" if lexicon else "any_word"


def _tuned(run_dir: str | Path) -> dict[str, DecoderConfig]:
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
