"""Fixtures of several tests: 18 clips of real speech, in VCTK's layout and converted; runs; an export."""

import gc
import io
import os
import pickle
import shutil
import sys
import types
import zipfile
from pathlib import Path
from unittest import mock

import aligned_records as aligned_records_
import numpy as np
import pytest
import soundfile
import voices

from tfvoice import cache, checkpoints, remote, tasks
from tfvoice.asr.recognizer import Recognizer
from tfvoice.audio import features
from tfvoice.cli import command
from tfvoice.data import convert
from tfvoice.data.corpora import vctk
from tfvoice.data.shards import ConversionConfig
from tfvoice.export import export
from tfvoice.generation.generator import Generator
from tfvoice.tts.duration_f0.run import DurationF0Run
from tfvoice.tts.g2p.run import G2pRun
from tfvoice.tts.vocoder.run import VocoderRun

ASTERISK = Path(__file__).parent / "data" / "asterisk"
_CLIPS = (1, 2, 5, 10, 14, 15, 19, 20, 21, 24, 25, 27, 37, 50, 61, 66, 88, 119)


@pytest.fixture
def in_process(capsys):
    """Runs the `main` of a command in this process; returns exit status, standard output and standard error."""

    def run(main, program, *arguments):
        # A command sets environment variables, which later tests must not inherit. What is frozen, conftest.py decides.
        collector = mock.patch.multiple(gc, freeze=mock.DEFAULT, unfreeze=mock.DEFAULT)
        with mock.patch.dict(os.environ), collector, pytest.raises(SystemExit) as end:
            command.run(main, [program, *map(str, arguments)])
        captured = capsys.readouterr()
        return end.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def store(tmp_path, monkeypatch) -> str:
    """The URL of an empty folder in a store, which is in the memory of this process; the cache is in `tmp_path`."""
    fsspec = pytest.importorskip("fsspec")
    monkeypatch.setitem(remote.EXTRAS, "memory", "s3")
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    return "memory://bucket/folder"


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    """18 short clips of the embedded corpus, 25 seconds in all: a folder in VCTK's layout. Read only."""
    root = tmp_path_factory.mktemp("clips")
    for folder, suffix in (("wav48", "opus"), ("txt", "txt")):
        (root / folder / "p900").mkdir(parents=True)
        for number in _CLIPS:
            name = f"{folder}/p900/p900_{number:03d}.{suffix}"
            shutil.copy(ASTERISK / name, root / name)
    return root


@pytest.fixture(scope="session")
def converted(clips, tmp_path_factory) -> Path:
    """The clips as records, in the splits train, valid and test, several shards each. Read only."""
    output = tmp_path_factory.mktemp("converted")
    settings = ConversionConfig(corpus="vctk", split="60/20/20", shard_mb=0.15)
    manifest = convert.convert(convert.prepare(vctk.read(str(clips)), settings), output, progress=False)
    assert not manifest.skipped and set(manifest.splits) == {"train", "valid", "test"}
    return output


@pytest.fixture(scope="session")
def random_words():
    """Gives a model random weights that emit several words."""

    def random_words(model):
        for number, weight in enumerate(model.trainable_variables):
            if len(weight.shape) == 3:
                scale = 2 / np.sqrt(weight.shape[0] * weight.shape[1])
                weight.assign(scale * np.random.default_rng(number).normal(size=weight.shape))
        model.trainable_variables[-1].assign(np.where(np.isin(np.arange(29), [0, 28]), 2.0, 0.0))

    return random_words


@pytest.fixture(scope="session")
def recognizer_run(tmp_path_factory):
    """A run of a recogniser of random weights, `best` other than `last`. Read only."""
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    channels = np.arange(20.0)
    small = ["model.width=8", "model.kernel_size=3", "model.dilations=[1,2]", "model.stacks=1", "features.bins=20"]
    settings = tasks.resolve("wavenet_asr", overrides=[*small, "features.normalization=corpus"])
    made = Recognizer.create(run_dir, settings, features.FeatureStatistics(channels, channels + 1))
    for seed, name in enumerate(("last", "best")):
        for number, weight in enumerate(made.model.weights):
            weight.assign(np.random.default_rng((seed, number)).uniform(0.1, 0.3, weight.shape))
        checkpoints.save(made.checkpoint(name), {"weights": made.model.weights}, {"epoch": 1})
    return made


