"""Training and sampling of SampleRNN, compared with samplernn-pytorch and PRISM at the same sizes.

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
# Samples of each sequence that the others generate per call; ours generates its block of 4096.
_GENERATED = 256
# Targets of the ratios, and for sampling the number of sequences.
_TRAINING, _SAMPLING = 2.5, {"sample 1": (1, 10.0), "sample 16": (16, 4.0)}


def rows(options: Options) -> list[Row]:
    """A training step, and sampling 1 and 16 sequences."""
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
        workers = {"ours": ours, **others}
        sides = {name: worker.timer("step") for name, worker in {**workers, "bfloat16": half}.items()}
        rates: list[float] = []
        sides["product"] = lambda: rates.append(ours.do("product")["flops"]) or 0.0
        times = measure.in_turn(sides, runs)
        for action in _SAMPLING:
            sides = {f"{name} {action}": _per_sample(worker, action) for name, worker in workers.items()}
            times |= measure.in_turn(sides, runs)
        rate, bandwidths = measure.median(rates), [ours.do("bandwidth") for _ in range(3)]
        memory, cache = (measure.median([bandwidth[name] for bandwidth in bandwidths]) for name in ("memory", "cache"))
    where = f"SampleRNN 16/64, 2 x 1024, {BATCH} x {WINDOW} samples"
    counts = ", ".join(f"{name} {worker.about['parameters']:,}" for name, worker in workers.items())
    notes = (training_step.floor(ours.about, times["ours"], rate), f"trainable parameters: {counts}", *missing)
    table = []
    for number, name in enumerate(others):
        title = f"training step, {where}" if number == 0 else f"the same compared with {name}"
        table.append(_row(title, times["ours"], times[name], _title(name, others[name]), BATCH * WINDOW))
    target = _TRAINING if "PyTorch" in others else None
    table[0] = _with_target(table[0], target)._replace(notes=notes)
    bfloat16 = _speed(times["bfloat16"], BATCH * WINDOW)
    table.append(Row(f"training step, bfloat16 products, {where}", bfloat16, seconds={"ours": times["bfloat16"]}))
    for action, (count, target) in _SAMPLING.items():
        mine = times[f"ours {action}"]
        # Sequences are sampled in groups; a step of a group reads the weights once.
        about, step = ours.about, measure.median(mine) * min(count, ours.about["group"])
        least = about["tiers"] / memory + about["bottom"] / cache
        notes = (
            f"floor {1e3 * least:.2f} ms a step: {about['tiers'] / 2**20:.1f} MiB of weights of the tiers at the "
            f"{memory / 1e9:.1f} GB/s of memory and {about['bottom'] / 2**20:.1f} MiB of the lowest tier at the "
            f"{cache / 1e9:.1f} GB/s of the cache, both measured by matrix-vector products; ours is "
            f"{1e3 * step:.2f} ms for a group of up to {about['group']}, {least / step:.0%} of the floor's speed; "
            f"{about['operations'] / 1e6:.1f} MFLOP a sample",
        )
        for number, name in enumerate(others):
            title = f"sampling, {count} at once, 16/64, 2 x 1024" if number == 0 else f"the same compared with {name}"
            row = _row(title, mine, times[f"{name} {action}"], _title(name, others[name]), 1)
            aimed = target if number == 0 and name == "PyTorch" else None
            table.append(_with_target(row, aimed)._replace(notes=notes if number == 0 else ()))
    return table


def _per_sample(worker: Worker, action: str):
    """Times sampling; returns seconds per sample, over all sequences."""

    def run() -> float:
        result = worker.do(action)
        return result["seconds"] / result["samples"]

    return run


def _title(name: str, worker: Worker) -> str:
    return f"{name} {worker.about['version']}"


def _speed(seconds: list[float], samples: int) -> str:
    return f"{samples / measure.median(seconds):,.0f} samples/s"


def _row(title: str, ours: list[float], other: list[float], name: str, samples: int) -> Row:
    ratio = measure.median(other) / measure.median(ours)
    instead = f"{name}: {_speed(other, samples)}"
    return Row(title, _speed(ours, samples), instead, ratio, seconds={"ours": ours, "instead": other})


def _with_target(row: Row, target: float | None) -> Row:
    return row if target is None else row._replace(target=f">= {target:g}", met=row.ratio >= target)


def _prepare(spec: dict[str, Any]):
    """In the worker: a learner with a window of random levels, and a sampler."""
    import types

    import numpy as np
    import tensorflow as tf

    from tfvoice import tasks
    from tfvoice.data import windows
    from tfvoice.generation import sample, task
    from tfvoice.generation.generator import Generator
    from tfvoice.training import step as step_

    config = tasks.resolve("sample_rnn", None, [*_SIZES, f"training.precision={spec['precision']}"])
    generator = Generator("unused", config, {"sample_rate_hz": 16000}, training=True)
    model, context = generator.model, config.model.context
    shape = types.SimpleNamespace(signature=windows.signature(BATCH, context + WINDOW), context=context)
    learner = step_.Learner(task.NextSampleObjective(model, shape), config.training, tf.distribute.get_strategy())
    levels = np.random.default_rng(0).integers(LEVELS, size=[BATCH, context + WINDOW])
    number = tf.constant(0, tf.int64)
    batch = windows.WindowBatch(
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
        loss, norm, gradients = learner.gradients([batch])
        learner.update(gradients, norm, config.training.learning_rate, 0)
        return {"loss": loss}

    def generate(count):
        return lambda: {"samples": sampler.sample(count, 4096).size}

    tiers, bottom = _weights_per_sample(model)
    shape = config.model
    # Embedding times first kernel, once per step.
    table = shape.frame_sizes[0] * LEVELS * shape.embedding * shape.units
    about = {
        "spec": {"model": config.model.model_dump(mode="json"), "classes": LEVELS, "batch": BATCH}
        | {"samples": WINDOW, "generated": _GENERATED},
        "parameters": sum(variable.shape.num_elements() for variable in model.trainable_variables),
        # Once forward and twice backward; a multiplication and an addition for each weight.
        "flops": 3 * 2 * ((tiers + bottom) * BATCH * WINDOW + table),
        "operations": 2 * (tiers + bottom),
        "group": sampler.batch_size,
        "tiers": 4 * tiers,
        "bottom": 4 * bottom,
    }
    actions = {"step": step, "sample 1": generate(1), "sample 16": generate(16)}
    return actions | {"product": training_step.product, "bandwidth": _bandwidth}, about


def _weights_per_sample(model) -> tuple[float, float]:
    """Weights in the products of one sample: those of the tiers, divided by their frames, and of the lowest tier."""
    weights = model.fuse_weights()
    tiers = sum(
        sum(kernel.shape.num_elements() for kernel, *_ in tier_weights.values()) / tier.size
        for tier, tier_weights in zip(model.tiers, weights.tiers, strict=True)
    )
    return tiers, sum(kernel.shape.num_elements() for kernel, *_ in weights.bottom)


def _bandwidth() -> dict[str, float]:
    """Bytes per second of matrix-vector products: of 256 MiB, and of 9 MiB, the size of the lowest tier."""
    import time

    import tensorflow as tf

    rates = {}
    for name, side, count in (("memory", 8192, 5), ("cache", 1536, 100)):
        matrix = tf.random.normal([side, side]) / side**0.5

        def chain(vector, matrix=matrix, count=count):
            for _ in range(count):
                vector = tf.linalg.matvec(matrix, vector)
            return vector

        run, vector = tf.function(chain, autograph=False), tf.random.normal([side])
        run(vector).numpy()
        start_time = time.perf_counter()
        run(vector).numpy()
        rates[name] = count * 4 * side**2 / (time.perf_counter() - start_time)
    return rates


if __name__ == "__main__":
    measure.serve(_prepare)
