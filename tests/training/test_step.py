"""Laws of one update: gradients, clipping, accumulation, the average, precision, XLA and several devices."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfvoice import checkpoints, ctc
from tfvoice.asr import recognizer, task
from tfvoice.cluster.cluster import SINGLE, Cluster
from tfvoice.data.utterances import Batch
from tfvoice.errors import TfvoiceError
from tfvoice.layers.convolution import BatchNormalization
from tfvoice.lengths import Sequence
from tfvoice.models.deepspeech2 import Deepspeech2Config
from tfvoice.models.wavenet_asr import WavenetAsrConfig
from tfvoice.training import step
from tfvoice.training.config import TrainingConfig

ROOT = Path(__file__).resolve().parents[2]
CHANNELS, CLASSES = 6, 5
SMALL = WavenetAsrConfig(width=4, kernel_size=3, dilations=(2,), stacks=1, stride=1, front_kernel_size=3)


class Toy(keras.Model):
    """One matrix, and optionally batch normalisation before it; `early` multiples are intermediate predictions."""

    def __init__(self, normed=False, early=()):
        super().__init__()
        self.early = early
        self.norm = BatchNormalization() if normed else None
        self.matrix = self.add_weight(shape=(CHANNELS, CLASSES), initializer="glorot_uniform", name="matrix")
        self.built = True

    def call(self, values, lengths, training=False, seed=None):
        return self.predictions(values, lengths, training, seed)[-1]

    def predictions(self, values, lengths, training=False, seed=None):
        if self.norm:
            values = self.norm(values, training=training)
        logits = Sequence(tf.einsum("btc,cd->btd", values, tf.convert_to_tensor(self.matrix)), lengths)
        return [logits._replace(values=factor * logits.values) for factor in (*self.early, 1)]


def batch(rows=4, frames=12, seed=0, empty=0):
    """A random batch whose last `empty` rows are empty."""
    random = np.random.default_rng(seed)
    lengths = random.integers(frames // 2, frames + 1, rows).astype(np.int32)
    labels = random.integers(0, CLASSES - 1, (rows, 3)).astype(np.int32)
    numbers = np.arange(rows)
    there = numbers < rows - empty
    values = random.normal(size=(rows, frames, CHANNELS)) * (np.arange(frames) < lengths[:, None])[..., None]
    return Batch(
        features=tf.constant(values * there[:, None, None], tf.float32),
        lengths=tf.constant(lengths * there),
        labels=tf.constant(labels),
        label_lengths=tf.constant(np.where(there, 3, 0), tf.int32),
        rows=tf.constant(np.where(there, numbers, -1), tf.int64),
        epoch=tf.constant(0, tf.int64),
        position=tf.constant(seed, tf.int64),
        samples=tf.constant(1000, tf.int64),
    )


def made(model=None, **settings):
    keras.utils.set_random_seed(0)
    model = model or Toy()
    model(tf.zeros([1, 8, CHANNELS]), tf.constant([8]))
    settings = TrainingConfig(**settings)
    return step.Learner(task.CtcObjective(model, CHANNELS, settings), settings, tf.distribute.get_strategy())


def wavenet(precision="float32", **settings):
    keras.utils.set_random_seed(0)
    return made(recognizer.build_model(SMALL.model_copy(update=settings), CLASSES, precision), precision=precision)


def values(variables):
    return [np.asarray(variable) for variable in variables]


def same(ones, others):
    return all(np.array_equal(one, other) for one, other in zip(ones, others, strict=True))


def test_the_loss_is_a_mean_over_utterances_and_the_gradient_is_that_of_the_loss():
    student, given = made(), batch(rows=4, empty=1)
    loss, norm, gradients = student.gradients([given])
    with tf.GradientTape() as tape:
        logits = student.model(given.features[:3], given.lengths[:3])
        expected = tf.reduce_mean(ctc.loss(logits, given.labels[:3], given.label_lengths[:3]))
    (gradient,) = tape.gradient(expected, [student.model.matrix.value])
    assert loss == pytest.approx(float(expected), rel=1e-6)
    np.testing.assert_allclose(gradients[0], gradient, atol=1e-6)
    assert norm == pytest.approx(np.linalg.norm(gradient), rel=1e-5)


def test_intermediate_predictions_count_in_the_gradient_and_not_in_the_logged_loss():
    given = batch()
    alone, half, twice = (made(Toy(early=early), intermediate_share=0.25) for early in ((), (0.5,), (0.5, 2.0)))

    def gradient(factor):
        with tf.GradientTape() as tape:
            logits = alone.model(given.features, given.lengths)
            logits = logits._replace(values=factor * logits.values)
            loss = tf.reduce_mean(ctc.loss(logits, given.labels, given.label_lengths))
        return tape.gradient(loss, alone.model.matrix.value)

    for student, expected in (
        (half, 0.75 * gradient(1.0) + 0.25 * gradient(0.5)),
        (twice, 0.75 * gradient(1.0) + 0.125 * (gradient(0.5) + gradient(2.0))),
    ):
        student.model.matrix.assign(alone.model.matrix)
        loss, _, (found,) = student.gradients([given])
        assert loss == pytest.approx(alone.gradients([given])[0], rel=1e-6)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_empty_rows_and_more_padding_change_nothing():
    student, given = made(), batch()
    loss, _, gradients = student.gradients([given])
    padded = given._replace(
        features=tf.pad(given.features, [[0, 2], [0, 5], [0, 0]]),
        lengths=tf.pad(given.lengths, [[0, 2]]),
        labels=tf.pad(given.labels, [[0, 2], [0, 1]]),
        label_lengths=tf.pad(given.label_lengths, [[0, 2]]),
        rows=tf.pad(given.rows, [[0, 2]], constant_values=-1),
    )
    padded_loss, _, padded_gradients = student.gradients([padded])
    assert padded_loss == pytest.approx(loss, rel=1e-6)
    np.testing.assert_allclose(padded_gradients[0], gradients[0], atol=1e-6)


def test_two_accumulated_batches_equal_one_of_twice_the_size():
    student, one, other = made(accumulate=2), batch(seed=1), batch(seed=2)
    both = one._replace(
        **{key: tf.concat([getattr(one, key), getattr(other, key)], 0) for key in Batch._fields[:4]},
        rows=tf.range(8, dtype=tf.int64),
    )
    loss, norm, gradients = student.gradients([one, other])
    expected_loss, expected_norm, expected = student.gradients([both])
    assert (loss, norm) == (pytest.approx(expected_loss, rel=1e-6), pytest.approx(expected_norm, rel=1e-5))
    np.testing.assert_allclose(gradients[0], expected[0], atol=1e-6)


def moved(**settings):
    """The norm of a gradient, the gradient, and the clipped one: plain descent with rate 1 shows it."""
    student = made(average=0, **settings)
    student.optimizer = keras.optimizers.SGD(1.0)
    student.optimizer.build(student.variables)
    before = student.model.matrix.numpy()
    _, norm, gradients = student.gradients([batch()])
    student.update(gradients, norm, 1.0, 0)
    return norm, gradients[0], before - student.model.matrix.numpy()


@pytest.mark.parametrize(("limit", "factor"), [(0, 1.0), (0.5, None), (1e6, 1.0)])
def test_a_gradient_above_the_norm_is_scaled_down_to_it(limit, factor):
    norm, gradient, used = moved(clip_norm=limit)
    assert norm > 0.5
    np.testing.assert_allclose(used, gradient * (factor or limit / norm), atol=1e-6)


@pytest.mark.parametrize("xla", ["auto", "off"])
@pytest.mark.parametrize("norm_limit", [0, 0.5])
def test_a_gradient_is_clipped_by_value_after_it_is_scaled(norm_limit, xla):
    norm, gradient, used = moved(clip_norm=norm_limit, clip_value=0.1, xla=xla)
    scaled = gradient * (norm_limit / norm if norm_limit else 1.0)
    assert 0 < np.mean(np.abs(scaled) > 0.1) < 1
    np.testing.assert_allclose(used, np.clip(scaled, -0.1, 0.1), atol=1e-6)


def test_the_moving_average_follows_its_recursion_with_a_warm_up():
    student = made(Toy(normed=True), average=0.8, learning_rate=0.1)
    expected = values(student.model.weights)
    for number in range(6):
        _, norm, gradients = student.gradients([batch(seed=number)])
        student.update(gradients, norm, 0.1, number)
        decay = min(0.8, (1 + number) / (10 + number))
        weights = values(student.model.weights)
        expected = [decay * old + (1 - decay) * new for old, new in zip(expected, weights, strict=True)]
    for average, value in zip(student.average, expected, strict=True):
        np.testing.assert_allclose(average, value, rtol=1e-5, atol=1e-7)


def test_averaged_weights_are_swapped_in_and_out_exactly():
    student = made(Toy(normed=True), average=0.5)
    _, norm, gradients = student.gradients([batch()])
    student.update(gradients, norm, 0.1, 0)
    raw, average = values(student.model.weights), values(student.average)
    assert not same(raw, average)
    with pytest.raises(ZeroDivisionError), student.averaged():
        assert same(values(student.model.weights), average) and same(values(student.average), raw)
        raise ZeroDivisionError
    assert same(values(student.model.weights), raw) and same(values(student.average), average)
    assert list(student.groups()["weights"].values()) == student.average
    assert list(made(average=0).groups()) == ["weights", "optimizer"]


def test_undo_restores_the_moving_statistics():
    student = made(Toy(normed=True))
    student.gradients([batch()])
    before = values(student.model.weights) + values(student.optimizer.variables)
    poisoned = batch(seed=1)._replace(features=tf.fill([4, 12, CHANNELS], np.nan))
    loss, norm, _ = student.gradients([batch(seed=2), poisoned])
    assert not np.isfinite(loss) and not np.isfinite(norm)
    assert np.isnan(student.model.norm.moving_mean.numpy()).all()
    student.undo()
    assert same(values(student.model.weights) + values(student.optimizer.variables), before)


def test_all_lengths_share_one_trace():
    student = made()
    for number, frames in enumerate((12, 20, 33)):
        _, norm, gradients = student.gradients([batch(rows=4, frames=frames, seed=number)])
        student.update(gradients, norm, 0.1 / (number + 1), number)
    counts = {name: getattr(student, name).experimental_get_tracing_count() for name in ("_gradients", "_update")}
    assert counts == {"_gradients": 1, "_update": 1}


def test_xla_gives_the_same_loss_and_gradient():
    """Without dropout: under XLA it uses other random numbers for the same seed."""
    results = []
    for xla in ("off", "on"):
        keras.utils.set_random_seed(0)
        model = recognizer.build_model(SMALL, CLASSES)
        results.append(made(model, xla=xla).gradients([batch(seed=3)]))
    (loss, norm, gradients), (xla_loss, xla_norm, xla_gradients) = results
    assert (xla_loss, xla_norm) == (pytest.approx(loss, rel=1e-4), pytest.approx(norm, rel=1e-4))
    for one, other in zip(gradients, xla_gradients, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4 * norm)


def test_bfloat16_stays_near_float32_and_its_weights_are_float32():
    loss, norm, gradients = wavenet().gradients([batch()])
    student = wavenet("bfloat16")
    half_loss, half_norm, half = student.gradients([batch()])
    assert half_loss == pytest.approx(loss, rel=0.05)
    difference = tf.linalg.global_norm([one - other for one, other in zip(gradients, half, strict=True)])
    assert 0 < float(difference) < 0.05 * norm
    student.update(half, half_norm, 1e-3, 0)
    assert all(weight.dtype == "float32" and np.isfinite(weight).all() for weight in student.model.weights)


@pytest.mark.parametrize(("gpus", "loops"), [(0, ("xla", "graph", "xla")), (1, ("cudnn", "cudnn", "xla"))])
@pytest.mark.parametrize(("number", "xla"), enumerate(("auto", "off", "on")))
def test_the_time_loop_of_training_suits_the_device(monkeypatch, gpus, loops, number, xla):
    """XLA cannot compile cuDNN's layers, so that a network that it compiles as a whole has a loop of its own."""
    model = recognizer.build_model(Deepspeech2Config(units=2, layers=1, convolution_channels=1), CLASSES)
    model(tf.zeros([1, 8, CHANNELS]), tf.constant([8]))
    devices = {"GPU": ["gpu"] * gpus, "CPU": ["cpu"]}
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: devices[kind])
    made(model, xla=xla)
    assert model.training_loop == loops[number]


