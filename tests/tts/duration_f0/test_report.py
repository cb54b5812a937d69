"""Figures of prosody."""

import numpy as np
import pytest

from tfvoice.tts.duration_f0 import report as report_
from tfvoice.tts.duration_f0.data import ProsodyIndex


@pytest.fixture(scope="module")
def index(aligned_records):
    return ProsodyIndex(aligned_records, "test", 5)


def test_figures_are_pictures_and_repeatable(index):
    truth = [target.prosody for target in index.targets]
    for made in (
        lambda: report_.durations(index, truth),
        lambda: report_.contours(index, 0, truth[0]),
    ):
        picture = made()
        assert picture.dtype == np.uint8 and picture.shape[2] == 3 and picture.min() < 100
        np.testing.assert_array_equal(picture, made())


def test_speech_without_a_voice_can_be_plotted(index):
    truth = index.targets[0].prosody
    silent = truth._replace(voiced=np.zeros_like(truth.voiced))
    assert report_.contours(index, 0, silent).any()
