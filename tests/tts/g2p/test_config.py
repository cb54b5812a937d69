"""Laws of the configuration of G2P."""

import math

import pytest

from tfvoice import config as config_
from tfvoice import tasks
from tfvoice.config import ConfigError

# The numbers of the paper (arXiv 1702.07825, sections 3 and 4); dropout is the share that is dropped.
PAPER = {
    "g2p": {
        "model": {"units": 1024, "layers": 3, "attention": False, "dropout": 0.05},
        "search": {"beam": 5},
        "training": {"batch_size": 64, "learning_rate": 1e-3, "epoch_factor": 0.85, "decay_steps": 1000},
    },
    "segmentation": {
        "model": {"units": 512, "layers": 3, "output": "pairs", "convolution_dropout": 0.05, "recurrent_dropout": 0.2},
        "features": {"kind": "mfcc", "mfcc_coefficients": 20, "hop_ms": 10.0},
        "silence": {"guided_epochs": 0},
        "training": {"batch_size": 128, "learning_rate": 1e-4, "epoch_factor": 0.95, "decay_steps": 500},
    },
    "duration_f0": {
        "model": {"dense": 256, "recurrent": 128, "bidirectional": False, "f0_values": 20, "dropout": 0.2},
        "training": {"batch_size": 128, "learning_rate": 3e-4, "epoch_factor": 0.9886, "decay_steps": 400},
    },
}
# Adam, whose learning rate falls in steps, and nothing else.
ADAM = {"optimizer": "adamw", "decay": "exponential", "accumulate": 1} | dict.fromkeys(
    ("warmup", "weight_decay", "clip_norm", "clip_value", "average"), 0
)
# Examples of the paper's training data, and steps.
STEPS = {"g2p": (121_703, 20_000), "segmentation": (13_079, 14_000), "duration_f0": (13_079, 20_000)}
# Sections that are about the data and not the model; keys of `training` that no result depends on, and the seed.
OF_DATA = {"data", "pronunciation"}
OPERATIONAL = {"precision", "xla", "validate_steps", "patience", "freeze", "seed", "intermediate_share"}
# Of what is not done at all, or not with this kind of features.
UNUSED = {"log_offset", *(f"{kind}_{size}" for kind in ("frequency", "time") for size in ("width", "fraction"))}
UNUSED |= {"noise_share", "reverb_seconds"}


@pytest.mark.parametrize("model", PAPER)
def test_a_faithful_configuration_states_every_hyperparameter(model):
    stated = config_.read_toml(config_.find(f"{model}_faithful"))
    assert stated["model"]["name"] == model
    for section, values in tasks.resolve(model).model_dump(mode="json").items():
        if section not in OF_DATA:
            # TOML has no null.
            expected = {key for key, value in values.items() if value is not None} - OPERATIONAL - UNUSED
            assert set(stated.get(section, {})) == expected, section


@pytest.mark.parametrize("model", PAPER)
def test_a_faithful_configuration_has_the_numbers_of_the_paper(model):
    settings = tasks.resolve(model, f"{model}_faithful").model_dump(mode="json")
    expected = config_.merge(PAPER[model], {"training": ADAM})
    for section, values in expected.items():
        assert {key: settings[section][key] for key in values} == values, section
    examples, steps = STEPS[model]
    found = settings["training"]["epochs"] * math.ceil(examples / settings["training"]["batch_size"])
    assert found == pytest.approx(steps, rel=0.05)


def test_the_default_fits_two_cores():
    small = tasks.resolve("g2p")
    assert small.model.attention and small.search.beam == 3


@pytest.mark.parametrize("change", ["search.beam=0", "loss.smoothing=1", "model.layers=0", "model.dropout=1"])
def test_values_out_of_range_are_errors_that_name_the_key(change):
    with pytest.raises(ConfigError, match=change.split("=")[0]):
        tasks.resolve("g2p", overrides=[change])
