"""The flags of a command that can run in several processes, and how it joins them."""

import contextlib
import io
import os
import sys
from collections.abc import Callable
from typing import Any

from tfvoice.cli.command import load_tensorflow, log_fatal_errors_alone
from tfvoice.cli.flags import Flags
from tfvoice.cluster import launcher, place


class ClusterFlags:
    """The cluster flags of a command.

    Args:
      flags: the flags of the command, to which these are added.
    """

    def __init__(self, flags: Flags):
        self._processes = flags.integer(
            "processes", "Train in so many processes on this machine: as many as it has GPUs.", 1, 1
        )
        self._join_seconds = flags.number(
            "join_seconds", "Seconds to wait for the other processes of a cluster.", 300.0, 0
        )

    def run(self, main: Callable[[Any], None]) -> int | None:
        """Joins the cluster and calls `main` with it; or runs the command again in several processes of this machine.

        Args:
          main: what the command does in each process. What it prints, the chief alone prints.

        Returns:
          The exit status.
        """
        if self._processes.value > 1:
            # Of several values of a flag, the last one counts.
            return launcher.launch([sys.executable, *sys.argv, "--processes=1"], self._processes.value)
        index, addresses = place.find(os.environ)
        if len(addresses) > 1:
            print(f"Worker {index} of {len(addresses)} waits for the others.", flush=True)
            # A process that is lost would be some ten lines of its, and then our sentence.
            log_fatal_errors_alone()
        cluster = load_tensorflow(self._join)
        with contextlib.nullcontext() if cluster.is_chief else contextlib.redirect_stdout(io.StringIO()):
            main(cluster)
        return None

    def _join(self):
        # Imported here, because it imports TensorFlow.
        from tfvoice.cluster import cluster

        return cluster.join(self._join_seconds.value)
