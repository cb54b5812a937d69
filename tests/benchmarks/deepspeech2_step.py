"""Training and inference of DeepSpeech2 compared with the same network in PyTorch, on utterances of mixed lengths."""

import contextlib

import measure
import training_step
from measure import Options, Row

# 8 utterances, none longer than 4 s.
SECONDS = [4.0, 3.7, 3.4, 3.1, 2.8, 2.5, 2.2, 1.9]
LABELS = 30
_SIZES = {"3 x 512": (512, 3), "5 x 1024": (1024, 5)}


def rows(options: Options) -> list[Row]:
    """A training step, a forward pass in inference, and peak memory, for each size."""
    try:
        training_step.check_torch(options)
    except measure.Failure as failure:
        return [Row("DeepSpeech2 compared with PyTorch", "not measured", notes=(str(failure),))]
    return [row for name, (units, layers) in _SIZES.items() for row in _rows(options, name, units, layers)]


def _rows(options: Options, name: str, units: int, layers: int) -> list[Row]:
    # Not the default initializer: orthogonal kernels take 10 s.
    overrides = [f"model.units={units}", f"model.layers={layers}", "model.initializer=pytorch"]
    # PyTorch's side has no moving average of the weights, which costs memory.
    overrides.append("training.average=0")
    # A forward pass is short, so that three of them are too noisy.
    runs = {"step": max(3, options.runs // 3), "forward": options.runs}
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(training_step.start(None, overrides, "deepspeech2", SECONDS, LABELS))
        peer = stack.enter_context(training_step.peer_of(options, ours.about, "torch_deepspeech2.py"))
        times = {}
        for action, count in runs.items():
            sides = {f"{side} {action}": worker.timer(action) for side, worker in (("ours", ours), ("peer", peer))}
            times |= measure.in_turn(sides, count)
        rate = ours.do("product")["flops"]
        mib = [worker.do("memory")["mib"] for worker in (ours, peer)]
    what, version = (
        f"DeepSpeech2 {name}, {len(SECONDS)} x {min(SECONDS):g} to {max(SECONDS):g} s",
        peer.about["version"],
    )
    table = []
    for action, title, target in (("step", "training step", 1.0), ("forward", "inference", 1.3)):
        ours_seconds, peer_seconds = times[f"ours {action}"], times[f"peer {action}"]
        ratio = measure.median(peer_seconds) / measure.median(ours_seconds)
        notes = (training_step.floor(ours.about, ours_seconds, rate),) if action == "step" else ()
        if action == "step":
            notes += (f"{ours.about['parameters']:,} and {peer.about['parameters']:,} trainable parameters",)
        instead = f"PyTorch {version}: {measure.milliseconds(peer_seconds)}"
        row = Row(
            f"{title}, {what}",
            measure.milliseconds(ours_seconds),
            instead,
            ratio,
            f">= {target}",
            ratio >= target,
            notes,
        )
        table.append(row._replace(seconds={"ours": ours_seconds, "instead": peer_seconds}))
    ratio = mib[1] / mib[0]
    table.append(Row(f"peak memory, {what}", f"{mib[0]:.0f} MiB", f"{mib[1]:.0f} MiB", ratio, ">= 1", ratio >= 1))
    return table
