"""A voice is trained part by part, killed in each of them, and resumed bit for bit; what is there is not made again."""

import shutil

import aligned_records as aligned_records_
import keras
import pytest
import voices
from written import assert_same_run

from tfvoice import hardware, tasks
from tfvoice.data import aligned, shards
from tfvoice.errors import TfvoiceError
from tfvoice.run import read_description
from tfvoice.training.trainer import StopConditions
from tfvoice.tts.voice import estimate, train
from tfvoice.tts.voice.estimate import Pace
from tfvoice.tts.voice.run import PARTS, VoiceRun

SMALL = (
    *voices.SMALL, "segmentation.training.epochs=1", "duration_f0.training.epochs=1", "vocoder.training.epochs=1",
    "segmentation.training.batch_size=4", "duration_f0.training.batch_size=4", "vocoder.training.batch_size=4",
    "vocoder.quantization.levels=16", "vocoder.data.seconds=0.5", "vocoder.sampling.count=0",
    # Random weights align improbably, and low F0 takes long.
    "alignment.min_score=-100", "f0.min_hz=150",
)  # fmt: skip
PACE = {"segmentation": Pace(10, 100), "aligned": Pace(0, 300), "duration_f0": Pace(1, 2), "vocoder": Pace(20, 9000)}


class Killed(Exception):
    """Stands for SIGKILL."""


class Killer(keras.callbacks.Callback):
    """Kills the training of a part in its second step."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_train_batch_end(self, batch, logs=None):
        if batch == 1 and self.folder.is_dir():
            raise Killed


def settings(*overrides):
    return tasks.resolve("deep_voice", None, (*SMALL, *overrides))


@pytest.fixture(scope="module", autouse=True)
def one_process():
    """F0 in this process, and nothing measured: test_estimate.py does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hardware, "cores", lambda: 1)
        patch.setattr(estimate, "measure", lambda *_: PACE)
        yield


@pytest.fixture(scope="module")
def trained(converted, tmp_path_factory):
    """The folder of a voice that was trained without an interruption. Read only."""
    run_dir = tmp_path_factory.mktemp("voices") / "whole"
    assert tasks.train(run_dir, converted, settings()).finished == "all"
    return run_dir


@pytest.fixture
def copied(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "copied")


def test_a_voice_that_was_killed_in_each_stage_ends_as_one_that_was_not(trained, converted, tmp_path, monkeypatch):
    run_dir, often = tmp_path / "run", StopConditions(checkpoint_minutes=0)

    def killed_training(name):
        with pytest.raises(Killed):
            tasks.train(run_dir, converted, settings(), often, callbacks=[Killer(run_dir / name)])
        assert (run_dir / name / "experiment.json").is_file()
        assert not (run_dir / name / "checkpoints" / "best.safetensors").is_file()

    def killed_alignment():
        encode, done = aligned.encode_utterance, []

        def encode_some(*arguments):
            done.append(arguments)
            if len(done) == 5:
                raise Killed
            return encode(*arguments)

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(aligned, "encode_utterance", encode_some)
            tasks.train(run_dir, converted, settings(), often)
        assert not (run_dir / "aligned" / shards.MANIFEST).exists()

    killed_training("segmentation")
    killed_alignment()
    killed_training("duration_f0")
    killed_training("vocoder")
    assert tasks.train(run_dir, converted, settings()).finished == "all"
    for part in PARTS:
        assert_same_run(
            run_dir / part, trained / part, ("step", "epoch", "valid_loss"), {"weights", "raw", "optimizer"}
        )
    files = [{path.name: path.read_bytes() for path in (each / "aligned").iterdir()} for each in (run_dir, trained)]
    assert files[0] == files[1]


def test_what_is_there_is_not_made_again(copied, converted, capsys):
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*.safetensors")}
    assert tasks.train(copied, converted, settings("speaking.temperature=0.5")).finished == "all"
    out = capsys.readouterr().out
    assert out.count("is there already.") == 4 and "done" in out
    assert before == {path: path.stat().st_mtime_ns for path in copied.rglob("*.safetensors")}
    assert VoiceRun.load(copied).config.speaking.temperature == 0.5


