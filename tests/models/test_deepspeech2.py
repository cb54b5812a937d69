"""Laws of DeepSpeech2: its size, its lengths, padding, and the same logits as in PyTorch."""

import numpy as np
import pytest
import tensorflow as tf

from tfvoice import experiment
from tfvoice.models.deepspeech2 import Deepspeech2, Deepspeech2Config

CHANNELS, CLASSES = 161, 29
SMALL = {"units": 6, "layers": 3, "convolution_channels": 4, "lookahead": 5}
FORMS = {
    "lstm": {},
    "gru": {"cell": "gru"},
    "rnn": {"cell": "rnn"},
    "unidirectional": {"bidirectional": False},
    "of 2017": {"padded_convolutions": False, "recurrent_bias": False},
}
each_form = pytest.mark.parametrize("form", FORMS)


def built(seed=0, **settings):
    """A small network with random weights and moving statistics."""
    model = Deepspeech2(Deepspeech2Config(**SMALL | settings), CLASSES)
    model(tf.zeros([1, 64, CHANNELS]), tf.constant([64]))
    random = np.random.default_rng(seed)
    for weight in model.weights:
        values = random.standard_normal(weight.shape) / np.sqrt(np.prod(weight.shape[:-1]) or 1)
        weight.assign(np.abs(values) + 0.5 if weight.name in ("moving_variance", "gamma") else values)
    return model


def spectrogram(lengths, seed=1):
    random = np.random.default_rng(seed)
    values = random.standard_normal((len(lengths), max(lengths), CHANNELS)).astype(np.float32)
    valid = np.arange(max(lengths)) < np.array(lengths)[:, np.newaxis]
    return tf.constant(values * valid[:, :, np.newaxis]), tf.constant(lengths)


def count(**settings):
    # Orthogonal kernels, the default, take seconds at this size.
    model = Deepspeech2(Deepspeech2Config(**{"initializer": "pytorch"} | settings), CLASSES)
    model(tf.zeros([1, 32, CHANNELS]), tf.constant([32]))
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_variables), model


def test_the_original_has_its_parameters():
    trainable, model = count(**experiment.resolve("deepspeech2", "deepspeech2_faithful").model.model_dump())
    assert trainable == 86_577_440
    assert model.recurrents[0].directions[0].inner.cell.kernel.shape[0] == 1312, "161 -> 81 -> 41 bands of 32"


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_initial_weights_of_pytorch_are_all_different_and_within_their_bounds(cell):
    model = Deepspeech2(Deepspeech2Config(**SMALL, cell=cell, initializer="pytorch"), CLASSES)
    model(tf.zeros([1, 8, CHANNELS]), tf.constant([8]))
    drawn = [np.array(w) for w in model.trainable_variables if w.name not in ("gamma", "beta")]
    values = np.concatenate([weight.ravel() for weight in drawn])
    assert len(np.unique(values)) > 0.99 * len(values)
    for weight in model.recurrents[0].directions[0].trainable_variables:
        assert 0.5 * SMALL["units"] ** -0.5 < np.abs(weight).max() <= SMALL["units"] ** -0.5


def test_without_padding_the_end_of_an_utterance_is_heard():
    model = built(padded_convolutions=False)
    features, lengths = spectrogram([61])
    changed = features.numpy()
    changed[:, 58:] += 1
    assert not np.allclose(model(features, lengths).values, model(tf.constant(changed), lengths).values, atol=1e-4)


def test_the_default_has_the_parameters_that_its_documentation_states():
    assert count()[0] == 16_141_088


def test_the_unidirectional_original_has_its_parameters():
    assert count(units=1024, layers=5, bidirectional=False)[0] == 43_454_752


def test_the_form_of_2017_has_its_parameters():
    trainable, model = count(**experiment.resolve("deepspeech2", "deepspeech2_2017").model.model_dump())
    assert trainable == 11_376_368
    assert model.recurrents[0].directions[0].inner.cell.kernel.shape[0] == 672, "161 -> 61 -> 21 bands of 32"


@pytest.mark.parametrize("frames, wanted", [(1, 1), (2, 1), (100, 50), (101, 51), (0, 0)])
def test_two_frames_become_one(frames, wanted):
    model = built()
    assert model.output_lengths(frames) == wanted
    assert model.output_lengths(np.array([frames]))[0] == wanted
    if frames:
        logits, lengths = model(*spectrogram([frames]))
        assert logits.shape == (1, wanted, CLASSES) and lengths.numpy().tolist() == [wanted]


@pytest.mark.parametrize("frames, wanted", [(101, 36), (31, 1), (30, 0), (5, 0)])
def test_without_padding_the_edges_are_lost(frames, wanted):
    model = built(padded_convolutions=False)
    assert model.output_lengths(frames) == wanted
    assert model.output_lengths(np.array([frames]))[0] == wanted
    logits, lengths = model(*spectrogram([frames]))
    assert lengths.numpy().tolist() == [wanted] and logits.shape[1] == max(wanted, 1)


