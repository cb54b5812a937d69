"""Audio that tests synthesise, and recognisers with random weights that write text."""

import io

import numpy as np
import soundfile
import tensorflow as tf

from tfvoice import checkpoints, tasks
from tfvoice.asr.recognizer import Recognizer
from tfvoice.audio import features
from tfvoice.export import export

RATE = 8000

SMALL = (
    *("model.units=12", "model.layers=2", "model.convolution_channels=3", "model.bidirectional=false"),
    *("model.lookahead=4", "features.sample_rate_hz=8000", "features.normalization=corpus", "data.max_seconds=0.4"),
)


# Without a space; class 5 is a combining mark.
THAI = "กขคงจีฉชซฌญฎฏฐฑฒณดตถทธนบปผฝพ"


def streaming_run(folder, *overrides):
    """Creates a run of a recogniser that streams, with random weights that write text, in a folder."""
    config = tasks.resolve("deepspeech2", overrides=[*SMALL, *overrides])
    channels = features.channels(config.features)
    statistics = features.FeatureStatistics(np.linspace(0, 1, channels), np.linspace(1, 2, channels))
    run = Recognizer.create(folder, config, statistics)
    random = np.random.default_rng(1)
    for weight in run.model.trainable_variables:
        if len(weight.shape) > 1:
            weight.assign(random.standard_normal(weight.shape) / np.sqrt(np.prod(weight.shape[:-1])) * 2)
    kernel = run.model.output_layer.kernel
    # Four classes take turns: space (the first character), two letters, blank.
    kernel.assign(5 * np.array(kernel) * np.isin(np.arange(29), [0, 5, 9, 28]))
    samples = tf.constant(speech(4, seed=5)[np.newaxis])
    inputs = features.compute(config.features, samples, tf.constant([samples.shape[1]]), statistics)
    # In a graph: outside, the loops over frames run in Python.
    train = tf.function(lambda: run.model(*inputs, training=True).values)
    for _ in range(30):
        train()
    return run


def recognizer(folder, model, overrides):
    """Creates a run of a recogniser with random weights that write text, in a folder."""
    config = tasks.resolve(model, overrides=overrides)
    channels = features.channels(config.features)
    statistics = features.FeatureStatistics(np.linspace(-9, -3, channels), np.linspace(1, 3, channels))
    run = Recognizer.create(folder, config, statistics)
    for number, weight in enumerate(run.model.trainable_variables):
        if len(weight.shape) > 1:
            scale = 2 / np.sqrt(np.prod(weight.shape[:-1]))
            weight.assign(scale * np.random.default_rng(number).standard_normal(weight.shape))
    # Of the output: a bias for space and blank, or a few classes that take turns.
    if len(weight.shape) == 1:
        weight.assign(np.where(np.isin(np.arange(29), [0, 28]), 2.0, 0.0))
    else:
        weight.assign(5 * np.array(weight) * np.isin(np.arange(29), [0, 5, 9, 28]))
    return run


def speech(seconds, seed=0):
    """Noise whose level changes ten times a second."""
    random = np.random.default_rng(seed)
    level = np.repeat(random.random(int(seconds * 10) + 1), RATE // 10)[: round(seconds * RATE)]
    return (0.2 * level * random.standard_normal(len(level))).astype(np.float32)


def modulated(seconds, seed=0):
    """Noise whose level and colour change ten times a second."""
    random = np.random.default_rng(seed)
    samples = random.standard_normal(round(seconds * RATE))
    smooth = np.convolve(samples, np.ones(8) / 8, "same")
    share, level = (np.repeat(random.random(int(seconds * 10) + 1), RATE // 10)[: len(samples)] for _ in range(2))
    return (0.2 * level * (share * samples + (1 - share) * 2 * smooth)).astype(np.float32)


def wav(samples, rate_hz=RATE, subtype="FLOAT", container="WAV"):
    """Samples as the bytes of a file; floats, so that nothing is rounded."""
    data = io.BytesIO()
    soundfile.write(data, samples, rate_hz, subtype=subtype, format=container)
    return data.getvalue()


def audio(seconds=1.0, rate_hz=16000, seed=0, **options):
    """Noise as a WAV file, or as `options` of soundfile say."""
    data = io.BytesIO()
    samples = np.random.default_rng(seed).normal(0, 0.1, round(seconds * rate_hz))
    soundfile.write(data, samples, rate_hz, **({"format": "WAV", "subtype": "PCM_16"} | options))
    return data.getvalue()


def streaming_export(folder):
    """Creates a run that streams, and the folder of its export."""
    run = streaming_run(folder / "run")
    checkpoints.save(run.checkpoint("best"), {"weights": run.model.weights}, {})
    return run, export.export(run.run_dir, folder / "models" / "1")
