"""Laws of importing recognisers that others have trained."""

import collections
import string
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from tfvoice.asr.recognizer import Recognizer
from tfvoice.audio import io
from tfvoice.converters import deepspeech_pytorch
from tfvoice.errors import TfvoiceError

LABELS = list("_'" + string.ascii_uppercase + " ")
UNITS, LAYERS, CHANNELS, BANDS = 6, 3, 4, 41
FORMS = {
    "lstm": {"cell": "lstm"},
    "gru": {"cell": "gru"},
    "rnn": {"cell": "rnn"},
    "unidirectional": {"cell": "lstm", "bidirectional": False},
}
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
each_form = pytest.mark.parametrize("form", FORMS)


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
    into, own, bias, own_bias = (
        weights[f"{name}.rnn.{key}_{end}"].astype(np.float64)
        for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    h, c, found = np.zeros(UNITS), np.zeros(UNITS), []
    for row in x[:: -1 if "reverse" in end else 1]:
        a, b = into @ row + bias, own @ h + own_bias
        if cell == "lstm":
            i, f, g, o = np.split(a + b, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        elif cell == "gru":
            (r, z, n), (r_own, z_own, n_own) = np.split(a, 3), np.split(b, 3)
            z = sigmoid(z + z_own)
            h = (1 - z) * np.tanh(n + sigmoid(r + r_own) * n_own) + z * h
        else:
            h = np.tanh(a + b)
        found.append(h)
    return np.array(found[:: -1 if "reverse" in end else 1])


def theirs(weights, cell, bidirectional, spectrogram):
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


@each_form
@pytest.mark.parametrize("frames", [40, 41])
def test_the_logits_are_those_of_the_original_with_blank_last(torch_save, tmp_path, form, frames):
    weights = state_dict(**FORMS[form])
    path = torch_save(tmp_path / "a.ckpt", checkpoint(state_dict=weights))
    made = deepspeech_pytorch.import_run(path, tmp_path / "run")
    loaded = Recognizer.load(tmp_path / "run")
    spectrogram = np.random.default_rng(1).standard_normal((161, frames)).astype(np.float32)
    for each in (made, loaded):
        logits = each.network(spectrogram.T[np.newaxis], np.array([frames], np.int32)).values[0]
        wanted = theirs(weights, spectrogram=spectrogram, **{"bidirectional": True, **FORMS[form]})
        np.testing.assert_allclose(logits, np.roll(wanted, -1, axis=1), atol=1e-4)


def test_what_is_not_in_the_weights_comes_from_the_hyperparameters(torch_save, tmp_path):
    spectrogram = {"sample_rate": 8000, "window_size": 0.04, "window_stride": 0.02, "window": "hann"}
    labels = [*" 'abcdefghijklmnopqrstuvwxyz", "_"]
    hyper = {"labels": labels, "spect_cfg": spectrogram}
    path = torch_save(tmp_path / "a.ckpt", checkpoint(hyper_parameters=hyper))
    config = deepspeech_pytorch.import_run(path, tmp_path / "run", "constant").config
    assert config.alphabet.characters == " 'abcdefghijklmnopqrstuvwxyz"
    assert (config.model.layers, config.model.units, config.model.convolution_channels) == (LAYERS, UNITS, CHANNELS)
    chosen = config.features
    assert (chosen.kind, chosen.sample_rate_hz, chosen.window_ms, chosen.hop_ms) == ("log_spectrogram", 8000, 40, 20)
    assert (chosen.fft_size, chosen.window, chosen.pad_mode) == (320, "hann", "constant")
    assert chosen.normalization == "utterance_scalar"


class DictConfig:
    def __init__(self, values):
        self._metadata, self._content = None, {key: AnyNode(value) for key, value in values.items()}


class AnyNode:
    def __init__(self, value):
        self._val = value


@pytest.fixture
def omegaconf(monkeypatch):
    """A module of that name while a file is written; reading looks no module up."""
    module = types.ModuleType("omegaconf")
    for kind in (DictConfig, AnyNode):
        monkeypatch.setattr(kind, "__module__", "omegaconf")
        setattr(module, kind.__name__, kind)
    monkeypatch.setitem(sys.modules, "omegaconf", module)


def test_configurations_in_wrappings_are_read(torch_save, tmp_path, omegaconf):
    spectrogram = DictConfig({"sample_rate": 8000, "window_size": 0.04, "window_stride": 0.01, "window": "hamming"})
    path = torch_save(tmp_path / "a.ckpt", checkpoint(hyper_parameters={"labels": LABELS, "spect_cfg": spectrogram}))
    assert deepspeech_pytorch.import_run(path, tmp_path / "run").config.features.sample_rate_hz == 8000


def test_what_contains_itself_is_refused(torch_save, tmp_path, omegaconf):
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


def original(torch, cell, bidirectional):
    """Modules of PyTorch, called what those of deepspeech.pytorch are called."""
    nn = torch.nn

    def held(**children):
        made = nn.Module()
        for name, child in children.items():
            made.add_module(name, child)
        return made

    def numbered(*children):
        return nn.ModuleList(children)

    kind = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[cell]
    first, second = (
        [nn.Conv2d(1, CHANNELS, (41, 11), (2, 2), (20, 5)), nn.BatchNorm2d(CHANNELS), nn.Hardtanh(0, 20)],
        [nn.Conv2d(CHANNELS, CHANNELS, (21, 11), (2, 1), (10, 5)), nn.BatchNorm2d(CHANNELS), nn.Hardtanh(0, 20)],
    )
    layers = []
    for layer in range(LAYERS):
        recurrent = kind(UNITS if layer else BANDS * CHANNELS, UNITS, bidirectional=bidirectional)
        norm = {"batch_norm": held(module=nn.BatchNorm1d(UNITS))} if layer else {}
        layers.append(held(rnn=recurrent, **norm))
    network = held(conv=held(seq_module=nn.Sequential(*first, *second)), rnns=numbered(*layers))
    if not bidirectional:
        network.add_module("lookahead", numbered(held(conv=nn.Conv1d(UNITS, UNITS, 20, groups=UNITS, bias=False))))
    last = numbered(nn.BatchNorm1d(UNITS), nn.Linear(UNITS, len(LABELS), bias=False))
    network.add_module("fc", numbered(held(module=last)))
    with torch.no_grad():
        for name, value in network.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                value.copy_(torch.rand_like(value) + 0.5)
    return network.eval()


def original_logits(torch, network, samples, bidirectional):
    """What deepspeech.pytorch computes from the samples of one utterance at 16 kHz."""
    window = torch.hamming_window(320, periodic=False, dtype=torch.float64)
    spectrum = torch.stft(torch.tensor(samples).double(), 320, 160, window=window, return_complex=True)
    x = torch.log1p(spectrum.abs())
    x = ((x - x.mean()) / x.std()).float()[None, None]
    x = network.conv.seq_module(x).flatten(1, 2)[0].T
    for number, layer in enumerate(network.rnns):
        x = layer.batch_norm.module(x) if number else x
        x = layer.rnn(x[:, None])[0][:, 0]
        x = x.view(len(x), -1, UNITS).sum(1)
    if not bidirectional:
        ahead = torch.nn.functional.pad(x.T[None], (0, 19))
        x = torch.nn.functional.hardtanh(network.lookahead[0].conv(ahead)[0].T, 0, 20)
    norm, linear = network.fc[0].module
    return linear(norm(x))


@each_form
def test_checkpoints_of_pytorch_give_its_logits_on_real_audio(tmp_path, form):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    form = {"bidirectional": True, **FORMS[form]}
    network = original(torch, **form)
    content = {**checkpoint(), "state_dict": network.state_dict(), "optimizer_states": [{"state": torch.ones(3)}]}
    torch.save(content, tmp_path / "a.ckpt")
    deepspeech_pytorch.import_run(tmp_path / "a.ckpt", tmp_path / "run")
    loaded = Recognizer.load(tmp_path / "run")
    path = sorted((Path(__file__).parents[1] / "data" / "asterisk").rglob("*.opus"))[0]
    samples = io.read(path, 16000)
    found = loaded.logits(samples[np.newaxis], np.array([len(samples)], np.int32)).values[0]
    with torch.inference_mode():
        wanted = original_logits(torch, network, samples, form["bidirectional"]).numpy()
    np.testing.assert_allclose(found, np.roll(wanted, -1, axis=1), atol=1e-4)


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
            "holds tensors that this network has no place for: attention.weight",
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
        (checkpoint(hyper_parameters={"labels": ["A", *LABELS[1:-1], "_"]}), "'A' is there 2 times"),
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
        (weights_of(3, [2]), "holds tensors that this network has no place for: 3"),
    ],
)
def test_what_is_not_understood_is_refused_and_leaves_nothing(torch_save, tmp_path, content, words):
    path = torch_save(tmp_path / "a.ckpt", content)
    with pytest.raises(TfvoiceError, match=f"a.ckpt: .*{words}"):
        deepspeech_pytorch.import_run(path, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_is_replaced_only_when_told(torch_save, tmp_path):
    path = torch_save(tmp_path / "a.ckpt", checkpoint())
    deepspeech_pytorch.import_run(path, tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").write_text("{}")
    with pytest.raises(TfvoiceError, match="run: holds a run already; use another --run, or --overwrite"):
        deepspeech_pytorch.import_run(path, tmp_path / "run")
    deepspeech_pytorch.import_run(path, tmp_path / "run", overwrite=True)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


def test_pieces_of_a_run_are_replaced_when_told(torch_save, tmp_path):
    path = torch_save(tmp_path / "a.ckpt", checkpoint())
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_text("{}")
    with pytest.raises(TfvoiceError, match=r"no experiment.json, so it is not a whole run"):
        deepspeech_pytorch.import_run(path, tmp_path / "run")
    deepspeech_pytorch.import_run(path, tmp_path / "run", overwrite=True)
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
