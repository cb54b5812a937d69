"""Compares the transcripts of an exported model with those of its run, at several sample rates of the files.

  python tests/benchmarks/same_text.py --run=runs/english --model=models/english/1 recordings/ more_recordings/

Files are resampled by soxr and written as 16-bit WAV; both sides get the same bytes. With --tflite or
--onnx as well, TFLite's interpreter or ONNX Runtime gets the samples at the run's rate. Recordings longer than the
clips of the training go through both in windows.
"""

import argparse
import functools
import io
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import soundfile
import soxr
import tensorflow as tf

from tfvoice import ctc
from tfvoice.asr import metrics
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.transcribe import Transcriber
from tfvoice.audio import io as audio_io
from tfvoice.export import tflite


def main() -> int:
    """Returns 1 where a text differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", required=True)
    parser.add_argument("--model", required=True, help="folder that tfvoice_export wrote for it")
    parser.add_argument("--rates", default="8000,11025,16000,22050,44100,48000", help="in Hz")
    parser.add_argument("--most", type=int, default=100, help="files of each folder (default 100)")
    parser.add_argument("--tflite", help="a .tflite file of the same run")
    parser.add_argument("--onnx", help="an .onnx file of the same run")
    parser.add_argument("folders", nargs="+", type=Path)
    flags = parser.parse_args()
    paths = [path for folder in flags.folders for path in _audio_below(folder)[: flags.most]]
    transcriber = Transcriber(Recognizer.load(flags.run))
    transcribe = tf.saved_model.load(flags.model).signatures["serving_default"]
    print(f"TensorFlow {tf.__version__}, {len(paths)} files")
    differing = 0
    for rate_hz in map(int, flags.rates.split(",")):
        pairs = []
        for path in paths:
            data = _wav(path, rate_hz)
            text = transcribe(wav=tf.constant([data]))["text"].numpy()[0].decode()
            pairs.append((transcriber.transcribe(data).text, text))
        differing += _print_pairs(f"{rate_hz} Hz", pairs)
    if flags.tflite:
        model = Path(flags.tflite).read_bytes()
        name = f"TFLite, {len(model) / 2**20:.1f} MiB"
        compute = functools.partial(tflite.log_probabilities, model)
        differing += _compare(name, compute, flags.run, transcriber, paths)
    if flags.onnx:
        size = Path(flags.onnx).stat().st_size / 2**20
        import onnxruntime

        session = onnxruntime.InferenceSession(flags.onnx, providers=["CPUExecutionProvider"])

        def compute(samples):
            inputs = {"waveform": samples[np.newaxis], "samples": np.int32([len(samples)])}
            return session.run(["log_probs"], inputs)[0][0]

        differing += _compare(f"ONNX Runtime, {size:.1f} MiB", compute, flags.run, transcriber, paths)
    return int(differing > 0)


def _compare(name: str, compute: Callable, folder: str, transcriber: Transcriber, paths: list[Path]) -> int:
    """Compares the texts of `compute`, samples to log probabilities `[frames, classes]`, with those of the run."""
    run = Recognizer.load(folder)
    rate_hz, pairs, audio_seconds, seconds = run.config.features.sample_rate_hz, [], 0.0, 0.0
    for path in paths:
        data = _wav(path, rate_hz)
        samples = audio_io.read(data, rate_hz)
        started = time.perf_counter()
        values = compute(samples)
        seconds, audio_seconds = seconds + time.perf_counter() - started, audio_seconds + len(samples) / rate_hz
        text = " ".join(run.alphabet.decode(ctc.best_path(values)[0]).split())
        pairs.append((transcriber.transcribe(data).text, text))
    return _print_pairs(f"{name}, {seconds / audio_seconds:.4f} of real time", pairs)


def _print_pairs(name: str, pairs: list[tuple[str, str]]) -> int:
    """Prints how many texts are equal, and the first that are not; returns how many are not."""
    differing = [pair for pair in pairs if pair[0] != pair[1]]
    characters = sum(len(of_run) for of_run, _ in pairs)
    errors = sum(metrics.character_errors(*pair).total for pair in differing)
    print(f"{name}: {len(pairs) - len(differing)} of {len(pairs)} equal, {errors} of {characters} characters differ")
    for of_run, exported in differing[:5]:
        print(f"  {of_run}\n  {exported}")
    return len(differing)


def _audio_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in (".wav", ".flac", ".opus"))


def _wav(path: Path, rate_hz: int) -> bytes:
    samples, from_hz = soundfile.read(path, dtype="float32")
    data = io.BytesIO()
    soundfile.write(data, np.clip(soxr.resample(samples, from_hz, rate_hz), -1, 1), rate_hz, "PCM_16", format="WAV")
    return data.getvalue()


if __name__ == "__main__":
    sys.exit(main())