@each_form
def test_padding_and_neighbours_change_nothing(form):
    model = built(**FORMS[form])
    features, lengths = spectrogram([61, 40, 33])
    together = model(tf.pad(features, [[0, 0], [0, 7], [0, 0]]), lengths)
    for row, length in enumerate([61, 40, 33]):
        alone = model(features[row : row + 1, :length], lengths[row : row + 1])
        frames = int(alone.lengths[0])
        assert frames == together.lengths[row]
        np.testing.assert_allclose(together.values[row, :frames], alone.values[0, :frames], atol=1e-5)


def test_statistics_of_a_batch_leave_padding_out_unless_told():
    features, lengths = spectrogram([61, 20])
    longer = tf.pad(features, [[0, 0], [0, 40], [0, 0]])
    for mask_padding, same in ((True, True), (False, False)):
        model = built(mask_padding=mask_padding)
        few = model(features, lengths, training=True).values
        many = model(longer, lengths, training=True).values[:, : few.shape[1]]
        assert np.allclose(few[0], many[0], atol=1e-4) == same


def test_a_unidirectional_network_looks_no_further_ahead_than_it_says():
    model = built(bidirectional=False)
    features, lengths = spectrogram([121])
    changed = features.numpy()
    changed[:, 80:] = 3
    before, after = model(features, lengths).values, model(tf.constant(changed), lengths).values
    # Frame t of the output sees frames up to 2 (t + lookahead - 1) + 10 + 5 of the input, through both convolutions.
    first = next(t for t in range(61) if not np.allclose(before[0, t], after[0, t], atol=1e-6))
    assert 2 * (first + SMALL["lookahead"] - 1) + 15 >= 80 > 2 * (first - 1 + SMALL["lookahead"] - 1) + 15


def test_dropout_is_decided_by_its_seed():
    model = built(dropout=0.5)
    features, lengths = spectrogram([40])
    one, again, other = (
        model(features, lengths, training=True, seed=tf.constant(seed)).values for seed in ([1, 2], [1, 2], [1, 3])
    )
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other)


