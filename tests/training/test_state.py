"""Laws of the progress of a run."""

import math

import numpy as np
import pytest

from tfvoice import checkpoints
from tfvoice.errors import TfvoiceError
from tfvoice.training.state import TrainingState


def test_a_checkpoint_holds_the_state(tmp_path):
    path, state = tmp_path / "last.safetensors", TrainingState(step=7, best_score=0.5, finished="all", stage=1)
    checkpoints.save(path, {"weights": {"a": np.ones(2)}}, vars(state))
    assert TrainingState.restore(path) == state


def test_a_state_of_a_later_version_is_refused(tmp_path):
    path = tmp_path / "last.safetensors"
    checkpoints.save(path, {}, vars(TrainingState()) | {"phase": 3})
    with pytest.raises(TfvoiceError, match="its state holds phase, which this version of tfvoice does not know"):
        TrainingState.restore(path)


def test_the_state_of_an_earlier_version_has_no_stage(tmp_path):
    path = tmp_path / "last.safetensors"
    earlier = {key: value for key, value in vars(TrainingState(step=5)).items() if not key.startswith("stage")}
    checkpoints.save(path, {}, earlier)
    assert TrainingState.restore(path) == TrainingState(step=5)


@pytest.mark.parametrize(("position", "epoch"), [(0, 4), (3, 5)])
@pytest.mark.parametrize(("new_data", "score"), [(False, 0.25), (True, math.inf)])
def test_a_stage_starts_at_an_epoch_and_forgets_the_best_result_on_other_data(position, epoch, new_data, score):
    state = TrainingState(
        step=40, epoch=4, position=position, validations=9, best_score=0.25, best_validation=6, finished="early"
    )
    state.start_stage(1, new_data)
    assert (state.stage, state.stage_epoch, state.stage_step) == (1, epoch, 40)
    assert (state.epoch, state.position, state.finished, state.best_score) == (epoch, 0, "", score)
    assert state.best_validation == 9, "patience counts from here"


def test_the_mean_loss_is_that_since_the_last_validation():
    assert TrainingState().loss is None
    assert TrainingState(loss_sum=6.0, losses=4).loss == 1.5
