"""Samples of a validation are files of the step, and a picture that may show more."""

import numpy as np
import soundfile
import tensorflow as tf

from tfvoice.report import samples


def test_each_sample_is_a_file_and_all_are_in_one_picture(tmp_path):
    waves = [np.full(4000, 0.25 * number, np.float32) for number in range(2)]
    tf.summary.experimental.set_step(12)
    try:
        samples.write(tmp_path, waves, {"a": waves[0], "b": waves[1], "beside": waves[1]}, 8000, epoch=3)
    finally:
        tf.summary.experimental.set_step(None)
    folder = tmp_path / "samples"
    assert sorted(path.name for path in folder.iterdir()) == [
        "step-0000012-0.wav", "step-0000012-1.wav", "step-0000012.png",
    ]  # fmt: skip
    found, rate_hz = soundfile.read(folder / "step-0000012-1.wav")
    assert rate_hz == 8000 and np.allclose(found, 0.25, atol=1e-4)
