"""A run as a SavedModel: audio to text, or a seed to audio, in one graph that needs TensorFlow and nothing else.

The signatures are functions over the very code that `transcription` and `sampling` call. Their inputs and outputs have
the names that `saved_model_cli show` prints.
"""

from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from tfvoice.asr import streaming
from tfvoice.asr.following import Follower
from tfvoice.asr.recognizer import Recognizer
from tfvoice.audio import quantize
from tfvoice.audio.resample import resample
from tfvoice.experiment import Experiment
from tfvoice.export import transcribe_graph
from tfvoice.generation import sampling_loop
from tfvoice.generation.generator import Generator
from tfvoice.layers import xla

_LOWEST_HZ, _HIGHEST_HZ = 4000, 192000


def write(run: Experiment, folder: Path) -> None:
    """Writes a run as a SavedModel.

    Args:
      run: with its weights.
      folder: of the model.
    """
    # XLA is not in every server.
    run.model.jit_loops = False
    signatures = (speech if isinstance(run, Recognizer) else audio)(run)
    with xla.plain():
        tf.saved_model.save(holding(run, signatures), str(folder), signatures)


def speech(run: Recognizer) -> dict[str, Callable]:
    """The signatures of a recogniser: `wav` (also `serving_default`), `waveform`, `log_probs`, and for streams."""
    rate_hz = run.config.features.sample_rate_hz
    waveforms = (
        tf.TensorSpec([None, None], tf.float32, name="waveform"),
        tf.TensorSpec([None], tf.int32, name="samples"),
    )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="wav")])
    def from_wav(wav):
        """WAV files of 16-bit PCM, of any common rate, mono or stereo."""
        row = tf.RaggedTensorSpec([None], tf.float32, 0, tf.int64)
        # Ten at a time, the default, would need the memory of ten tables of resampling weights.
        rows = tf.map_fn(lambda data: decode_wav(data, rate_hz), wav, fn_output_signature=row, parallel_iterations=2)
        return _named(transcribe_graph.read(run, rows.to_tensor(), tf.cast(rows.row_lengths(), tf.int32)))

    @tf.function(input_signature=waveforms)
    def from_waveform(waveform, samples):
        """Samples from -1 to 1 at the model's rate, and how many of each row count."""
        return _named(transcribe_graph.read(run, waveform, samples))

    @tf.function(input_signature=waveforms)
    def log_probs(waveform, samples):
        """Natural logarithms of the probability of each character and, last, of blank."""
        logits = run.logits(waveform, transcribe_graph.within(samples, waveform))
        return {"log_probs": tf.nn.log_softmax(logits.values), "frames": logits.lengths}

    signatures = {"serving_default": from_wav, "wav": from_wav, "waveform": from_waveform, "log_probs": log_probs}
    if not streaming.reason_against(run.config):
        signatures |= _following(run)
    return signatures


def _following(run: Recognizer) -> dict[str, Callable]:
    """`stream_start` gives the state before the first sample, `stream` takes a chunk and a state and gives the next."""
    follower = Follower(streaming.StreamingTranscriber(run), run.alphabet, run.config.features.sample_rate_hz)
    chunk, final = tf.TensorSpec([None], tf.float32, "chunk"), tf.TensorSpec([], tf.bool, "final")
    state = follower.signature()

    # Names of arguments become names of inputs.
    @tf.function(input_signature=[chunk, final, *state.values()])
    def stream(chunk, final, *values):
        """A chunk of samples, whether it is the last, and the state, to what is read anew and the next state."""
        text, after = follower.step(chunk, final, dict(zip(state, values, strict=True)))
        return {"text": text} | after

    return {"stream_start": tf.function(follower.start, input_signature=[]), "stream": stream}


def decode_wav(data: tf.Tensor, sample_rate_hz: int) -> tf.Tensor:
    """A WAV file as bytes to float32 `[samples]` at a rate; channels are averaged."""
    samples, from_hz = tf.audio.decode_wav(data)
    usual = (from_hz >= _LOWEST_HZ) & (from_hz <= _HIGHEST_HZ)
    message = f"The sample rate must be {_LOWEST_HZ} to {_HIGHEST_HZ} Hz, not:"
    with tf.control_dependencies([tf.debugging.Assert(usual, [message, from_hz])]):
        return resample(tf.reduce_mean(samples, axis=1), from_hz, sample_rate_hz)


def audio(run: Generator) -> dict[str, Callable]:
    """The signature of a generator, `serving_default` and `generate` alike."""
    rate_hz = run.sample_rate_hz

    @tf.function(
        input_signature=[
            tf.TensorSpec([], tf.int32, name="count"),
            tf.TensorSpec([], tf.int32, name="samples"),
            tf.TensorSpec([], tf.float32, name="temperature"),
            tf.TensorSpec([], tf.int32, name="seed"),
        ]
    )
    def generate(count, samples, temperature, seed):
        """Draws `count` recordings of `samples` samples each."""
        usable = (count > 0) & (samples > 0) & (temperature > 0)
        message = "count, samples and temperature must be above 0, not:"
        with tf.control_dependencies([tf.debugging.Assert(usable, [message, count, samples, temperature])]):
            count, samples = tf.identity(count), tf.identity(samples)
        levels = sampling_loop.levels(run.model, run.config.quantization.silence, count, samples, temperature, seed)
        waves = quantize.decode(run.config.quantization, levels)
        wav = tf.map_fn(
            lambda wave: tf.audio.encode_wav(wave[:, tf.newaxis], rate_hz), waves, fn_output_signature=tf.string
        )
        return {"waveform": waves, "wav_bytes": wav}

    return {"serving_default": generate, "generate": generate}


def _named(found: transcribe_graph.Reading) -> dict[str, tf.Tensor]:
    """Outputs by their names; words are padded, and counted."""
    return {
        "text": found.text,
        "confidence": found.confidence,
        "words": found.words.to_tensor(),
        "word_count": tf.cast(found.words.row_lengths(), tf.int32),
        "word_start_seconds": found.starts.to_tensor(),
        "word_end_seconds": found.ends.to_tensor(),
        "word_confidence": found.confidences.to_tensor(),
    }


def holding(run: Experiment, functions: dict[str, Callable]) -> tf.Module:
    """A module that holds functions and the plain TensorFlow variables that they read."""
    module = tf.Module()
    module.weights = [variable.value for variable in run.model.variables]
    for name, function in functions.items():
        setattr(module, name, function)
    return module
