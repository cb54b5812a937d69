"""An export is complete, describes itself, and replaces nothing unasked."""

import json
import re

import pytest
import tensorflow as tf

from tfvoice import storage
from tfvoice.errors import TfvoiceError
from tfvoice.export import export, metadata


def test_an_exported_model_has_its_metadata_and_card(exported):
    run, model = exported[0], exported[1] / "1"
    known = json.loads((model / "tfvoice.json").read_text(encoding="utf-8"))
    assert known["model"] == run.config.model.name and known["sample_rate_hz"] == 16000
    assert known["characters"] == run.alphabet.characters
    assert "# run" in (model / "model_card.md").read_text(encoding="utf-8")


def test_a_run_that_cannot_be_exported_is_an_error(generator_run, tmp_path):
    with pytest.raises(TfvoiceError, match=r"nowhere: is not the folder of a run"):
        export.export(tmp_path / "nowhere", tmp_path / "1")
    with pytest.raises(TfvoiceError, match=r"has no checkpoint last yet; use --checkpoint=best"):
        export.export(generator_run.run_dir, tmp_path / "1", checkpoint="last")
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "mine").write_text("")
    with pytest.raises(TfvoiceError, match=re.escape(f"{tmp_path / '2'}: is already there; use the next version's")):
        export.export(generator_run.run_dir, tmp_path / "2")
    with pytest.raises(TfvoiceError, match="holds no exported model, so --overwrite does not replace it"):
        export.export(generator_run.run_dir, tmp_path / "2", overwrite=True)
    assert (tmp_path / "2" / "mine").is_file()
    (tmp_path / "2" / "mine").rename(tmp_path / "2" / metadata.FILE)
    export.export(generator_run.run_dir, tmp_path / "2", overwrite=True)
    assert (tmp_path / "2" / metadata.FILE).read_text() and (tmp_path / "2" / "saved_model.pb").is_file()
    with pytest.raises(TfvoiceError, match="cannot write the model"):
        export.export(generator_run.run_dir, tmp_path / "2" / "saved_model.pb" / "1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2"]


@pytest.mark.parametrize(
    "how, sentence",
    [
        ("foreign", r"is not the folder of a run \(it has no experiment.json\)"),
        ("damaged", r"experiment.json: is damaged \("),
        ("untrained", "has no checkpoint best yet; train it with tfvoice_train"),
        ("half", r"best.safetensors: this checkpoint is damaged \("),
    ],
)
def test_an_incomplete_run_is_an_error(broken_run, words_run, tmp_path, how, sentence):
    with pytest.raises(TfvoiceError, match=sentence):
        export.export(broken_run(words_run.run_dir, how), tmp_path / "models" / "1")
    assert not (tmp_path / "models").exists() or not any((tmp_path / "models").iterdir())


def empty_model(task, run, folder):
    """Writes an empty file instead of a model, which takes no time."""
    (folder / "saved_model.pb").write_bytes(b"")