def test_dropout_depends_on_seed_epoch_and_position():
    student, given = wavenet(dropout=0.5), batch()
    (first, *_), (again, *_) = student.gradients([given]), student.gradients([given])
    other, *_ = student.gradients([given._replace(position=tf.constant(9, tf.int64))])
    assert first == again != other


TWO_DEVICES = """
    import json, sys
    import numpy as np, tensorflow as tf
    sys.path[:0] = ["tests/training"]
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2)
    import test_step as laws
    from tfvoice import errors, tasks
    from tfvoice.asr import recognizer
    from tfvoice.asr.task import CtcObjective
    from tfvoice.training import step as step_
    from tfvoice.training.config import TrainingConfig

    def run(strategy, optimizer, given):
        laws.keras.utils.set_random_seed(0)
        with strategy.scope():
            model = laws.Toy()
            model(tf.zeros([1, 8, laws.CHANNELS]), tf.constant([8]))
            settings = TrainingConfig(optimizer=optimizer, clip_norm=1.0)
            student = step_.Learner(CtcObjective(model, laws.CHANNELS, settings), settings, strategy)
        losses = []
        for step in range(3):
            loss, norm, gradients = student.gradients([given._replace(position=tf.constant(step, tf.int64))])
            student.update(gradients, norm, 0.01, step)
            losses.append(loss)
        with student.averaged():
            average = [weight.numpy().tolist() for weight in model.weights]
        return losses, average, [np.asarray(value).tolist() for value in student.groups()["optimizer"].values()]

    two = step_.strategy_for(TrainingConfig(batch_size=4))
    try:
        step_.strategy_for(TrainingConfig(batch_size=5))
    except errors.TfvoiceError as error:
        sentence = str(error)
    given = laws.batch(rows=4, empty=2)
    pairs = [[run(strategy, name, given) for strategy in (tf.distribute.get_strategy(), two)]
             for name in ("adamw", "maxprop")]
    tiny = ["width=4", "kernel_size=3", "dilations=[1]", "stacks=1"]
    settings = tasks.resolve("wavenet_asr", None, [
        "training.batch_size=4", "training.epochs=1", "features.bins=16",
        "training.xla=on", "data.buckets=1", *(f"model.{change}" for change in tiny)])
    state = tasks.train(sys.argv[2], sys.argv[1], settings)
    used = recognizer.Recognizer.load(sys.argv[2])
    print(json.dumps({"devices": two.num_replicas_in_sync, "pairs": pairs, "sentence": sentence, "step": state.step,
                      "finite": all(bool(np.isfinite(weight).all()) for weight in used.model.weights)}))
"""


