"""Writes the G2P model that the package holds, from a trained run, and prints its error rates with float16 weights.

python tests/data/make_g2p.py runs/g2p
"""

import shutil
import sys

from tfvoice.tts.g2p import evaluate
from tfvoice.tts.g2p import run as run_
from tfvoice.tts.g2p.run import G2pRun
from tfvoice.tts.pronounce import PACKAGED_RUN

if __name__ == "__main__":
    shutil.rmtree(PACKAGED_RUN, ignore_errors=True)
    folder = run_.pack(G2pRun.load(sys.argv[1]), PACKAGED_RUN)
    report, _ = evaluate.evaluate_run(folder, split="test")
    shutil.rmtree(folder / "report")
    print(evaluate.as_text(report, 0))
    print(f"{folder}: {sum(path.stat().st_size for path in folder.rglob('*')) / 1e6:.2f} MB")
