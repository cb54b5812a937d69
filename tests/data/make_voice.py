"""Writes the voice that the package holds, from a trained voice, and prints its size; fails above 8 MB.

python tests/data/make_voice.py voices/kathleen "rhasspy/dataset-voice-kathleen, 55 minutes of one speaker" "CC0 1.0"

The second and third argument are the training data and their licence, for the card.
"""

import re
import shutil
import sys

from tfvoice import storage
from tfvoice.export import model_card
from tfvoice.tts.voice.run import PACKAGED_VOICE, VoiceRun
from tfvoice.tts.voice.speaker import Speaker
from tfvoice.tts.voice.task import VOICE

_LIMIT_BYTES = 8_000_000

if __name__ == "__main__":
    source = VoiceRun.load(sys.argv[1])
    shutil.rmtree(PACKAGED_VOICE, ignore_errors=True)
    folder = source.pack(PACKAGED_VOICE)
    # With the results of `tfvoice_eval` that lie in the trained voice.
    card = model_card.write(VOICE, source, source.loaded)
    for row, value in zip(("training data", "licence of the data"), sys.argv[2:4], strict=True):
        card, count = re.subn(rf"^\| {row} \|.*$", f"| {row} | {value} |", card, flags=re.MULTILINE)
        assert count == 1, row
    storage.write(folder / "model_card.md", card)
    planned = Speaker(VoiceRun.load(folder)).plan("Please call Stella.")
    print(f"Please call Stella: {' '.join(planned.alignment.phonemes)}")
    sizes = {path.relative_to(folder): path.stat().st_size for path in sorted(folder.rglob("*")) if path.is_file()}
    for path, size in sizes.items():
        print(f"{size / 1e6:6.2f} MB {path}")
    print(f"{sum(sizes.values()) / 1e6:6.2f} MB {folder}")
    if sum(sizes.values()) > _LIMIT_BYTES:
        sys.exit(f"{folder}: is larger than {_LIMIT_BYTES / 1e6:g} MB.")
