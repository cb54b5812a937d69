"""Conversion on Apache Beam: in processes that Beam starts, or on a cluster.

Each element of the job is the name of a shard, and each task writes that shard from what it finds in the output folder
(`convert.convert_shard`). For a large corpus, a job before it reads headers: there, each element is the name of a list
of recordings (`recordings.read_headers`). No audio and no text travels through the engine, and nothing is grouped.

Only `tfvoice_convert --engine=beam` imports this module, and only `engine` imports Beam.
"""

import functools
from collections.abc import Callable, Sequence

from tfvoice import storage
from tfvoice.data.recordings import Engine
from tfvoice.errors import TfvoiceError


class BeamError(TfvoiceError):
    """Beam is not installed, or its job failed."""


def engine(options: Sequence[str]) -> Engine:
    """An engine for `convert.convert`.

    Args:
      options: of Beam, such as `--runner=FlinkRunner`.

    Raises:
      BeamError: Beam is not installed; in the engine, the job failed.
    """
    try:
        import apache_beam
    except ImportError:
        raise BeamError("--engine=beam needs Apache Beam; install it with pip install 'tfvoice[beam]'.") from None

    def run(folder: str, task: Callable[[str, str], None], names: list[str]) -> None:
        try:
            with apache_beam.Pipeline(argv=list(options)) as pipeline:
                add_tasks(pipeline, storage.absolute(folder), task, names)
        except Exception as error:
            fact = str(error).strip().splitlines() or [type(error).__name__]
            raise BeamError(
                f"{folder}: the Beam job failed ({fact[-1].strip()}). What is finished is kept: run the same "
                "command again; --debug shows where."
            ) from error

    return run


def add_tasks(pipeline, folder: str, task: Callable[[str, str], None], names: list[str]) -> None:
    """Adds `task(folder, name)` for each name to a `beam.Pipeline`."""
    import apache_beam

    (
        pipeline
        | "names" >> apache_beam.Create(names, reshuffle=False)
        | "spread" >> apache_beam.Reshuffle()
        | "run" >> apache_beam.Map(functools.partial(task, folder))
    )
