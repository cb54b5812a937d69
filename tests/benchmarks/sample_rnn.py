"""Training of SampleRNN and drawing from it, beside networks of its sizes as samplernn-pytorch and PRISM build them.

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
        others, missing = {}, []
        try:
            others["PyTorch"] = stack.enter_context(training_step.peer_of(options, ours.about, "torch_sample_rnn.py"))
        except measure.Failure as failure:
            missing.append(str(failure))
        others["Keras"] = stack.enter_context(Worker([sys.executable, path], ours.about["spec"]))
        everyone = {"ours": ours, **others}
        sides = {name: worker.timer("step") for name, worker in {**everyone, "bfloat16": half}.items()}
        rates: list[float] = []
        sides["product"] = lambda: rates.append(ours.do("product")["flops"]) or 0.0
        times = measure.in_turn(sides, runs)
        for action in _DRAWING:
            sides = {f"{name} {action}": _per_sample(worker, action) for name, worker in everyone.items()}
            times |= measure.in_turn(sides, runs)
        rate, read = measure.median(rates), [ours.do("read") for _ in range(3)]
        memory, cache = (measure.median([one[name] for one in read]) for name in ("memory", "cache"))
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
        about, step = ours.about, measure.median(mine) * min(count, ours.about["group"])
        least = about["tiers"] / memory + about["bottom"] / cache
        notes = (
            f"floor {1e3 * least:.2f} ms a step: {about['tiers'] / 2**20:.1f} MiB of weights of the tiers at the "
            f"{memory / 1e9:.1f} GB/s of memory and {about['bottom'] / 2**20:.1f} MiB of the lowest tier at the "
            f"{cache / 1e9:.1f} GB/s of the cache, both of products of a matrix and a vector; ours is "
            f"{1e3 * step:.2f} ms for a group of up to {about['group']}, {least / step:.0%} of that is reached; "
            f"{about['operations'] / 1e6:.1f} MFLOP a sample",
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

    from tfvoice import experiment
    from tfvoice.data import windows
    from tfvoice.generation import sample
    from tfvoice.generation.generator import Generator
    from tfvoice.training import objectives, step

    config = experiment.resolve("sample_rnn", None, [*_SIZES, f"training.precision={spec['precision']}"])
    generator = Generator("unused", config, {"sample_rate_hz": 16000}, training=True)
    model, context = generator.model, config.model.context
    shape = types.SimpleNamespace(signature=windows.signature(BATCH, context + WINDOW), context=context)
    trained = step.Learner(objectives.NextSample(model, shape), config.training, tf.distribute.get_strategy())
    levels = np.random.default_rng(0).integers(LEVELS, size=[BATCH, context + WINDOW])
    number = tf.constant(0, tf.int64)
    batch = windows.Windows(
        levels=tf.constant(levels, tf.int32),
        lengths=tf.fill([BATCH], WINDOW),
        reset=tf.fill([BATCH], False),
        clips=tf.range(BATCH, dtype=tf.int64),
        epoch=number,
        position=number,
        samples=tf.constant(BATCH * WINDOW, tf.int64),
    )
    sampler = sample.Sampler(generator)

    def step():
        loss, norm, gradients = trained.gradients([batch])
        trained.update(gradients, norm, config.training.learning_rate, 0)
        return {"loss": loss}

    def draw(count):
        return lambda: {"samples": sampler.collect(count, 4096).size}

    tiers, bottom = _weights_per_sample(model)
    shape = config.model
    # Embedding times first matrix, once a step.
    table = shape.frame_sizes[0] * LEVELS * shape.embedding * shape.units
    about = {
        "spec": {"model": config.model.model_dump(mode="json"), "classes": LEVELS, "batch": BATCH}
        | {"samples": WINDOW, "drawn": _DRAWN},
        "parameters": sum(variable.shape.num_elements() for variable in model.trainable_variables),
        # Once forwards and twice backwards; a multiplication and an addition for each weight.
        "flops": 3 * 2 * ((tiers + bottom) * BATCH * WINDOW + table),
        "operations": 2 * (tiers + bottom),
        "group": sampler.rows,
        "tiers": 4 * tiers,
        "bottom": 4 * bottom,
    }
    actions = {"step": step, "draw 1": draw(1), "draw 16": draw(16)}
    return actions | {"product": training_step.product, "read": _read}, about


def _weights_per_sample(model) -> tuple[float, float]:
    """Weights that are multiplied for a sample: those of the tiers, once for each frame, and of the lowest tier."""
    matrices = model.prepared()
    tiers = sum(
        sum(matrix.shape.num_elements() for matrix, *_ in own.values()) / tier.size
        for tier, own in zip(model.tiers, matrices.tiers, strict=True)
    )
    return tiers, sum(matrix.shape.num_elements() for matrix, *_ in matrices.bottom)


def _read() -> dict[str, float]:
    """Bytes a second of products of a matrix and a vector: 256 MiB, and as much as the lowest tier, 9 MiB."""
    import time

    import tensorflow as tf

    found = {}
    for name, side, count in (("memory", 8192, 5), ("cache", 1536, 100)):
        matrix = tf.random.normal([side, side]) / side**0.5

        def chain(vector, matrix=matrix, count=count):
            for _ in range(count):
                vector = tf.linalg.matvec(matrix, vector)
            return vector

        run, vector = tf.function(chain, autograph=False), tf.random.normal([side])
        run(vector).numpy()
        began = time.perf_counter()
        run(vector).numpy()
        found[name] = count * 4 * side**2 / (time.perf_counter() - began)
    return found


if __name__ == "__main__":
    measure.serve(_prepare)
