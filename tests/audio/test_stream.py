"""Parts of a stream, streams that end too early, and errors."""

import numpy as np
import pytest

from tfvoice.audio import stream as streams


def stream(frames, rate_hz=100, seekable=False):
    position = 0

    def seek(frame):
        nonlocal position
        position = frame

    def blocks():
        for start in range(position, frames, 30):
            yield np.arange(start, min(start + 30, frames), dtype=np.float32)[:, np.newaxis]

    return streams.Stream("a.x", rate_hz, frames, blocks(), seek if seekable else None)


def samples(cropped):
    return np.concatenate(list(cropped.blocks))[:, 0]


@pytest.mark.parametrize("seekable", [False, True])
@pytest.mark.parametrize("start, seconds, expected", [(0, 1, (0, 100)), (2.5, 0.3, (250, 280)), (3, None, (300, 400))])
def test_a_part_has_the_samples_of_the_whole(seekable, start, seconds, expected):
    part = streams.crop(streams.whole(stream(400, seekable=seekable), 4.0), start, seconds)
    assert part.frames == expected[1] - expected[0]
    np.testing.assert_array_equal(samples(part), np.arange(*expected))


@pytest.mark.parametrize(
    "start, seconds, words", [(3.5, 1, "from 3.5 s to 4.5 s: it has 4.0 s"), (9, None, "9.0 s on")]
)
def test_a_part_beyond_the_end_is_an_error_with_both_lengths(start, seconds, words):
    with pytest.raises(streams.AudioError, match=words) as caught:
        samples(streams.crop(stream(400), start, seconds))
    assert caught.value.reason == "beyond_the_end"


def test_an_empty_part_is_an_error_with_its_time():
    with pytest.raises(streams.AudioError, match=r"^a\.x: the part at 1\.5 s is empty; correct the times\.$"):
        samples(streams.crop(stream(400), 1.5, 0.0))


def test_a_part_may_end_a_rounding_error_beyond_the_end():
    assert len(samples(streams.crop(stream(400), 3, 1.1))) == 100


def test_a_stream_that_is_shorter_than_promised_is_cut_off():
    assert len(samples(streams.whole(stream(400), 4.1))) == 400
    with pytest.raises(streams.AudioError, match=r"after 4\.0 s \(its header states 5\.0 s\)"):
        samples(streams.whole(stream(400), 5.0))
    with pytest.raises(streams.AudioError, match="inside a page"):
        samples(streams.whole(stream(400), None, cut=True))


def test_the_error_of_a_decoder_at_a_cut_states_the_promised_length():
    def blocks():
        yield np.zeros((100, 1), np.float32)
        raise streams.cut_off("a.x", 1.0, "lost sync")

    with pytest.raises(streams.AudioError, match=r"after 1\.0 s \(its header states 5\.0 s\)"):
        samples(streams.whole(stream(500)._replace(blocks=blocks()), 5.0))


def test_a_tolerant_stream_reports_the_cut_and_ends():
    errors = []
    assert len(samples(streams.tolerant(streams.whole(stream(400), 5.0), errors.append))) == 400
    assert [error.reason for error in errors] == ["cut_off"]


def test_a_tolerant_stream_raises_other_errors():
    def blocks():
        yield np.zeros((1, 1), np.float32)
        raise streams.AudioError("a.x: other.", "non_finite")

    with pytest.raises(streams.AudioError, match="other"):
        samples(streams.tolerant(stream(1)._replace(blocks=blocks()), pytest.fail))
