"""A run of a vocoder knows its phonemes, its rate and its F0."""

import pytest
from aligned_records import with_manifest

from tfvoice.errors import TfvoiceError
from tfvoice.tts.vocoder.run import VocoderRun


def test_a_run_is_opened_as_it_was_written(vocoder_run):
    opened = VocoderRun.load(vocoder_run.run_dir)
    assert (opened.labels, opened.sample_rate_hz, opened.statistics, opened.sizes) == (
        vocoder_run.labels, vocoder_run.sample_rate_hz, vocoder_run.statistics, vocoder_run.sizes,
    )  # fmt: skip
    assert opened.bases["sil"] == 0 and opened.model.phonemes == len(opened.labels) + 1


def test_without_its_phonemes_it_is_refused(vocoder_run, tmp_path):
    with pytest.raises(TfvoiceError, match="phonemes, F0 and sample rate of this vocoder are unknown"):
        VocoderRun(tmp_path, vocoder_run.config, {"phonemes": ["sil"]})


def test_audio_of_another_rate_is_refused(vocoder_run, aligned_records, tmp_path):
    with_manifest(aligned_records, tmp_path, '"sample_rate_hz":16000', '"sample_rate_hz":8000')
    with pytest.raises(TfvoiceError, match=r"its audio has 8000 Hz and .* was trained at 16000; convert the corpus"):
        vocoder_run.index(tmp_path, "test")
