"""What leaves reads and draws as it did at home, and needs nothing but TensorFlow."""

import difflib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from test_streaming import reader, speech

from tfvoice import experiment
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.streaming import StreamingTranscriber
from tfvoice.asr.transcribe import Transcriber
from tfvoice.audio import io as audio_io
from tfvoice.export import export
from tfvoice.generation.generator import Generator
from tfvoice.generation.sample import Draw, Sampler
from tfvoice.serving.predictor import Served
from tfvoice.training import checkpoints

SMALL = ("model.width=8", "model.kernel_size=3", "model.dilations=[1,2]", "model.stacks=1", "features.bins=20")
SHAPES = {
    "wavenet_asr": SMALL,
    "deepspeech2": ("model.units=8", "model.layers=2", "model.convolution_channels=4", "model.cell=gru"),
}
# Only what a stock TensorFlow has: this process cannot import tfvoice, nor Keras. Inputs of signatures come in a file
# of NumPy's, those of WAV files as their paths; outputs go into another.
STRANGER = """
import sys
sys.modules["tfvoice"] = sys.modules["keras"] = None
import numpy as np
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
given, found = np.load(sys.argv[2]), {}
for name in sys.argv[4:]:
    inputs = {key.partition(" ")[2]: tf.constant(given[key]) for key in given if key.startswith(name + " ")}
    if "wav" in inputs:
        inputs["wav"] = tf.map_fn(tf.io.read_file, inputs["wav"])
    if name == "stream":
        inputs |= model.signatures["stream_start"]()
    for key, value in model.signatures[name](**inputs).items():
        value = np.asarray(value.numpy())
        found[name + " " + key] = value.astype("S") if value.dtype == object else value
np.savez(sys.argv[3], **found)
"""


@pytest.fixture(scope="module", params=SHAPES)
def run(request, tmp_path_factory, talkative):
    """A run of random weights that write something. Read only."""
    settings = experiment.resolve(request.param, overrides=SHAPES[request.param])
    made = Recognizer.create(tmp_path_factory.mktemp("runs") / "run", settings)
    if request.param == "wavenet_asr":
        talkative(made.model)
    else:
        for number, weight in enumerate(made.model.trainable_variables):
            weight.assign(0.5 * np.random.default_rng(number).standard_normal(weight.shape))
    checkpoints.save(made.checkpoint("best"), {"weights": made.model.weights}, {})
    return made


@pytest.fixture(scope="module")
def model(run, tmp_path_factory):
    """The exported model's folder. Read only."""
    return export.export(run.run_dir, tmp_path_factory.mktemp("models") / "english" / "1")


@pytest.fixture(scope="module")
def spoken(clips):
    """Some clips: samples at 16 kHz."""
    paths = sorted(clips.rglob("*.opus"))[:6]
    return [audio_io.read(path, 16000) for path in paths]


def wav(path, samples, rate_hz, channels=1):
    """Writes 16-bit samples; two channels differ, and their mean is the samples."""
    columns = np.stack([samples, samples] if channels == 2 else [samples], axis=1)
    columns[:, 0] += 0.01 * (channels == 2)
    columns[:, -1] -= 0.01 * (channels == 2)
    soundfile.write(path, columns, rate_hz, "PCM_16")
    return str(path)


def as_a_stranger(model, folder, **inputs):
    """The outputs of signatures as a process gets them that knows neither tfvoice nor Keras."""
    given = {f"{name} {key}": value for name, each in inputs.items() for key, value in each.items()}
    np.savez(folder / "given.npz", **given)
    command = [sys.executable, "-c", STRANGER, model, folder / "given.npz", folder / "found.npz", *inputs]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = np.load(folder / "found.npz")
    return lambda name: {key.partition(" ")[2]: found[key] for key in found if key.startswith(f"{name} ")}


