"""An exported recogniser: batches of waveforms in, transcripts out."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from tfvoice import cache, storage
from tfvoice.asr.transcript import Transcript, Word
from tfvoice.errors import TfvoiceError
from tfvoice.export import metadata, saved_model
from tfvoice.remote import ObjectPath
from tfvoice.storage import Place

# Signatures from recordings; those of a stream carry a state, and a client of the server has no need to.
SIGNATURES = ("serving_default", "wav", "waveform", "log_probs")


class Predictor:
    """A SavedModel that transcribes, as `tfvoice_export` writes it.

    Args:
      folder: of the model, or of its versions, whose names are numbers; the highest version is loaded. One in an object
        store, named by its URL, is copied to this machine.

    Attributes:
      name: of the model, in URLs.
      version: number of the version.
      sample_rate_hz: of the waveforms.
      max_clip_seconds: length of the longest clips that the model was trained on.
      streams: whether the model supports streaming recognition.
      signature_defs: the names, types and shapes of the inputs and outputs of each of `SIGNATURES`.

    Raises:
      TfvoiceError: the folder holds no model of tfvoice, or one that does not transcribe.
    """

    def __init__(self, folder: str | Path):
        path = latest_version(folder)
        if isinstance(path, ObjectPath):
            path = cache.tree(path)
        saved_model.check_path(path)
        description = metadata.read(path)
        self.version = int(version) if (version := Path(os.path.abspath(path)).name).isdecimal() else 1
        self.name = served_name(path)
        damaged = f"{path}: the model does not load, it is damaged; export the run again."
        try:
            self._model = tf.saved_model.load(str(path))
            self._signatures = self._model.signatures
            self.signature_defs = _signature_defs(path)
        except (tf.errors.OpError, OSError, ValueError, KeyError, TypeError, RuntimeError, IndexError):
            raise TfvoiceError(damaged) from None
        if not _transcribes(self._signatures):
            advice = "--voice" if "speak" in self._signatures else "TensorFlow Serving"
            raise TfvoiceError(f"{path}: does not transcribe waveforms; serve it with {advice}.")
        try:
            self.sample_rate_hz = int(description["sample_rate_hz"])
            self.max_clip_seconds = float(description["max_seconds"])
        except (ValueError, KeyError, TypeError):
            raise TfvoiceError(damaged) from None
        self.streams = "stream" in self._signatures

    def bucket(self, samples: int) -> int:
        """The length in samples that a waveform is padded to: 1, 1.5, 2, 3, 4, 6, 8, 12 ... seconds."""
        second = self.sample_rate_hz
        power = second << max(0, (max(1, samples) - 1) // second).bit_length()
        return power * 3 // 4 if second < power and samples <= power * 3 // 4 else power

    def transcribe(self, waveforms: list[np.ndarray]) -> list[Transcript]:
        """Transcribes float32 waveforms `[samples]` of any lengths as one batch."""
        outputs = self._run("waveform", waveforms)
        return [self._transcript(outputs, row, len(waveform)) for row, waveform in enumerate(waveforms)]

    def log_probabilities(self, waveforms: list[np.ndarray]) -> list[np.ndarray]:
        """Log probabilities, float32 `[frames, classes]`, of waveforms as for `transcribe`."""
        outputs = self._run("log_probs", waveforms)
        return [values[:frames] for values, frames in zip(outputs["log_probs"], outputs["frames"], strict=True)]

    def metadata(self) -> dict[str, Any]:
        """The signatures as JSON, in the form of TensorFlow Serving."""
        return {
            name: {
                "inputs": _tensors(signature.inputs),
                "outputs": _tensors(signature.outputs),
                "method_name": signature.method_name,
                "defaults": {},
            }
            for name, signature in self.signature_defs.items()
        }

    def warm_up(self, batch_size: int, seconds: float) -> float:
        """Transcribes noise in batches of 1 and `batch_size`, in every bucket up to `seconds`.

        The first batch of a shape is slow, because TensorFlow allocates and caches for it: no client should wait.

        Returns:
          Seconds that the slowest batch took.
        """
        random, slowest = np.random.default_rng(0), 0.0
        for count in (1, batch_size):
            length, longest = self.sample_rate_hz, self.bucket(int(seconds * self.sample_rate_hz))
            while length <= longest:
                start = time.perf_counter()
                self.transcribe([random.normal(0, 0.1, length).astype(np.float32)] * count)
                slowest = max(slowest, time.perf_counter() - start)
                length = self.bucket(length + 1)
        return slowest

    def stream(self) -> "StreamSession":
        """Starts streaming recognition; only where `streams`."""
        return StreamSession(self._signatures)

    def _run(self, signature: str, waveforms: list[np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of a signature for waveforms of any lengths as one batch."""
        lengths = np.array([len(waveform) for waveform in waveforms], np.int32)
        padded = np.zeros([len(waveforms), self.bucket(int(lengths.max()))], np.float32)
        for row, waveform in zip(padded, waveforms, strict=True):
            row[: len(waveform)] = waveform
        outputs = self._signatures[signature](waveform=padded, samples=lengths)
        return {name: value.numpy() for name, value in outputs.items()}

    def _transcript(self, outputs: dict[str, np.ndarray], row: int, samples: int) -> Transcript:
        count = int(outputs["word_count"][row])
        columns = ("words", "word_start_seconds", "word_end_seconds", "word_confidence")
        rows = zip(*(outputs[name][row, :count].tolist() for name in columns), strict=True)
        words = [Word(word.decode(), *numbers) for word, *numbers in rows]
        confidence = float(outputs["confidence"][row]) if words else None
        return Transcript(samples / self.sample_rate_hz, outputs["text"][row].decode(), confidence, words)