def test_two_devices_equal_one_without_batch_statistics(converted, tmp_path):
    """Batch normalisation uses each device's own rows, so that models with it train a little differently."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(TWO_DEVICES), str(converted), str(tmp_path / "run")],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["devices"] == 2 and found["step"] >= 3 and found["finite"]
    for one, two in found["pairs"]:
        for part, other in zip(one, two, strict=True):
            for expected, value in zip(part, other, strict=True):
                np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-6)
    assert found["sentence"] == ("training.batch_size=5 cannot be shared among 2 devices; set training.batch_size=6.")


class Half(Cluster):
    """One of two processes, of which the other adds zeros to every sum, and `others` to what is gathered."""

    count = 2

    def __init__(self, index=0, others=None):
        self.index, self.others = index, others
        self.exchanges, self.elements = tf.Variable(0), []

    def sums(self, tensors):
        self.exchanges.assign_add(1)
        self.elements.append(sum(tensor.shape.num_elements() for tensor in tensors))
        return [tf.identity(tensor) for tensor in tensors]

    def gathered(self, values):
        other = self.others.pop(0) if self.others else values
        return np.stack([values, other] if self.is_chief else [other, values])


def halves(make=Toy, **settings):
    """A learner alone, and one for each of two processes, all with the same weights."""
    found = []
    for cluster in (SINGLE, Half(0), Half(1)):
        keras.utils.set_random_seed(0)
        model = make()
        model(tf.zeros([1, 8, CHANNELS]), tf.constant([8]))
        chosen = TrainingConfig(batch_size=4, **settings)
        objective = Carrying(model, CHANNELS, chosen)
        found.append(step.Learner(objective, chosen, tf.distribute.get_strategy(), cluster))
    return found


class Carrying(task.CtcObjective):
    """Carries the number of each row, and counts its steps in it."""

    def initial_state(self, batch_size):
        return [tf.range(float(batch_size))[:, tf.newaxis]]

    def forward(self, inputs, carried, seed):
        outputs, _ = super().forward(inputs, carried, seed)
        return outputs, [carried[0] + 100]


def test_the_gradients_of_all_processes_add_up_to_those_of_one():
    alone, first, second = halves()
    for given in (batch(rows=4), batch(rows=4, empty=3)):
        loss, _, gradients = alone.gradients([given])
        parts = [student.gradients([given]) for student in (first, second)]
        assert sum(part[0] for part in parts) == pytest.approx(loss, rel=1e-6)
        for number, gradient in enumerate(gradients):
            np.testing.assert_allclose(sum(part[2][number] for part in parts), gradient, rtol=1e-5, atol=1e-7)


def test_a_step_has_one_exchange_of_gradients_statistics_and_wishes_and_an_update_none():
    alone, first, _ = halves(lambda: Toy(normed=True), average=0.9)
    group = [batch(seed=number) for number in range(4)]
    _, norm, gradients = first.gradients(group, step.Wishes(stop=1.0))
    first.update(gradients, norm, 0.01, 0)
    sizes = sum(int(tf.size(weight)) for weight in first.model.weights)
    assert first.cluster.exchanges.numpy() == 1 and first.cluster.elements == [sizes + 1 + len(step.Wishes())]
    assert first.agreed == step.Wishes(0.0, 1.0, 0.0) and alone.agreed == step.Wishes()


def test_moving_statistics_become_the_mean_of_the_processes():
    _, first, second = halves(lambda: Toy(normed=True))
    local = Toy(normed=True)
    local(tf.zeros([1, 8, CHANNELS]), tf.constant([8]))
    given = batch()
    for student, rows in ((first, slice(0, None, 2)), (second, slice(1, None, 2))):
        local.norm.moving_mean.assign(tf.zeros_like(local.norm.moving_mean))
        local.norm(given.features[rows], training=True)
        student.gradients([given])
        np.testing.assert_allclose(student.model.norm.moving_mean, local.norm.moving_mean / 2, rtol=1e-5, atol=1e-8)


def test_carried_states_stay_with_their_process_and_are_gathered_for_a_checkpoint():
    _, first, second = halves()
    for student in (first, second):
        student.gradients([batch()])
    assert first.carried[0].value.numpy().ravel().tolist() == [100, 102]
    assert second.carried[0].value.numpy().ravel().tolist() == [101, 103]
    first.cluster.others = [second.carried[0].value.numpy()]
    first.gather()
    whole = first.groups()["carried"]["state_0"]
    assert whole.value.numpy().ravel().tolist() == [100, 101, 102, 103]
    whole.assign(np.array([[7], [8], [9], [10]]))
    first.synchronise()
    assert first.carried[0].value.numpy().ravel().tolist() == [7, 9]


def test_weights_that_drift_apart_are_an_error_before_they_are_saved():
    _, first, second = halves()
    first.gather()
    first.cluster.others = [first.carried[0].value.numpy(), np.array([1.0, 2.0])]
    with pytest.raises(TfvoiceError, match="the weights of worker 1 are no longer those of worker 0"):
        first.gather()
    second.model.matrix.assign_add(np.full([CHANNELS, CLASSES], 1e-7, np.float32))
    one, other = (checkpoints.digest({"weights": student.model.weights}) for student in (first, second))
    assert not np.array_equal(one, other)


def test_a_batch_that_processes_cannot_share_is_refused_with_the_next_size_that_fits():
    class Three(Cluster):
        count = 3

    with pytest.raises(TfvoiceError, match=r"batch_size=16 cannot be shared among 3 workers; set .*batch_size=18\."):
        step.strategy_for(TrainingConfig(batch_size=16), Three())
    assert step.strategy_for(TrainingConfig(batch_size=15), Three()).num_replicas_in_sync == 1
