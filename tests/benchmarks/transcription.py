"""Transcribing a clip of 10 s with a loaded recogniser: file to text, words and times."""

import contextlib
import sys
from typing import Any

import conversion
import measure
import numpy as np
import training_step
from measure import Options, Row, Worker

SECONDS, RATE_HZ = 10, 16000


def rows(options: Options) -> list[Row]:
    """File to text in tfvoice; beside it only the network, in PyTorch."""
    clip = options.folder / "clip.wav"
    conversion.write(clip, conversion.speech_like(np.random.default_rng(0), SECONDS * RATE_HZ, RATE_HZ), RATE_HZ)
    with contextlib.ExitStack() as stack:
        spec = {"run": str(options.folder / "run_transcription"), "clip": str(clip), "frames_of": SECONDS * RATE_HZ}
        worker = stack.enter_context(Worker([sys.executable, __file__], spec))
        sides = {"tfvoice": worker.timer("transcribe"), "network": worker.timer("network")}
        missing = instead = ""
        try:
            peer = stack.enter_context(training_step.peer_of(options, worker.about))
            sides["PyTorch"] = peer.timer("forward")
        except measure.Failure as failure:
            missing = str(failure)
        times = measure.in_turn(sides, options.runs, warm_up=2)
    factor = measure.median(times["tfvoice"]) / SECONDS
    ratio = None
    if not missing:
        ratio = measure.median(times["PyTorch"]) / measure.median(times["tfvoice"])
        instead = f"network alone, PyTorch {peer.about['version']}: {measure.milliseconds(times['PyTorch'])}"
    notes = (
        f"real-time factor {factor:.4f}; of that the network {measure.milliseconds(times['network'])} "
        f"({worker.about['flops'] / 1e9:.1f} GFLOP)",
        *([missing] if missing else []),
    )
    ours = measure.milliseconds(times["tfvoice"])
    what = f"transcription of a clip of {SECONDS} s, warm, default"
    return [Row(what, ours, instead, ratio, "<= 200 ms", factor <= 0.02, notes, times)]


def _prepare(spec: dict[str, Any]):
    """In the worker: a run with random weights, loaded like a trained one."""
    import numpy as np
    import tensorflow as tf

    from tfvoice import checkpoints, tasks
    from tfvoice.asr import recognizer
    from tfvoice.asr.transcribe import Transcriber
    from tfvoice.audio import features

    config = tasks.resolve("wavenet_asr")
    created = recognizer.Recognizer.create(spec["run"], config)
    checkpoints.save(created.checkpoint("best"), {"weights": created.model.weights}, {"epoch": 0})
    loaded = recognizer.Recognizer.load(spec["run"])
    transcriber = Transcriber(loaded)
    frames, channels = int(features.frame_count(config.features, spec["frames_of"])), features.channels(config.features)
    inputs = tf.constant(np.random.default_rng(0).standard_normal([1, frames, channels]), tf.float32)
    network = tf.function(lambda: loaded.network(inputs, tf.constant([frames], tf.int32)))

    def transcribe():
        transcriber.transcribe(spec["clip"])

    shape = {"channels": channels, "classes": loaded.alphabet.size + 1, "batch": 1, "frames": frames, "labels": 1}
    about = {
        "spec": shape | {"model": config.model.model_dump(mode="json")},
        "flops": training_step.flops(loaded.model, frames)[0],
    }
    return {"transcribe": transcribe, "network": lambda: network() and None}, about


if __name__ == "__main__":
    measure.serve(_prepare)
