"""Last part of `make demo`: transcribes clips with the command, and sums up in a few lines.

  python tests/demo.py demo

`demo/records` and `demo/run` are there by then.
"""

import json
import subprocess
import sys
from pathlib import Path

from tfvoice.cli.flags import load_tensorflow

load_tensorflow()

from tfvoice.asr.recognizer import Recognizer  # noqa: E402 (after the quiet import)

CORPUS = Path(__file__).parent / "data" / "asterisk"
SHOWN = 3


def main(folder: Path) -> None:
    """Prints truth and hypothesis of a few held-out and a few training clips, and where to look further."""
    report = json.loads((folder / "run" / "report" / "eval-test.json").read_text(encoding="utf-8"))
    held_out = [reading["id"] for reading in report["readings"]]
    # Evenly spread over what was held out, which is in order of length: one short, one middling, one long.
    chosen = [held_out[len(held_out) * place // (2 * SHOWN)] for place in range(1, 2 * SHOWN, 2)]
    training = sorted(Recognizer.open(folder / "run").scan(folder / "records", "train").ids)[50:52]
    print(f"\n{'-' * 78}")
    for title, ids in (("Held-out clips", chosen), ("Training clips", training)):
        print(f"{title}, read by tfvoice_transcribe:")
        for name, heard in _transcribed(folder / "run", ids):
            print(f"  said   {(CORPUS / 'txt' / 'p900' / f'{name}.txt').read_text(encoding='utf-8').strip()}")
            print(f"  heard  {heard}\n")
    words, characters = report["wer"]["rate"], report["cer"]["rate"]
    print(f"Held out: {report['utterances']} clips, WER {words:.1%}, CER {characters:.1%}")
    print(f"Report:   {folder}/run/report/eval-test.html")
    print(f"Curves:   .venv/bin/tensorboard --logdir={folder}/run/logs")
    print(f"Yours:    .venv/bin/tfvoice_transcribe --run={folder}/run FILE")


def _transcribed(run: Path, ids: list[str]) -> list[tuple[str, str]]:
    files = [str(CORPUS / "wav48" / "p900" / f"{name}.opus") for name in ids]
    command = [str(Path(sys.executable).parent / "tfvoice_transcribe"), f"--run={run}", "--format=json", *files]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [(name, json.loads(line)["text"]) for name, line in zip(ids, lines, strict=True)]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
