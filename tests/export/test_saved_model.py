"""An exported model gives what its run gives, and needs nothing but TensorFlow."""

import difflib
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile
import soxr
import tensorflow as tf
from samples import speech, streaming_run
from tensorflow.core.protobuf import saved_model_pb2

from tfvoice import checkpoints, tasks
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.streaming import StreamingTranscriber
from tfvoice.asr.transcribe import Transcriber
from tfvoice.audio import io as audio_io
from tfvoice.export import export
from tfvoice.generation.generator import Generator
from tfvoice.generation.sample import Sampler, SamplingOptions
from tfvoice.serving.predictor import Predictor

SMALL = ("model.width=8", "model.kernel_size=3", "model.dilations=[1,2]", "model.stacks=1", "features.bins=20")
SHAPES = {
    "wavenet_asr": SMALL,
    "deepspeech2": ("model.units=8", "model.layers=2", "model.convolution_channels=4", "model.cell=gru"),
}
# A process with a stock TensorFlow, which can import neither tfvoice nor Keras. Inputs of signatures come in a NumPy
# file, those of WAV files as their paths; outputs go into another.
CLIENT = """
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
def run(request, tmp_path_factory, random_words):
    """A run with random weights that write text. Read only."""
    config = tasks.resolve(request.param, overrides=SHAPES[request.param])
    run = Recognizer.create(tmp_path_factory.mktemp("runs") / "run", config)
    if request.param == "wavenet_asr":
        random_words(run.model)
    else:
        for number, weight in enumerate(run.model.trainable_variables):
            weight.assign(0.5 * np.random.default_rng(number).standard_normal(weight.shape))
    checkpoints.save(run.checkpoint("best"), {"weights": run.model.weights}, {})
    return run


@pytest.fixture(scope="module")
def model(run, tmp_path_factory):
    """The exported model's folder. Read only."""
    return export.export(run.run_dir, tmp_path_factory.mktemp("models") / "english" / "1")


@pytest.fixture(scope="module")
def generator_model(generator_run, tmp_path_factory):
    """The exported generator's folder. Read only."""
    return export.export(generator_run.run_dir, tmp_path_factory.mktemp("models") / "piano" / "1")


@pytest.fixture(scope="module")
def signatures(model):
    """Those of the exported model, loaded once: TensorFlow keeps much of what it loads."""
    return tf.saved_model.load(str(model)).signatures


@pytest.fixture(scope="module")
def transcriber(run):
    return Transcriber(Recognizer.load(run.run_dir))


@pytest.fixture(scope="module")
def recordings(clips):
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


def in_another_process(model, folder, **inputs):
    """The outputs of signatures in a process that can import neither tfvoice nor Keras."""
    given = {f"{name} {key}": value for name, each in inputs.items() for key, value in each.items()}
    np.savez(folder / "given.npz", **given)
    command = [sys.executable, "-c", CLIENT, model, folder / "given.npz", folder / "found.npz", *inputs]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = np.load(folder / "found.npz")
    return lambda name: {key.partition(" ")[2]: found[key] for key in found if key.startswith(f"{name} ")}


def test_a_batch_of_waveforms_has_the_transcripts_of_its_recordings(transcriber, signatures, recordings, float_wav):
    lengths = np.array([*map(len, recordings), 0, 3000], np.int32)
    batch = np.full([len(lengths), max(lengths)], 0.7, np.float32)
    for row, samples in enumerate(recordings):
        batch[row, : len(samples)] = samples
    batch[-1, :3000] = 1e-6
    found = {name: value.numpy() for name, value in signatures["waveform"](waveform=batch, samples=lengths).items()}
    assert any(found["text"][: len(recordings)])
    for row, samples in enumerate(recordings):
        data = float_wav(samples)
        expected = transcriber.transcribe(data)
        count = found["word_count"][row]
        assert found["text"][row].decode() == expected.text
        assert [word.decode() for word in found["words"][row, :count]] == [word.text for word in expected.words]
        times = [found[name][row, :count] for name in ("word_start_seconds", "word_end_seconds", "word_confidence")]
        rows = np.array([[word.start, word.end, word.confidence] for word in expected.words]).reshape(-1, 3)
        np.testing.assert_allclose(np.stack(times, axis=1), rows, atol=1e-3)
        np.testing.assert_allclose(found["confidence"][row], expected.confidence or 0, atol=1e-3)
    assert found["text"][-2:].tolist() == [b"", b""]


def test_a_keras_layer_of_the_model_takes_waveforms_and_their_lengths(model, signatures, recordings):
    batch, lengths = np.stack([samples[:8000] for samples in recordings[:2]]), np.int32([8000, 5000])
    for name in ("waveform", "log_probs"):
        expected = signatures[name](waveform=batch, samples=lengths)
        found = keras.layers.TFSMLayer(str(model), call_endpoint=name)(batch, samples=lengths)
        assert set(found) == set(expected)
        for key, value in found.items():
            np.testing.assert_array_equal(value, expected[key])