def test_a_batch_of_waveforms_reads_as_each_recording_does(run, model, spoken, float_wav):
    transcriber = Transcriber(Recognizer.load(run.run_dir))
    loaded = tf.saved_model.load(str(model)).signatures["waveform"]
    lengths = np.array([*map(len, spoken), 0, 3000], np.int32)
    batch = np.full([len(lengths), max(lengths)], 0.7, np.float32)
    for row, samples in enumerate(spoken):
        batch[row, : len(samples)] = samples
    batch[-1, :3000] = 1e-6
    found = {name: value.numpy() for name, value in loaded(waveform=batch, samples=lengths).items()}
    assert any(found["text"][: len(spoken)])
    for row, samples in enumerate(spoken):
        data = float_wav(samples)
        wanted = transcriber.transcribe(data)
        count = found["word_count"][row]
        assert found["text"][row].decode() == wanted.text
        assert [word.decode() for word in found["words"][row, :count]] == [word.text for word in wanted.words]
        times = [found[name][row, :count] for name in ("word_start_seconds", "word_end_seconds", "word_confidence")]
        rows = np.array([[word.start, word.end, word.confidence] for word in wanted.words]).reshape(-1, 3)
        np.testing.assert_allclose(np.stack(times, axis=1), rows, atol=1e-3)
        np.testing.assert_allclose(found["confidence"][row], wanted.confidence or 0, atol=1e-3)
    assert found["text"][-2:].tolist() == [b"", b""]


@pytest.mark.parametrize("rate_hz, channels", [(8000, 1), (16000, 2), (44100, 2)])
def test_files_of_other_rates_and_stereo_are_read_by_a_stranger(run, model, spoken, tmp_path, rate_hz, channels):
    paths = []
    for number, samples in enumerate(spoken[:3]):
        there = 0.9 * soxr.resample(samples, 16000, rate_hz)
        paths.append(wav(tmp_path / f"{number}.wav", there, rate_hz, channels))
    texts = as_a_stranger(model, tmp_path, serving_default={"wav": np.array(paths)})("serving_default")["text"]
    found = [text.decode() for text in texts]
    transcriber = Transcriber(Recognizer.load(run.run_dir))
    wanted = [transcriber.transcribe(path).text for path in paths]
    assert any(wanted)
    # What no training has settled turns on the last bits that two resamplers have apart.
    alike = [difflib.SequenceMatcher(None, *pair).ratio() for pair in zip(found, wanted, strict=True)]
    assert min(alike) == 1 if rate_hz == 16000 else min(alike) > 0.8


def test_a_stranger_follows_speech_and_gets_probabilities(tmp_path):
    run = reader(tmp_path / "run")
    checkpoints.save(run.checkpoint("best"), {"weights": run.model.weights}, {})
    samples = speech(2)
    waveform = {"waveform": samples[np.newaxis], "samples": np.array([len(samples)], np.int32)}
    model = export.export(run.run_dir, tmp_path / "1")
    stream = {"chunk": samples, "final": np.array(True)}
    found = as_a_stranger(model, tmp_path, waveform=waveform, log_probs=waveform, stream=stream)
    wanted = run.logits(waveform["waveform"], tf.constant(waveform["samples"]))
    np.testing.assert_allclose(found("log_probs")["log_probs"], tf.nn.log_softmax(wanted.values), atol=1e-4)
    spoken = " ".join(word.text for word in StreamingTranscriber(run).words([samples]))
    assert len(spoken) > 10 and " ".join(found("stream")["text"].item().decode().split()) == spoken
    assert found("waveform")["text"].item().decode() == Served(model).read([samples])[0].text


def test_a_stranger_draws_what_the_run_draws(generator_run, tmp_path):
    model = export.export(generator_run.run_dir, tmp_path / "1")
    numbers = {"count": np.int32(2), "samples": np.int32(50), "temperature": np.float32(0.9), "seed": np.int32(4)}
    found = as_a_stranger(model, tmp_path, generate=numbers)("generate")
    wanted = Sampler(Generator.load(generator_run.run_dir)).collect(2, 50, Draw((0.9,), seed=4))
    np.testing.assert_allclose(found["waveform"], wanted, atol=1e-6)


