"""Transcribes WAV files of 16 kHz with PocketSphinx and prints a JSON line for each: `file`, `text`.

  pip install pocketsphinx==5.1.1 soundfile numpy        # in an environment of its own; nothing of tfvoice is needed
  python tests/benchmarks/pocketsphinx_transcripts.py FOLDER > transcripts.jsonl

Acoustic model, language model and lexicon are those that come with the package. Clips get 0.2 s of quiet noise on
either side, which the decoder needs to adapt to the level.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pocketsphinx
import soundfile

PADDING = 3200


def main() -> None:
    """Transcribes every WAV file of a folder and its subfolders."""
    noise = np.random.default_rng(0).normal(0, 20, PADDING).astype(np.int16)
    for path in sorted(Path(sys.argv[1]).rglob("*.wav")):
        samples, rate_hz = soundfile.read(path, dtype="int16")
        assert rate_hz == 16000 and samples.ndim == 1, path
        # A decoder adapts to what it has processed: each clip gets a new one.
        decoder = pocketsphinx.Decoder(logfn="/dev/null")
        decoder.start_utt()
        decoder.process_raw(np.concatenate([noise, samples, noise]).tobytes(), full_utt=True)
        decoder.end_utt()
        found = decoder.hyp()
        text = found.hypstr if found else ""
        print(json.dumps({"file": str(path.relative_to(sys.argv[1])), "text": text}), flush=True)


if __name__ == "__main__":
    main()
