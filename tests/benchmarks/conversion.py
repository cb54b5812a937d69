"""Conversion of 48 kHz WAV files to shards by the command, beside a shell loop of ffmpeg that only resamples them."""

import json
import shutil
import wave
from pathlib import Path

import measure
import numpy as np
from measure import Options, Row

CLIPS, SECONDS, RATE_HZ = 300, 3, 48000
_LOOP = """
for f in "$1"/wav48/*/*.wav; do
  ffmpeg -loglevel error -y -i "$f" -ar 16000 -ac 1 "$2/$(basename "$f")" </dev/null || exit 1
done
"""


def rows(options: Options) -> list[Row]:
    """Seconds of audio per second, from disk to disk in both cases."""
    corpus, records, loop = (options.folder / name for name in ("vctk", "vctk_records", "vctk_loop"))
    make(corpus)

    def run_tfvoice() -> float:
        shutil.rmtree(records, ignore_errors=True)
        flags = ["--corpus=vctk", f"--input={corpus}", f"--output={records}"]
        seconds = measure.timed([*measure.command("tfvoice_convert"), *flags])
        splits = json.loads((records / "manifest.json").read_text(encoding="utf-8"))["splits"]
        if sum(split["utterances"] for split in splits.values()) != CLIPS:
            raise measure.Failure(f"tfvoice_convert skipped some of the {CLIPS} clips")
        return seconds

    def run_ffmpeg() -> float:
        shutil.rmtree(loop, ignore_errors=True)
        loop.mkdir()
        return measure.timed(["bash", "-c", _LOOP, "loop", str(corpus), str(loop)])

    what = f"conversion of {CLIPS} clips of {SECONDS} s at 48 kHz"
    runs = max(2, options.runs // 3)
    if not shutil.which("ffmpeg"):
        times = measure.in_turn({"tfvoice": run_tfvoice}, runs)
        notes = ("ffmpeg is missing: apt-get install ffmpeg",)
        return [Row(what, _rate(times["tfvoice"]), target=">= 5", notes=notes, seconds=times)]
    times = measure.in_turn({"tfvoice": run_tfvoice, "ffmpeg": run_ffmpeg}, runs)
    ratio = measure.median(times["ffmpeg"]) / measure.median(times["tfvoice"])
    alternative = f"ffmpeg for each file: {_rate(times['ffmpeg'])}"
    notes = (f"the whole command takes {measure.milliseconds(times['tfvoice'])}; the loop writes no shards",)
    return [Row(what, _rate(times["tfvoice"]), alternative, ratio, ">= 5", ratio >= 5, notes, times)]


def make(folder: Path) -> None:
    """Writes a corpus in the layout of VCTK 0.80, of noise with the spectrum and the syllable rate of speech."""
    random = np.random.default_rng(0)
    for number in range(CLIPS):
        speaker = f"p{225 + number // 20}"
        for kind in ("wav48", "txt"):
            (folder / kind / speaker).mkdir(parents=True, exist_ok=True)
        name = f"{speaker}_{number % 20 + 1:03d}"
        write(folder / "wav48" / speaker / f"{name}.wav", speech_like(random, SECONDS * RATE_HZ, RATE_HZ), RATE_HZ)
        (folder / "txt" / speaker / f"{name}.txt").write_text("Please call Stella.\n", encoding="utf-8")


def speech_like(random: np.random.Generator, samples: int, rate_hz: int) -> np.ndarray:
    """Noise that falls by 6 dB per octave above 500 Hz, modulated at 4 Hz, float `[samples]`."""
    frequencies = np.fft.rfftfreq(samples, 1 / rate_hz)
    spectrum = np.fft.rfft(random.standard_normal(samples)) / np.maximum(frequencies / 500, 1.0)
    noise = np.fft.irfft(spectrum, samples)
    envelope = np.maximum(np.sin(2 * np.pi * 4 * np.arange(samples) / rate_hz + random.uniform(0, 6)), 0.05)
    return 0.5 * noise * envelope / np.abs(noise * envelope).max()


def write(path: Path, samples: np.ndarray, rate_hz: int) -> None:
    """Writes a mono file of 16-bit samples."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(np.round(samples * 32767).astype("<i2").tobytes())


def _rate(seconds: list[float]) -> str:
    return f"{CLIPS * SECONDS / measure.median(seconds):.0f} audio s/s"