def test_the_vocoder_alone_is_extended(copied, converted, capsys):
    tasks.train(copied, converted, settings("vocoder.training.epochs=2"))
    out = capsys.readouterr().out
    assert out.count("is there already.") == 3 and "Stage 4 of 4, vocoder: will take about " in out
    assert VoiceRun.load(copied).config.vocoder.training.epochs == 2


def test_it_says_beforehand_how_long_it_takes_and_stops_at_a_limit(converted, tmp_path, capsys):
    assert tasks.train(tmp_path / "run", converted, settings(), StopConditions(max_minutes=0)) is None
    out = capsys.readouterr().out
    assert "  vocoder            1 epoch  about 2 h 30 min" in out
    assert "in all                      about 2 h 37 min" in out
    assert "Stopped at the limit, before segmentation" in out
    with pytest.raises(TfvoiceError, match="only half trained, it has no duration_f0 yet"):
        VoiceRun.load(tmp_path / "run")


def test_parts_start_from_those_of_another_voice(trained, converted, tmp_path, capsys):
    stop = StopConditions(max_minutes=1e-6)
    assert tasks.train(tmp_path / "run", converted, settings(), stop, init_from=trained) is None
    found = read_description(tmp_path / "run" / "segmentation")["info"]["init_from"]
    assert found["run"] == str(trained / "segmentation") and not found["transfer"]["new"]
    assert "Stopped at the limit, after step 1" in capsys.readouterr().out
    with pytest.raises(TfvoiceError, match=r"init_from: .*whole -> .*other"):
        tasks.train(tmp_path / "run", converted, settings(), init_from=shutil.copytree(trained, tmp_path / "other"))


def test_a_segmentation_that_recognises_nothing_gets_a_sentence(copied, converted):
    for name in ("aligned", "duration_f0", "vocoder"):
        shutil.rmtree(copied / name)
    with pytest.raises(TfvoiceError, match=r"train it longer with --set segmentation\.training\.epochs=N, or keep"):
        tasks.train(copied, converted, settings("alignment.min_score=-100").model_copy(update={
            "alignment": tasks.resolve("deep_voice").alignment
        }))  # fmt: skip


def test_ctrl_c_stops_the_alignment_as_well(copied, converted):
    for name in ("aligned", "duration_f0", "vocoder"):
        shutil.rmtree(copied / name)
    with pytest.raises(KeyboardInterrupt, match="the same command resumes the alignment"):
        tasks.train(copied, converted, settings(), StopConditions(requested=lambda: True))


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["segmentation.model.units=7"], r"holds a voice of another configuration: segmentation\.model\.units: 6 -> 7"),
        (["f0.min_hz=160"], r"f0\.min_hz: 150\.0 -> 160\.0"),
        (["vocoder.model.skip=13"], r"vocoder: holds a run of another configuration: model\.skip: 12 -> 13"),
    ],
)
def test_another_configuration_is_refused(trained, converted, overrides, sentence):
    with pytest.raises(TfvoiceError, match=sentence):
        tasks.train(trained, converted, settings(*overrides))


def test_other_data_are_refused(trained, converted, aligned_records, tmp_path):
    other = aligned_records_.with_manifest(converted, tmp_path, '"corpus": "vctk"', '"corpus": "vctk2"')
    with pytest.raises(TfvoiceError, match=r"data: .* -> .* \(of other content\)"):
        tasks.train(trained, other, settings())
    with pytest.raises(TfvoiceError, match="these records are aligned already"):
        tasks.train(tmp_path / "run", aligned_records, settings())
    with pytest.raises(TfvoiceError, match="--max_steps counts the steps of one model"):
        tasks.train(trained, converted, settings(), StopConditions(max_steps=3))
    assert not (tmp_path / "run").exists()


def test_durations_are_for_people():
    assert [train.duration(seconds) for seconds in (5.4, 100, 5400, 11100)] == [
        "5 s",
        "2 min",
        "1 h 30 min",
        "3 h 05 min",
    ]
