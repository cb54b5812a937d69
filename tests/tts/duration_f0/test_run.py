"""A run of duration and F0 keeps the phonemes and the statistics of its data."""

import aligned_records as written
import pytest

from tfvoice import tasks
from tfvoice.errors import TfvoiceError
from tfvoice.training import transfer
from tfvoice.tts.duration_f0.data import ProsodyIndex
from tfvoice.tts.duration_f0.run import DurationF0Run


def test_a_run_knows_phonemes_and_statistics_of_its_data(duration_f0_run, aligned_records):
    opened = DurationF0Run.load(duration_f0_run.run_dir)
    assert opened.labels == ["sil", *written.PHONEMES]
    assert opened.statistics == ProsodyIndex(aligned_records, "train", 5).statistics()
    assert opened.config == duration_f0_run.config


def test_without_them_it_is_refused(tmp_path):
    for info in (None, {}, {"phonemes": ["sil"]}, {"phonemes": ["sil"], "statistics": {"seconds_mean": 1}}):
        with pytest.raises(
            TfvoiceError, match=r"the phonemes and statistics of this model are unknown; add info.phonem"
        ):
            DurationF0Run(tmp_path, tasks.resolve("duration_f0"), info)


def test_data_of_other_phonemes_are_refused(duration_f0_run, converted, tmp_path):
    def renamed(id, samples, rate_hz):
        found = written.alignment(id, samples, rate_hz)
        return found._replace(phonemes=["EH2" if symbol == "M" else symbol for symbol in found.phonemes])

    other = written.write(converted, tmp_path / "other", [*written.SYMBOLS, "EH2"], renamed)
    index = duration_f0_run.index(duration_f0_run.config, other, "train")
    sentence = "duration: does not know these records. train: 'EH2' is no phoneme of the network; known: sil, AA, IY, M"
    with pytest.raises(TfvoiceError, match=sentence):
        duration_f0_run.pipeline(index)


def test_weights_are_taken_phoneme_by_phoneme(duration_f0_run, converted, tmp_path):
    other = written.write(converted, tmp_path / "other", ["EH2", *reversed(written.SYMBOLS)])
    info = DurationF0Run.data_info(other)
    run = DurationF0Run.new(tmp_path / "run", duration_f0_run.config, other, info, duration_f0_run)
    taken = transfer.take_weights(run, duration_f0_run)
    assert taken.by_class == ["duration_f0/dense_0/kernel"] and taken.new_classes == ["EH"] and not taken.new
    assert run.statistics == duration_f0_run.statistics
    one, two = (made.model.dense_layers[0].kernel.numpy() for made in (run, duration_f0_run))
    for label in duration_f0_run.class_labels():
        assert (one[run.class_labels().index(label)] == two[duration_f0_run.class_labels().index(label)]).all()