class StreamSession:
    """Streaming recognition of one stream of audio; the state between chunks is kept here.

    Args:
      signatures: of the loaded model, `stream` and `stream_start` among them.
    """

    def __init__(self, signatures):
        self._step = signatures["stream"]
        self._state = signatures["stream_start"]()

    def step(self, chunk: np.ndarray, final: bool) -> str:
        """Feeds float32 samples `[samples]`, the last ones if `final`; returns the characters recognised since."""
        outputs = self._step(chunk=tf.constant(chunk, tf.float32), final=tf.constant(final), **self._state)
        text = outputs.pop("text").numpy().decode()
        self._state = outputs
        return text


def latest_version(folder: str | Path) -> Place:
    """The folder itself if it holds a model, otherwise the highest version in it."""
    folder = storage.place(folder)
    if (folder / "saved_model.pb").is_file():
        return folder
    numbers = [path for path in (folder.iterdir() if folder.is_dir() else ()) if path.name.isdecimal()]
    versions = [path for path in numbers if (path / "saved_model.pb").is_file() and not storage.is_partial(path)]
    if not versions:
        raise TfvoiceError(
            f"{folder}: holds no exported model; make one with tfvoice_export --run=RUN --output={folder}/1."
        )
    return max(versions, key=lambda path: int(path.name))


def served_name(path: Path) -> str:
    """The name of an exported model in URLs: that of its folder, or of the folder of its versions.

    Of the path as it is written: clients know the name of a link, not of its target. It may be ".", too.
    """
    place = Path(os.path.abspath(path))
    return (place.parent if place.name.isdecimal() else place).name


def _signature_defs(path: Path) -> dict[str, meta_graph_pb2.SignatureDef]:
    content = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    found = content.meta_graphs[0].signature_def
    # Copied, so that the graph is freed.
    return {
        name: meta_graph_pb2.SignatureDef.FromString(found[name].SerializeToString())
        for name in SIGNATURES
        if name in found
    }


def _tensors(tensors) -> dict[str, Any]:
    """Inputs or outputs of a signature as JSON; 64-bit integers are strings in protobuf's form of it."""
    return {
        key: {
            "dtype": types_pb2.DataType.Name(info.dtype),
            "tensor_shape": {
                "dim": [{"size": str(dim.size), "name": dim.name} for dim in info.tensor_shape.dim],
                "unknown_rank": info.tensor_shape.unknown_rank,
            },
            "name": info.name,
        }
        for key, info in tensors.items()
    }


def _transcribes(signatures) -> bool:
    """Whether a model has a signature from waveforms to text; models of other tasks have other signatures."""
    return "waveform" in signatures and "text" in signatures["waveform"].structured_outputs
