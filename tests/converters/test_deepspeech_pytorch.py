"""Converting checkpoints of deepspeech.pytorch."""

import collections
import operator
import re
import string
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from tfvoice import storage, tasks
from tfvoice.asr.recognizer import Recognizer
from tfvoice.converters import deepspeech_pytorch
from tfvoice.errors import TfvoiceError
from tfvoice.training.trainer import StopConditions

LABELS = list("_'" + string.ascii_uppercase + " ")
UNITS, LAYERS, CHANNELS, BANDS = 6, 3, 4, 41
ARCHITECTURES = {
    "lstm": {"cell": "lstm"},
    "gru": {"cell": "gru"},
    "rnn": {"cell": "rnn"},
    "unidirectional": {"cell": "lstm", "bidirectional": False},
}
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
each_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


def state_dict(cell="lstm", bidirectional=True):
    """Random weights under the names of deepspeech.pytorch 3."""
    random = np.random.default_rng(0)

    def normal(*shape):
        return (random.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32)

    def norm(name, size):
        return {
            f"{name}.weight": 1 + normal(size) / 9,
            f"{name}.bias": normal(size),
            f"{name}.running_mean": normal(size),
            f"{name}.running_var": np.abs(normal(size)) + 0.5,
            f"{name}.num_batches_tracked": np.array(5, np.int64),
        }

    weights = {}
    for number, (inputs, bands) in enumerate(((1, 41), (CHANNELS, 21))):
        weights[f"conv.seq_module.{3 * number}.weight"] = normal(CHANNELS, inputs, bands, 11)
        weights[f"conv.seq_module.{3 * number}.bias"] = normal(CHANNELS)
        weights |= norm(f"conv.seq_module.{3 * number + 1}", CHANNELS)
    for layer in range(LAYERS):
        if layer:
            weights |= norm(f"rnns.{layer}.batch_norm.module", UNITS)
        inputs, rows = UNITS if layer else BANDS * CHANNELS, GATES[cell] * UNITS
        for end in ("l0", "l0_reverse")[: 1 + bidirectional]:
            weights[f"rnns.{layer}.rnn.weight_ih_{end}"] = normal(rows, inputs)
            weights[f"rnns.{layer}.rnn.weight_hh_{end}"] = normal(rows, UNITS)
            weights[f"rnns.{layer}.rnn.bias_ih_{end}"] = normal(rows)
            weights[f"rnns.{layer}.rnn.bias_hh_{end}"] = normal(rows)
    if not bidirectional:
        weights["lookahead.0.conv.weight"] = normal(UNITS, 1, 20)
    weights |= norm("fc.0.module.0", UNITS)
    weights["fc.0.module.1.weight"] = normal(len(LABELS), UNITS)
    return collections.OrderedDict(weights)


