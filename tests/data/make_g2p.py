"""Writes the G2P model that the package holds, from a trained run, and prints its error rates with float16 weights.

python tests/data/make_g2p.py runs/g2p
"""

import shutil
import sys

from tfvoice import storage
from tfvoice.export import model_card
from tfvoice.tts.g2p import evaluate
from tfvoice.tts.g2p.run import G2pRun
from tfvoice.tts.g2p.task import G2P
from tfvoice.tts.pronounce import PACKAGED_RUN

if __name__ == "__main__":
    shutil.rmtree(PACKAGED_RUN, ignore_errors=True)
    folder = G2pRun.load(sys.argv[1]).pack(PACKAGED_RUN)
    report, _ = evaluate.evaluate_run(folder, split="test")
    storage.write(folder / "model_card.md", model_card.write(G2P, G2pRun.load(folder), "best"))
    shutil.rmtree(folder / "report")
    print(evaluate.as_text(report, 0))
    print(f"{folder}: {sum(path.stat().st_size for path in folder.rglob('*')) / 1e6:.2f} MB")
