"""What several tests read: a dozen and a half clips of real speech, in VCTK's layout and converted."""

import os
import shutil
import signal
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest

from tfvoice.data import convert, vctk
from tfvoice.data.shards import ConversionConfig

ASTERISK = Path(__file__).parent / "data" / "asterisk"
_CLIPS = (1, 2, 5, 10, 14, 15, 19, 20, 21, 24, 25, 27, 37, 50, 61, 66, 88, 119)


# A shell starts what is in its background with SIGINT ignored, and a command of a test would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    """18 short clips of the embedded corpus, 25 seconds in all: a folder in VCTK's layout. Read only."""
    root = tmp_path_factory.mktemp("clips")
    for folder, suffix in (("wav48", "opus"), ("txt", "txt")):
        (root / folder / "p900").mkdir(parents=True)
        for number in _CLIPS:
            name = f"{folder}/p900/p900_{number:03d}.{suffix}"
            shutil.copy(ASTERISK / name, root / name)
    return root


@pytest.fixture(scope="session")
def converted(clips, tmp_path_factory) -> Path:
    """The clips as records, in the splits train, valid and test, several shards each. Read only."""
    output = tmp_path_factory.mktemp("converted")
    settings = ConversionConfig(corpus="vctk", split="60/20/20", shard_mb=0.15)
    manifest = convert.convert(convert.prepare(vctk.read(str(clips)), settings), output, progress=False)
    assert not manifest.skipped and set(manifest.splits) == {"train", "valid", "test"}
    return output


@pytest.fixture(scope="session")
def talkative():
    """Gives a model random weights that write several words."""

    def talkative(model):
        for number, weight in enumerate(model.trainable_variables):
            if len(weight.shape) == 3:
                scale = 2 / np.sqrt(weight.shape[0] * weight.shape[1])
                weight.assign(scale * np.random.default_rng(number).normal(size=weight.shape))
        model.trainable_variables[-1].assign(np.where(np.isin(np.arange(29), [0, 28]), 2.0, 0.0))

    return talkative
