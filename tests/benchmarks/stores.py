"""Object stores on loopback: convert, train, SIGKILL, resume, export and serve, all by URL, and what each costs.

  python tests/benchmarks/stores.py            S3 (moto) and GCS (an emulator); or one of them: s3 gs

The interpreter needs tfvoice[beam,s3,gs,serve], moto[server] and gcp-storage-emulator. Keys are dummies, and nothing
leaves this machine. Every result is compared with that of the same commands on local paths.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import beam
import measure

from tfvoice import storage
from tfvoice.data.corpora import vctk

CORPUS = measure.ROOT / "tests" / "data" / "asterisk"
CONVERT = ["--corpus=manifest", "--split_by=text", "--split=88/4/8", "--shard_mb=1"]
MODEL = ["width=16", "kernel_size=3", "dilations=[1,2]", "stacks=1"]
TRAINING = ["epochs=2", "batch_size=4", "precision=float32"]
TRAIN = ["--model=wavenet_asr", "--checkpoint_minutes=0.02"]
TRAIN += [f"--set=model.{value}" for value in MODEL] + [f"--set=training.{value}" for value in TRAINING]
STORES = {"s3": ["moto.server", "-H", "127.0.0.1", "-p"], "gs": ["gcp_storage_emulator", "start", "--in-memory"]}


class Walk:
    """The commands on local paths, and then in one store.

    Args:
      scheme: of the store.
      folder: an empty folder.
    """

    def __init__(self, scheme: str, folder: Path):
        self.root, self.folder = f"{scheme}://bucket", folder
        self.cache = folder / "cache"
        os.environ["TFVOICE_CACHE"] = str(self.cache)
        corpus = folder / "corpus"
        write_corpus(corpus)
        self.run("convert", *CONVERT, f"--input={corpus}/all.jsonl", f"--output={folder}/records")
        self.run("train", *TRAIN, f"--data={folder}/records", f"--run={folder}/run")
        for path in corpus.rglob("*.*"):
            storage.place(f"{self.root}/corpus/{path.relative_to(corpus)}").upload(path)

    def command(self, name: str, *flags: str) -> list[str]:
        """The command line of a command of tfvoice."""
        return [*measure.command(f"tfvoice_{name}"), *flags]

    def run(self, name: str, *flags: str) -> str:
        """Runs a command; returns what it prints."""
        process = subprocess.run(self.command(name, *flags), capture_output=True, text=True, env=measure.environment())
        if process.returncode:
            raise measure.Failure(f"tfvoice_{name}: {process.stderr.strip().splitlines()[-1]}")
        return process.stdout

    def refused(self, fact: str, name: str, *flags: str) -> str:
        """Runs a command that must fail with this fact; returns its sentence."""
        process = subprocess.run(self.command(name, *flags), capture_output=True, text=True, env=measure.environment())
        sentence = (process.stderr.strip().splitlines() or [""])[-1]
        if process.returncode != 1 or fact not in sentence:
            raise measure.Failure(f"tfvoice_{name} ended with {process.returncode}: {process.stderr}")
        return sentence

    def killed(self, when, name: str, *flags: str) -> None:
        """Runs a command and kills it with SIGKILL as soon as `when()` is true."""
        process = subprocess.Popen(self.command(name, *flags), env=measure.environment(), stdout=subprocess.DEVNULL)
        while not when():
            if process.poll() is not None:
                raise measure.Failure(f"tfvoice_{name} ended before it was killed")
            time.sleep(0.1)
        process.kill()
        process.wait()

    def names(self, folder: str) -> dict[str, dict]:
        """The objects in a folder of the store."""
        return storage.place(f"{self.root}/{folder}").files()

    def content(self, name: str) -> bytes:
        """The content of an object."""
        return storage.place(f"{self.root}/{name}").read_bytes()

    def same(self, local: str, remote: str) -> str:
        """States that the objects of a folder equal the files of a local one."""
        files = {name: (self.folder / local / name).read_bytes() for name in storage.sizes(self.folder / local)}
        found = {name: self.content(f"{remote}/{name}") for name in self.names(remote)}
        different = sorted(name for name in files.keys() | found.keys() if files.get(name) != found.get(name))
        if different:
            raise measure.Failure(f"{remote}: {len(different)} files differ, such as {different[0]}")
        return f"all {len(files)} files identical"


def convert(walk: Walk) -> str:
    """Conversion from the store into the store; SIGKILL half-way; a second conversion meanwhile."""
    flags = [*CONVERT, f"--input={walk.root}/corpus/all.jsonl"]
    walk.run("convert", *flags, f"--output={walk.root}/records")
    whole = walk.same("records", "records")
    flags += [f"--output={walk.root}/killed"]
    walk.killed(lambda: len(finished(walk)) >= 3, "convert", *flags, "--workers=1")
    before = finished(walk)
    other = walk.refused("unfinished conversion with other flags", "convert", *flags, "--max_seconds=50")
    walk.run("convert", *flags)
    times = {
        name: str(facts.get("LastModified") or facts.get("updated")) for name, facts in walk.names("killed").items()
    }
    kept = sum(times[name] == written for name, written in before.items())
    if kept < len(before):
        raise measure.Failure(f"only {kept} of {len(before)} finished shards were kept")
    walk.run("convert", "--validate", f"--output={walk.root}/killed")
    return f"{whole}; killed: {kept} finished shards kept, {walk.same('records', 'killed')}; {other}"


def finished(walk: Walk) -> dict[str, str]:
    """The finished shards of a conversion, and when they were written."""
    found = walk.names("killed")
    entries = [name for name in found if name.startswith(".progress/") and name.endswith(".tfrecord.json")]
    shards = [name.removeprefix(".progress/").removesuffix(".json") for name in entries]
    return {name: str(found[name].get("LastModified") or found[name].get("updated")) for name in shards}


def on_beam(walk: Walk) -> str:
    """Conversion by Beam's Direct runner in two processes, from the store into the store."""
    flags = [*CONVERT, f"--input={walk.root}/corpus/all.jsonl", f"--output={walk.root}/beam"]
    walk.run("convert", *flags, "--engine=beam", "--", *beam.DIRECT)
    return walk.same("records", "beam")