@pytest.mark.parametrize("wrong", [{"count": 0}, {"samples": -1}, {"temperature": 0.0}])
def test_numbers_that_nothing_can_be_drawn_with_are_an_error_of_the_caller(generator_run, tmp_path, wrong):
    path = export.export(generator_run.run_dir, tmp_path / "1")
    given = {"count": 2, "samples": 3, "temperature": 1.0, "seed": 4} | wrong
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be above 0"):
        tf.saved_model.load(str(path)).signatures["generate"](**{key: tf.constant(one) for key, one in given.items()})


def test_log_probabilities_are_those_of_the_run(run, model, spoken, float_wav):
    samples = spoken[0]
    found = tf.saved_model.load(str(model)).signatures["log_probs"](
        waveform=samples[np.newaxis], samples=np.array([len(samples)], np.int32)
    )
    wanted = Transcriber(Recognizer.load(run.run_dir)).log_probabilities(float_wav(samples))
    assert found["frames"].numpy().tolist() == [len(wanted)]
    np.testing.assert_allclose(found["log_probs"][0], wanted, atol=1e-4)
    # A length beyond the samples is taken for theirs.
    beyond = tf.saved_model.load(str(model)).signatures["log_probs"](
        waveform=samples[np.newaxis], samples=np.array([10**9], np.int32)
    )
    assert beyond["frames"].numpy().tolist() == [len(wanted)]


def test_the_graph_has_no_operation_of_tensorflow_io(run, model):
    names = {node.op for node in tf.compat.v1.GraphDef.FromString(graph(model)).node}
    assert not {name for name in names if name.startswith(("IO>", "Io"))}


def graph(model):
    """The bytes of the exported graph."""
    content = saved_model_pb2.SavedModel.FromString((model / "saved_model.pb").read_bytes())
    return content.meta_graphs[0].graph_def.SerializeToString()


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", bytes(range(256)) * 9, "a truncated header", "32000000 Hz"], ids=lambda data: str(data)[:9]
)
def test_what_is_no_wav_is_an_error_of_the_caller(run, model, tmp_path, data):
    if isinstance(data, str):
        path = wav(tmp_path / "a.wav", np.zeros(1000, np.float32), 16000)
        content = bytearray(Path(path).read_bytes())
        if "Hz" in data:
            content[24:28] = (32_000_000).to_bytes(4, "little")
        data = bytes(content[:30] if "truncated" in data else content)
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.saved_model.load(str(model)).signatures["serving_default"](wav=tf.constant([data]))


def test_nothing_that_leaves_asks_for_xla(generator_run, model, tmp_path):
    for folder in (model, export.export(generator_run.run_dir, tmp_path / "1")):
        graph = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0].graph_def
        for function in graph.library.function:
            asking = [one for one in (function, *function.node_def) if one.attr["_XlaMustCompile"].b]
            assert not asking, function.signature.name


def test_a_generator_draws_waveforms_and_files(generator_run, tmp_path):
    path = export.export(generator_run.run_dir, tmp_path / "1")
    draw = tf.saved_model.load(str(path)).signatures["generate"]
    given = {"count": 2, "samples": 300, "temperature": 0.9, "seed": 4}
    found = draw(**{name: tf.constant(value) for name, value in given.items()})
    wanted = Sampler(Generator.load(generator_run.run_dir)).collect(2, 300, Draw((0.9,), seed=4))
    np.testing.assert_allclose(found["waveform"], wanted, atol=1e-6)
    for data, wave in zip(found["wav_bytes"].numpy(), wanted, strict=True):
        (tmp_path / "a.wav").write_bytes(data)
        samples, rate_hz = soundfile.read(tmp_path / "a.wav")
        assert rate_hz == 8000
        np.testing.assert_allclose(samples, wave, atol=2 / 2**15)