@pytest.fixture(scope="session")
def generator_run(tmp_path_factory):
    """A run of a generator of 32 levels with random weights, without a checkpoint `last`. Read only."""
    shape = ("model.units=16", "model.embedding=8", "quantization.levels=32", "model.frame_sizes=[2,8]")
    settings = tasks.resolve("sample_rnn", None, shape)
    made = Generator.create(tmp_path_factory.mktemp("runs") / "piano", settings, {"sample_rate_hz": 8000})
    for number, weight in enumerate(made.model.trainable_variables):
        weight.assign(0.3 * np.random.default_rng(number).standard_normal(weight.shape))
    checkpoints.save(made.checkpoint("best"), {"weights": made.model.weights}, {})
    return made


@pytest.fixture(scope="session")
def lexicon_file(tmp_path_factory):
    """A lexicon of 600 words of a language that is spoken as it is written, but for `c`, which has two variants."""
    random, sounds = np.random.default_rng(0), dict(zip("abcde", ("AA1", "B", "K", "D", "EH0"), strict=True))
    words = dict.fromkeys("".join(random.choice(list("abcde"), random.integers(2, 6))) for _ in range(900))
    lines = []
    for word in list(words)[:600]:
        lines.append(f"{word} {' '.join(sounds[letter] for letter in word)}")
        if "c" in word:
            lines.append(f"{word}(2) {' '.join((sounds | {'c': 'S'})[letter] for letter in word)}")
    path = tmp_path_factory.mktemp("lexicon") / "toy.dict"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="session")
def g2p_run(tmp_path_factory, lexicon_file):
    """A run of a G2P model with random weights, without a checkpoint `last`. Read only."""
    settings = tasks.resolve("g2p", None, ("model.units=8",))
    run_dir = tmp_path_factory.mktemp("runs") / "g2p"
    made = G2pRun.new(run_dir, settings, lexicon_file, G2pRun.data_info(lexicon_file))
    made.write()
    for number, weight in enumerate(made.model.trainable_variables):
        weight.assign(np.random.default_rng(number).standard_normal(weight.shape))
    # Words end, and their phonemes vary.
    made.model.output_layer.bias.assign(np.where(np.arange(made.model.classes) == 0, 2.0, 0.0))
    made.model.output_layer.kernel.assign(2 * np.array(made.model.output_layer.kernel))
    checkpoints.save(made.checkpoint("best"), {"weights": made.model.weights}, {})
    return made


@pytest.fixture(scope="session")
def voice_run(converted, tmp_path_factory):
    """A voice of random weights that knows English. Read only."""
    return voices.voice_run(tmp_path_factory.mktemp("voices") / "noise", converted)


@pytest.fixture(scope="session")
def float_wav():
    """Makes a WAV file of float samples at 16 kHz, as bytes, so that nothing is rounded."""

    def float_wav(samples):
        data = io.BytesIO()
        soundfile.write(data, samples, 16000, "FLOAT", format="WAV")
        return data.getvalue()

    return float_wav


@pytest.fixture(scope="session")
def words_run(tmp_path_factory, random_words):
    """A run of random weights that emits words. Read only."""
    small = ["model.width=8", "model.kernel_size=3", "model.dilations=[1,2]", "model.stacks=1", "features.bins=20"]
    run = Recognizer.create(tmp_path_factory.mktemp("words") / "run", tasks.resolve("wavenet_asr", overrides=small))
    random_words(run.model)
    checkpoints.save(run.checkpoint("best"), {"weights": run.model.weights}, {})
    return run


@pytest.fixture(scope="session")
def exported(tmp_path_factory, words_run):
    """The run of `words_run`, and the folder of two equal versions of its exported model. Read only."""
    folder = tmp_path_factory.mktemp("exported") / "english"
    export.export(words_run.run_dir, folder / "1")
    shutil.copytree(folder / "1", folder / "2")
    return words_run, folder


@pytest.fixture
def broken_run(tmp_path):
    """Makes a copy of a run with something wrong."""

    def broken_run(run, how):
        copied = shutil.copytree(run, tmp_path / "broken" / "run")
        shutil.rmtree(copied / "report", ignore_errors=True)
        if how == "foreign":
            (copied / "experiment.json").unlink()
        elif how == "damaged":
            (copied / "experiment.json").write_text('{"schema": 1, ')
        elif how == "untrained":
            shutil.rmtree(copied / "checkpoints")
        elif how == "half":
            path = copied / "checkpoints" / "best.safetensors"
            path.write_bytes(path.read_bytes()[:1000])
        elif how == "moved":
            text = (copied / "experiment.json").read_text()
            (copied / "experiment.json").write_text(text.replace('"data": "/', '"data": "/gone/'))
        return copied

    return broken_run


