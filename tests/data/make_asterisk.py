"""Makes `asterisk/` from lossless prompts: a folder with `wav/p900/*.flac` and `txt/p900/*.txt`.

python tests/data/make_asterisk.py FOLDER
"""

import shutil
import sys
from pathlib import Path

import soundfile

SPEAKER_INFO = "ID  AGE  GENDER  ACCENTS  REGION\n900  -  F  -  -\n"
# About 46 kbit/s; the README beside the clips says why.
COMPRESSION_LEVEL = 0.85


def main(source: Path, target: Path) -> None:
    for flac in sorted(source.glob("wav/*/*.flac")):
        clip = target / "wav48" / flac.parent.name / f"{flac.stem}.opus"
        clip.parent.mkdir(parents=True, exist_ok=True)
        samples, sample_rate_hz = soundfile.read(flac, dtype="float32")
        soundfile.write(clip, samples, sample_rate_hz, "OPUS", format="OGG", compression_level=COMPRESSION_LEVEL)
    shutil.copytree(source / "txt", target / "txt", dirs_exist_ok=True)
    (target / "speaker-info.txt").write_text(SPEAKER_INFO, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parent / "asterisk")
