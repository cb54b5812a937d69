"""tfvoice_convert: its summary, its errors, and resuming after a kill."""

import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tfvoice.cli import convert
from tfvoice.data import recordings, shards
from tfvoice.data.corpora import CORPORA

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "bin" / "tfvoice_convert"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Forty short recordings: four speakers, each of the same ten sentences."""
    root = tmp_path_factory.mktemp("corpus")
    noise = np.random.default_rng(0)
    for speaker in ("p225", "p226", "p227", "p228"):
        for folder in ("wav48", "txt"):
            (root / folder / speaker).mkdir(parents=True)
        for number in range(10):
            id = f"{speaker}_{number:03d}"
            soundfile.write(root / "wav48" / speaker / f"{id}.wav", noise.uniform(-0.1, 0.1, 24000), 48000)
            (root / "txt" / speaker / f"{id}.txt").write_text(f"Sentence {chr(97 + number)}.")
    return root


@pytest.fixture
def run(in_process):
    """Runs the command in this process; returns exit status, standard output and standard error."""
    return functools.partial(in_process, convert.main, "tfvoice_convert")


def vctk(tree, out, *more):
    return ["--corpus=vctk", f"--input={tree}", f"--output={out}", "--workers=1", *more]


def test_convert_prints_a_summary_and_what_to_type_next(tree, tmp_path, run):
    status, out, err = run(*vctk(tree, tmp_path / "out", "--split_by=text", "--split=60/20/20"))
    assert status == 0 and err == ""
    lines = out.splitlines()
    assert lines[0].startswith(f"{tmp_path / 'out'}: 40 utterances, 0.3 minutes, 0.6")
    assert [line.split()[0] for line in lines[1:4]] == ["train", "valid", "test"]
    assert lines[-1] == f"next: tfvoice_train --model=wavenet_asr --data={tmp_path / 'out'} --run=runs/out"
    manifest = shards.read_manifest(tmp_path / "out")
    assert sum(split.utterances for split in manifest.splits.values()) == 40
    assert all(split.utterances % 4 == 0 for split in manifest.splits.values()), "a sentence is in one split only"
    status, out, _ = run(*vctk(tree, tmp_path / "out", "--split_by=text", "--split=60/20/20"))
    assert status == 0 and out.startswith("nothing to do: this conversion is already complete.\n")


def test_skipped_recordings_and_empty_splits_are_reported(tree, tmp_path, run):
    status, out, _ = run(*vctk(tree, tmp_path, "--split=0/100/0", "--min_seconds=0"))
    assert status == 0 and "warning" not in out
    more = ("--split=99.9/0/0.1", "--min_seconds=0.6", "--max_skipped=100%")
    status, _, err = run(*vctk(tree, tmp_path, *more, "--overwrite"))
    assert status == 1 and "no utterance is left (40 too_short)" in err
    status, out, _ = run(*vctk(tree, tmp_path, "--split=99.9/0/0.1", "--overwrite"))
    assert "warning: there is nothing in test with --split_by=speaker; try --split_by=text\n" in out


def test_utterances_with_samples_beyond_full_scale_are_counted(tmp_path, run):
    (tmp_path / "in").mkdir()
    for number, peak in enumerate((0.5, 1.0, 1.2, 3.0)):
        samples = peak * np.sin(np.arange(16000) * np.pi / 100)
        soundfile.write(tmp_path / "in" / f"{number}.wav", samples, 16000, "FLOAT")
    arguments = ("--corpus=audio", f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'out'}", "--workers=1")
    status, out, _ = run(*arguments)
    assert status == 0 and "clipped: 2 of 4 utterances have samples beyond full scale\n" in out
    assert "clipped: 2 of 4" in run(*arguments)[1]


def test_fifteen_clips_of_music_fill_every_split(tmp_path, run):
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "piano.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 15 * 8000), 8000)
    places = (f"--input={tmp_path / 'in'}", f"--output={tmp_path / 'my music'}")
    status, out, _ = run("--corpus=audio", *places, "--clip_seconds=1", "--workers=1")
    assert status == 0 and "warning" not in out
    assert [line.split()[:2] for line in out.splitlines()[1:4]] == [["train", "13"], ["valid", "1"], ["test", "1"]]
    assert out.endswith(f"next: tfvoice_train --model=sample_rnn --data='{tmp_path}/my music' --run='runs/my music'\n")


def test_a_corpus_that_is_too_small_for_its_splits_says_so(tree, tmp_path, run):
    table = tmp_path / "one.csv"
    table.write_text(f"audio,text\n{tree}/wav48/p225/p225_000.wav,hello\n")
    arguments = ("--corpus=manifest", f"--input={table}", f"--output={tmp_path / 'out'}", "--workers=1")
    status, out, _ = run(*arguments)
    assert status == 0 and "with --split_by=utterance; the corpus has too few recordings; add some, or leave" in out
    assert "try --split_by=utterance" not in out


def test_without_a_usable_utterance_the_first_defect_is_shown(tmp_path, run):
    table = tmp_path / "windows.csv"
    table.write_text("audio,text\nclips\\a.wav,hello\nC:\\data\\b.wav,hello again\n")
    status, _, err = run("--corpus=manifest", f"--input={table}", f"--output={tmp_path / 'out'}")
    assert status == 1 and "(2 missing_audio), such as: windows.csv line 3: there is no " in err
    assert err.endswith("C:\\data\\b.wav; check --input.\n")


def test_dry_run_prints_a_plan_and_writes_nothing(tree, tmp_path, run):
    (tree / "wav48" / "p315").mkdir(exist_ok=True)
    (tree / "wav48" / "p315" / "p315_001.wav").write_bytes(b"")
    status, out, _ = run(*vctk(tree, tmp_path / "out", "--dry_run"))
    assert status == 0 and not (tmp_path / "out").exists()
    assert "40 utterances would become" in out and "  p225_000 (" in out
    expected = "would be skipped, as expected: 1 speaker_without_transcripts, such as p315_001 (no txt/p315)\n"
    assert expected in out


def test_validate_verifies_checksums(tree, tmp_path, run):
    run(*vctk(tree, tmp_path, "--split=100/0/0"))
    assert run("--validate", f"--output={tmp_path}") == (
        0,
        f"{tmp_path}: 1 shards, all checksums are correct\n",
        "",
    )
    shard = tmp_path / "train-00000-of-00001.tfrecord"
    content = bytearray(shard.read_bytes())
    content[1000] ^= 1
    shard.write_bytes(content)
    status, _, err = run("--validate", f"--output={tmp_path}")
    assert status == 1
    assert err == (
        f"tfvoice_convert: error: {shard}: damaged at record 1. "
        f"Convert the corpus again with --overwrite --output={tmp_path}\n"
    )


def test_splits_of_manifests_are_kept(tree, tmp_path, run):
    for split in ("train", "test"):
        ids = sorted((tree / "wav48").glob("p225/*.wav" if split == "train" else "p226/*.wav"))
        (tmp_path / f"{split}.tsv").write_text("audio\ttext\n" + "".join(f"{id}\tHello\n" for id in ids))
    status, out, _ = run("--corpus=manifest", f"--input={tmp_path}", f"--output={tmp_path / 'out'}")
    assert status == 0 and "warning: the corpus has no valid; tfvoice_train needs train and valid" in out
    assert "there is nothing in" not in out, "the splits are those of the manifests"
    manifest = shards.read_manifest(tmp_path / "out")
    assert {name: split.utterances for name, split in manifest.splits.items()} == {"train": 10, "test": 10}


ERRORS = {
    "no corpus": (["--output=x"], "--corpus is missing; for example --corpus=vctk --input=VCTK-Corpus."),
    "no input": (["--corpus=vctk", "--output=x"], "--input is missing; for example"),
    "no output": (["--corpus=vctk", "--input=y"], "--output is missing; add --output=DIR."),
    "corpus": (
        ["--corpus=timit", "--input=y", "--output=x"],
        f"--corpus=timit is not valid; expected one of {', '.join(CORPORA)}.",
    ),
    "percent": (["--corpus=vctk", "--input=y", "--output=x", "--max_skipped=1"], "for example --max_skipped=1%."),
    "percents": (["--corpus=vctk", "--input=y", "--output=x", "--max_skipped=x%"], "--max_skipped=x%: write a perc"),
    "split": (["--corpus=vctk", "--input=y", "--output=x", "--split=90/9"], "for example --split=90/5/5."),
    "mic": (["--corpus=ljspeech", "--input=y", "--output=x", "--mic=mic2"], "--mic is not a flag of --corpus=ljspeech"),
    "rate": (["--corpus=vctk", "--input=y", "--output=x", "--sample_rate_hz=999999"], "flags: sample_rate_hz: Input"),
    "folder": (["--corpus=vctk", "--input=nowhere", "--output=x"], "nowhere: there is no such folder"),
    "argument": (["--corpus=vctk", "--input=y", "--output=x", "--", "--runner=x"], "unexpected argument --runner=x"),
    "validate": (["--validate", "--output=nowhere"], "nowhere: no converted corpus is here; make one with"),
}


@pytest.mark.parametrize("arguments, sentence", ERRORS.values(), ids=ERRORS)
def test_an_error_is_one_sentence_and_exit_status_1(arguments, sentence, run):
    status, out, err = run(*arguments)
    assert status == 1 and out == "" and err.startswith("tfvoice_convert: error: ") and sentence in err
    assert err.count("\n") == 1
    assert not Path("x").exists()


def test_another_engine_is_given_its_options_and_whole_paths(tree, tmp_path, run, monkeypatch):
    from tfvoice.data import beam

    given = []

    def engine(options):
        given.append(options)
        return lambda folder, task, names: [task(folder, name) for name in names if not given.append(name)]

    monkeypatch.setattr(beam, "engine", engine)
    monkeypatch.setattr(recordings, "_TASK_CHUNK", 4)
    flags = ("--engine=beam", "--", "--runner=x", "--y")
    assert run(*vctk(tree, tmp_path / "beam", *flags))[0] == 0
    assert given[0] == ["--runner=x", "--y"] and given[1].startswith("headers-") and given[-1].endswith(".tfrecord")
    assert run(*vctk(tree, tmp_path / "local"))[0] == 0
    beam_files, local_files = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("beam", "local"))
    assert beam_files == local_files
    monkeypatch.chdir(tree)
    status, _, err = run(*vctk(".", tmp_path / "relative", *flags))
    assert status == 1 and f"write whole paths, for example --input={tree}\n" in err
    assert not (tmp_path / "relative").exists()


def test_help_names_the_corpora(run):
    status, out, _ = run("--help")
    assert status == 0 and "read the same sentences" in out
    assert "  tfvoice_convert --corpus=vctk --input=VCTK-Corpus --output=vctk_records\n" in out
    for name in CORPORA:
        assert f"\n  {name} " in out


def start(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, SCRIPT, *arguments], env=environment, stderr=subprocess.DEVNULL)


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "timeout"
        time.sleep(0.005)


def children(pid):
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def test_the_same_command_resumes_a_killed_conversion(tree, tmp_path, run):
    more, out = ("--shard_mb=0.02", "--split=100/0/0"), tmp_path / "out"
    assert run(*vctk(tree, tmp_path / "whole", *more))[0] == 0
    for signum in (signal.SIGKILL, signal.SIGINT):
        finished = len(list(out.glob("*.tfrecord"))) if out.exists() else 0
        process = start(*vctk(tree, out, *more, "--workers=2"))
        wait_until(lambda before=finished: out.exists() and len(list(out.glob("*.tfrecord"))) > before)
        workers = children(process.pid)
        process.send_signal(signum)
        status = process.wait()
        if status == 0:
            pytest.skip("the conversion ended before the signal came")
        assert status == (-9 if signum == signal.SIGKILL else 130)
        wait_until(lambda pids=workers: not any(Path(f"/proc/{pid}").exists() for pid in pids))
        assert not (out / "manifest.json").exists() and (out / ".progress").is_dir()
    assert run(*vctk(tree, out, *more))[0] == 0
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").iterdir()}
    assert {path.name: path.read_bytes() for path in out.iterdir()} == whole
    assert len(whole) > 10 and json.loads(whole["manifest.json"])["skipped"] == {}


def test_a_worker_that_is_killed_ends_the_command_and_the_same_command_resumes_it(tree, tmp_path, run):
    more, out = ("--shard_mb=0.02", "--split=100/0/0"), tmp_path / "out"
    process = start(*vctk(tree, out, *more, "--workers=2"))
    wait_until(lambda: out.exists() and list(out.glob("*.tfrecord")))
    workers = [pid for pid in children(process.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    if not workers or (out / "manifest.json").exists():
        pytest.skip("the conversion ended before the signal came")
    os.kill(workers[0], signal.SIGKILL)
    assert process.wait() == 1
    assert not (out / "manifest.json").exists() and not list(out.glob(".tfvoice-*"))
    times = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tfrecord")}
    finished = {path.name for path in out.glob("*.tfrecord") if (out / ".progress" / f"{path.name}.json").exists()}
    assert run(*vctk(tree, out, *more))[0] == 0
    assert all((out / name).stat().st_mtime_ns == times[name] for name in finished)
    assert run(*vctk(tree, tmp_path / "whole", *more))[0] == 0
    assert all((out / path.name).read_bytes() == path.read_bytes() for path in (tmp_path / "whole").iterdir())
