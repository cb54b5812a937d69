"""Time of `--help` of every command, beside the import of TensorFlow, which it must not do."""

import sys

import measure
from measure import Options, Row


def rows(options: Options) -> list[Row]:
    """Wall time of each process."""
    names = sorted(path.name for path in (measure.ROOT / "bin").glob("tfvoice_*"))
    sides = {name: lambda name=name: measure.timed([*measure.command(name), "--help"]) for name in names}
    sides["python"] = lambda: measure.timed([sys.executable, "-c", "pass"])
    sides["tensorflow"] = lambda: measure.timed([sys.executable, "-c", "import tensorflow"])
    times = measure.in_turn(sides, max(2, options.runs // 2))
    alone = measure.median(times["tensorflow"])
    floor = f"floor {measure.milliseconds(times['python'])}: python -c pass"
    return [
        Row(
            f"{name} --help",
            measure.milliseconds(times[name]),
            f"import tensorflow: {measure.milliseconds(times['tensorflow'])}",
            alone / measure.median(times[name]),
            "< 1000 ms",
            measure.median(times[name]) < 1,
            (floor,) if name == names[-1] else (),
            {key: times[key] for key in (name, "tensorflow", "python")},
        )
        for name in names
    ]
