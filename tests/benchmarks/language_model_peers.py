"""Decodes stored log probabilities with one implementation of CTC beam search, and prints texts and time as JSON.

A process of its own, in an environment that has the implementation: torchaudio with flashlight-text, or pyctcdecode
with kenlm. Started by language_model.py.
"""

import json
import math
import sys
import time

import numpy as np


def main() -> None:
    """Reads the search from the command line as JSON."""
    spec = json.loads(sys.argv[1])
    with np.load(spec["emissions"]) as file:
        values = np.split(file["values"], np.cumsum(file["frames"])[:-1])
    decode = {"torchaudio": _torchaudio, "pyctcdecode": _pyctcdecode}[spec["name"]](spec)
    decode(values[0])
    start = time.process_time()
    texts = [decode(rows) for rows in values]
    print(json.dumps({"seconds": time.process_time() - start, "texts": texts}))


def _torchaudio(spec):
    import torch
    from torchaudio.models.decoder import ctc_decoder

    torch.set_num_threads(1)
    # The space is a separator: `|` by convention.
    tokens = [character.replace(" ", "|") for character in spec["characters"]] + ["<blank>"]
    lexicon = None
    if spec["lexicon"]:
        lexicon = spec["emissions"] + ".lexicon"
        with open(lexicon, "w", encoding="utf-8") as file:
            file.writelines(f"{word}\t{' '.join(word)} |\n" for word in spec["words"])
    decoder = ctc_decoder(
        lexicon,
        tokens,
        lm=spec["lm"],
        beam_size=spec["beam_width"],
        beam_threshold=25,
        # KenLM's logarithms are decimal.
        lm_weight=spec["lm_weight"] * math.log(10),
        word_score=spec["word_score"],
        log_add=True,
        blank_token="<blank>",
        sil_token="|",
    )

    def decode(rows):
        hypothesis = decoder(torch.from_numpy(rows[np.newaxis]))[0][0]
        if lexicon:
            return " ".join(hypothesis.words)
        return " ".join("".join(decoder.idxs_to_tokens(hypothesis.tokens)).replace("|", " ").split())

    return decode


def _pyctcdecode(spec):
    import pyctcdecode

    decoder = pyctcdecode.build_ctcdecoder(
        [*spec["characters"], ""], spec["lm"], spec["words"], alpha=spec["lm_weight"], beta=spec["word_score"]
    )
    return lambda rows: decoder.decode(rows, beam_width=spec["beam_width"])


if __name__ == "__main__":
    main()
