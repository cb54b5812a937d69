"""Writes the G2P model that the package holds, from a trained run, and prints its error rates with float16 weights.

python tests/data/make_g2p.py runs/g2p
"""

import shutil
import sys

from tfvoice.tts import g2p_evaluate, g2p_run
from tfvoice.tts.g2p_run import G2pRun
from tfvoice.tts.pronounce import PACKAGED_RUN

if __name__ == "__main__":
    shutil.rmtree(PACKAGED_RUN, ignore_errors=True)
    folder = g2p_run.pack(G2pRun.load(sys.argv[1]), PACKAGED_RUN)
    report, _ = g2p_evaluate.evaluate_run(folder, split="test")
    shutil.rmtree(folder / "report")
    print(g2p_evaluate.as_text(report, 0))
    print(f"{folder}: {sum(path.stat().st_size for path in folder.rglob('*')) / 1e6:.2f} MB")
