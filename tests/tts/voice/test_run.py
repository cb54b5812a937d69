"""The folder of a voice: its parts, what is missing, what it was copied to."""

import shutil

import numpy as np
import pytest

from tfvoice.errors import TfvoiceError
from tfvoice.tts.voice.run import PACKAGED_VOICE, VoiceRun
from tfvoice.tts.voice.speaker import Speaker


def test_a_copied_folder_speaks_with_its_own_lexicon(voice_run, tmp_path):
    copied = shutil.copytree(voice_run.run_dir, tmp_path / "copied")
    (copied / "own.dict").write_text("zzyzx Z IH1 Z\n")
    for path in (copied / "experiment.json", copied / "segmentation" / "experiment.json"):
        text = path.read_text()
        path.write_text(text.replace('"own_lexicon": ""', '"own_lexicon": "../own.dict"'))
        assert text != path.read_text()
    voice = VoiceRun.load(copied)
    assert Speaker(voice).plan("zzyzx").alignment.phonemes == ["sil", "Z", "IH1", "Z", "sil"]
    assert voice.segmentation.pronunciations("zzyzx")[0][1] == [("Z", "IH1", "Z")]
    assert voice.sample_rate_hz == 16000 and voice.loaded == "best"


@pytest.mark.parametrize("part", ["duration_f0", "vocoder"])
def test_a_half_trained_voice_gets_a_sentence(voice_run, tmp_path, part):
    copied = shutil.copytree(voice_run.run_dir, tmp_path / "copied")
    shutil.rmtree(copied / part)
    with pytest.raises(TfvoiceError, match=rf"only half trained, it has no {part} yet; resume it with tfvoice_train"):
        VoiceRun.load(copied)


def test_other_folders_and_versions_get_a_sentence(voice_run, recognizer_run, tmp_path):
    with pytest.raises(TfvoiceError, match=r"is a run of wavenet_asr, not a voice"):
        VoiceRun.load(recognizer_run.run_dir)
    with pytest.raises(TfvoiceError, match=r"is not the folder of a run"):
        VoiceRun.load(tmp_path)
    copied = shutil.copytree(voice_run.run_dir, tmp_path / "copied")
    text = (copied / "experiment.json").read_text()
    (copied / "experiment.json").write_text(text.replace('"schema": 2', '"schema": 99'))
    with pytest.raises(TfvoiceError, match=r"has schema 99, and this version of tfvoice reads up to 2; update it"):
        VoiceRun.load(copied)


def test_a_packed_voice_is_whole_and_names_no_path_of_this_machine(voice_run, g2p_run, tmp_path):
    own = tmp_path / "mine" / "words.txt"
    own.parent.mkdir()
    own.write_text("zzyzx Z IH1 Z\n")
    made = shutil.copytree(voice_run.run_dir, tmp_path / "made")
    for path in (made / "experiment.json", made / "segmentation" / "experiment.json"):
        text = path.read_text().replace('"own_lexicon": ""', f'"own_lexicon": "{own}"')
        path.write_text(text.replace('"g2p": ""', f'"g2p": "{g2p_run.run_dir}"'))
    packed = VoiceRun.load(made).pack(tmp_path / "packed")
    shutil.rmtree(made)
    shutil.rmtree(own.parent)
    assert sorted(path.name for path in packed.iterdir()) == sorted(
        ["duration_f0", "experiment.json", "g2p", "own_lexicon.dict", "segmentation", "vocoder"]
    )
    for path in packed.rglob("experiment.json"):
        assert str(tmp_path) not in path.read_text() and str(g2p_run.run_dir) not in path.read_text()
    voice = VoiceRun.load(shutil.move(packed, tmp_path / "moved"))
    assert Speaker(voice, threads=1).plan("zzyzx").alignment.phonemes == ["sil", "Z", "IH1", "Z", "sil"]
    assert voice.segmentation.pronunciations("zzyzx")[0][1] == [("Z", "IH1", "Z")]
    assert voice.sources.g2p.inventory == g2p_run.inventory


def test_without_copying_a_packed_voice_has_no_segmentation(voice_run, tmp_path):
    packed = voice_run.pack(tmp_path / "packed", copying=False)
    assert sorted(path.name for path in packed.iterdir()) == ["duration_f0", "experiment.json", "vocoder"]
    assert (packed / "vocoder" / "checkpoints" / "best.safetensors").is_file()


def test_the_voice_of_the_package_speaks():
    assert sum(path.stat().st_size for path in PACKAGED_VOICE.rglob("*") if path.is_file()) < 8e6
    assert (PACKAGED_VOICE / "model_card.md").is_file()
    assert '"/' not in (PACKAGED_VOICE / "experiment.json").read_text(), "a path of another machine"
    speaker = Speaker(VoiceRun.load(PACKAGED_VOICE))
    planned = speaker.plan("Please call Stella.")
    assert " ".join(planned.alignment.phonemes) == "sil P L IY1 Z K AO1 L S T EH1 L AH0 sil"
    assert 0.6 < planned.alignment.ends[-1] / speaker.voice.sample_rate_hz < 2.5
    spoken = speaker.speak(planned)
    level_db = 20 * np.log10(np.sqrt(np.mean(spoken**2)))
    assert -45 < level_db < -15 and np.abs(spoken).max() < 1
    # Vowels are louder than the silence before them.
    edge = int(planned.alignment.ends[0])
    assert np.std(spoken[edge:]) > 3 * np.std(spoken[:edge])