@pytest.fixture
def torch_save(monkeypatch):
    """Writes a file as `torch.save` does, without PyTorch: NumPy arrays become its tensors."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def named(module, name):
        made = type(name, (), {"__module__": module.__name__})
        setattr(module, name, made)
        return made

    storages = {np.dtype("float32"): named(torch, "FloatStorage"), np.dtype("int64"): named(torch, "LongStorage")}
    rebuild = named(utils, "_rebuild_tensor_v2")

    class Storage:
        def __init__(self, values):
            self.values = values

    class Pickler(pickle.Pickler):
        def __init__(self, file, storages):
            super().__init__(file, 2)
            self.written = storages

        def reducer_override(self, value):
            if not isinstance(value, np.ndarray):
                return NotImplemented
            strides = tuple(step // value.itemsize for step in value.strides)
            base = value if value.base is None else value.base
            return rebuild, (Storage(base), 0, value.shape, strides, False, {})

        def persistent_id(self, value):
            if not isinstance(value, Storage):
                return None
            self.written.append(value.values.tobytes("A"))
            return "storage", storages[value.values.dtype], str(len(self.written) - 1), "cpu", value.values.size

    def save(path, content):
        with monkeypatch.context() as patch, zipfile.ZipFile(path, "w") as archive:
            patch.setitem(sys.modules, "torch", torch)
            patch.setitem(sys.modules, "torch._utils", utils)
            written, data = [], io.BytesIO()
            Pickler(data, written).dump(content)
            archive.writestr("archive/data.pkl", data.getvalue())
            for number, numbers in enumerate(written):
                archive.writestr(f"archive/data/{number}", numbers)
        return path

    return save


@pytest.fixture
def from_a_mac():
    """Adds what macOS leaves on foreign disks and in archives: a `._x` beside each x, and hidden folders."""

    def from_a_mac(root):
        for path in [path for path in root.rglob("*") if path.is_file()]:
            path.with_name(f"._{path.name}").write_bytes(b"\x00\x05\x16\x07\x80 not UTF-8")
        for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
            (folder / ".DS_Store").write_bytes(b"\x80")
        shutil.copytree(root, root / ".Trashes" / "copy", ignore=lambda _, names: {".Trashes"} & set(names))

    return from_a_mac


@pytest.fixture(scope="session")
def aligned_records(converted, tmp_path_factory) -> Path:
    """The converted clips with random phonemes of known prosody. Read only."""
    return aligned_records_.write(converted, tmp_path_factory.mktemp("aligned") / "records")


@pytest.fixture(scope="session")
def duration_f0_run(tmp_path_factory, aligned_records):
    """A run of a model of duration and F0 with random weights, without a checkpoint `last`. Read only."""
    settings = tasks.resolve("duration_f0", None, ("model.dense=8", "model.recurrent=6", "model.f0_values=5"))
    run_dir = tmp_path_factory.mktemp("runs") / "duration"
    made = DurationF0Run.new(run_dir, settings, aligned_records, DurationF0Run.data_info(aligned_records))
    made.write()
    for number, weight in enumerate(made.model.trainable_variables):
        weight.assign(0.5 * np.random.default_rng(number).standard_normal(weight.shape))
    checkpoints.save(made.checkpoint("best"), {"weights": made.model.weights}, {})
    return made


@pytest.fixture(scope="session")
def vocoder_run(tmp_path_factory, aligned_records):
    """A run of a vocoder with random weights, without a checkpoint `last`. Read only."""
    shape = ("model.layers=4", "model.residual=4", "model.skip=8", "model.conditioner=4", "quantization.levels=32")
    settings = tasks.resolve("vocoder", None, (*shape, "data.seconds=0.1", "training.batch_size=4"))
    run_dir = tmp_path_factory.mktemp("runs") / "vocoder"
    made = VocoderRun.new(run_dir, settings, aligned_records, VocoderRun.data_info(aligned_records))
    made.write()
    for number, weight in enumerate(made.model.trainable_variables):
        weight.assign(0.3 * np.random.default_rng(number).standard_normal(weight.shape))
    checkpoints.save(made.checkpoint("best"), {"weights": made.model.weights}, {})
    return made
