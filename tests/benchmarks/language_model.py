"""Compares the beam search with a language model to torchaudio's (flashlight-text and KenLM) and pyctcdecode's.

  python tests/benchmarks/language_model.py --run=runs/english --manifest=prompts/manifest.tsv --lm=english.arpa \\
      --peers_python=peers/bin/python

The recordings of the manifest (columns `audio` and `text`) get white noise at `--snr_db`; the network runs once, and
all searches decode the same log probabilities with the same three weights, on one core. Times are those of the CPU. The
peers are in an environment of their own:

  python -m venv peers && peers/bin/pip install torch torchaudio flashlight-text kenlm pyctcdecode
"""

import argparse
import csv
import io as memory
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import soundfile

from tfvoice.asr import metrics
from tfvoice.asr.language_model import LanguageModel, Search
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.transcribe import Transcriber
from tfvoice.audio import io

PEERS = Path(__file__).parent / "language_model_peers.py"


def main() -> None:
    """Prints a row for each search."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True)
    parser.add_argument("--manifest", required=True, type=Path)
    parser.add_argument("--lm", required=True)
    parser.add_argument("--peers_python", help="interpreter with torchaudio and pyctcdecode; without it, tfvoice alone")
    parser.add_argument("--snr_db", type=float, default=12.0)
    parser.add_argument("--lm_weight", type=float, default=0.8)
    parser.add_argument("--word_score", type=float, default=0.0)
    parser.add_argument("--beam_width", type=int, default=100)
    flags = parser.parse_args()
    recognizer = Recognizer.load(flags.run)
    values, references = _emissions(recognizer, flags.manifest, flags.snr_db)
    model = LanguageModel(flags.lm, recognizer.alphabet)
    print(f"{len(values)} recordings, {sum(map(len, values))} frames, {len(model.vocabulary.words)} words")
    with tempfile.TemporaryDirectory(prefix="tfvoice-bench-") as folder:
        emissions = f"{folder}/emissions.npz"
        np.savez(emissions, values=np.concatenate(values), frames=[len(rows) for rows in values])
        weights = {name: getattr(flags, name) for name in ("lm_weight", "word_score", "beam_width")}
        spec = {"emissions": emissions, "lm": flags.lm, "words": list(model.vocabulary.words), **weights}
        spec["characters"] = recognizer.alphabet.characters
        for lexicon in (True, False):
            _print(lexicon, "tfvoice", references, *_tfvoice(model, values, weights, lexicon))
            for name in ("torchaudio", "pyctcdecode") if flags.peers_python else ():
                # Without a lexicon, torchaudio's decoder wants a language model of characters.
                if lexicon == (name == "torchaudio"):
                    found = _peer(flags.peers_python, spec | {"name": name, "lexicon": lexicon})
                    _print(lexicon, name, references, *found)


def _emissions(recognizer: Recognizer, manifest: Path, snr_db: float) -> tuple[list[np.ndarray], list[str]]:
    """Log probabilities `[frames, classes]` and the reference of each recording."""
    transcriber, rate_hz = Transcriber(recognizer), recognizer.config.features.sample_rate_hz
    random = np.random.default_rng(0)
    values, references = [], []
    with open(manifest, encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            samples = io.read(str(manifest.parent / row["audio"]), rate_hz)
            deviation = np.sqrt(np.mean(samples**2) / 10 ** (snr_db / 10))
            noisy = samples + (deviation * random.standard_normal(len(samples))).astype(np.float32)
            values.append(transcriber.log_probabilities(_wav(noisy, rate_hz)))
            references.append(recognizer.alphabet.normalise(row["text"]))
    return values, references


def _wav(samples: np.ndarray, rate_hz: int) -> bytes:
    data = memory.BytesIO()
    soundfile.write(data, samples, rate_hz, "FLOAT", format="WAV")
    return data.getvalue()


def _tfvoice(model: LanguageModel, values: list[np.ndarray], weights: dict, lexicon: bool) -> tuple[list[str], float]:
    search = Search(model, weights["beam_width"], weights["lm_weight"], weights["word_score"], lexicon)
    search.best(values[0])
    start = time.process_time()
    texts = [search.best(rows) for rows in values]
    return texts, time.process_time() - start


def _peer(python: str, spec: dict) -> tuple[list[str], float]:
    command = [python, str(PEERS), json.dumps(spec)]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    content = json.loads(result.stdout.splitlines()[-1])
    return content["texts"], content["seconds"]


def _print(lexicon: bool, name: str, references: list[str], texts: list[str], seconds: float) -> None:
    pairs = list(zip(references, texts, strict=True))
    wer, cer = (
        metrics.rate([count(*pair) for pair in pairs]) for count in (metrics.word_errors, metrics.character_errors)
    )
    words = "its words only" if lexicon else "any word"
    print(
        f"{name:<12} {words:<15} WER {wer:6.2%}  CER {cer:6.2%}  {len(texts) / seconds:8.1f} utterances/s", flush=True
    )


if __name__ == "__main__":
    sys.exit(main())
