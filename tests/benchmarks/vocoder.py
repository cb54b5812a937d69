"""Sampling and training of the vocoder of Deep Voice, compared with the same network in PyTorch and in Keras.

Sampling is sample by sample from given biases, one utterance, with the past of each layer kept in a ring: the three
presets, ours on one thread and on two, the others on all cores. All get the same weights, and a worker whose logits
differ from ours by more than 1e-3 fails. Training is of clips of one second, with what the network sees before them.
"""

import contextlib
import sys
from typing import Any

import measure
import training_step
from measure import Failure, Options, Row, Worker

PRESETS = ("vocoder_20_32_128", "vocoder_20_64_128", "vocoder_40_64_256")
_RATE_HZ = 16000
# Samples of a run: ours, and the others'.
_SAMPLES, _PEER_SAMPLES = 8000, 800
_BATCHES = (8, 2)
_PHONEMES, _LEVELS = 41, 256
# Times real time that two threads are to reach, by preset; and the training step beside PyTorch's.
_TARGETS = dict(zip(PRESETS, (4.0, 2.0, 1.0), strict=True))
_TRAINING = 1.0
_TOLERANCE = 1e-3
_PEERS = {"PyTorch": "torch_vocoder.py", "Keras": "keras_vocoder.py"}


def rows(options: Options) -> list[Row]:
    """Samples a second of each preset, and training steps of the smallest."""
    runs = max(3, options.runs // 3)
    table = [row for preset in PRESETS for row in _sampling(options, preset, runs)]
    return table + [_training(options, batch, runs) for batch in _BATCHES]


def _sampling(options: Options, preset: str, runs: int) -> list[Row]:
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(_ours(options, {"preset": preset, "task": "sampling"}))
        others, missing = _peers(options, stack, ours, tuple(_PEERS))
        sides = {f"{threads} threads": _per_sample(ours, f"sample {threads}") for threads in (1, 2)}
        for name, worker in others.items():
            sides |= {f"{name}, {way}": _per_sample(worker, way) for way in worker.about["ways"]}
        times = measure.in_turn(sides, runs)
    title, table = f"sampling, {preset}", []
    for threads in (1, 2):
        mine = times[f"{threads} threads"]
        speed = _speed(mine)
        target = _TARGETS[preset] if threads == 2 else None
        row = Row(f"{title}, {threads} thread{'s' * (threads > 1)}", _text(mine), seconds={"ours": mine})
        if target is not None:
            met = speed / _RATE_HZ >= target
            row = row._replace(target=f">= {target:g} x real time", met=met, notes=tuple(missing))
        table.append(row)
    for name, worker in others.items():
        best = min((f"{name}, {way}" for way in worker.about["ways"]), key=lambda side: measure.median(times[side]))
        notes = tuple(f"{side}: {_text(times[side])}" for side in sides if side.startswith(name) and side != best)
        other, mine = times[best], times["2 threads"]
        ratio = measure.median(other) / measure.median(mine)
        instead = f"{best} ({worker.about['version']}): {_text(other)}"
        seconds = {"ours": mine, "instead": other}
        table.append(Row("the same, 2 threads", _text(mine), instead, ratio, notes=notes, seconds=seconds))
    return table


def _training(options: Options, batch: int, runs: int) -> Row:
    spec = {"preset": PRESETS[0], "task": "training", "batch": batch}
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(_ours(options, spec))
        others, missing = _peers(options, stack, ours, ("PyTorch",))
        sides = {"ours": ours.timer("step")} | {name: worker.timer("step") for name, worker in others.items()}
        times = measure.in_turn(sides, runs, warm_up=2)
    mine, title = times["ours"], f"training step, {PRESETS[0]}, {batch} x 1 s"
    parameters = f"{ours.about['parameters']:,} trainable parameters"
    row = Row(title, _steps(mine), notes=(parameters, *missing), seconds={"ours": mine})
    if not others:
        return row
    other = times["PyTorch"]
    # Of pairs that ran one after the other.
    ratio = measure.median([theirs / own for own, theirs in zip(mine, other, strict=True)])
    instead = f"PyTorch {others['PyTorch'].about['version']}: {_steps(other)}"
    row = row._replace(baseline=instead, ratio=ratio, target=f">= {_TRAINING:g}", met=ratio >= _TRAINING)
    return row._replace(seconds={"ours": mine, "instead": other})


def _ours(options: Options, spec: dict[str, Any]) -> Worker:
    path = options.folder / f"{'-'.join(str(value) for value in spec.values())}.npz"
    return Worker([sys.executable, __file__], spec | {"path": str(path)})


def _peers(options: Options, stack, ours: Worker, names) -> tuple[dict[str, Worker], list[str]]:
    """The others, and what is said of those that cannot run."""
    workers, missing = {}, []
    for name in names:
        script = measure.ROOT / "tests" / "benchmarks" / _PEERS[name]
        try:
            if name == "PyTorch":
                training_step.check_torch(options)
            python = options.torch_python if name == "PyTorch" else sys.executable
            spec = ours.about["spec"] | {"threads": measure.cores()}
            worker = stack.enter_context(Worker([python, str(script)], spec))
            if worker.about["error"] > _TOLERANCE:
                raise Failure(f"the logits of {name} differ from ours by {worker.about['error']:.2g}")
            workers[name] = worker
        except Failure as failure:
            missing.append(str(failure))
    return workers, missing


def _per_sample(worker: Worker, action: str):
    def run() -> float:
        result = worker.do(action)
        return result["seconds"] / result["samples"]

    return run


def _speed(seconds: list[float]) -> float:
    return 1 / measure.median(seconds)


def _text(seconds: list[float]) -> str:
    return f"{_speed(seconds):,.0f} samples/s ({_speed(seconds) / _RATE_HZ:.2g} x)"


def _steps(seconds: list[float]) -> str:
    return f"{1 / measure.median(seconds):.2f} steps/s"


def _prepare(spec: dict[str, Any]):
    """In the worker: a model with random weights, which are written to a file together with logits."""
    import keras

    from tfvoice import tasks
    from tfvoice.models.deep_voice.vocoder import Vocoder

    config = tasks.resolve("vocoder", spec["preset"], ["training.precision=float32"])
    keras.utils.set_random_seed(0)
    model = Vocoder(config.model, _PHONEMES, _LEVELS)
    model.build(None)
    for weight in model.weights:
        if len(weight.shape) < 3 and "bias" in weight.name:
            weight.assign(keras.random.normal(weight.shape, stddev=0.1))
    return _sampler(spec, config, model) if spec["task"] == "sampling" else _learner(spec, config, model)


def _about(spec, config, model, arrays, **facts) -> dict[str, Any]:
    """Writes weights and `arrays`; returns what the others need to know."""
    import numpy as np

    from tfvoice.models.deep_voice.vocoder import FRAME_SAMPLES

    weights = {weight.path: weight.numpy() for weight in model.weights}
    np.savez(
        spec["path"], **{f"weights/{name.split('vocoder/')[-1]}": value for name, value in weights.items()}, **arrays
    )
    sizes = {"dilations": config.model.dilations, "frame_samples": FRAME_SAMPLES, "samples": _PEER_SAMPLES}
    parameters = sum(variable.shape.num_elements() for variable in model.trainable_variables)
    return {"spec": spec | sizes | facts, "parameters": parameters}


def _sampler(spec, config, model):
    import numpy as np

    from tfvoice.models.deep_voice.vocoder import FRAME_SAMPLES
    from tfvoice.tts.vocoder import kernel, synthesis

    random = np.random.default_rng(0)
    frames = _SAMPLES // FRAME_SAMPLES
    biases = random.normal(0, 0.5, [frames, config.model.layers, 2 * config.model.residual]).astype(np.float32)
    levels = random.integers(0, _LEVELS, 2 + 2 * FRAME_SAMPLES).astype(np.int32)
    logits = model(levels[np.newaxis], biases[np.newaxis, :2])[0].numpy()
    about = _about(spec, config, model, {"biases": biases, "levels": levels, "logits": logits})
    weights = synthesis.weights(model)
    padded = synthesis.pad_gates(biases + model.wavenet.gate_biases.numpy())
    draws = kernel.Draws(random.random(_SAMPLES, np.float32), 0, np.float32(1))

    def sample(threads):
        def run():
            state = kernel.initial_state(weights, np.full(2 + _SAMPLES, _LEVELS // 2, np.int32))
            kept = synthesis.advance(threads, 0, _SAMPLES, padded, draws, weights, state)
            if kept != threads:
                print("the machine is busy: the second thread had no core", file=sys.stderr)
            return {"samples": _SAMPLES}

        return run

    return {f"sample {threads}": sample(threads) for threads in (1, 2)}, about


def _learner(spec, config, model):
    import types

    import numpy as np
    import tensorflow as tf

    from tfvoice.models.deep_voice.duration_f0 import STRESS_CLASSES
    from tfvoice.training import step as step_
    from tfvoice.tts.vocoder import data
    from tfvoice.tts.vocoder.objective import NextLevelObjective

    sizes, rows = data.sizes(config.data, config.model, _RATE_HZ), spec["batch"]
    signature = data.ClipPipeline.signature.fget(types.SimpleNamespace(batch_size=rows, sizes=sizes))
    shapes = types.SimpleNamespace(signature=signature, sizes=sizes)
    settings = config.training.model_copy(update={"batch_size": rows, "clip_norm": 1.0})
    learner = step_.Learner(NextLevelObjective(model, shapes), settings, tf.distribute.get_strategy())
    random = np.random.default_rng(0)

    def integers(classes, shape):
        return tf.constant(random.integers(0, classes, shape), tf.int32)

    width, clip = sizes.width, signature.levels.shape[1] - 2 - sizes.lead * 64
    batch = data.ClipBatch(
        levels=integers(_LEVELS, signature.levels.shape),
        phonemes=integers(_PHONEMES, signature.phonemes.shape),
        stresses=integers(STRESS_CLASSES, signature.stresses.shape),
        f0=tf.constant(random.normal(size=signature.f0.shape), tf.float32),
        lengths=tf.fill([rows], width),
        offsets=tf.fill([rows], (width - sizes.lead - sizes.clip) // 2),
        counts=tf.fill([rows], clip),
        rows=tf.range(rows, dtype=tf.int64),
        epoch=tf.constant(0, tf.int64),
        position=tf.constant(0, tf.int64),
        samples=tf.constant(rows * clip, tf.int64),
    )
    inputs, _ = learner.objective.split(batch)
    logits = learner.objective.logits(*inputs, training=False)
    arrays = {name: getattr(batch, name).numpy() for name in ("levels", "phonemes", "stresses", "f0")}
    facts = {"lead": sizes.lead, "clip": sizes.clip, "offset": int(batch.offsets[0])}
    facts |= {"phonemes": _PHONEMES, "stresses": STRESS_CLASSES, "learning_rate": settings.learning_rate}
    about = _about(spec, config, model, arrays | {"logits": logits[:, :256].numpy()}, **facts)

    def step():
        loss, norm, gradients = learner.gradients([batch])
        learner.update(gradients, norm, settings.learning_rate, 0)
        return {"loss": loss}

    return {"step": step}, about


if __name__ == "__main__":
    measure.serve(_prepare)