def test_a_recording_longer_than_the_training_clips_has_the_transcript_of_its_run(
    transcriber, signatures, recordings, float_wav
):
    """25 s, with 20 s of training and a minute in a window: only its features are normalised otherwise."""
    samples = np.concatenate([np.concatenate([clip, np.zeros(20000, np.float32)]) for clip in recordings * 9])[:400000]
    data = float_wav(samples)
    expected = transcriber.transcribe(data)
    batch = {"waveform": tf.constant(samples[np.newaxis]), "samples": tf.constant([len(samples)])}
    assert len(samples) == 400000 and len(expected.text) > 10
    assert signatures["waveform"](**batch)["text"].numpy()[0].decode() == expected.text
    found = signatures["log_probs"](**batch)["log_probs"][0]
    np.testing.assert_allclose(found, transcriber.log_probabilities(data), atol=1e-4)


def test_files_of_other_rates_and_stereo_need_only_tensorflow(transcriber, model, recordings, tmp_path):
    paths, rates_hz = [], []
    for rate_hz, channels in ((8000, 1), (16000, 2), (44100, 2)):
        for number, samples in enumerate(recordings[:3]):
            resampled = 0.9 * soxr.resample(samples, 16000, rate_hz)
            paths.append(wav(tmp_path / f"{rate_hz}-{number}.wav", resampled, rate_hz, channels))
            rates_hz.append(rate_hz)
    texts = in_another_process(model, tmp_path, serving_default={"wav": np.array(paths)})("serving_default")["text"]
    found = [text.decode() for text in texts]
    expected = [transcriber.transcribe(path).text for path in paths]
    assert any(expected)
    # With random weights the last bits in which two resamplers differ can decide a character.
    for rate_hz, one, other in zip(rates_hz, found, expected, strict=True):
        alike = difflib.SequenceMatcher(None, one, other).ratio()
        assert alike == 1 if rate_hz == 16000 else alike > 0.8, rate_hz


def test_streams_and_log_probabilities_need_only_tensorflow(tmp_path):
    run = streaming_run(tmp_path / "run")
    checkpoints.save(run.checkpoint("best"), {"weights": run.model.weights}, {})
    samples = speech(2)
    waveform = {"waveform": samples[np.newaxis], "samples": np.array([len(samples)], np.int32)}
    model = export.export(run.run_dir, tmp_path / "1")
    stream = {"chunk": samples, "final": np.array(True)}
    found = in_another_process(model, tmp_path, waveform=waveform, log_probs=waveform, stream=stream)
    expected = run.logits(waveform["waveform"], tf.constant(waveform["samples"]))
    np.testing.assert_allclose(found("log_probs")["log_probs"], tf.nn.log_softmax(expected.values), atol=1e-4)
    streamed = " ".join(word.text for word in StreamingTranscriber(run).words([samples]))
    assert len(streamed) > 10 and " ".join(found("stream")["text"].item().decode().split()) == streamed
    assert found("waveform")["text"].item().decode() == Predictor(model).transcribe([samples])[0].text


def test_sampled_audio_is_that_of_the_run(generator_run, generator_model, tmp_path):
    numbers = {"count": np.int32(2), "samples": np.int32(50), "temperature": np.float32(0.9), "seed": np.int32(4)}
    found = in_another_process(generator_model, tmp_path, generate=numbers)("generate")
    expected = Sampler(Generator.load(generator_run.run_dir)).sample(2, 50, SamplingOptions((0.9,), seed=4))
    np.testing.assert_allclose(found["waveform"], expected, atol=1e-6)


def test_log_probabilities_are_those_of_the_run(transcriber, signatures, recordings, float_wav):
    samples = recordings[0]
    found = signatures["log_probs"](waveform=samples[np.newaxis], samples=np.array([len(samples)], np.int32))
    expected = transcriber.log_probabilities(float_wav(samples))
    assert found["frames"].numpy().tolist() == [len(expected)]
    np.testing.assert_allclose(found["log_probs"][0], expected, atol=1e-4)
    # A length beyond the samples counts as theirs.
    beyond = signatures["log_probs"](waveform=samples[np.newaxis], samples=np.array([10**9], np.int32))
    assert beyond["frames"].numpy().tolist() == [len(expected)]


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
def test_bytes_that_are_no_wav_are_an_error_of_the_client(signatures, tmp_path, data):
    if isinstance(data, str):
        path = wav(tmp_path / "a.wav", np.zeros(1000, np.float32), 16000)
        content = bytearray(Path(path).read_bytes())
        if "Hz" in data:
            content[24:28] = (32_000_000).to_bytes(4, "little")
        data = bytes(content[:30] if "truncated" in data else content)
    with pytest.raises(tf.errors.InvalidArgumentError):
        signatures["serving_default"](wav=tf.constant([data]))


def test_no_exported_function_must_be_compiled_by_xla(model, generator_model):
    for folder in (model, generator_model):
        graph = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes()).meta_graphs[0].graph_def
        for function in graph.library.function:
            compiled = [node for node in (function, *function.node_def) if node.attr["_XlaMustCompile"].b]
            assert not compiled, function.signature.name