def raising(walk: Walk) -> str:
    """A writer that raises leaves no object, of any size."""
    for size in (0, 1, 6_000_000):
        with contextlib.suppress(ZeroDivisionError), storage.writing(f"{walk.root}/raising/object") as file:
            file.write(bytes(size))
            raise ZeroDivisionError
    if walk.names("raising"):
        raise measure.Failure("an object of a writer that raised is there")
    return "no object of 0, 1 and 6,000,000 bytes"


def train(walk: Walk) -> str:
    """Training by URL: SIGKILL after a checkpoint, and the same command again."""
    flags = [*TRAIN, f"--data={walk.root}/records", f"--run={walk.root}/runs/asterisk"]
    last = "checkpoints/last.safetensors"
    walk.killed(lambda: last in walk.names("runs/asterisk"), "train", *flags)
    shards = {path: path.stat().st_mtime_ns for path in (walk.cache / "shards").iterdir()}
    inodes = {path.stat().st_ino for path in shards}
    walk.run("train", *flags)
    if {path.stat().st_ino for path in (walk.cache / "shards").iterdir() if len(path.name) == 64} - inodes:
        raise measure.Failure("the second start downloaded a shard")
    left = list((walk.cache / "runs").iterdir())
    if left:
        raise measure.Failure(f"{left[0]} is left in the cache")
    for name in (last, "checkpoints/best.safetensors"):
        ours, local = walk.content(f"runs/asterisk/{name}"), (walk.folder / "run" / name).read_bytes()
        if tensors(ours) != tensors(local):
            raise measure.Failure(f"{name} differs from that of a local run that was not killed")
    size = sum(int(facts["size"]) for facts in walk.names("runs/asterisk").values())
    return f"weights bit-identical to a local run; no shard downloaded again; {size / 1e6:.1f} MB in the run"


