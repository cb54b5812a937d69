"""How fast batches of real speech come out of the shards, beside how fast training takes them in."""

import sys
from pathlib import Path
from typing import Any

import measure
from measure import Options, Row, Worker

_CORPUS = measure.ROOT / "tests" / "data" / "asterisk"
# What the network takes in is compared with what comes out of the shards; the least ratio that is aimed at.
_EVERYTHING = [
    *("augmentation.tempo=0.15", "augmentation.gain_db=[-6,8]", "augmentation.snr_db=[0,20]"),
    *(f"augmentation.noise_folder={_CORPUS}", "augmentation.noise_share=0.4", "augmentation.reverb_share=0.3"),
]
_SIDES = {
    "faithful": ("wavenet_asr", "wavenet_asr_faithful", [], 20),
    "default": ("wavenet_asr", None, [], 20),
    "DeepSpeech2": ("deepspeech2", None, [], 20),
    "DeepSpeech2 with tempo, gain, noise and rooms": ("deepspeech2", None, _EVERYTHING, 4),
    "deepspeech2_small with all of these": ("deepspeech2", "deepspeech2_small", _EVERYTHING, 4),
}
# In a row, by one iterator as in training; to start it takes TensorFlow some 0.3 s, which counts.
_EPOCHS = 10


def rows(options: Options) -> list[Row]:
    """Both in audio seconds per second, on the corpus in tests/data, with the augmentation of the configuration."""
    records = options.folder / "asterisk_records"
    flags = ["--corpus=vctk", f"--input={_CORPUS}", f"--output={records}", "--split_by=utterance"]
    measure.timed([*measure.command("tfvoice_convert"), *flags])
    return [_row(name, *side, records, options) for name, side in _SIDES.items()]


def _row(
    name: str, model: str, config: str | None, overrides: list[str], target: int, records: Path, options: Options
) -> Row:
    folder = options.folder / f"run_{name.replace(' ', '_')}"
    spec = {"model": model, "config": config, "overrides": overrides, "records": str(records), "run": str(folder)}
    rates: dict[str, list[float]] = {"epochs": [], "training": []}

    def side(action: str):
        def once() -> float:
            answer = worker.do(action)
            rates[action].append(answer["audio_seconds"] / answer["seconds"])
            return answer["seconds"]

        return once

    runs = max(2, options.runs // 3)
    with Worker([sys.executable, __file__], spec) as worker:
        times = measure.in_turn({action: side(action) for action in rates}, runs)
    delivered, taken = (measure.median(rates[action][-runs:]) for action in ("epochs", "training"))
    ratio = delivered / taken
    note = f"{worker.about['utterances']} clips in {worker.about['batches']} batches, {_EPOCHS} epochs in a row"
    return Row(
        f"input pipeline alone, {name} configuration",
        f"{delivered:.0f} audio s/s",
        f"training takes {taken:.0f} audio s/s",
        ratio,
        f">= {target}",
        ratio >= target,
        (note,),
        times,
    )


def _prepare(spec: dict[str, Any]):
    """In the worker: new epochs at each call of the one action, the batches of the first one for the other."""
    import itertools

    import tensorflow as tf

    from tfvoice import experiment
    from tfvoice.asr import recognizer
    from tfvoice.audio import features
    from tfvoice.training import objectives, step

    config = experiment.resolve(spec["model"], spec["config"], spec["overrides"])
    run = recognizer.Recognizer.create(spec["run"], config)
    channels = features.channels(config.features)
    trained = step.Learner(
        objectives.Ctc(run.model, channels, config.training), config.training, tf.distribute.get_strategy()
    )
    scanned = run.scan(spec["records"], "train")
    data, first = run.pipeline(scanned, augmented=True), itertools.count(1, _EPOCHS)
    kept = list(data.batches(epochs=1))

    def seconds(batches):
        return {"audio_seconds": sum(int(batch.samples) for batch in batches) / scanned.sample_rate_hz}

    def training():
        for batch in kept:
            _, norm, gradients = trained.gradients([batch])
            trained.update(gradients, norm, config.training.learning_rate, 0)
        return seconds(kept)

    actions = {"epochs": lambda: seconds(data.batches(next(first), epochs=_EPOCHS)), "training": training}
    return actions, {"utterances": len(scanned), "batches": len(kept)}


if __name__ == "__main__":
    measure.serve(_prepare)