def theirs(model, training=False):
    """The network in PyTorch, written from the description of deepspeech.pytorch, with the weights of ours.

    Returns the network, and its parameters by the names that ours have, each with how ours are ordered.
    """
    torch = pytest.importorskip("torch")
    from torch import nn

    config = model.config
    rows = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}

    def tensor(value):
        return torch.tensor(np.array(value))

    named = {}

    def norm(ours, kind):
        made = kind(ours.gamma.shape[0], eps=config.batch_norm_epsilon)
        made.weight.data, made.bias.data = tensor(ours.gamma), tensor(ours.beta)
        made.running_mean, made.running_var = tensor(ours.moving_mean), tensor(ours.moving_variance)
        named[ours.gamma.path] = made.weight, lambda value: value
        named[ours.beta.path] = made.bias, lambda value: value
        return made.train(training)

    def convolution(ours):
        padding = [taps // 2 for taps in ours.kernel_size[::-1]] if config.padded_convolutions else 0
        taps = np.array(ours.kernel).transpose(3, 2, 1, 0)
        made = nn.Conv2d(taps.shape[1], taps.shape[0], taps.shape[2:], ours.strides[::-1], padding)
        made.weight.data, made.bias.data = tensor(taps), tensor(ours.bias)
        named[ours.kernel.path] = made.weight, lambda value: value.transpose(3, 2, 1, 0)
        named[ours.bias.path] = made.bias, lambda value: value
        return made

    def recurrent(ours, first):
        inputs, units = ours.directions[0].inner.cell.kernel.shape[0], config.units
        options = {"bias": config.recurrent_bias, "bidirectional": config.bidirectional}
        made = rows[config.cell](inputs, units, **options)
        for direction, end in zip(ours.directions, ("", "_reverse"), strict=False):
            kernel, hidden, *bias = (np.array(weight) for weight in direction.trainable_variables)
            order = np.arange(kernel.shape[1])
            if config.cell == "gru":
                order = np.concatenate([order[units : 2 * units], order[:units], order[2 * units :]])
            if first:
                # We flatten band by band, PyTorch channel by channel.
                kernel = kernel.reshape(-1, config.convolution_channels, kernel.shape[1])
                kernel = kernel.transpose(1, 0, 2).reshape(inputs, -1)
            getattr(made, f"weight_ih_l0{end}").data = tensor(kernel.T[order])
            getattr(made, f"weight_hh_l0{end}").data = tensor(hidden.T[order])
            back = np.argsort(order)
            named[direction.inner.cell.recurrent_kernel.path] = (
                getattr(made, f"weight_hh_l0{end}"),
                lambda value, back=back: value[back].T,
            )
            named[direction.inner.cell.kernel.path] = (
                getattr(made, f"weight_ih_l0{end}"),
                lambda value, back=back: unflattened(value[back].T, first),
            )
            if bias:
                into, own = bias[0] if config.cell == "gru" else (bias[0], 0 * bias[0])
                getattr(made, f"bias_ih_l0{end}").data = tensor(into[order])
                getattr(made, f"bias_hh_l0{end}").data = tensor(own[order])
        return made

    def unflattened(kernel, first):
        if not first:
            return kernel
        split = kernel.reshape(config.convolution_channels, -1, kernel.shape[1])
        return split.transpose(1, 0, 2).reshape(kernel.shape)

    convolutions = [convolution(each) for each in model.convolutions]
    convolution_norms = [norm(each, nn.BatchNorm2d) for each in model.convolution_norms]
    recurrents = [recurrent(each, not number) for number, each in enumerate(model.recurrents)]
    norms = [norm(each, nn.BatchNorm1d) for each in [*model.recurrent_norms, model.output_norm]]

    output = tensor(model.output_layer.kernel).requires_grad_()
    named[model.output_layer.kernel.path] = output, lambda value: value
    if not config.bidirectional:
        ahead = tensor(model.look_ahead.kernel).requires_grad_()
        named[model.look_ahead.kernel.path] = ahead, lambda value: value

    def run(features, lengths):
        """One utterance, or a padded batch; `[batch, frames, channels]` to `[batch, frames / 2, classes]`."""
        given, lengths = np.array(lengths), torch.tensor(np.array(model.output_lengths(np.array(lengths))))
        first = lengths if config.padded_convolutions else torch.tensor((given - 11) // 2 + 1)
        x = torch.tensor(np.array(features)).transpose(1, 2)[:, None]
        for each, its_norm, left in zip(convolutions, convolution_norms, (first, lengths), strict=True):
            x = each(x)
            blank = (torch.arange(x.shape[3]) >= left[:, None])[:, None, None]
            x = its_norm(x.masked_fill(blank, 0)).masked_fill(blank, 0)
            x = x.clamp(0, 20).masked_fill(blank, 0)
        x = x.flatten(1, 2).permute(2, 0, 1)
        for number, each in enumerate(recurrents):
            if number:
                x = norms[number - 1](x.flatten(0, 1)).view(x.shape)
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
            x, _ = nn.utils.rnn.pad_packed_sequence(each(packed)[0], total_length=len(x))
            if config.bidirectional:
                x = x.view(*x.shape[:2], 2, -1).sum(2)
        if not config.bidirectional:
            padded = nn.functional.pad(x.permute(1, 2, 0), (0, config.lookahead - 1))
            x = nn.functional.conv1d(padded, ahead.T[:, None], groups=config.units).clamp(0, 20).permute(2, 0, 1)
        x = norms[-1](x.flatten(0, 1)).view(x.shape)
        return (x @ output).transpose(0, 1)

    return run, named


@each_form
@pytest.mark.parametrize("lengths", [[60], [61], [61, 48, 40]])
def test_pytorch_gives_the_same_logits_with_the_same_weights(form, lengths):
    model = built(**FORMS[form])
    run, _ = theirs(model)
    features, lengths = spectrogram(lengths)
    ours, wanted = model(features, lengths), run(features, lengths).detach().numpy()
    for row, frames in enumerate(ours.lengths.numpy()):
        np.testing.assert_allclose(ours.values[row, :frames], wanted[row, :frames], atol=1e-4)


@each_form
@pytest.mark.parametrize("compiled", [False, True])
def test_pytorch_gives_the_same_gradients_in_training(form, compiled):
    torch = pytest.importorskip("torch")
    model = built(**FORMS[form], mask_padding=False)
    model.jit_loops = compiled
    run, named = theirs(model, training=True)
    features, lengths = spectrogram([61, 48, 40])
    weights = tf.constant(np.random.default_rng(0).standard_normal([3, 31, CLASSES]), tf.float32)

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            logits = model(features, lengths, training=True)
            frames = tf.shape(logits.values)[1]
            valid = tf.sequence_mask(logits.lengths, frames, dtype=tf.float32)[:, :, tf.newaxis]
            loss = tf.reduce_sum(logits.values * weights[:, :frames] * valid)
        return tape.gradient(loss, [variable.value for variable in model.trainable_variables]), weights[
            :, :frames
        ] * valid

    ours, weights = gradients()
    (run(features, lengths) * torch.tensor(weights.numpy())).sum().backward()
    compared = 0
    for variable, gradient in zip(model.trainable_variables, ours, strict=True):
        if variable.path in named:
            parameter, ordered = named[variable.path]
            wanted = ordered(parameter.grad.numpy())
            scale = np.abs(wanted).max()
            # A bias before batch normalisation has no gradient but rounding.
            np.testing.assert_allclose(gradient, wanted, atol=1e-3 * max(scale, 0.1), err_msg=variable.path)
            compared += 1
    assert compared >= 10
