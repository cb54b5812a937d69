"""Laws of conditioning: which phonemes are around a frame, and what F0 it has."""

import numpy as np
import pytest

from tfvoice.data.aligned import PhonemeAlignment
from tfvoice.text.phonemes import PhonemeError
from tfvoice.tts.vocoder import conditioning
from tfvoice.tts.vocoder.conditioning import F0Statistics

BASES = {"sil": 0, "AA": 1, "M": 2}
STATISTICS = F0Statistics(np.log(100.0), 0.5)


def frames(phonemes, ends, f0_hz, silence=2):
    alignment = PhonemeAlignment(phonemes, np.array(ends), np.array(f0_hz, np.float32), 64)
    return conditioning.frames(alignment, BASES, STATISTICS, silence)


def test_each_frame_has_the_phoneme_of_its_middle_and_two_to_each_side():
    # 3 is where there is no phoneme.
    found = frames(["sil", "AA1", "M"], [64, 200, 256], [0, 100, 100, 0])
    own, first, second, third = [3, 3, 0, 1, 2], [3, 3, 0, 1, 2], [3, 0, 1, 2, 3], [0, 1, 2, 3, 3]
    assert found.phonemes.tolist() == [own, own, first, second, second, third]
    assert found.stresses[3].tolist() == [0, 0, 2, 0, 0]
    assert [values.dtype for values in found] == [np.int16, np.int8, np.float32]


def test_silence_is_put_before_what_begins_without_it():
    found = frames(["AA1"], [128], [100, 100])
    assert found.phonemes.tolist() == [[3, 3, 0, 1, 3]] * 2 + [[3, 0, 1, 3, 3]] * 2


def test_f0_is_normalised_and_filled_and_its_voicing_kept():
    found = frames(["AA1"], [192], [0, 100 * np.exp(0.5), 0], silence=1)
    np.testing.assert_allclose(found.f0[:, 0], [1, 1, 1, 1], rtol=1e-5)
    assert found.f0[:, 1].tolist() == [0, 0, 1, 0]
    assert not frames(["AA1"], [64], [0]).f0.any()


def test_a_part_is_that_of_all_arrays():
    found = frames(["sil", "AA1", "M"], [64, 200, 256], [0, 100, 100, 0])
    assert [len(values) for values in found.part(1, 4)] == [3, 3, 3]


def test_an_unknown_phoneme_is_an_error():
    with pytest.raises(PhonemeError, match="'ZH' is no phoneme of the network"):
        frames(["ZH"], [64], [0])