def processes(walk: Walk) -> str:
    """Training in two processes by URL: SIGKILL of the launcher after a checkpoint, and the same command again."""
    together = [*TRAIN, "--processes=2"]
    walk.run("train", *together, f"--data={walk.folder}/records", f"--run={walk.folder}/together")
    flags = [*together, f"--data={walk.root}/records", f"--run={walk.root}/runs/together"]
    last = "checkpoints/last.safetensors"
    walk.killed(lambda: last in walk.names("runs/together"), "train", *flags)
    walk.run("train", *flags)
    if tensors(walk.content(f"runs/together/{last}")) != tensors((walk.folder / "together" / last).read_bytes()):
        raise measure.Failure("the weights differ from those of two processes with local paths")
    return "weights bit-identical to two processes with local paths that were not killed"


def tensors(content: bytes) -> bytes:
    """The bytes of the tensors of a checkpoint: its state holds times."""
    return content[8 + int.from_bytes(content[:8], "little") :]


def damage(walk: Walk) -> str:
    """A shard that was replaced by one of the same size; a cache that is too small."""
    name = next(name for name in sorted(walk.names("records")) if name.endswith(".tfrecord") and "train" in name)
    path = storage.place(f"{walk.root}/records/{name}")
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    flags = [*TRAIN, f"--data={walk.root}/records", f"--run={walk.root}/runs/other"]
    with cached(walk.folder / "empty"):
        sentences = [walk.refused("sha256 differs", "train", *flags)]
    path.write_bytes(content)
    with cached(walk.folder / "small", TFVOICE_CACHE_GB="0.001"):
        sentences.append(walk.refused("TFVOICE_CACHE_GB=", "train", *flags))
    if os.geteuid() == 0:
        with small_disk(walk.folder / "disk"), cached(walk.folder / "disk"):
            sentences.append(walk.refused("free some space", "train", *flags))
    return "\n  ".join(sentences)


def export(walk: Walk) -> str:
    """Export from the store into the store, and the server from there, twice."""
    for name in () if "experiment.json" in walk.names("runs/asterisk") else storage.sizes(walk.folder / "run"):
        storage.place(f"{walk.root}/runs/asterisk/{name}").upload(walk.folder / "run" / name)
    walk.run("export", f"--run={walk.folder}/run", f"--output={walk.folder}/models/asterisk/1")
    walk.run("export", f"--run={walk.root}/runs/asterisk", f"--output={walk.root}/models/asterisk/1")
    walk.refused("is already there", "export", f"--run={walk.folder}/run", f"--output={walk.root}/models/asterisk/1")
    flags = [f"--run={walk.folder}/run", f"--output={walk.root}/models/asterisk/1", "--overwrite"]
    walk.run("export", *flags)
    expected = transcript(walk, f"{walk.folder}/models")
    first = transcript(walk, f"{walk.root}/models")
    inodes = {path.stat().st_ino for path in (walk.cache / "models").rglob("*")}
    if transcript(walk, f"{walk.root}/models") != first or first != expected:
        raise measure.Failure(f"{first} instead of {expected}")
    if {path.stat().st_ino for path in (walk.cache / "models").rglob("*")} != inodes:
        raise measure.Failure("the second server downloaded the model again")
    return f"served {first!r}, as from a local folder; the second server downloaded nothing"


def transcript(walk: Walk, models: str) -> str:
    """What a server of a model transcribes."""
    command = walk.command("serve", f"--model={models}/asterisk", "--port=0", "--max_seconds=5", "--batch_size=1")
    process = subprocess.Popen(command, env=measure.environment(), stdout=subprocess.PIPE, text=True)
    try:
        found = next(filter(None, (re.search(r"http://[\d.]+:\d+", line) for line in process.stdout)), None)
        if found is None:
            raise measure.Failure(f"the server of {models} did not start")
        audio = next((CORPUS / "wav48").rglob("*.opus")).read_bytes()
        with urllib.request.urlopen(f"{found[0]}/transcribe", audio) as response:
            return json.load(response)["text"]
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def refusals(walk: Walk) -> str:
    """A flag that takes no URL says so."""
    return walk.refused("copy it here", "eval", f"--run={walk.root}/runs/asterisk")


