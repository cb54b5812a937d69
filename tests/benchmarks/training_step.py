"""A whole training step of WaveNet ASR (forward, CTC, backward, update) compared with the same network in PyTorch."""

import contextlib
import sys
from typing import Any

import measure
from measure import Options, Row, Worker

SECONDS, BATCH, LABELS = 4.0, 16, 48
_SIDES = {
    "faithful": ("wavenet_asr_faithful", []),
    "faithful, bfloat16 products": ("wavenet_asr_faithful", ["training.precision=bfloat16"]),
    "default, masked": (None, []),
    "default, masked, bfloat16 products": (None, ["training.precision=bfloat16"]),
}


def rows(options: Options) -> list[Row]:
    """The faithful network compared with PyTorch, which has a target; the other rows have none."""
    with contextlib.ExitStack() as stack:
        workers = {name: stack.enter_context(start(*side)) for name, side in _SIDES.items()}
        sides = {name: worker.timer("step") for name, worker in workers.items()}
        rates: list[float] = []
        sides["product"] = lambda: rates.append(workers["faithful"].do("product")["flops"]) or 0.0
        about, missing = workers["faithful"].about, ""
        try:
            peer = stack.enter_context(peer_of(options, about))
        except measure.Failure as failure:
            missing = str(failure)
        else:
            sides["PyTorch"] = peer.timer("step")
        times = measure.in_turn(sides, options.runs, warm_up=2)
    rate = measure.median(rates)
    where = f"{BATCH} x {SECONDS:g} s"
    first = floor(about, times["faithful"], rate)
    title, ours = f"training step, faithful, {where}", measure.milliseconds(times["faithful"])
    if missing:
        table = [Row(title, ours, target=">= 1.3", notes=(missing, first), seconds=times)]
    else:
        ratio = measure.median(times["PyTorch"]) / measure.median(times["faithful"])
        instead = f"PyTorch {peer.about['version']}: {measure.milliseconds(times['PyTorch'])}"
        parameters = f"{about['parameters']:,} and {peer.about['parameters']:,} trainable parameters"
        table = [Row(title, ours, instead, ratio, ">= 1.3", ratio >= 1.3, (parameters, first), times)]
    for name in list(_SIDES)[1:]:
        notes = () if "bfloat16" in name else (floor(workers[name].about, times[name], rate),)
        table.append(Row(f"training step, {name}, {where}", measure.milliseconds(times[name]), notes=notes))
    return table


def start(
    config: str | None,
    overrides: list[str],
    model: str = "wavenet_asr",
    seconds: list[float] | None = None,
    labels: int = LABELS,
) -> Worker:
    """A process that trains this configuration on a random batch of utterances of these `seconds`."""
    spec = {"model": model, "config": config, "overrides": overrides, "labels": labels}
    return Worker([sys.executable, __file__], spec | {"seconds": seconds or [SECONDS] * BATCH})


def peer_of(options: Options, about: dict[str, Any], worker: str = "torch_worker.py") -> Worker:
    """The same network and batch in PyTorch; raises `Failure` with advice if PyTorch is missing."""
    check_torch(options)
    path = str(measure.ROOT / "tests" / "benchmarks" / worker)
    return Worker([options.torch_python, path], about["spec"] | {"threads": measure.cores()})


def check_torch(options: Options) -> None:
    """Raises `Failure` with advice if PyTorch is missing."""
    try:
        measure.timed([options.torch_python, "-c", "import torch"])
    except (measure.Failure, OSError):
        raise measure.Failure(
            "PyTorch is not installed: pip install torch==2.13.0, or --torch_python=PATH of an interpreter that has it"
        ) from None


