"""Boundaries of tfvoice_align against speech whose segment times are known exactly, and against PocketSphinx's.

  apt-get install festival festvox-kallpc16k festvox-us-slt-hts
  python tests/benchmarks/alignment.py festival --folder=bench --texts=vctk_sentences.tsv --minutes=20
  python tests/benchmarks/alignment.py agreement --aligned=records_aligned --reference=pocketsphinx.jsonl

`festival` synthesises sentences with two voices (one of diphones, one of HMMs), writes where each segment ends, trains
the default segmentation model for so many minutes, aligns, and prints the error of the boundaries. `agreement` compares
aligned records with what pocketsphinx_alignment.py printed. The phonemes of both sides are aligned first: a boundary
counts where the phonemes on both of its sides are the same.
"""

import argparse
import hashlib
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tfvoice.data import aligned  # noqa: E402
from tfvoice.text import phonemes  # noqa: E402
from tfvoice.text.phonemes import SILENCE  # noqa: E402
from tfvoice.tts import alignment_output  # noqa: E402

VOICES = {"kal": "voice_kal_diphone", "slt": "voice_cmu_us_slt_arctic_hts"}
# Festival's phonemes that ARPAbet writes in another way.
FESTIVAL = {"pau": SILENCE, "ax": "AH", "axr": "ER", "dx": "T", "el": "L", "em": "M", "en": "N", "ix": "IH", "hv": "HH"}
VOWELS = set(phonemes.VOWELS)


class Boundary(NamedTuple):
    """A boundary of both sides: the phonemes before and after it, and the error in seconds."""

    before: str
    after: str
    error: float


def synthesise(folder: Path, texts: Path, sentences: int) -> Path:
    """Speaks sentences with each voice; returns the path of a manifest for tfvoice_convert."""
    found = sorted({line.split("\t")[1].strip() for line in texts.read_text(encoding="utf-8").splitlines()})
    plain = [text for text in found if text.isascii() and not set(text) & set('"\\()0123456789')]
    plain.sort(key=lambda text: hashlib.sha1(text.encode()).hexdigest())
    rows = ["audio\tspeaker\tsplit\ttext"]
    for number, (voice, function) in enumerate(VOICES.items()):
        script = [f"({function})"]
        for place, text in enumerate(plain[number * sentences : (number + 1) * sentences]):
            name = f"{voice}_{place:04d}"
            path = folder / name
            script.append(
                f'(set! utt (Utterance Text "{text}")) (utt.synth utt) (utt.save.segs utt "{path}.lab") '
                f'(utt.save.wave utt "{path}.wav" \'riff)'
            )
            split = "test" if place < 25 else "valid" if place < 50 else "train"
            rows.append(f"{name}.wav\t{voice}\t{split}\t{text}")
        (folder / f"{voice}.scm").write_text("\n".join(script))
        subprocess.run(["festival", "-b", str(folder / f"{voice}.scm")], check=True)
    (folder / "manifest.tsv").write_text("\n".join(rows) + "\n")
    return folder / "manifest.tsv"


def festival_segments(path: Path) -> list[tuple[str, float]]:
    """Phonemes and their ends in seconds of a file that festival wrote; silences that follow each other are one."""
    segments: list[tuple[str, float]] = []
    for line in path.read_text().splitlines()[1:]:
        end, _, phoneme = line.split()
        phoneme = FESTIVAL.get(phoneme, phoneme.upper())
        if segments and segments[-1][0] == phoneme == SILENCE:
            segments.pop()
        segments.append((phoneme, float(end)))
    return segments