def checkpoint(**changes):
    spectrogram = {"sample_rate": 16000, "window_size": 0.02, "window_stride": 0.01, "window": "hamming"}
    hyper = {"labels": LABELS, "precision": 32, "spect_cfg": spectrogram}
    content = {"epoch": 11, "pytorch-lightning_version": "1.1.2", "state_dict": state_dict(), "hyper_parameters": hyper}
    return content | changes


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def run_direction(weights, name, end, cell, x):
    """PyTorch's equations: gates i, f, g, o of an LSTM, and r, z, n of a GRU."""
    kernel, recurrent_kernel, bias, recurrent_bias = (
        weights[f"{name}.rnn.{key}_{end}"].astype(np.float64)
        for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    h, c, outputs = np.zeros(UNITS), np.zeros(UNITS), []
    for row in x[:: -1 if "reverse" in end else 1]:
        a, b = kernel @ row + bias, recurrent_kernel @ h + recurrent_bias
        if cell == "lstm":
            i, f, g, o = np.split(a + b, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        elif cell == "gru":
            (r, z, n), (r_h, z_h, n_h) = np.split(a, 3), np.split(b, 3)
            z = sigmoid(z + z_h)
            h = (1 - z) * np.tanh(n + sigmoid(r + r_h) * n_h) + z * h
        else:
            h = np.tanh(a + b)
        outputs.append(h)
    return np.array(outputs[:: -1 if "reverse" in end else 1])


def reference_logits(weights, cell, bidirectional, spectrogram):
    """The logits of deepspeech.pytorch for one utterance, `[bands, frames]`, in NumPy float64."""

    def norm(x, name):
        gamma, beta, mean, variance = (weights[f"{name}.{key}"].astype(np.float64) for key in deepspeech_pytorch._NORM)
        return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta

    x = spectrogram[np.newaxis].astype(np.float64)
    for number, (bands, frames, stride) in enumerate(((41, 11, 2), (21, 11, 1))):
        taps = weights[f"conv.seq_module.{3 * number}.weight"].astype(np.float64)
        x = np.pad(x, [(0, 0), (bands // 2,) * 2, (frames // 2,) * 2])
        patches = np.lib.stride_tricks.sliding_window_view(x, (bands, frames), axis=(1, 2))[:, ::2, ::stride]
        x = np.einsum("cftab,ocab->oft", patches, taps) + weights[f"conv.seq_module.{3 * number}.bias"][:, None, None]
        x = np.clip(norm(x.T, f"conv.seq_module.{3 * number + 1}").T, 0, 20)
    x = x.reshape(-1, x.shape[2]).T
    for layer in range(LAYERS):
        x = norm(x, f"rnns.{layer}.batch_norm.module") if layer else x
        ends = ("l0", "l0_reverse")[: 1 + bidirectional]
        x = sum(run_direction(weights, f"rnns.{layer}", end, cell, x) for end in ends)
    if not bidirectional:
        ahead = np.lib.stride_tricks.sliding_window_view(np.pad(x, [(0, 19), (0, 0)]), 20, axis=0)
        x = np.clip(np.einsum("tuk,uk->tu", ahead, weights["lookahead.0.conv.weight"][:, 0]), 0, 20)
    return norm(x, "fc.0.module.0") @ weights["fc.0.module.1.weight"].T.astype(np.float64)


@each_architecture
@pytest.mark.parametrize("frames", [40, 41])
def test_the_logits_equal_those_of_the_original_with_the_blank_last(torch_save, tmp_path, architecture, frames):
    weights = state_dict(**ARCHITECTURES[architecture])
    path = torch_save(tmp_path / "a.ckpt", checkpoint(state_dict=weights))
    converted = deepspeech_pytorch.import_run(path, tmp_path / "run")
    loaded = Recognizer.load(tmp_path / "run")
    spectrogram = np.random.default_rng(1).standard_normal((161, frames)).astype(np.float32)
    settings = {"bidirectional": True, **ARCHITECTURES[architecture]}
    expected = reference_logits(weights, spectrogram=spectrogram, **settings)
    for run in (converted, loaded):
        logits = run.network(spectrogram.T[np.newaxis], np.array([frames], np.int32)).values[0]
        np.testing.assert_allclose(logits, np.roll(expected, -1, axis=1), atol=1e-4)


def test_labels_and_spectrogram_come_from_the_hyperparameters(torch_save, tmp_path):
    spectrogram = {"sample_rate": 8000, "window_size": 0.04, "window_stride": 0.02, "window": "hann"}
    labels = [*" 'abcdefghijklmnopqrstuvwxyz", "_"]
    hyper = {"labels": labels, "spect_cfg": spectrogram}
    path = torch_save(tmp_path / "a.ckpt", checkpoint(hyper_parameters=hyper))
    config = deepspeech_pytorch.import_run(path, tmp_path / "run", "constant").config
    assert config.alphabet.characters == " 'abcdefghijklmnopqrstuvwxyz"
    assert (config.model.layers, config.model.units, config.model.convolution_channels) == (LAYERS, UNITS, CHANNELS)
    features = config.features
    assert (features.kind, features.sample_rate_hz) == ("log_spectrogram", 8000)
    assert (features.window_ms, features.hop_ms) == (40, 20)
    assert (features.fft_size, features.window, features.pad_mode) == (320, "hann", "constant")
    assert features.normalization == "utterance_scalar"


@pytest.mark.parametrize(
    ("version", "pad_mode"), [("1.1.6", "reflect"), ("1.5.10", "reflect"), ("1.7.7", "constant"), ("2.0", "constant")]
)
def test_the_padding_of_librosa_follows_the_age_of_the_checkpoint(torch_save, tmp_path, version, pad_mode):
    path = torch_save(tmp_path / "a.ckpt", checkpoint(**{"pytorch-lightning_version": version}))
    assert deepspeech_pytorch.import_run(path, tmp_path / "run").config.features.pad_mode == pad_mode
    chosen = deepspeech_pytorch.import_run(path, tmp_path / "run", "reflect", overwrite=True)
    assert chosen.config.features.pad_mode == "reflect"


class GetItem:
    """Pickled as a call of `operator.getitem`, as OmegaConf's enumerations and Lightning's callbacks are."""

    def __reduce__(self):
        return operator.getitem, (Ellipsis, "adam")


def test_only_tensors_that_are_needed_and_absent_are_refused(torch_save, tmp_path):
    weights = state_dict()
    content = checkpoint(optimizer_states=[GetItem(), {"state": Ellipsis}], callbacks={GetItem: 1})
    deepspeech_pytorch.import_run(torch_save(tmp_path / "a.ckpt", content), tmp_path / "run")
    for value, fact in (
        (GetItem(), "the tensor fc.0.module.0.bias is _operator.getitem, which cannot be read here."),
        (None, "the tensor fc.0.module.0.bias is missing."),
    ):
        content = checkpoint(state_dict=changed(weights, "fc.0.module.0.bias", value))
        with pytest.raises(TfvoiceError, match=re.escape(fact)):
            deepspeech_pytorch.import_run(torch_save(tmp_path / "b.ckpt", content), tmp_path / "other")
    assert not (tmp_path / "other").exists()


class DictConfig:
    def __init__(self, values):
        self._metadata, self._content = None, {key: AnyNode(value) for key, value in values.items()}


class AnyNode:
    def __init__(self, value):
        self._val = value


@pytest.fixture
def omegaconf(monkeypatch):
    """A module of that name while a file is written; loading imports no module."""
    module = types.ModuleType("omegaconf")
    for kind in (DictConfig, AnyNode):
        monkeypatch.setattr(kind, "__module__", "omegaconf")
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, "omegaconf", module)


def test_wrapped_configurations_are_unwrapped(torch_save, tmp_path, omegaconf):
    spectrogram = DictConfig({"sample_rate": 8000, "window_size": 0.04, "window_stride": 0.01, "window": "hamming"})
    path = torch_save(tmp_path / "a.ckpt", checkpoint(hyper_parameters={"labels": LABELS, "spect_cfg": spectrogram}))
    assert deepspeech_pytorch.import_run(path, tmp_path / "run").config.features.sample_rate_hz == 8000


def test_recursive_values_are_errors(torch_save, tmp_path, omegaconf):
    labels = list(LABELS)
    labels[0] = labels
    node = AnyNode(None)
    node._val = node
    for hyper, words in (
        ({"labels": labels}, "its labels are not single characters: a list of 29"),
        (node, "hold no list of 29 labels, but nothing"),
    ):
        path = torch_save(tmp_path / "a.ckpt", checkpoint(hyper_parameters=hyper))
        with pytest.raises(TfvoiceError, match=words):
            deepspeech_pytorch.import_run(path, tmp_path / "run")


@each_architecture
def test_checkpoints_of_pytorch_give_its_logits_on_real_audio(tmp_path, architecture):
    """Files that PyTorch wrote, and its logits: see `tests/data/make_golden.py`."""
    golden = Path(__file__).parents[1] / "data" / "golden"
    deepspeech_pytorch.import_run(golden / f"deepspeech_pytorch_{architecture}.ckpt", tmp_path / "run")
    loaded = Recognizer.load(tmp_path / "run")
    with np.load(golden / "deepspeech_pytorch.npz") as arrays:
        samples, expected = arrays["samples"] / np.float32(2**15), arrays[f"{architecture}/logits"]
    logits = loaded.logits(samples[np.newaxis], np.array([len(samples)], np.int32)).values[0]
    np.testing.assert_allclose(logits, np.roll(expected, -1, axis=1), atol=1e-4)


def test_a_run_can_start_from_an_imported_one(torch_save, tmp_path, converted):
    imported = deepspeech_pytorch.import_run(torch_save(tmp_path / "a.ckpt", checkpoint()), tmp_path / "imported")
    small = ["training.batch_size=4", "training.xla=off", "training.precision=float32", "data.buckets=1"]
    for characters, new in ((imported.alphabet.characters, []), (" abcdefghijklmnopqrstuvwxyzä", ["ä"])):
        run = tmp_path / f"run{len(new)}"
        settings = tasks.resolve(None, None, small, imported.run_dir)
        alphabet = settings.alphabet.model_copy(update={"characters": characters})
        settings = settings.model_copy(update={"alphabet": alphabet})
        state = tasks.train(run, converted, settings, StopConditions(max_steps=1), init_from=imported.run_dir)
        assert state.step == 1 and state.skipped == 0
        origin = storage.read_json(run / "experiment.json")["info"]["init_from"]
        assert origin["imported"] == imported.info["imported"] and origin["transfer"]["new_classes"] == new
        assert origin["transfer"]["new"] == [] and origin["transfer"]["by_class"] == ["deepspeech2/output/kernel"]


def changed(weights, name, value):
    return collections.OrderedDict({**weights, name: value}) if value is not None else without(weights, name)


def without(weights, name):
    return collections.OrderedDict((key, value) for key, value in weights.items() if key != name)


def spectrogram_of(**values):
    return checkpoint(hyper_parameters={"labels": LABELS, "spect_cfg": values})


def weights_of(name, shape):
    return checkpoint(state_dict=changed(state_dict(), name, np.ones(shape, np.float32)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1], "is no Lightning checkpoint of deepspeech.pytorch 3: it holds a list of 1, no state_dict"),
        ({"model": {}, "epoch": 1}, "it holds a dictionary of model, epoch, no state_dict of tensors"),
        (checkpoint(state_dict={"w": 1}), "no state_dict of tensors"),
        (
            checkpoint(state_dict=without(state_dict(), "fc.0.module.1.weight")),
            "tensor fc.0.module.1.weight is missing",
        ),
        (
            checkpoint(state_dict=without(state_dict(), "rnns.1.rnn.bias_hh_l0")),
            "tensor rnns.1.rnn.bias_hh_l0 is missing",
        ),
        (
            checkpoint(state_dict=changed(state_dict(), "conv.seq_module.0.bias", np.ones(7, np.float32))),
            r"the tensor conv.seq_module.0.bias is \(7,\) and should be \(4,\)",
        ),
        (
            checkpoint(state_dict=changed(state_dict(), "conv.seq_module.0.bias", np.full(4, np.nan, np.float32))),
            "conv.seq_module.0.bias holds numbers that are not finite",
        ),
        (
            checkpoint(state_dict=changed(state_dict(), "attention.weight", np.ones(7, np.float32))),
            "holds tensors that this network does not have: attention.weight",
        ),
        (
            checkpoint(state_dict=changed(state_dict(), "rnns.0.rnn.weight_hh_l0", np.ones([12, 6], np.float32))),
            "rnns.0.rnn.weight_hh_l0 is 12 x 6: no LSTM, GRU or RNN",
        ),
        (checkpoint(hyper_parameters=None), "hold no list of 29 labels, but nothing"),
        (checkpoint(hyper_parameters={"labels": LABELS[:-1]}), "hold no list of 29 labels, but a list of 28"),
        (
            checkpoint(hyper_parameters={"labels": ["x", *LABELS[1:]]}),
            "one of its labels should be _, the blank; 0 are",
        ),
        (checkpoint(hyper_parameters={"labels": [1, *LABELS[1:]]}), "its labels are not single characters: 1,"),
        (checkpoint(hyper_parameters={"labels": ["ab", *LABELS[1:-1], "_"]}), "its labels are not single characters"),
        (checkpoint(hyper_parameters={"labels": ["A", *LABELS[1:-1], "_"]}), "'A' occurs 2 times"),
        (
            checkpoint(hyper_parameters={"labels": LABELS, "spect_cfg": {"window": "blackman"}}),
            "cannot be used here: .*features.window",
        ),
        (spectrogram_of(window=None), "its spect_cfg.window is nothing, no name of a window"),
        (spectrogram_of(window_size="0.02"), "its spect_cfg.window_size is 0.02, no number between 0 and a million"),
        (spectrogram_of(window_stride=None), "its spect_cfg.window_stride is nothing, no number"),
        (spectrogram_of(sample_rate=10**400), "its spect_cfg.sample_rate is 1000"),
        (spectrogram_of(sample_rate=float("nan")), "its spect_cfg.sample_rate is nan"),
        (weights_of("rnns.0.rnn.weight_hh_l0", [24]), r"weight_hh_l0 is \(24,\) and should have 2 axes"),
        (weights_of("rnns.0.rnn.weight_hh_l0", [0, 0]), r"weight_hh_l0 is \(0, 0\) and should have 2 axes"),
        (weights_of("fc.0.module.1.weight", []), r"fc.0.module.1.weight is \(\) and should have 2 axes"),
        (weights_of("conv.seq_module.0.weight", [4, 1]), r"0.weight is \(4, 1\) and should have 4 axes"),
        (weights_of(3, [2]), "holds tensors that this network does not have: 3"),
    ],
)
def test_an_invalid_checkpoint_is_an_error_and_leaves_no_files(torch_save, tmp_path, content, words):
    path = torch_save(tmp_path / "a.ckpt", content)
    with pytest.raises(TfvoiceError, match=f"a.ckpt: .*{words}"):
        deepspeech_pytorch.import_run(path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_is_replaced_only_with_overwrite(torch_save, tmp_path):
    path = torch_save(tmp_path / "a.ckpt", checkpoint())
    deepspeech_pytorch.import_run(path, tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").write_text("{}")
    with pytest.raises(TfvoiceError, match="run: already holds a run; use another --run, or --overwrite"):
        deepspeech_pytorch.import_run(path, tmp_path / "run")
    deepspeech_pytorch.import_run(path, tmp_path / "run", overwrite=True)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_a_run_that_another_process_writes_is_not_replaced(torch_save, tmp_path):
    path = torch_save(tmp_path / "a.ckpt", checkpoint())
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("{}")
    with storage.locked(tmp_path / "run", "tfvoice_train"), pytest.raises(TfvoiceError, match="another command is"):
        deepspeech_pytorch.import_run(path, tmp_path / "run", overwrite=True)
    assert (tmp_path / "run" / "metrics.jsonl").exists()


def test_an_incomplete_run_is_replaced_only_with_overwrite(torch_save, tmp_path):
    path = torch_save(tmp_path / "a.ckpt", checkpoint())
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("{}")
    with pytest.raises(TfvoiceError, match=r"no experiment.json, so it is not a whole run"):
        deepspeech_pytorch.import_run(path, tmp_path / "run")
    deepspeech_pytorch.import_run(path, tmp_path / "run", overwrite=True)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
