"""Training of SampleRNN and drawing from it, beside the same network as samplernn-pytorch and as PRISM build it.

Frames of 16 and 64 samples, two GRU layers of 1024, 256 levels, windows of 16 x 512: samplernn-pytorch's
`--frame_sizes 16 4 --n_rnn 2`, PRISM's `frame_sizes` of [16, 64].
"""

import contextlib
import sys
from typing import Any

import measure
import training_step
from measure import Options, Row, Worker

BATCH, WINDOW, LEVELS = 16, 512, 256
_SIZES = ["model.frame_sizes=[16,64]", "model.layers=2", f"data.sequence_samples={WINDOW}"]
# Samples of each sequence that the others draw at a time; ours draws its block of 4096.
_DRAWN = 256
_TRAINING, _DRAWING = 2.5, {"draw 1": (1, 10.0), "draw 16": (16, 4.0)}


def rows(options: Options) -> list[Row]:
    """A training step, and drawing 1 and 16 sequences."""
    runs = max(3, options.runs // 3)
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(Worker([sys.executable, __file__], {"precision": "float32"}))
        half = stack.enter_context(Worker([sys.executable, __file__], {"precision": "bfloat16"}))
        path = str(measure.ROOT / "tests" / "benchmarks" / "keras_sample_rnn.py")
        others = {"Keras": stack.enter_context(Worker([sys.executable, path], ours.about["spec"]))}
        missing: tuple[str, ...] = ()
        try:
            peer = stack.enter_context(training_step.peer_of(options, ours.about, "torch_sample_rnn.py"))
        except measure.Failure as failure:
            missing = (str(failure),)
        else:
            others = {"PyTorch": peer} | others
        everyone = {"ours": ours, **others}
        sides = {name: worker.timer("step") for name, worker in {**everyone, "bfloat16": half}.items()}
        times = measure.in_turn(sides, runs)
        for action in _DRAWING:
            sides = {f"{name} {action}": _per_sample(worker, action) for name, worker in everyone.items()}
            times |= measure.in_turn(sides, runs)
        rate, bandwidth = ours.do("product")["flops"], ours.do("read")["bytes"]
    where = f"SampleRNN 16/64, 2 x 1024, {BATCH} x {WINDOW} samples"
    counts = ", ".join(f"{name} {worker.about['parameters']:,}" for name, worker in everyone.items())
    notes = (training_step.floor(ours.about, times["ours"], rate), f"trainable parameters: {counts}", *missing)
    found = []
    for number, name in enumerate(others):
        title = f"training step, {where}" if number == 0 else f"the same beside {name}"
        found.append(_row(title, times["ours"], times[name], _title(name, others[name]), BATCH * WINDOW))
    target = _TRAINING if "PyTorch" in others else None
    found[0] = _aimed(found[0], target)._replace(notes=notes)
    bfloat16 = _speed(times["bfloat16"], BATCH * WINDOW)
    found.append(Row(f"training step, bfloat16 products, {where}", bfloat16, seconds={"ours": times["bfloat16"]}))
    for action, (count, target) in _DRAWING.items():
        mine = times[f"ours {action}"]
        # Sequences are drawn in groups, a step of which reads the weights once.
        step, least = measure.median(mine) * min(count, ours.about["group"]), ours.about["bytes"] / bandwidth
        notes = (
            f"floor {1e3 * least:.2f} ms a step: {ours.about['bytes'] / 2**20:.1f} MiB of weights at the "
            f"{bandwidth / 1e9:.1f} GB/s of a product of a matrix and a vector; ours is {1e3 * step:.2f} ms for a step "
            f"of a group of up to {ours.about['group']}, {ours.about['operations'] / 1e6:.1f} MFLOP a sample",
        )
        for number, name in enumerate(others):
            title = f"drawing, {count} at once, 16/64, 2 x 1024" if number == 0 else f"the same beside {name}"
            row = _row(title, mine, times[f"{name} {action}"], _title(name, others[name]), 1)
            aimed = target if number == 0 and name == "PyTorch" else None
            found.append(_aimed(row, aimed)._replace(notes=notes if number == 0 else ()))
    return found


def _per_sample(worker: Worker, action: str):
    """Draws; returns seconds per sample, over all sequences."""

    def run() -> float:
        done = worker.do(action)
        return done["seconds"] / done["samples"]

    return run


def _title(name: str, worker: Worker) -> str:
    return f"{name} {worker.about['version']}"


def _speed(seconds: list[float], samples: int) -> str:
    return f"{samples / measure.median(seconds):,.0f} samples/s"


def _row(title: str, ours: list[float], other: list[float], name: str, samples: int) -> Row:
    ratio = measure.median(other) / measure.median(ours)
    instead = f"{name}: {_speed(other, samples)}"
    return Row(title, _speed(ours, samples), instead, ratio, seconds={"ours": ours, "instead": other})


def _aimed(row: Row, target: float | None) -> Row:
    return row if target is None else row._replace(target=f">= {target:g}", met=row.ratio >= target)


def _prepare(spec: dict[str, Any]):
    """In the worker: a learner with a window of noise, and a sampler."""
    import types

    import numpy as np
    import tensorflow as tf

    from tfvoice import experiment, learner, objectives, sampling
    from tfvoice.data import clips
    from tfvoice.generator import Generator

    config = experiment.resolve("sample_rnn", None, [*_SIZES, f"training.precision={spec['precision']}"])
    generator = Generator("unused", config, {"sample_rate_hz": 16000}, training=True)
    model, context = generator.model, config.model.context
    shape = types.SimpleNamespace(signature=clips.signature(BATCH, context + WINDOW), context=context)
    trained = learner.Learner(objectives.NextSample(model, shape), config.training, tf.distribute.get_strategy())
    levels = np.random.default_rng(0).integers(LEVELS, size=[BATCH, context + WINDOW])
    number = tf.constant(0, tf.int64)
    batch = clips.Windows(
        levels=tf.constant(levels, tf.int32),
        lengths=tf.fill([BATCH], WINDOW),
        reset=tf.fill([BATCH], False),
        clips=tf.range(BATCH, dtype=tf.int64),
        epoch=number,
        position=number,
        samples=tf.constant(BATCH * WINDOW, tf.int64),
    )
    sampler = sampling.Sampler(generator)

    def step():
        loss, norm, gradients = trained.gradients([batch])
        trained.update(gradients, norm, config.training.learning_rate, 0)
        return {"loss": loss}

    def draw(count):
        return lambda: {"samples": sampler.collect(count, 4096).size}

    rates = _weights_per_sample(model)
    about = {
        "spec": {"model": config.model.model_dump(mode="json"), "classes": LEVELS, "batch": BATCH}
        | {"samples": WINDOW, "drawn": _DRAWN},
        "parameters": sum(variable.shape.num_elements() for variable in model.trainable_variables),
        # Once forwards and twice backwards; a multiplication and an addition for each weight.
        "flops": 3 * 2 * rates * BATCH * WINDOW,
        "operations": 2 * rates,
        "group": sampler.rows,
        "bytes": 4 * rates,
    }
    actions = {"step": step, "draw 1": draw(1), "draw 16": draw(16)}
    return actions | {"product": training_step.product, "read": _read}, about


def _weights_per_sample(model) -> float:
    """Weights that are multiplied for a sample: those of a tier once for each of its frames."""
    matrices = model.prepared()
    parts = [(sum(m.shape.num_elements() for m, *_ in matrices.bottom), 1)]
    for tier, own in zip(model.tiers, matrices.tiers, strict=True):
        parts.append((sum(m.shape.num_elements() for m, *_ in own.values()), tier.size))
    return sum(count / size for count, size in parts)


def _read() -> dict[str, float]:
    """Bytes a second of a product of a matrix that fits no cache, 256 MiB, and a vector."""
    import time

    import tensorflow as tf

    matrix, vector = tf.random.normal([8192, 8192]), tf.random.normal([8192])
    multiply = tf.function(lambda: tf.linalg.matvec(matrix, vector))
    multiply()
    began = time.perf_counter()
    for _ in range(5):
        multiply().numpy()
    return {"bytes": 5 * 4 * 8192**2 / (time.perf_counter() - began)}


if __name__ == "__main__":
    measure.serve(_prepare)