def flops(model, frames: int, channels: int = 0) -> tuple[float, float]:
    """FLOP of a forward pass and of a training step, per utterance of `frames` frames.

    The backward pass costs twice the forward pass, once for the kernels and once for the inputs; the features need no
    gradient. A kernel of four dimensions convolves over time and frequency, and halves the number of bands.
    """
    out, bands, products = int(model.output_lengths(frames)), channels, []
    for variable in model.trainable_variables:
        rank = len(variable.shape)
        bands = -(-bands // 2) if rank == 4 else bands
        if rank > 1:
            products.append(2.0 * out * variable.shape.num_elements() * (bands if rank == 4 else 1))
    forward = sum(products)
    return forward, 3 * forward - products[0]


def floor(about: dict[str, Any], seconds: list[float], rate: float) -> str:
    """The time of a step that consists of its products alone, at the machine's `rate` of FLOP/s, as a sentence."""
    least = about["flops"] / rate
    return (
        f"floor {1000 * least:.0f} ms: {about['flops'] / 1e9:.1f} GFLOP in products, at the {rate / 1e9:.0f} "
        f"GFLOP/s of a float32 product of 2048 x 2048; {least / measure.median(seconds):.0%} of that is reached"
    )


def product() -> dict[str, float]:
    """In a worker: FLOP/s of a float32 product of 2048 x 2048."""
    import time

    import tensorflow as tf

    side = 2048
    matrix = tf.random.normal([side, side])
    multiply = tf.function(lambda: tf.matmul(matrix, matrix))
    multiply()
    start_time = time.perf_counter()
    for _ in range(3):
        multiply()
    return {"flops": 3 * 2 * side**3 / (time.perf_counter() - start_time)}


def _prepare(spec: dict[str, Any]):
    """In the worker: a learner and a batch of full-length utterances."""
    import keras
    import numpy as np
    import tensorflow as tf

    from tfvoice import tasks
    from tfvoice.asr import recognizer, task
    from tfvoice.audio import features
    from tfvoice.data.utterances import Batch
    from tfvoice.text.alphabet import Alphabet
    from tfvoice.training import step as step_

    config = tasks.resolve(spec["model"], spec["config"], spec["overrides"])
    keras.utils.set_random_seed(0)
    channels, classes = features.channels(config.features), Alphabet(config.alphabet).size + 1
    model = recognizer.build_model(config.model, classes, config.training.precision)
    model(tf.zeros([1, 8, channels]), tf.constant([8], tf.int32), training=False)
    learner = step_.Learner(
        task.CtcObjective(model, channels, config.training), config.training, tf.distribute.get_strategy()
    )
    samples = [int(seconds * config.features.sample_rate_hz) for seconds in spec["seconds"]]
    lengths = [int(features.frame_count(config.features, count)) for count in samples]
    rows, frames = len(samples), max(lengths)
    random = np.random.default_rng(0)
    values = random.standard_normal([rows, frames, channels])
    values *= (np.arange(frames) < np.array(lengths)[:, np.newaxis])[:, :, np.newaxis]
    batch = Batch(
        features=tf.constant(values, tf.float32),
        lengths=tf.constant(lengths),
        labels=tf.constant(random.integers(classes - 1, size=[rows, spec["labels"]]), tf.int32),
        label_lengths=tf.fill([rows], spec["labels"]),
        rows=tf.range(rows, dtype=tf.int64),
        epoch=tf.constant(0, tf.int64),
        position=tf.constant(0, tf.int64),
        samples=tf.constant(sum(samples), tf.int64),
    )

    def step():
        loss, norm, gradients = learner.gradients([batch])
        learner.update(gradients, norm, config.training.learning_rate, 0)
        return {"loss": loss}

    peer = {"channels": channels, "classes": classes, "labels": spec["labels"]}
    peer |= {"batch": rows, "frames": frames, "lengths": lengths}
    about = {
        "spec": peer | {"model": config.model.model_dump(mode="json")},
        "parameters": sum(variable.shape.num_elements() for variable in model.trainable_variables),
        "flops": sum(flops(model, length, channels)[1] for length in lengths),
    }
    forward = tf.function(lambda: model(batch.features, batch.lengths, training=False).values)
    return {"step": step, "product": product, "forward": lambda: forward() is None, "memory": measure.peak}, about


if __name__ == "__main__":
    measure.serve(_prepare)
