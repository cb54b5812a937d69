"""The voices of a server: by the names of their folders."""

import shutil

import pytest

from tfvoice.errors import TfvoiceError
from tfvoice.export import export
from tfvoice.serving import voices
from tfvoice.serving.predictor import Predictor


@pytest.fixture(scope="module")
def exported(voice_run, tmp_path_factory):
    """The folder of the versions of an exported voice."""
    folder = tmp_path_factory.mktemp("models") / "mary"
    export.export(voice_run.run_dir, folder / "2")
    return folder


def test_runs_and_exports_are_named_by_their_folders(voice_run, exported, tmp_path):
    (tmp_path / "anna").symlink_to(voice_run.run_dir)
    found = voices.load([tmp_path / "anna", exported])
    assert list(found) == ["anna", "mary"]
    assert found["mary"].voice.run_dir == exported / "2" / "assets.extra" / "voice"
    assert list(voices.load([exported / "2"])) == ["mary"]


def test_the_voice_of_the_package_is_default(voice_run, tmp_path, monkeypatch):
    monkeypatch.setattr(voices, "PACKAGED_VOICE", voice_run.run_dir)
    assert list(voices.load(["default"])) == ["default"]
    monkeypatch.setattr(voices, "PACKAGED_VOICE", tmp_path)
    with pytest.raises(TfvoiceError, match="--voice=default: this installation has no voice"):
        voices.load(["default"])


def test_what_is_no_voice_gets_a_sentence(voice_run, exported, recognizer_run, tmp_path):
    with pytest.raises(TfvoiceError, match=r"holds no voice; name a folder of tfvoice_train --model=deep_voice"):
        voices.load([tmp_path])
    with pytest.raises(TfvoiceError, match="is a run of wavenet_asr, not a voice"):
        voices.load([recognizer_run.run_dir])
    with pytest.raises(TfvoiceError, match=f"there is another voice of the name {voice_run.run_dir.name}"):
        voices.load([voice_run.run_dir, voice_run.run_dir])
    other = shutil.copytree(exported / "2", tmp_path / "other" / "1")
    shutil.rmtree(other / "assets.extra")
    with pytest.raises(TfvoiceError, match="is an exported model, but no voice; serve a recogniser with --model"):
        voices.load([tmp_path / "other"])
    with pytest.raises(TfvoiceError, match="does not transcribe waveforms; serve it with --voice"):
        Predictor(exported)
