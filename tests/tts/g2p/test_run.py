"""Laws of runs of G2P models: classes come from the data, and lexica have names or paths."""

import json
from pathlib import Path

import numpy as np
import pytest

from tfvoice import checkpoints, tasks
from tfvoice.errors import TfvoiceError
from tfvoice.training import transfer
from tfvoice.tts.g2p.predict import G2pPredictor
from tfvoice.tts.g2p.run import G2pRun

SMALL = tasks.resolve("g2p", overrides=["model.units=4"])


def test_classes_are_those_of_the_lexicon_and_stay_with_the_run(g2p_run):
    assert g2p_run.letters == "abcde"
    assert g2p_run.class_labels() == ["", "AA1", "B", "D", "EH0", "K", "S"]
    loaded = G2pRun.load(g2p_run.run_dir)
    assert (loaded.letters, loaded.inventory, loaded.loaded) == (g2p_run.letters, g2p_run.inventory, "best")
    for one, other in zip(loaded.model.weights, g2p_run.model.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_run_without_classes_is_an_error(tmp_path):
    with pytest.raises(TfvoiceError, match=r"the letters and phonemes of this G2P model are unknown; add info.letters"):
        G2pRun(tmp_path, SMALL)


def test_data_are_a_lexicon_by_its_name_or_its_path(lexicon_file, tmp_path, g2p_run):
    named = G2pRun.data_info("cmudict")
    assert (named["data"], named["corpus"], named["manifest_sha256"][:8]) == ("cmudict", "cmudict", "81917843")
    assert G2pRun.data_info(lexicon_file)["data"] == str(lexicon_file)
    assert g2p_run.data_dir() == str(lexicon_file) and g2p_run.data_dir("cmudict") == "cmudict"
    assert g2p_run.is_own_data(lexicon_file) and not g2p_run.is_own_data("cmudict")
    moved = G2pRun(tmp_path, SMALL, g2p_run.info | {"data": str(tmp_path / "gone.dict")})
    with pytest.raises(TfvoiceError, match=r"its lexicon, .*gone\.dict, is not on this machine; name it with"):
        moved.data_dir()


def test_a_lexicon_of_other_phonemes_is_refused(g2p_run, tmp_path):
    other = tmp_path / "other.dict"
    other.write_text("a AA1\nb ZH\n")
    with pytest.raises(TfvoiceError, match=r"has phonemes that .* does not know, such as ZH; train another run with"):
        g2p_run.lexicon(other)


def test_weights_of_another_run_are_taken_phoneme_by_phoneme(g2p_run, tmp_path):
    words = tmp_path / "more.dict"
    words.write_text("bad B AE1 D\nace EH0 S\ncab K AA1 B\n")
    made = G2pRun.new(tmp_path / "run", g2p_run.config, words, G2pRun.data_info(words), g2p_run)
    # Letters keep their numbers; this lexicon has no other.
    assert made.letters == "abcde"
    taken = transfer.take_weights(made, g2p_run)
    assert taken.new_classes == ["AE1"] and len(taken.by_class) == 3
    for label in ("", "K", "EH0"):
        one, other = (np.array(run.model.output_layer.bias)[run.class_labels().index(label)] for run in (made, g2p_run))
        assert one == other
    words.write_text("bad B AE1 D\nface F EH1 S\n")
    assert G2pRun.new(tmp_path / "run", g2p_run.config, words, {}, g2p_run).letters == "abcdef"


def test_a_run_is_packed_in_half_the_bytes_and_pronounces_alike(g2p_run, tmp_path):
    packed = g2p_run.pack(tmp_path / "packed")
    assert sorted(path.name for path in packed.rglob("*") if path.is_file()) == ["best.safetensors", "experiment.json"]
    description = json.loads((packed / "experiment.json").read_text())
    assert str(Path(g2p_run.info["data"]).parent) not in json.dumps(description)
    sizes = [(run / "checkpoints" / "best.safetensors").stat().st_size for run in (packed, g2p_run.run_dir)]
    assert sizes[0] < 0.6 * sizes[1] + 2000
    loaded = G2pRun.load(packed)
    for one, other in zip(loaded.model.weights, g2p_run.model.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-6)
    words = ["abc", "dead", "cab"]
    assert G2pPredictor(loaded).pronounce(words) == G2pPredictor(g2p_run).pronounce(words)
    assert checkpoints.restore(loaded.checkpoint("best"), {}) == {}
