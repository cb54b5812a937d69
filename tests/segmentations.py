"""Runs of small segmentation models for tests."""

import numpy as np
import soundfile

from tfvoice import checkpoints, tasks
from tfvoice.data import convert
from tfvoice.data.corpora import manifest
from tfvoice.data.shards import ConversionConfig
from tfvoice.text.phonemes import ARPABET
from tfvoice.tts.segmentation.run import SegmentationRun

# Words that CMUdict lacks have no phonemes.
SMALL = ("model.units=6", "model.layers=1", "model.convolution_channels=2", "pronunciation.g2p=")


def segmentation_run(folder, data_dir, overrides=()):
    """Creates a run with random weights that emit some pairs, in a folder; its only checkpoint is `best`."""
    settings = tasks.resolve("segmentation", None, (*SMALL, *overrides))
    info = SegmentationRun.data_info(data_dir) | {"phonemes": list(ARPABET.symbols)}
    run = SegmentationRun.create(folder, settings, info)
    for number, weight in enumerate(run.model.trainable_variables):
        if len(weight.shape) > 1:
            scale = 2 / np.sqrt(np.prod(weight.shape[:-1]))
            weight.assign(scale * np.random.default_rng(number).standard_normal(weight.shape))
    bias = np.zeros(run.model.output_layer.bias.shape, np.float32)
    bias[-1] = 4.0
    run.model.output_layer.bias.assign(bias)
    checkpoints.save(run.checkpoint("best"), {"weights": run.model.weights}, {"epoch": 1})
    return SegmentationRun.load(folder)


def write_clips(folder, clips, rate_hz=16000):
    """Writes clips, `{id: (samples, text)}`, as WAV files with a manifest; returns the path of the manifest."""
    rows = ["audio\tsplit\ttext"]
    folder.mkdir(parents=True, exist_ok=True)
    for name, (samples, text) in clips.items():
        soundfile.write(folder / f"{name}.wav", samples, rate_hz, "PCM_16")
        rows.append(f"{name}.wav\ttrain\t{text}")
    (folder / "clips.tsv").write_text("\n".join(rows) + "\n")
    return folder / "clips.tsv"


def converted(path, output):
    """Converts clips of `write_clips`; returns the folder of the records."""
    convert.convert(convert.prepare(manifest.read(str(path)), ConversionConfig()), output, progress=False)
    return output
