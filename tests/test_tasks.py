"""Each model has its task, and a run that of its model."""

import pytest
import voices
from written import assert_same_run

from tfvoice import cache, run, storage, tasks
from tfvoice.asr.recognizer import Recognizer
from tfvoice.config import ConfigError
from tfvoice.errors import TfvoiceError
from tfvoice.training.trainer import StopConditions
from tfvoice.tts.voice.run import VoiceRun


def test_every_model_has_a_task_whose_configuration_names_it():
    for name in tasks.TASKS:
        assert tasks.resolve(name).model.name == name
        assert tasks.resolve(name) == tasks.of_model(name).run.config_class(model={"name": name})
    with pytest.raises(ConfigError, match=r"--model=wavnet_asr: there is no such model; did you mean wavenet_asr\?"):
        tasks.of_model("wavnet_asr")
    with pytest.raises(ConfigError, match="the model is missing; name one of wavenet_asr, deepspeech2, "):
        tasks.resolve(config="deepspeech2_small")


def test_the_defaults_of_a_model_are_those_of_its_configuration():
    for name in tasks.TASKS:
        schema = tasks.of_model(name).run.config_class
        (kind,) = [kind for kind in run.model_configs(schema) if kind.model_fields["name"].default == name]
        assert tasks.resolve(name) == schema(model=kind())


def test_a_voice_is_configured_after_another_one_in_all_its_parts(tmp_path):
    chosen = voices.settings(["vocoder.training.precision=bfloat16"])
    VoiceRun(tmp_path, chosen).write()
    found = tasks.resolve(overrides=["duration_f0.training.epochs=3"], run_dir=tmp_path)
    assert (found.vocoder.model, found.vocoder.training.precision) == (chosen.vocoder.model, "auto")
    assert found.duration_f0.training.epochs == 3 and found.segmentation == chosen.segmentation


def test_a_run_has_the_task_of_its_model(tmp_path):
    small = ("model.width=8", "model.dilations=[1]", "model.stacks=1")
    Recognizer.create(tmp_path / "run", tasks.resolve("wavenet_asr", overrides=small))
    assert tasks.of_run(tmp_path / "run", "tfvoice_transcribe") is tasks.of_model("wavenet_asr")
    with pytest.raises(TfvoiceError, match="is not the folder of a run"):
        tasks.of_run(tmp_path / "none")
    sentence = (
        "is a run of wavenet_asr, a recogniser; tfvoice_transcribe, tfvoice_tune_lm, tfvoice_text and tfvoice_eval "
    )
    with pytest.raises(TfvoiceError, match=f"{sentence}are for it, tfvoice_sample is not"):
        tasks.of_run(tmp_path / "run", "tfvoice_sample")


def test_a_run_of_a_store_is_trained_and_resumed_as_a_local_one(converted, store, tmp_path):
    overrides = ("model.width=8", "model.dilations=[1]", "model.stacks=1", "features.bins=20", "training.batch_size=4")
    settings = tasks.resolve("wavenet_asr", overrides=[*overrides, "training.epochs=2", "training.precision=float32"])
    for path in converted.iterdir():
        storage.place(f"{store}/records/{path.name}").upload(path)
    url, data = f"{store}/runs/words", f"{store}/records"
    tasks.train(url, data, settings, StopConditions(max_steps=4))
    assert tasks.read_description(url)["info"]["data"] == data
    storage.delete(storage.place(data) / name for name in storage.place(data).files() if name.endswith(".tfrecord"))
    state = tasks.train(url, data, settings)
    assert state.finished == "all" and list((cache.folder() / "runs").iterdir()) == []
    tasks.train(tmp_path / "local", converted, settings)
    cache.download(storage.place(url), storage.place(url).files(), tmp_path / "copy")
    assert_same_run(tmp_path / "copy", tmp_path / "local", ("step", "valid_loss", "cer"), {"weights", "optimizer"})
    with pytest.raises(TfvoiceError, match=rf"^{url}: holds a run of another configuration: model.width: 8 -> 16"):
        tasks.train(url, data, tasks.resolve(overrides=["model.width=16"], run_dir=url))


@pytest.mark.parametrize(
    "model, run_dir, data", [("deep_voice", "s3://b/r", "d"), ("deep_voice", "r", "s3://b/d"), ("g2p", "r", "s3://b/d")]
)
def test_what_is_trained_in_local_folders_says_so(model, run_dir, data):
    with pytest.raises(
        TfvoiceError, match=r"^s3://b/[rd]: a (voice|G2P model) is trained from and in local folders; copy"
    ):
        tasks.train(run_dir, data, tasks.resolve(model))
