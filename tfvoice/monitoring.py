"""What a run tells while it trains: a line an epoch, `metrics.jsonl`, and TensorBoard."""

import json
import math
import resource
from pathlib import Path

import tensorflow as tf

_EVERY_STEPS = 20


class Monitor:
    """Writes the numbers of a run.

    Args:
      experiment: the run.
      step: where it stands; lines of later steps, left by a run that was killed, are removed.
    """

    def __init__(self, experiment, step: int):
        self.experiment = experiment
        self._path = Path(experiment.run_dir) / "metrics.jsonl"
        self._drop_after(step)
        self._writer = tf.summary.create_file_writer(str(Path(experiment.run_dir) / "logs"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._writer.close()

    def step(self, step: int, loss: float, norm: float, learning_rate: float, rate: float) -> None:
        """Records one training step, every so often."""
        if step % _EVERY_STEPS:
            return
        with self._writer.as_default(step):
            tf.summary.scalar("train/loss", loss)
            tf.summary.scalar("train/gradient_norm", norm)
            tf.summary.scalar("train/learning_rate", learning_rate)
            tf.summary.scalar("train/audio_seconds_per_second", rate)

    def epoch(self, state, score, readings, loss: float, rate: float, pipeline) -> None:
        """Records one validation."""
        line = {
            "step": state.step,
            "epoch": state.epoch,
            "minutes": round(state.minutes, 3),
            "train_loss": None if math.isnan(loss) else round(loss, 4),
            "valid_loss": round(score.loss, 4),
            "wer": round(score.wer, 5),
            "cer": round(score.cer, 5),
            "audio_seconds_per_second": round(rate, 1),
            "skipped_steps": state.skipped,
            "memory_mib": round(_memory_mib(), 1),
        }
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        print(
            f"epoch {state.epoch:3d}  {state.minutes:6.1f} min  train loss {loss:7.2f}  valid loss {score.loss:7.2f}  "
            f"WER {score.wer:6.1%}  CER {score.cer:6.1%}  {rate:.0f} s/s",
            flush=True,
        )
        with self._writer.as_default(state.step):
            for name in ("valid_loss", "wer", "cer", "memory_mib"):
                tf.summary.scalar(f"valid/{name.removeprefix('valid_')}", line[name])
            sample = "\n\n".join(f"- {one.reference}\n- **{one.hypothesis}**" for one in readings[::-1][:8])
            tf.summary.text("valid/transcripts", sample)
        self._writer.flush()

    def _drop_after(self, step: int) -> None:
        if self._path.is_file():
            lines = self._path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= step]
            self._path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def _memory_mib() -> float:
    """Resident memory now, or where the system does not tell, the most there was."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 2**20
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
