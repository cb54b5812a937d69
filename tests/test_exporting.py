"""What leaves is whole, says what it is, and does not take the place of anything unasked."""

import json
import re

import pytest

from tfvoice import exporting
from tfvoice.errors import TfvoiceError


def test_the_model_knows_itself(exported):
    run, model = exported[0], exported[1] / "1"
    known = json.loads((model / "tfvoice.json").read_text(encoding="utf-8"))
    assert known["model"] == run.config.model.name and known["sample_rate_hz"] == 16000
    assert known["characters"] == run.alphabet.characters
    assert "# run" in (model / "model_card.md").read_text(encoding="utf-8")


def test_what_cannot_be_exported_is_told(generator_run, tmp_path):
    with pytest.raises(TfvoiceError, match=r"nowhere: is not the folder of a run"):
        exporting.export(tmp_path / "nowhere", tmp_path / "1")
    with pytest.raises(TfvoiceError, match=r"has no checkpoint last yet; use --checkpoint=best"):
        exporting.export(generator_run.run_dir, tmp_path / "1", checkpoint="last")
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "mine").write_text("")
    with pytest.raises(TfvoiceError, match=re.escape(f"{tmp_path / '2'}: is already there; use the next version's")):
        exporting.export(generator_run.run_dir, tmp_path / "2")
    with pytest.raises(TfvoiceError, match="holds no exported model, so --overwrite does not replace it"):
        exporting.export(generator_run.run_dir, tmp_path / "2", overwrite=True)
    assert (tmp_path / "2" / "mine").is_file()
    (tmp_path / "2" / "mine").rename(tmp_path / "2" / exporting.DESCRIPTION)
    exporting.export(generator_run.run_dir, tmp_path / "2", overwrite=True)
    assert (tmp_path / "2" / exporting.DESCRIPTION).read_text() and (tmp_path / "2" / "saved_model.pb").is_file()
    with pytest.raises(TfvoiceError, match="cannot write the model"):
        exporting.export(generator_run.run_dir, tmp_path / "2" / "saved_model.pb" / "1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2"]


def test_tflite_is_for_wavenets(generator_run, tmp_path):
    with pytest.raises(TfvoiceError, match=r"--format=tflite: is for wavenet_asr, and .* is sample_rnn"):
        exporting.export(generator_run.run_dir, tmp_path / "3", kind="tflite")
