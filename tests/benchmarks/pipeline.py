"""Throughput of the input pipeline on real speech, beside the throughput of training."""

import sys
from pathlib import Path
from typing import Any

import measure
from measure import Options, Row, Worker

_CORPUS = measure.ROOT / "tests" / "data" / "asterisk"
_AUGMENTATION = [
    *("augmentation.tempo=0.15", "augmentation.gain_db=[-6,8]", "augmentation.snr_db=[0,20]"),
    *(f"augmentation.noise_folder={_CORPUS}", "augmentation.noise_share=0.4", "augmentation.reverb_share=0.3"),
]
# Model, configuration, overrides, and the target of the ratio of pipeline to training.
_CASES = {
    "faithful": ("wavenet_asr", "wavenet_asr_faithful", [], 20),
    "default": ("wavenet_asr", None, [], 20),
    "DeepSpeech2": ("deepspeech2", None, [], 20),
    "DeepSpeech2 with tempo, gain, noise and rooms": ("deepspeech2", None, _AUGMENTATION, 4),
    "deepspeech2_small with all of these": ("deepspeech2", "deepspeech2_small", _AUGMENTATION, 4),
}
# Consecutive, from one iterator as in training; its start takes 0.3 s, which is included.
_EPOCHS = 10


def rows(options: Options) -> list[Row]:
    """Both in seconds of audio per second, on the corpus in tests/data, with the augmentation of the configuration."""
    records = options.folder / "asterisk_records"
    flags = ["--corpus=vctk", f"--input={_CORPUS}", f"--output={records}", "--split_by=utterance"]
    measure.timed([*measure.command("tfvoice_convert"), *flags])
    return [_row(name, *case, records, options) for name, case in _CASES.items()]


def _row(
    name: str, model: str, config: str | None, overrides: list[str], target: int, records: Path, options: Options
) -> Row:
    folder = options.folder / f"run_{name.replace(' ', '_')}"
    spec = {"model": model, "config": config, "overrides": overrides, "records": str(records), "run": str(folder)}
    rates: dict[str, list[float]] = {"epochs": [], "training": []}

    def timed(action: str):
        def run() -> float:
            result = worker.do(action)
            rates[action].append(result["audio_seconds"] / result["seconds"])
            return result["seconds"]

        return run

    runs = max(2, options.runs // 3)
    with Worker([sys.executable, __file__], spec) as worker:
        times = measure.in_turn({action: timed(action) for action in rates}, runs)
    pipeline, training = (measure.median(rates[action][-runs:]) for action in ("epochs", "training"))
    ratio = pipeline / training
    note = f"{worker.about['utterances']} clips in {worker.about['batches']} batches, {_EPOCHS} epochs in a row"
    return Row(
        f"input pipeline alone, {name} configuration",
        f"{pipeline:.0f} audio s/s",
        f"training: {training:.0f} audio s/s",
        ratio,
        f">= {target}",
        ratio >= target,
        (note,),
        times,
    )


def _prepare(spec: dict[str, Any]):
    """In the worker: the action `epochs` produces new epochs, `training` trains on the batches of the first epoch."""
    import itertools

    import tensorflow as tf

    from tfvoice import tasks
    from tfvoice.asr import recognizer, task
    from tfvoice.audio import features
    from tfvoice.training import step

    config = tasks.resolve(spec["model"], spec["config"], spec["overrides"])
    run = recognizer.Recognizer.create(spec["run"], config)
    channels = features.channels(config.features)
    learner = step.Learner(
        task.CtcObjective(run.model, channels, config.training), config.training, tf.distribute.get_strategy()
    )
    scanned = run.scan(spec["records"], "train")
    data, first = run.pipeline(scanned, augmented=True), itertools.count(1, _EPOCHS)
    batches = list(data.batches(epochs=1))

    def seconds(source):
        return {"audio_seconds": sum(int(batch.samples) for batch in source) / scanned.sample_rate_hz}

    def training():
        for batch in batches:
            _, norm, gradients = learner.gradients([batch])
            learner.update(gradients, norm, config.training.learning_rate, 0)
        return seconds(batches)

    actions = {"epochs": lambda: seconds(data.batches(next(first), epochs=_EPOCHS)), "training": training}
    return actions, {"utterances": len(scanned), "batches": len(batches)}


if __name__ == "__main__":
    measure.serve(_prepare)