CASES = {case.__name__: case for case in (convert, on_beam, raising, train, processes, damage, export, refusals)}


def write_corpus(folder: Path) -> None:
    """The test corpus as a manifest with its audio."""
    lines = []
    for utterance in vctk.read(str(CORPUS)).utterances:
        if Path(utterance.audio).read_bytes().endswith(b"\r"):
            # The emulator of GCS drops a carriage return at the end of an object.
            continue
        name = Path("audio", Path(utterance.audio).name)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(utterance.audio, folder / name)
        lines.append(json.dumps({"audio": str(name), "text": utterance.text, "speaker": utterance.speaker}))
    (folder / "all.jsonl").write_text("\n".join(lines), encoding="utf-8")


@contextlib.contextmanager
def cached(folder: Path, **environment: str) -> Iterator[None]:
    """Inside the `with`, commands use another cache."""
    before = dict(os.environ)
    os.environ.update(environment, TFVOICE_CACHE=str(folder))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    """A file system of 1 MB."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@contextlib.contextmanager
def store(scheme: str, log: Path) -> Iterator[None]:
    """A store on loopback with an empty bucket; the environment names it."""
    port = beam.free_port()
    address = [str(port)] if scheme == "s3" else ["--host=127.0.0.1", f"--port={port}", "--default-bucket=bucket"]
    with open(log, "wb") as output:
        process = subprocess.Popen([sys.executable, "-m", *STORES[scheme], *address], stdout=output, stderr=output)
        try:
            beam.wait_for_port(port)
            url = f"http://127.0.0.1:{port}"
            os.environ |= {"AWS_ACCESS_KEY_ID": "dummy", "AWS_SECRET_ACCESS_KEY": "dummy", "AWS_ENDPOINT_URL": url}
            os.environ |= {"AWS_DEFAULT_REGION": "us-east-1", "STORAGE_EMULATOR_HOST": url, "FSSPEC_GS_TOKEN": "anon"}
            os.environ |= {"GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false"}
            if scheme == "s3":
                urllib.request.urlopen(urllib.request.Request(f"{url}/bucket", method="PUT")).close()
            yield
        finally:
            process.kill()
            process.wait()


def requests(log: Path, start: int) -> tuple[str, int]:
    """How many requests a store has logged since a position in its log, by their method; and the new position."""
    content = log.read_bytes()
    methods = Counter(re.findall(rb"(GET|HEAD|PUT|POST|DELETE) /", content[start:]))
    return ", ".join(f"{count} {method.decode()}" for method, count in methods.most_common()), len(content)


def main() -> int:
    """Returns 1 if a case failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*STORES, *CASES]
    parser.add_argument("names", nargs="*", metavar="name", help=f"stores and cases: {', '.join(names)}; default: all")
    flags = parser.parse_args()
    if unknown := set(flags.names) - set(names):
        parser.error(f"unknown name {sorted(unknown)[0]}; known: {', '.join(names)}")
    failed = False
    for scheme in [name for name in STORES if name in flags.names] or STORES:
        with tempfile.TemporaryDirectory(prefix="tfvoice-stores-") as folder, store(scheme, Path(folder, "log")):
            walk, position = Walk(scheme, Path(folder)), 0
            for name, case in CASES.items():
                if not CASES.keys().isdisjoint(flags.names) and name not in flags.names:
                    continue
                start = time.perf_counter()
                try:
                    result = case(walk)
                except measure.Failure as failure:
                    result, failed = f"FAILED: {failure}", True
                made, position = requests(Path(folder, "log"), position)
                print(f"{scheme} {name}, {time.perf_counter() - start:.0f} s ({made}): {result}", flush=True)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