def test_after_a_failure_the_older_model_is_still_there(generator_run, tmp_path, monkeypatch):
    monkeypatch.setitem(export.FORMATS, "saved_model", empty_model)
    output = export.export(generator_run.run_dir, tmp_path / "1")
    (output / "mine").write_text("first")

    def full(*_):
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setitem(export.FORMATS, "saved_model", full)
        with pytest.raises(TfvoiceError, match="cannot write the model: No space left on device"):
            export.export(generator_run.run_dir, output, overwrite=True)
    replace, calls = storage.os.replace, []

    def at_the_last_moment(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(storage.os, "replace", at_the_last_moment)
        with pytest.raises(TfvoiceError, match="cannot write the model: Input/output error"):
            export.export(generator_run.run_dir, output, overwrite=True)
    assert (output / "mine").read_text() == "first" and [path.name for path in tmp_path.iterdir()] == ["1"]


@pytest.mark.parametrize(
    "message",
    [
        "{{function_node __wrapped__SaveV2_device_/job:localhost}} /x/.tfvoice-e5/variables/part-0.tempstate1; "
        "No space left on device [Op:SaveV2]",
        "/x/.tfvoice-5b/saved_model.pb.tmpe43; No space left on device",
    ],
)
def test_a_full_disk_is_named_without_internals_of_tensorflow(generator_run, tmp_path, monkeypatch, message):
    def full(*_):
        raise tf.errors.ResourceExhaustedError(None, None, message)

    monkeypatch.setitem(export.FORMATS, "saved_model", full)
    with pytest.raises(TfvoiceError) as refused:
        export.export(generator_run.run_dir, tmp_path / "1")
    assert str(refused.value) == f"{tmp_path / '1'}: cannot write the model: No space left on device."
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name, characters", [("[x]", "[x]"), ("a[0-9]b", "[0-9]"), ("a\\b", "\\")])
def test_a_path_that_tensorflow_cannot_load_from_is_refused(generator_run, tmp_path, name, characters):
    with pytest.raises(
        TfvoiceError, match=re.escape(f"cannot load a model from a path with {characters}; use another")
    ):
        export.export(generator_run.run_dir, tmp_path / name / "1")
    assert not list(tmp_path.iterdir())


def test_other_unusual_names_of_folders_are_exported_and_load(generator_run, tmp_path):
    path = export.export(generator_run.run_dir, tmp_path / "a[ b *?{1}~é%d:'\"" / "1")
    assert "generate" in tf.saved_model.load(str(path)).signatures


def test_a_folder_that_appears_during_an_export_is_not_replaced(generator_run, tmp_path, monkeypatch):
    def meanwhile(task, run, folder):
        empty_model(task, run, folder)
        (tmp_path / "1").mkdir()
        (tmp_path / "1" / "mine").write_text("")

    monkeypatch.setitem(export.FORMATS, "saved_model", meanwhile)
    with pytest.raises(TfvoiceError, match="cannot write the model: Directory not empty"):
        export.export(generator_run.run_dir, tmp_path / "1")
    assert (tmp_path / "1" / "mine").is_file() and [path.name for path in tmp_path.iterdir()] == ["1"]


def test_a_run_of_a_store_is_exported_to_a_store(generator_run, store, tmp_path, monkeypatch):
    monkeypatch.setitem(export.FORMATS, "saved_model", empty_model)
    for name in ("experiment.json", "checkpoints/best.safetensors"):
        storage.place(f"{store}/runs/piano/{name}").upload(generator_run.run_dir / name)
    output = export.export(f"{store}/runs/piano", f"{store}/models/piano/1")
    assert str(output) == f"{store}/models/piano/1"
    assert set(storage.sizes(output)) == {"saved_model.pb", "tfvoice.json", "model_card.md"}
    assert storage.read_text(output / "model_card.md").startswith("# piano\n")
    with pytest.raises(TfvoiceError, match=rf"^{output}: is already there; use the next version's number"):
        export.export(f"{store}/runs/piano", output)
    storage.write(output / "stale", "")
    export.export(f"{store}/runs/piano", output, overwrite=True)
    assert "stale" not in storage.sizes(output)
    with pytest.raises(TfvoiceError, match=rf"^{store}/runs/none: is not the folder of a run"):
        export.export(f"{store}/runs/none", f"{store}/models/none/1")
    storage.write(f"{store}/mine/1/a.txt", "")
    with pytest.raises(TfvoiceError, match="holds no exported model, so --overwrite does not replace it"):
        export.export(f"{store}/runs/piano", f"{store}/mine/1", overwrite=True)


def test_an_interrupted_upload_is_replaced(generator_run, store, monkeypatch):
    monkeypatch.setitem(export.FORMATS, "saved_model", empty_model)
    output = storage.place(f"{store}/1")

    def interrupt(path, source):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(type(output), "upload", interrupt)
        export.export(generator_run.run_dir, output)
    export.export(generator_run.run_dir, output)
    assert (output / metadata.FILE).is_file()


def test_tflite_is_refused_for_other_models(generator_run, tmp_path):
    with pytest.raises(TfvoiceError, match=r"sample_rnn, the model of .*, has no such form"):
        export.export(generator_run.run_dir, tmp_path / "3", format="tflite")