def boundaries(own: list[tuple[str, float]], reference: list[tuple[str, float]]) -> list[Boundary]:
    """The boundaries that both sides have, by an alignment of the least edits of their phonemes."""
    costs = np.zeros((len(own) + 1, len(reference) + 1))
    costs[:, 0], costs[0] = np.arange(len(own) + 1), np.arange(len(reference) + 1)
    for i, (phoneme, _) in enumerate(own, 1):
        for j, (other, _) in enumerate(reference, 1):
            change = _change(phoneme, other)
            costs[i, j] = min(costs[i - 1, j] + 1, costs[i, j - 1] + 1, costs[i - 1, j - 1] + change)
    i, j, partner = len(own), len(reference), {}
    while i and j:
        if costs[i, j] == costs[i - 1, j - 1] + _change(own[i - 1][0], reference[j - 1][0]):
            i, j = i - 1, j - 1
            if own[i][0] == reference[j][0]:
                partner[i] = j
        elif costs[i, j] == costs[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return [
        Boundary(own[i][0], own[i + 1][0], own[i][1] - reference[partner[i]][1])
        for i in range(len(own) - 1)
        if i in partner and partner.get(i + 1) == partner[i] + 1
    ]


def _change(one: str, other: str) -> float:
    if one == other:
        return 0.0
    alike = SILENCE not in (one, other) and (one in VOWELS) == (other in VOWELS)
    return 0.6 if alike else 2.0


def own_segments(clip: alignment_output.AlignedClip) -> list[tuple[str, float]]:
    """Phonemes without stress of an aligned record, and their ends in seconds."""
    names = map(phonemes.base, clip.alignment.phonemes)
    return list(zip(names, (clip.alignment.ends / clip.sample_rate_hz).tolist(), strict=True))


def line(name: str, found: list[Boundary], of: int, limits_ms: tuple[int, ...]) -> str:
    """The errors of some boundaries."""
    errors = 1000 * np.array([boundary.error for boundary in found])
    shares = "  ".join(f"<= {limit} ms {np.mean(np.abs(errors) <= limit):6.1%}" for limit in limits_ms)
    counted = f"{len(errors):6d}" + (f" of {of}" if of else "")
    median, bias = np.median(np.abs(errors)), np.median(errors)
    return f"{name:<28} {counted:>16}  median {median:5.1f} ms  bias {bias:+6.1f}  {shares}"


def table(name: str, found: list[Boundary], of: int, limits_ms: tuple[int, ...]) -> None:
    """Prints the errors of all boundaries, and of those with and without silence."""
    print(line(name, found, of, limits_ms))
    silent = [boundary for boundary in found if SILENCE in boundary[:2]]
    print(line(f"{name}, with silence", silent, 0, limits_ms))
    print(line(f"{name}, of speech", [one for one in found if SILENCE not in one[:2]], 0, limits_ms), flush=True)


def festival(arguments) -> None:
    """Synthesises, trains, aligns and compares; what is there already is not made again."""
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "manifest.tsv").exists():
        synthesise(folder, arguments.texts, arguments.sentences)
    data, run, output = folder / "records", folder / "run", folder / "aligned"
    commands = (
        ("convert", "--corpus=manifest", f"--input={folder}/manifest.tsv", f"--output={data}"),
        ("train", "--model=segmentation", f"--data={data}", f"--run={run}", f"--max_minutes={arguments.minutes}")
        + (f"--set=training.epochs={arguments.epochs}",) * bool(arguments.epochs),
        ("eval", f"--run={run}"),
        ("align", f"--run={run}", f"--data={data}", f"--output={output}", f"--textgrid={folder}/textgrids"),
    )
    for command, *flags in commands:
        subprocess.run([sys.executable, ROOT / "bin" / f"tfvoice_{command}", *flags], check=True)
    found, of = {(voice, split): [] for split in ("test", "train") for voice in VOICES}, dict.fromkeys(VOICES, 0)
    of = dict.fromkeys(found, 0)
    for voice, split in found:
        for clip in alignment_output.clips(output, split):
            name = Path(clip.id).name
            if name.startswith(voice):
                reference = festival_segments(folder / f"{name}.lab")
                found[voice, split] += boundaries(own_segments(clip), reference)
                of[voice, split] += len(reference) - 1
    limits_ms = (20, 40)
    for (voice, split), each in found.items():
        table(f"{voice}, {split}", each, of[voice, split], limits_ms)
    table("all", list(itertools.chain.from_iterable(found.values())), sum(of.values()), limits_ms)


def agreement(arguments) -> None:
    """Compares aligned records with the lines of a file: `id` and `phones`, (phoneme, start, end) in seconds."""
    lines = [json.loads(text) for text in arguments.reference.read_text().splitlines()]
    references = {one["id"]: [(phone.rstrip("012"), end) for phone, _, end in one["phones"]] for one in lines}
    found, of = [], 0
    for split in aligned.read_manifest(arguments.aligned).splits:
        for clip in alignment_output.clips(arguments.aligned, split):
            if reference := references.get(Path(clip.id).name):
                found += boundaries(own_segments(clip), reference)
                of += len(reference) - 1
    table("PocketSphinx", found, of, (20, 50))


def main() -> None:
    """Runs one of the comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    known = commands.add_parser("festival")
    known.add_argument("--folder", type=Path, required=True, help="for everything that is made")
    known.add_argument("--texts", type=Path, required=True, help="lines of an id, a tab and a sentence")
    known.add_argument("--sentences", type=int, default=600, help="for each voice (default 600: 25 minutes)")
    known.add_argument("--minutes", type=float, default=20, help="of training (default 20)")
    known.add_argument("--epochs", type=int, default=0, help="of the schedule; 0: the default")
    known.set_defaults(run=festival)
    other = commands.add_parser("agreement")
    other.add_argument("--aligned", type=Path, required=True, help="records of tfvoice_align")
    other.add_argument("--reference", type=Path, required=True, help="what pocketsphinx_alignment.py printed")
    other.set_defaults(run=agreement)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
