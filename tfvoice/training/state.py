"""The progress of a run, as its checkpoints hold it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from tfvoice import checkpoints
from tfvoice.errors import TfvoiceError


@dataclass
class TrainingState:
    """Progress of a run: what a checkpoint holds beside weights and optimizer.

    `stage` counts how often the run was extended; its present stage started at `stage_epoch` and `stage_step`.
    """

    step: int = 0
    epoch: int = 0
    position: int = 0
    minutes: float = 0.0
    loss_sum: float = 0.0
    losses: int = 0
    validations: int = 0
    best_score: float = math.inf
    best_validation: int = 0
    skipped: int = 0
    skipped_in_a_row: int = 0
    finished: str = ""
    stage: int = 0
    stage_epoch: int = 0
    stage_step: int = 0

    @classmethod
    def restore(cls, path: Path, groups: Mapping[str, checkpoints.Group] | None = None) -> "TrainingState":
        """Restores a checkpoint: the variables of `groups`, and the state that it returns.

        Raises:
          CheckpointError: as `checkpoints.restore`.
          TfvoiceError: another version wrote it.
        """
        values = checkpoints.restore(path, groups or {})
        unknown = values.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise TfvoiceError(
                f"{path}: its state holds {', '.join(sorted(unknown))}, which this version of tfvoice does not know; "
                "resume it with the version that wrote it."
            )
        return cls(**values)

    @property
    def next_epoch(self) -> int:
        """The epoch in which a next stage starts."""
        return self.epoch + (self.position > 0)

    def start_stage(self, stage: int, new_data: bool) -> None:
        """Starts another stage, after the last step; with other data, the best result so far does not count."""
        self.stage, self.stage_epoch, self.stage_step = stage, self.next_epoch, self.step
        self.epoch, self.position, self.finished = self.next_epoch, 0, ""
        # Patience counts from here.
        self.best_validation = self.validations
        if new_data:
            self.best_score = math.inf

    @property
    def loss(self) -> float | None:
        """Mean loss of the steps since the last validation, those before a restart included; None before the first."""
        return self.loss_sum / self.losses if self.losses else None
