"""Conversion on Apache Beam: whether every file is that of --engine=local, how fast it is, and what kills do to it.

  python tests/benchmarks/beam.py --input=/corpora/adventure            all cases; or only those named: direct dask ...

The interpreter needs tfvoice[beam], dask and distributed. Clusters are processes of this machine on loopback: a Dask
scheduler with two workers; Beam's own job service with a worker pool. Without --input it makes the corpus of
conversion.py. The machine should be otherwise idle.
"""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import conversion
import measure

DASK = "--runner=apache_beam.runners.dask.dask_runner.DaskRunner"
DIRECT = ["--runner=DirectRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]


class Bench:
    """A corpus, the files of `--engine=local`, and a temporary folder."""

    def __init__(self, folder: Path, flags: list[str]):
        self.folder = folder
        self.flags = [*flags, "--max_skipped=100%"]
        self.local_seconds = self.timed("local", ["--workers=2"])
        manifest = measure.json.loads((folder / "local" / "manifest.json").read_text(encoding="utf-8"))
        self.audio_seconds = sum(split["seconds"] for split in manifest["splits"].values())
        self.shards = sum(len(split["shards"]) for split in manifest["splits"].values())

    def command(self, name: str, more: list[str]) -> list[str]:
        """The command line that converts into a folder called `name`."""
        return [*measure.command("tfvoice_convert"), *self.flags, f"--output={self.folder / name}", *more]

    def timed(self, name: str, more: list[str]) -> float:
        """Converts into an empty folder; returns the seconds."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return measure.timed(self.command(name, more), cwd=self.folder)

    def start(self, name: str, more: list[str]) -> subprocess.Popen:
        """Starts a conversion, in a process group of its own."""
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        environment = measure.environment()
        return subprocess.Popen(self.command(name, more), env=environment, start_new_session=True, **pipes)

    def row(self, seconds: float) -> str:
        """Speed, also relative to `--engine=local`."""
        speed = self.audio_seconds / seconds
        return f"{speed:,.0f} audio s/s, {self.local_seconds / seconds:.2f} of local"

    def check(self, name: str) -> str:
        """States whether all files of a conversion equal those of `--engine=local`."""
        found, local = ({p.name: p.read_bytes() for p in (self.folder / n).iterdir()} for n in (name, "local"))
        if found != local:
            different = sorted(key for key in found.keys() | local.keys() if found.get(key) != local.get(key))
            raise measure.Failure(f"{name}: {len(different)} of {len(local)} files differ: {', '.join(different[:3])}")
        return f"all {len(local)} files identical"

    def finished(self, name: str) -> dict[str, int]:
        """The time stamps of the finished shards."""
        entries = (self.folder / name / ".progress").glob("*.tfrecord.json")
        paths = [self.folder / name / entry.name.removesuffix(".json") for entry in entries]
        return {path.name: path.stat().st_mtime_ns for path in paths if path.exists()}

    def wait_for_shards(self, name: str, count: int, process: subprocess.Popen) -> None:
        """Waits until some shards are finished, and not all."""
        while len(self.finished(name)) < count:
            if process.poll() is not None:
                raise measure.Failure(f"{name}: the conversion ended before {count} shards: {process.stderr.read()}")
            time.sleep(0.02)


def beam(options: list[str]) -> list[str]:
    """The flags of a conversion on Beam."""
    return ["--engine=beam", "--", *options]


def direct(bench: Bench) -> str:
    """Beam's own runner, two processes."""
    return f"{bench.row(bench.timed('direct', beam(DIRECT)))}; {bench.check('direct')}"


def dask(bench: Bench) -> str:
    """A Dask cluster."""
    with dask_cluster(bench.folder) as (options, _):
        seconds = bench.timed("dask", beam(options))
        tasks = tasks_of_workers(options)
    if min(tasks) < bench.shards // 4:
        raise measure.Failure(f"one worker had most of the tasks: {tasks}")
    return f"{bench.row(seconds)}; {bench.check('dask')}; tasks of the workers: {tasks}"


def portable(bench: Bench) -> str:
    """The protocol of Flink and Spark: a job service and a worker pool."""
    with portable_cluster() as options:
        return f"{bench.row(bench.timed('portable', beam(options)))}; {bench.check('portable')}"


def kill_worker(bench: Bench) -> str:
    """SIGKILL of a worker of the Dask cluster after the first shard."""
    with dask_cluster(bench.folder) as (options, workers):
        process = bench.start("kill_worker", beam(options))
        bench.wait_for_shards("kill_worker", 1, process)
        os.killpg(workers[0].pid, signal.SIGKILL)
        _, errors = process.communicate()
    if process.returncode:
        raise measure.Failure(f"exit status {process.returncode}: {errors.strip().splitlines()[-1]}")
    return f"exit status 0; {bench.check('kill_worker')}"


def kill_submitter(bench: Bench) -> str:
    """SIGKILL of the submitter half-way, and the same command again."""
    process = bench.start("kill_submitter", beam(DIRECT))
    bench.wait_for_shards("kill_submitter", bench.shards // 2, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = bench.finished("kill_submitter")
    measure.timed(bench.command("kill_submitter", beam(DIRECT)), cwd=bench.folder)
    after = {path.name: path.stat().st_mtime_ns for path in (bench.folder / "kill_submitter").glob("*.tfrecord")}
    kept = sum(after[name] == before[name] for name in before)
    if kept < len(before):
        raise measure.Failure(f"only {kept} of {len(before)} finished shards kept their time stamp")
    return f"{kept} of {bench.shards} shards were finished and kept their time stamps; {bench.check('kill_submitter')}"


def two_submitters(bench: Bench) -> str:
    """A second submitter while the first one runs."""
    first = bench.start("two", beam(DIRECT))
    bench.wait_for_shards("two", 1, first)
    second = bench.start("two", beam(DIRECT))
    errors = second.communicate()[1]
    if not second.returncode or "another tfvoice_convert is writing here" not in errors:
        raise measure.Failure(f"the second one: exit status {second.returncode}: {errors.strip()}")
    first.communicate()
    return f"the second one is refused; {bench.check('two')}"


CASES = {case.__name__: case for case in (direct, dask, portable, kill_worker, kill_submitter, two_submitters)}


@contextlib.contextmanager
def dask_cluster(folder: Path) -> Iterator[tuple[list[str], list[subprocess.Popen]]]:
    """A scheduler and two workers; yields the options of Beam, and the workers."""
    address, port = "127.0.0.1", free_port()
    flags = ["--nworkers=1", "--nthreads=1", "--no-dashboard", f"--local-directory={folder / 'dask_scratch'}"]
    worker = [f"tcp://{address}:{port}", *flags]
    with contextlib.ExitStack() as stack:
        scheduler = [f"--host={address}", f"--port={port}", "--no-dashboard"]
        stack.enter_context(running("distributed.cli.dask_scheduler", scheduler))
        wait_for_port(port)
        workers = [stack.enter_context(running("distributed.cli.dask_worker", worker)) for _ in range(2)]
        # The default, 128 elements a partition, would give all shards to one worker.
        yield [DASK, f"--dask_client_address=tcp://{address}:{port}", "--dask_partition_size=1"], workers


def tasks_of_workers(options: list[str]) -> list[int]:
    """How many tasks each worker of a Dask cluster has run."""
    import distributed

    with distributed.Client(options[1].split("=")[1]) as client:
        return sorted(client.run(lambda dask_worker: dask_worker.state.executed_count).values())


@contextlib.contextmanager
def portable_cluster() -> Iterator[list[str]]:
    """Beam's job service in Python and a worker pool; yields the options of Beam."""
    job_port, pool_port = free_port(), free_port()
    with contextlib.ExitStack() as stack:
        job_service = "apache_beam.runners.portability.local_job_service_main"
        stack.enter_context(running(job_service, [f"--port={job_port}"]))
        pool = "apache_beam.runners.worker.worker_pool_main"
        stack.enter_context(running(pool, [f"--service_port={pool_port}"]))
        wait_for_port(job_port)
        wait_for_port(pool_port)
        external = ["--environment_type=EXTERNAL", f"--environment_config=localhost:{pool_port}"]
        yield ["--runner=PortableRunner", f"--job_endpoint=localhost:{job_port}", *external]


@contextlib.contextmanager
def running(module: str, flags: list[str]) -> Iterator[subprocess.Popen]:
    """Runs a module as a program, in a process group of its own, and kills the group at the end."""
    # A worker pool starts `python`: without Beam in that one, a job waits for ever.
    environment = measure.environment()
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    command = [sys.executable, "-m", module, *flags]
    with tempfile.TemporaryFile() as log:
        pipes = {"stdout": log, "stderr": log}
        process = subprocess.Popen(command, env=environment, start_new_session=True, **pipes)
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port() -> int:
    """A port that no process listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for_port(port: int, seconds: float = 300) -> None:
    """Waits until a process listens at a port."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        if time.monotonic() > end:
            raise measure.Failure(f"nothing listens at port {port}")
        time.sleep(0.1)


def main() -> int:
    """Returns 1 if a case failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"any of {', '.join(CASES)}; default: all")
    parser.add_argument("--input", help="a manifest or a folder of manifests, as a whole path")
    parser.add_argument("--shard_mb", default="1", help="size of a shard (default 1)")
    flags = parser.parse_args()
    if unknown := set(flags.names) - set(CASES):
        parser.error(f"unknown case {sorted(unknown)[0]}; known: {', '.join(CASES)}")
    failed = False
    with tempfile.TemporaryDirectory(prefix="tfvoice-beam-") as folder:
        corpus = ["--corpus=manifest", f"--input={flags.input}"]
        if not flags.input:
            conversion.make(Path(folder, "corpus"))
            corpus = ["--corpus=vctk", f"--input={folder}/corpus"]
        bench = Bench(Path(folder), [*corpus, f"--shard_mb={flags.shard_mb}"])
        print(f"local: {bench.audio_seconds / bench.local_seconds:,.0f} audio s/s, {bench.shards} shards", flush=True)
        for name in flags.names or CASES:
            try:
                result = CASES[name](bench)
            except measure.Failure as failure:
                result, failed = f"FAILED: {failure}", True
            print(f"{name}: {result}", flush=True)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
