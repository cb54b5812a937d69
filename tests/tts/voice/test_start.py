"""A new voice copies what its texts need; what was there before is compared with it."""

import shutil

import aligned_records as aligned_records_
import pytest
import voices

from tfvoice.config import ConfigError
from tfvoice.errors import TfvoiceError
from tfvoice.run import RunFolder
from tfvoice.tts.voice import start
from tfvoice.tts.voice.run import VoiceRun


@pytest.fixture
def lexicon(tmp_path):
    path = tmp_path / "mine.dict"
    path.write_text("zzyzx Z IH1 Z\n")
    return path


def made(run_dir, converted, *overrides):
    """Writes a new voice; returns its settings, with absolute paths."""
    settings = start.with_absolute_paths(voices.settings(overrides))
    _, write = start.make(run_dir, settings, RunFolder.data_info(converted), None)
    write()
    return settings


def test_lexicon_and_g2p_model_are_copied(converted, g2p_run, lexicon, tmp_path):
    run_dir = tmp_path / "voice"
    names = (f"segmentation.pronunciation.own_lexicon={lexicon}", f"segmentation.pronunciation.g2p={g2p_run.run_dir}")
    made(run_dir, converted, *names)
    copied = shutil.copytree(run_dir, tmp_path / "elsewhere")
    shutil.rmtree(run_dir)
    voice = VoiceRun.open(copied)
    assert voice.config.segmentation.pronunciation.files() == {"own_lexicon": "../own_lexicon.dict", "g2p": "../g2p"}
    assert voice.sources.lexicon.pronunciations("zzyzx") == (("Z", "IH1", "Z"),)
    assert voice.sources.g2p.letters == g2p_run.letters


def test_a_lexicon_may_be_edited_in_the_folder_but_not_replaced(converted, lexicon, tmp_path):
    run_dir, info = tmp_path / "voice", RunFolder.data_info(converted)
    settings = made(run_dir, converted, f"segmentation.pronunciation.own_lexicon={lexicon}")
    (run_dir / "own_lexicon.dict").write_text("zzyzx Z IY1 Z\n")
    voice = start.open_existing(run_dir, settings, info, None)
    assert start.portable(settings) == voice.config
    inherited = start.with_absolute_paths(voice.config, voice)
    assert start.open_existing(run_dir, inherited, info, None).config == voice.config
    lexicon.write_text("zzyzx Z AA1 Z\n")
    with pytest.raises(TfvoiceError, match=r"own_lexicon: .*mine\.dict \(of other content\)"):
        start.open_existing(run_dir, settings, info, None)
    lexicon.unlink()
    with pytest.raises(ConfigError, match=r"mine\.dict: cannot be read"):
        start.open_existing(run_dir, settings, info, None)


def test_nothing_is_written_where_a_lexicon_cannot_be_used(converted, tmp_path):
    with pytest.raises(TfvoiceError, match=r"none\.dict"):
        made(tmp_path / "voice", converted, f"segmentation.pronunciation.own_lexicon={tmp_path}/none.dict")
    assert not (tmp_path / "voice").exists()


def test_folders_of_others_are_not_deleted(converted, tmp_path):
    (tmp_path / "runs" / "vocoder").mkdir(parents=True)
    (tmp_path / "runs" / "vocoder" / "experiment.json").write_text("{}")
    with pytest.raises(TfvoiceError, match="holds vocoder/ and is no voice; use another --run"):
        made(tmp_path / "runs", converted)


def test_what_was_killed_while_it_was_made_is_made_again(converted, tmp_path):
    run_dir = tmp_path / "voice"
    made(run_dir, converted)
    (run_dir / "experiment.json").unlink()
    made(run_dir, converted)
    assert VoiceRun.open(run_dir).info["corpus"] == "vctk"


def test_a_voice_has_the_rate_of_its_records(converted, aligned_records, tmp_path):
    assert start.fitted(voices.settings(), converted) == voices.settings()
    other = aligned_records_.with_manifest(converted, tmp_path, '"sample_rate_hz": 16000', '"sample_rate_hz": 22050')
    found = start.fitted(voices.settings(), other).segmentation.features
    assert (found.sample_rate_hz, found.hop_samples) == (22050, 220)
    with pytest.raises(TfvoiceError, match="plain ones are needed"):
        start.fitted(voices.settings(), aligned_records)
