"""Laws of a start from another run: what fits is taken, classes by their labels, and what is frozen does not change."""

import numpy as np
import pytest
from written import arrays

from tfvoice import tasks
from tfvoice.asr.recognizer import Recognizer
from tfvoice.config import ConfigError
from tfvoice.errors import TfvoiceError
from tfvoice.generation.generator import Generator
from tfvoice.training import transfer
from tfvoice.training.trainer import StopConditions

WAVENET = ("model.width=4", "model.kernel_size=3", "model.dilations=[1,2]", "model.stacks=1", "features.bins=20")
DEEPSPEECH2 = ("model.units=4", "model.layers=2", "model.convolution_channels=2")
OUTPUTS = {
    "wavenet_asr": {"wavenet_asr/output/kernel": 2, "wavenet_asr/output/bias": 0, "wavenet_asr/conditioning/kernel": 1},
    "deepspeech2": {"deepspeech2/output/kernel": 1},
}
KERNEL = "wavenet_asr/output/kernel"


def made(model="wavenet_asr", *changes, seed=0):
    """A recogniser in no folder; every number of its weights is different."""
    small = {"wavenet_asr": (*WAVENET, "model.intermediate=[1]"), "deepspeech2": DEEPSPEECH2}[model]
    run = Recognizer("runs/source", tasks.resolve(model, overrides=[*small, *changes]))
    for number, weight in enumerate(run.model.weights):
        weight.assign(np.random.default_rng((seed, number)).uniform(0.1, 1, weight.shape))
    return run


def weights(run):
    return {weight.path: weight.numpy() for weight in run.model.weights}


def column(run, name, label):
    return np.take(weights(run)[name], run.class_labels().index(label), OUTPUTS[run.config.model.name][name])


@pytest.mark.parametrize("model", OUTPUTS)
def test_the_same_network_is_taken_whole(model):
    source, run = made(model, seed=1), made(model)
    taken = transfer.take_weights(run, source)
    assert (taken.new, taken.new_classes, set(taken.by_class)) == ([], [], set(OUTPUTS[model]))
    assert len(taken.taken) + len(taken.by_class) == len(run.model.weights)
    for name, value in weights(source).items():
        np.testing.assert_array_equal(weights(run)[name], value)


@pytest.mark.parametrize("model", OUTPUTS)
def test_another_alphabet_keeps_the_characters_that_it_shares_and_the_blank(model):
    source, run = made(model, seed=1), made(model, 'alphabet.characters=" äzba"')
    before = weights(run)
    taken = transfer.take_weights(run, source)
    assert taken.new_classes == ["ä"] and taken.new == [] and set(taken.by_class) == set(OUTPUTS[model])
    for name, axis in OUTPUTS[model].items():
        for label in ("z", "b", "a", " ", "blank"):
            np.testing.assert_array_equal(column(run, name, label), column(source, name, label))
        np.testing.assert_array_equal(column(run, name, "ä"), np.take(before[name], 1, axis))


def test_a_character_is_taken_from_its_other_case():
    source, run = made("wavenet_asr", "alphabet.characters=deepspeech2", seed=1), made()
    assert transfer.take_weights(run, source).new_classes == []
    for label in ("a", "z", "'", "blank"):
        other = label if label == "blank" else label.upper()
        found, expected = (column(*which) for which in ((run, KERNEL, label), (source, KERNEL, other)))
        np.testing.assert_array_equal(found, expected)


def test_what_does_not_fit_is_new_and_listed():
    source, run = made(seed=1), made("wavenet_asr", "model.dilations=[1,2,4]", "features.bins=30")
    before = weights(run)
    taken = transfer.take_weights(run, source)
    assert {f"wavenet_asr/{name}/convolution/kernel" for name in ("front", "block_3/mix")} <= set(taken.new)
    for name in taken.new:
        np.testing.assert_array_equal(weights(run)[name], before[name])
    count = len(run.model.weights)
    assert taken.describe().startswith(f"{count - len(taken.new)} of {count} tensors taken; wavenet_asr/conditioning/")
    assert "; new: wavenet_asr/front/convolution/kernel, " in taken.describe()


def test_a_run_of_which_nothing_fits_is_refused():
    with pytest.raises(TfvoiceError, match="no tensor of this run of deepspeech2 fits a wavenet_asr of this config"):
        transfer.take_weights(made(), made("deepspeech2"))


def test_a_generator_of_other_levels_keeps_its_recurrent_tiers(generator_run):
    shape = ("model.units=16", "model.embedding=8", "quantization.levels=16", "model.frame_sizes=[2,8]")
    run = Generator("run", tasks.resolve("sample_rnn", None, shape), {"sample_rate_hz": 8000})
    taken = transfer.take_weights(run, generator_run)
    assert all("bottom" in name for name in taken.new) and taken.new
    assert {name for name in taken.taken if "tier_8" in name}


@pytest.mark.parametrize(
    ("patterns", "fact"),
    [
        (["fron/*"], "training.freeze=fron/*: no variable has such a path; those of this model begin with "),
        (["*"], r"training.freeze=['*']: nothing is left to train"),
    ],
)
def test_a_pattern_that_freezes_nothing_or_everything_is_refused(patterns, fact):
    with pytest.raises(ConfigError) as caught:
        transfer.freeze(made().model, patterns)
    assert str(caught.value).startswith(fact)


def test_frozen_variables_their_averages_and_their_statistics_do_not_change(converted, tmp_path):
    overrides = [*WAVENET, "training.batch_size=4", "training.xla=off", "training.average=0.9"]
    frozen = tasks.resolve("wavenet_asr", overrides=[*overrides, 'training.freeze=["front/*", "*/block_1/*"]'])
    stop = StopConditions(max_steps=1)
    tasks.train(tmp_path / "a", converted, frozen, stop)
    before = arrays(tmp_path / "a")
    tasks.train(tmp_path / "a", converted, frozen, StopConditions(max_steps=3))
    after = arrays(tmp_path / "a")
    assert before.keys() == after.keys()
    groups, layers = ("weights/", "raw/"), ("front", "block_1")
    same = {name for name in before if name.startswith(groups) and np.array_equal(before[name], after[name])}
    parts = tuple(f"{group}wavenet_asr/{layer}/" for group in groups for layer in layers)
    assert same == {name for name in before if name.startswith(parts)}
    assert not {name for name in after if name.startswith("optimizer/") and "front" in name}
