"""The last step of `make demo`: transcribes a few clips with the command line and prints a summary.

  python tests/demo.py demo

Expects the converted corpus in `demo/records` and the trained and evaluated run in `demo/run`.
"""

import json
import subprocess
import sys
from pathlib import Path

from tfvoice.cli.command import load_tensorflow

load_tensorflow()

from tfvoice.asr.recognizer import Recognizer  # noqa: E402 (load_tensorflow must come first)

CORPUS = Path(__file__).parent / "data" / "asterisk"
HELD_OUT_CLIPS = 3


def main(folder: Path) -> None:
    """Prints references and hypotheses of held-out and of training clips, the error rates, and what to run next."""
    run_dir = folder / "run"
    report = json.loads((run_dir / "report" / "eval-test.json").read_text(encoding="utf-8"))
    # The report is ordered by length: evenly spaced picks are a short, a medium and a long clip.
    test_ids = [result["id"] for result in report["results"]]
    places = [len(test_ids) * number // (2 * HELD_OUT_CLIPS) for number in range(1, 2 * HELD_OUT_CLIPS, 2)]
    held_out = [test_ids[place] for place in places]
    training = sorted(Recognizer.open(run_dir).scan(folder / "records", "train").ids)[50:52]
    print(f"\n{'-' * 78}")
    for title, ids in (("Held-out clips", held_out), ("Training clips", training)):
        print(f"{title}, transcribed by tfvoice_transcribe:")
        for clip_id, hypothesis in zip(ids, _transcribe(run_dir, ids), strict=True):
            reference = (CORPUS / "txt" / "p900" / f"{clip_id}.txt").read_text(encoding="utf-8").strip()
            print(f"  reference   {reference}\n  hypothesis  {hypothesis}\n")
    wer, cer = report["wer"]["rate"], report["cer"]["rate"]
    print(f"Test split:  {report['scored']} clips, WER {wer:.1%}, CER {cer:.1%}")
    print(f"Report:      {run_dir}/report/eval-test.html")
    print(f"TensorBoard: .venv/bin/tensorboard --logdir={run_dir}/logs")
    print(f"Your audio:  .venv/bin/tfvoice_transcribe --run={run_dir} FILE")


def _transcribe(run_dir: Path, ids: list[str]) -> list[str]:
    files = [str(CORPUS / "wav48" / "p900" / f"{clip_id}.opus") for clip_id in ids]
    command = [str(Path(sys.executable).parent / "tfvoice_transcribe"), f"--run={run_dir}", "--format=json", *files]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return [json.loads(line)["text"] for line in lines]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
