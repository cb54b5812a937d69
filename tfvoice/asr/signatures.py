"""The signatures of a recogniser's SavedModel: audio to text in one graph that needs TensorFlow and nothing else."""

from collections.abc import Callable

import tensorflow as tf

from tfvoice.asr import streaming
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.streaming import StreamingTranscriber
from tfvoice.asr.transcribe_graph import GraphTranscriber, TranscriptTensors
from tfvoice.asr.windows import WINDOW_SECONDS
from tfvoice.audio import features
from tfvoice.audio import wav as wav_


def signatures(run: Recognizer, window_seconds: float = WINDOW_SECONDS) -> dict[str, Callable]:
    """The signatures of a recogniser: `wav` (also `serving_default`), `waveform`, `log_probs`, and those of a stream.

    Args:
      run: with its weights.
      window_seconds: new audio in each window of a recording that is longer than the clips of the training.
    """
    rate_hz = run.config.features.sample_rate_hz
    transcriber = GraphTranscriber(run, window_seconds)
    waveforms = _waveforms()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="wav")])
    def from_wav(wav):
        """WAV files of 16-bit PCM, of any common rate, mono or stereo."""
        row = tf.RaggedTensorSpec([None], tf.float32, 0, tf.int64)
        # Ten at a time, the default, would need the memory of ten tables of resampling weights.
        rows = tf.map_fn(lambda data: wav_.decode(data, rate_hz), wav, fn_output_signature=row, parallel_iterations=2)
        return _named(transcriber.transcribe(rows.to_tensor(), tf.cast(rows.row_lengths(), tf.int32)))

    @tf.function(input_signature=waveforms)
    def from_waveform(waveform, samples):
        """Samples from -1 to 1 at the model's rate, and how many of each row count."""
        return _named(transcriber.transcribe(waveform, samples))

    @tf.function(input_signature=waveforms)
    def log_probs(waveform, samples):
        """Natural logarithms of the probability of each character and, last, of blank."""
        logits = transcriber.logits(waveform, samples)
        return {"log_probs": tf.nn.log_softmax(logits.values), "frames": logits.lengths}

    functions = {"serving_default": from_wav, "wav": from_wav, "waveform": from_waveform, "log_probs": log_probs}
    if not streaming.reason_not_streamable(run.config):
        functions |= _stream(StreamingTranscriber(run))
    return functions


def _stream(transcriber: StreamingTranscriber) -> dict[str, Callable]:
    """`stream_start` gives the state before the first sample, `stream` takes a chunk and a state and gives the next."""
    chunk, final = tf.TensorSpec([None], tf.float32, "chunk"), tf.TensorSpec([], tf.bool, "final")
    state = transcriber.signature()

    # Names of arguments become names of inputs.
    @tf.function(input_signature=[chunk, final, *state.values()])
    def stream(chunk, final, *values):
        """A chunk of samples, whether it is the last, and the state, to the new characters and the next state."""
        text, _, after = transcriber.step(chunk, final, dict(zip(state, values, strict=True)))
        return {"text": text} | after

    return {"stream_start": tf.function(transcriber.start, input_signature=[]), "stream": stream}


def _named(transcripts: TranscriptTensors) -> dict[str, tf.Tensor]:
    """Outputs by their names; words are padded, and counted."""
    words = transcripts.words
    return {
        "text": transcripts.text,
        "confidence": transcripts.confidence,
        "words": words.words.to_tensor(),
        "word_count": tf.cast(words.words.row_lengths(), tf.int32),
        "word_start_seconds": tf.cast(words.starts.to_tensor(), tf.float32),
        "word_end_seconds": tf.cast(words.ends.to_tensor(), tf.float32),
        "word_confidence": words.confidences.to_tensor(),
    }


def tflite_function(run: Recognizer) -> Callable:
    """Samples of one clip to log probabilities, with operations that TFLite has.

    Args:
      run: with its weights.

    Returns:
      A `tf.function` of `waveform`, float32 `[1, samples]` at the run's rate, that gives `log_probs`, float32 `[1,
      frames, classes]`.
    """

    @tf.function(input_signature=[tf.TensorSpec([1, None], tf.float32, name="waveform")])
    def log_probs(waveform):
        return {"log_probs": _one_pass(run, waveform, tf.shape(waveform)[1:])["log_probs"]}

    return log_probs


def onnx_function(run: Recognizer) -> Callable:
    """A padded batch to log probabilities, each row in one pass, with operations that ONNX has.

    Args:
      run: with its weights.

    Returns:
      A `tf.function` of `waveform`, float32 `[batch, samples]` at the run's rate, and `samples`, int32 `[batch]`, that
      gives `log_probs`, float32 `[batch, frames, classes]`, and `frames`, int32 `[batch]`.
    """

    @tf.function(input_signature=_waveforms())
    def log_probs(waveform, samples):
        return _one_pass(run, waveform, samples)

    return log_probs


def _waveforms() -> tuple[tf.TensorSpec, tf.TensorSpec]:
    return (
        tf.TensorSpec([None, None], tf.float32, name="waveform"),
        tf.TensorSpec([None], tf.int32, name="samples"),
    )


def _one_pass(run, waveform, samples) -> dict[str, tf.Tensor]:
    inputs = features.compute(run.config.features, waveform, samples, run.statistics)
    logits = run.network(inputs.values, inputs.lengths)
    return {"log_probs": tf.nn.log_softmax(logits.values), "frames": logits.lengths}
