import math

import numpy as np
import pytest
from segmentations import segmentation_run

from tfvoice import checkpoints, tasks
from tfvoice.errors import TfvoiceError
from tfvoice.text.phonemes import ARPABET, SILENCE
from tfvoice.tts.segmentation.run import SegmentationRun


@pytest.fixture(scope="module")
def run(converted, tmp_path_factory):
    return segmentation_run(tmp_path_factory.mktemp("runs") / "segmentation", converted)


def test_it_knows_the_phonemes_of_its_lexicon(run):
    assert run.phonemes[0] == SILENCE and len(run.phonemes) == 40
    assert len(run.class_labels()) == 1601 and run.class_labels()[1] == "sil AA"
    assert [run.without_stress(phoneme) for phoneme in ("AH0", "B", SILENCE)] == ["AH", "B", SILENCE]


def test_log_probabilities_are_those_of_any_batch(run):
    samples = np.random.default_rng(0).standard_normal((2, 4000)).astype(np.float32) * 0.1
    samples[1, 3000:] = 0
    both = run.log_probabilities(samples, [4000, 3000])
    np.testing.assert_array_equal(both.lengths, [26, 19])
    np.testing.assert_allclose(np.exp(both.values).sum(axis=-1), 1, atol=1e-4)
    alone = run.log_probabilities(samples[1:, :3000], [3000])
    np.testing.assert_allclose(both.values[1, :19], alone.values[0], atol=1e-4)


def test_the_first_pronunciation_or_all_of_them(run, converted, tmp_path):
    assert run.pronunciations("The") == [("the", [("DH", "AH0")])]
    other = segmentation_run(tmp_path / "run", converted, ["pronunciation.variants=true"])
    (word,) = other.pronunciations("The")
    assert word[1][0] == ("DH", "AH0") and len(word[1]) > 1
    assert other.pronunciations("{B AH0}")[0][1] == [("B", "AH0")]


def test_own_words_go_before_the_lexicon(converted, tmp_path):
    (tmp_path / "own.dict").write_text("the B\nfozzwick F AA1 Z\n")
    run = segmentation_run(tmp_path / "run", converted, [f"pronunciation.own_lexicon={tmp_path}/own.dict"])
    assert [word for _, word in run.pronunciations("the fozzwick unzz")] == [[("B",)], [("F", "AA1", "Z")], []]


def test_words_that_are_missing_are_pronounced_by_the_model_of_the_package(converted, tmp_path):
    run = segmentation_run(tmp_path / "run", converted, ["pronunciation.g2p=package"])
    ((_, found),) = run.pronunciations("fozzwick")
    assert found[0][0] == "F" and set(found[0]) <= set(run.inventory.symbols)


def test_words_that_are_missing_are_pronounced_by_a_g2p_model(converted, g2p_run, tmp_path):
    run = segmentation_run(tmp_path / "run", converted, [f"pronunciation.g2p={g2p_run.run_dir}"])
    ((_, found),) = run.pronunciations("abcde")
    assert found and set(found[0]) <= set(g2p_run.inventory.symbols)


def test_the_fingerprint_depends_on_weights_and_lexicon(run, converted, tmp_path):
    assert run.fingerprint() == SegmentationRun.load(run.run_dir).fingerprint()
    other = segmentation_run(tmp_path / "run", converted)
    assert other.fingerprint() == run.fingerprint()
    other.model.output_layer.bias.assign(0 * other.model.output_layer.bias)
    assert other.fingerprint() != run.fingerprint()
    (tmp_path / "own.dict").write_text("the B\n")
    own = segmentation_run(tmp_path / "own", converted, [f"pronunciation.own_lexicon={tmp_path}/own.dict"])
    assert own.fingerprint() != run.fingerprint()


def test_a_run_without_phonemes_and_a_lexicon_with_others_get_a_sentence(converted, tmp_path):
    with pytest.raises(TfvoiceError, match=r"the phonemes of this segmentation model are unknown; add info.phonemes"):
        SegmentationRun(tmp_path, tasks.resolve("segmentation"))
    (tmp_path / "other.dict").write_text("the XX\n")
    run = segmentation_run(tmp_path / "run", converted, [f"pronunciation.lexicon={tmp_path}/other.dict"])
    assert set(run.inventory.symbols) == set(ARPABET.symbols)
    with pytest.raises(
        TfvoiceError, match=r"other.dict: has phonemes that .* does not know, such as XX; train another"
    ):
        run.pronunciations("the")


def test_weights_that_are_not_finite_get_a_sentence(converted, tmp_path):
    run = segmentation_run(tmp_path / "run", converted)
    run.model.output_layer.bias.assign(run.model.output_layer.bias * math.nan)
    checkpoints.save(run.checkpoint("best"), {"weights": run.model.weights}, {"epoch": 1})
    with pytest.raises(TfvoiceError, match=r"run: the weights .*bias of checkpoint best are not finite; use the other"):
        SegmentationRun.load(run.run_dir)


def test_files_are_found_from_other_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = tasks.resolve("segmentation", None, ["pronunciation.own_lexicon=own.dict"])
    chosen = SegmentationRun.resolved(settings, "run", "data", False).pronunciation
    assert (chosen.lexicon, chosen.own_lexicon, chosen.g2p) == ("cmudict", str(tmp_path / "own.dict"), "package")


def test_a_lexicon_with_the_phoneme_of_silence_is_refused(converted, tmp_path):
    (tmp_path / "own.dict").write_text("pause sil\n")
    settings = tasks.resolve("segmentation", None, [f"pronunciation.lexicon={tmp_path}/own.dict"])
    with pytest.raises(TfvoiceError, match=r"own.dict: has the phoneme sil, which means silence here; rename it"):
        SegmentationRun.new(tmp_path / "run", settings, converted, {})
