"""Aligns a corpus with PocketSphinx and prints a JSON line for each clip: `id`, `phones`: [phoneme, start, end] in s.

  pip install pocketsphinx==5.1.1 soundfile numpy        # in an environment of its own; nothing of tfvoice is needed
  python tests/benchmarks/pocketsphinx_alignment.py kathleen/manifest.tsv cmudict.dict > pocketsphinx.jsonl

The manifest has columns `audio` and `text`, 16 kHz. The acoustic model comes with the package; the lexicon is a file in
the format of CMUdict. A first pass finds the words, a second one their phones, in frames of 10 ms. Clips get 0.2 s of
quiet noise on either side, which the decoder needs to adapt to the level.
"""

import csv
import json
import re
import sys
import tempfile
from pathlib import Path

import numpy as np
import pocketsphinx
import soundfile

RATE_HZ, FRAME_SAMPLES, PADDING = 16000, 160, 3200


def words(text: str) -> list[str]:
    """The words of a text."""
    return [word.strip("'") for word in re.findall(r"[a-z']+", text.lower()) if word.strip("'")]


def read_lexicon(path: str) -> dict[str, list[str]]:
    """Pronunciations without stress, as texts, by word."""
    lexicon: dict[str, list[str]] = {}
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        word, _, phonemes = line.partition("#")[0].strip().partition(" ")
        pronunciation = re.sub(r"\d", "", phonemes)
        known = lexicon.setdefault(re.sub(r"\(\d+\)$", "", word), [])
        if phonemes and pronunciation not in known:
            known.append(pronunciation)
    return lexicon


def align(decoder, samples: np.ndarray, text: list[str]) -> list[tuple[str, float, float]]:
    """The phones of a clip with their starts and ends in seconds; raises RuntimeError where there is no alignment."""
    noise = np.random.default_rng(0).normal(0, 20, PADDING).astype(np.int16)
    data = np.concatenate([noise, samples, noise]).tobytes()
    decoder.set_align_text(" ".join(text))
    for number in range(2):
        if number:
            decoder.set_alignment()
        decoder.start_utt()
        decoder.process_raw(data, full_utt=True)
        decoder.end_utt()
    phones = []
    for word in decoder.get_alignment():
        for phone in word:
            start = (phone.start * FRAME_SAMPLES - PADDING) / RATE_HZ
            end = start + phone.duration * FRAME_SAMPLES / RATE_HZ
            name = phone.name if phone.name.isalpha() and phone.name != "SIL" else "sil"
            if phones and phones[-1][0] == name == "sil":
                start = phones.pop()[1]
            phones.append((name, round(start, 3), round(end, 3)))
    return phones


def main() -> None:
    """Aligns every clip whose words are in the lexicon."""
    manifest, lexicon = Path(sys.argv[1]), read_lexicon(sys.argv[2])
    with open(manifest, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    with tempfile.NamedTemporaryFile("w", suffix=".dict") as dictionary:
        for word in sorted({word for row in rows for word in words(row["text"])} & lexicon.keys()):
            for number, pronunciation in enumerate(lexicon[word]):
                dictionary.write(f"{word}{f'({number + 1})' if number else ''} {pronunciation}\n")
        dictionary.flush()
        model = Path(pocketsphinx.__file__).parent / "model" / "en-us" / "en-us"
        options = {"hmm": str(model), "lm": None, "dict": dictionary.name, "bestpath": False, "logfn": "/dev/null"}
        decoder = pocketsphinx.Decoder(**options)
        for row in rows:
            text = words(row["text"])
            if not set(text) <= lexicon.keys():
                continue
            samples, _ = soundfile.read(manifest.parent / row["audio"], dtype="int16")
            try:
                phones = align(decoder, samples, text)
            except RuntimeError:
                continue
            print(json.dumps({"id": Path(row["audio"]).stem, "phones": phones}), flush=True)


if __name__ == "__main__":
    main()
