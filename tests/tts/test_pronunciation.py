"""Lexicon, G2P model and normaliser of a configuration."""

import pytest

from tfvoice.errors import TfvoiceError
from tfvoice.tts.pronunciation import PronunciationConfig, PronunciationSources


def test_paths_start_from_the_folder_and_own_words_go_first(tmp_path):
    (tmp_path / "own.dict").write_text("cat K AH1 T\n")
    (tmp_path / "run").mkdir()
    sources = PronunciationSources(PronunciationConfig(own_lexicon="../own.dict", g2p=""), tmp_path / "run")
    words = sources.pronouncer.pronounce("a cat qqqx")
    assert [(word.phonemes, word.by) for word in words] == [
        (("AH0",), "lexicon"), (("K", "AH1", "T"), "lexicon"), ((), "unknown")
    ]  # fmt: skip


def test_a_g2p_model_pronounces_the_rest(g2p_run, tmp_path):
    chosen = PronunciationConfig(g2p=str(g2p_run.run_dir))
    assert chosen.files() == {"g2p": str(g2p_run.run_dir)}
    (word,) = PronunciationSources(chosen, tmp_path).pronouncer.pronounce("abced")
    assert word.by in ("g2p", "unknown")


def test_the_model_of_the_package_is_for_its_lexicon_alone(lexicon_file, tmp_path):
    sources = PronunciationSources(PronunciationConfig(lexicon=str(lexicon_file), normalizer="plain"), tmp_path)
    assert sources.g2p is None and sources.pronouncer.pronounce("zzz")[0].by == "unknown"


def test_the_name_of_silence_is_taken(tmp_path):
    (tmp_path / "toy.dict").write_text("a sil\n")
    with pytest.raises(TfvoiceError, match=r"toy.dict: has the phoneme sil, which means silence here; rename it"):
        PronunciationSources(PronunciationConfig(lexicon="toy.dict"), tmp_path).lexicon  # noqa: B018
