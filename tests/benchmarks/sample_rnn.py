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
        rate, bounds = measure.median(rates), [ours.do("bounds") for _ in range(5)]
        bounds = {name: measure.median([found[name] for found in bounds]) for name in ("memory", "cache", "flops")}
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
        notes = (_sampling_floor(ours.about, bounds, count, measure.median(mine) * count),)
        for number, name in enumerate(others):
            title = f"sampling, {count} at once, 16/64, 2 x 1024" if number == 0 else f"the same compared with {name}"
            row = _row(title, mine, times[f"{name} {action}"], _title(name, others[name]), 1)
            aimed = target if number == 0 and name == "PyTorch" else None
            table.append(_with_target(row, aimed)._replace(notes=notes if number == 0 else ()))
    return table


def _sampling_floor(about: dict[str, Any], bounds: dict[str, float], count: int, seconds: float) -> str:
    """What bounds a step, which is one sample of each sequence and takes `seconds`."""
    reading = about["tiers"] / bounds["memory"] + about["bottom"] / bounds["cache"]
    computing = count * about["operations"] / bounds["flops"]
    memory, cache, flops = (round(bounds[name] / 1e9) for name in ("memory", "cache", "flops"))
    tiers, lowest = (f"{about[name] / 2**20:.1f} MiB" for name in ("tiers", "bottom"))
    return (
        f"a step of {count}: {1e3 * seconds:.2f} ms; {1e3 * reading:.2f} ms to read the weights once, "
        f"{tiers} of the tiers from memory ({memory} GB/s) and {lowest} of the lowest one from the cache "
        f"({cache} GB/s), by one core; {1e3 * computing:.2f} ms to compute "
        f"{about['operations'] / 1e6:.1f} MFLOP a sample ({flops} GFLOP/s, {about['loops']} cores with 8 rows each)"
    )


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
        "loops": measure.cores(),
        "tiers": 4 * tiers,
        "bottom": 4 * bottom,
    }
    actions = {"step": step, "sample 1": generate(1), "sample 16": generate(16)}
    return actions | {"product": training_step.product, "bounds": _bounds}, about


def _weights_per_sample(model) -> tuple[float, float]:
    """Weights in the products of one sample: those of the tiers, divided by their frames, and of the lowest tier."""
    weights = model.fuse_weights()
    tiers = sum(
        sum(kernel.shape.num_elements() for kernel, *_ in tier_weights.values()) / tier.size
        for tier, tier_weights in zip(model.tiers, weights.tiers, strict=True)
    )
    return tiers, sum(kernel.shape.num_elements() for kernel, *_ in weights.bottom)


def _bounds() -> dict[str, float]:
    """Bytes per second of products of one vector with matrices in memory and in the cache; operations per second."""
    import concurrent.futures
    import time

    import numpy as np

    from tfvoice.compiled import compiled
    from tfvoice.products import add_products, tiled

    @compiled
    def multiply(inputs, matrices, sums, repeats):
        for _ in range(repeats):
            for matrix in range(len(matrices)):
                add_products(inputs, matrices, matrix, sums, 0)

    def seconds(rows, count, repeats, threads):
        matrices = tiled(np.ones([count, 1024, 1024], np.float32))
        values = [np.ones([2, rows, 1024], np.float32) for _ in range(threads)]
        for inputs, sums in values:
            multiply(inputs, matrices, sums, 1)
        start_time = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            list(pool.map(lambda pair: multiply(pair[0], matrices, pair[1], repeats), values))
        return (time.perf_counter() - start_time) / repeats / count

    size, threads = 1024**2, measure.cores()
    flops = 2 * size * 8 * threads / seconds(8, 2, 200, threads)
    return {"memory": 4 * size / seconds(1, 64, 5, 1), "cache": 4 * size / seconds(1, 2, 200, 1), "flops": flops}


if __name__ == "__main__":
    measure.serve(_prepare)
