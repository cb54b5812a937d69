"""The flags of commands that decode the output of a recogniser: the decoder, and its language model."""

from typing import Any

from tfvoice.cli.flags import Flags, UsageError

# Written here as well as in `tfvoice.asr.decoders`, which imports TensorFlow; a test compares them.
DECODERS = ("greedy", "beam", "lm")


class DecoderFlags:
    """The decoder flags of a command.

    Args:
      flags: the flags of the command, to which these are added.
      tuning: whether the command searches for the weights of a language model; it then has only the decoder `lm`, and
        no flags for the weights.
    """

    def __init__(self, flags: Flags, tuning: bool = False):
        self._decoder, self._weights = None, {}
        if not tuning:
            self._decoder = flags.choice(
                "decoder",
                DECODERS,
                "greedy is fastest; beam is slower and a little more accurate; lm is a beam search with a language "
                "model.",
                "greedy",
            )
        default = "" if tuning else " Default: the one that tfvoice_tune_lm tuned for this run."
        self._lm = flags.string(
            "lm",
            f"Word language model for --decoder=lm: an ARPA file or a KenLM binary.{default}",
            metavar="FILE",
            required=tuning,
        )
        if not tuning:
            tuned = "Default: the value that tfvoice_tune_lm found."
            self._weights = {
                "lm_weight": flags.number("lm_weight", f"With lm, weight of the language model's score. {tuned}"),
                "word_score": flags.number(
                    "word_score", f"With lm, score added for each word; negative gives fewer words. {tuned}"
                ),
            }
            self._weights["hotwords"] = flags.string(
                "hotwords",
                "With lm, a file of expected words and phrases, one a line, each perhaps with a tab and a weight "
                "(default 10).",
                metavar="FILE",
            )
        # Tuning does not start from an earlier result.
        default = "Default: 100." if tuning else "Default: 100, or with lm the tuned value."
        self._beam_width = flags.integer("beam_width", f"Prefixes that a beam search keeps. {default}", None, 1)
        self._lexicon = flags.boolean(
            "lexicon", "A search with a language model finds only words of its vocabulary.", True
        )

    @property
    def name(self) -> str:
        """The decoder that the command line selects."""
        return "lm" if self._decoder is None else self._decoder.value

    def settings(self) -> dict[str, Any]:
        """The arguments of `decoders.choose` that the command line sets; empty for greedy decoding.

        Raises:
          UsageError: a flag belongs to another decoder.
        """
        of_lm = {"--lm": self._lm, "--[no]lexicon": self._lexicon}
        of_lm |= {f"--{name}": flag for name, flag in self._weights.items()}
        for flag, holder in of_lm.items():
            if holder.present and self.name != "lm":
                raise UsageError(f"{flag} is for --decoder=lm; add that, or leave it out.")
        if self._beam_width.present and self.name == "greedy":
            raise UsageError("--beam_width is for --decoder=beam or lm; add one of these, or leave it out.")
        if self.name == "greedy":
            return {}
        flags = {"lm": self._lm, "beam_width": self._beam_width, **self._weights, "lexicon": self._lexicon}
        return {"name": self.name} | {name: flag.value for name, flag in flags.items() if flag.present}
