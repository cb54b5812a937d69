"""Pages hold everything they show, and tell what the report tells."""

import base64
import dataclasses
import html as html_
import io
import json
import re
import shutil

import numpy as np
import pytest
import soundfile

from tfvoice import experiment
from tfvoice.asr import evaluate
from tfvoice.asr.recognizer import Recognizer
from tfvoice.audio import io as audio_io
from tfvoice.errors import TfvoiceError
from tfvoice.generation import evaluate as generation_evaluate
from tfvoice.generation.generator import Generator
from tfvoice.report import html, plots
from tfvoice.training import checkpoints

SMALL = ("model.width=8", "model.kernel_size=3", "model.dilations=[1,2]", "model.stacks=1", "features.bins=20")
LINES = [
    {"step": 10, "minutes": 1.0, "train_loss": 9.0, "valid_loss": 8.0, "wer": 1.0, "cer": 0.9},
    {"step": 20, "minutes": 2.0, "train_loss": 7.0, "valid_loss": 6.0, "wer": 0.9, "cer": 0.5},
]


def outside(page):
    """What the page would load from elsewhere."""
    links = re.findall(r'(?:src|href)="([^"]*)"', page) + re.findall(r"url\(([^)]*)\)", page)
    return [link for link in links if not link.startswith(("data:", "#"))]


def audio(page):
    """The recordings in a page: samples and rates."""
    found = re.findall(r'src="data:audio/mpeg;base64,([^"]+)"', page)
    return [soundfile.read(io.BytesIO(base64.b64decode(data))) for data in found]


@pytest.fixture(scope="module")
def run(converted, tmp_path_factory, talkative):
    """A run of random weights that write something, measured and drawn beside another."""
    settings = experiment.resolve("wavenet_asr", overrides=SMALL)
    folder = tmp_path_factory.mktemp("runs")
    made = Recognizer.create(folder / "new <1>", settings, info={"data": str(converted)})
    talkative(made.model)
    checkpoints.save(made.checkpoint("best"), {"weights": made.model.weights}, {})
    (made.run_dir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    shutil.copytree(made.run_dir, folder / "old")
    evaluate.evaluate_run(folder / "old")
    found, path = evaluate.evaluate_run(made.run_dir, compare=(str(folder / "old"),))
    return made.run_dir, found, path.read_text(encoding="utf-8")


def test_a_recognisers_page_needs_nothing_else_and_tells_the_report(run):
    _, report, page = run
    assert outside(page) == [] and "<script" not in page
    for rate in (report["wer"], report["cer"]):
        assert f"<b>{100 * rate['rate']:.1f} %</b>" in page
    text = html_.unescape(page)
    for one in report["worst"]:
        assert one["id"] in text
        assert all(f"<i>{word}</i>" in text for word in one["reference"].split())
    assert "new <1>" in text and "new <1>" not in page and ">old<" in page
    assert "<svg" in page and "currentColor" in page and "#010203" not in page


def test_the_worst_utterances_can_be_heard(run, converted):
    folder, report, page = run
    heard = audio(page)
    assert len(heard) == len(report["worst"]) == page.count("data:image/png;base64,")
    used = Recognizer.load(folder)
    scanned = used.scan(converted, "test")
    for one, (samples, rate_hz) in zip(report["worst"], heard, strict=True):
        seconds = scanned.samples[scanned.ids.index(one["id"])] / 16000
        assert rate_hz == 16000 and len(samples) / rate_hz == pytest.approx(seconds, abs=0.2)
        assert np.abs(samples).max() > 0.01


def test_a_page_without_an_error_or_a_curve(run, tmp_path, monkeypatch):
    folder = shutil.copytree(run[0], tmp_path / "run")
    (folder / "metrics.jsonl").unlink()
    read = evaluate.Reader.read
    monkeypatch.setattr(
        evaluate.Reader,
        "read",
        lambda self, **given: [dataclasses.replace(one, hypothesis=one.reference) for one in read(self, **given)],
    )
    report, path = evaluate.evaluate_run(folder)
    page = path.read_text(encoding="utf-8")
    assert report["wer"]["rate"] == 0 and "<b>0.0 %</b>" in page and "<svg" not in page and "<article>" not in page


@pytest.fixture(scope="module")
def generator(converted, tmp_path_factory):
    """A generator's run with what was drawn while it trained, measured."""
    small = ("model.units=4", "model.embedding=4", "quantization.levels=64")
    settings = experiment.resolve("sample_rnn", None, small)
    made = Generator.new(tmp_path_factory.mktemp("runs") / "piano", settings, converted, {"data": str(converted)})
    made.write()
    checkpoints.save(made.checkpoint("best"), {"weights": made.model.weights}, {})
    lines = [{key: value for key, value in line.items() if key not in ("wer", "cer")} for line in LINES]
    (made.run_dir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (made.run_dir / "samples").mkdir()
    for step in range(10, 110, 10):
        name = made.run_dir / "samples" / f"step-{step:07d}"
        name.with_suffix(".png").write_bytes(b"picture")
        audio_io.write(f"{name}-0.wav", np.full(1600, step / 200, np.float32), 16000)
    return made.run_dir


def test_a_generators_page_lets_one_hear_how_it_learned(generator, monkeypatch, tmp_path):
    monkeypatch.setattr(generation_evaluate, "_SECONDS", 0.5)
    report, path = generation_evaluate.evaluate_run(generator)
    page = path.read_text(encoding="utf-8")
    assert outside(page) == [] and f"<b>{report['bits_per_sample']:.3f}</b>" in page and "<svg" in page
    steps = re.findall(r"<h3>step (\d+)</h3>", page)
    assert steps == ["10", "30", "50", "60", "80", "100"]
    heard = audio(page)
    assert len(heard) == 4 + len(steps)
    levels = [np.median(samples) for samples, _ in heard[4:]]
    np.testing.assert_allclose(levels, [int(step) / 200 for step in steps], atol=0.05)
    # Called like a formula that matplotlib cannot set.
    other = shutil.copytree(generator, tmp_path / "x$^$y")
    _, path = generation_evaluate.evaluate_run(generator, compare=(str(other),))
    beside = path.read_text(encoding="utf-8")
    assert "Side by side" not in page and "Side by side" in beside
    # What the other drew last can be heard too.
    level = next(np.median(samples) for samples, _ in audio(beside))
    assert level == pytest.approx(0.5, abs=0.05) and "step 100</span>" in beside and "x$^$y" in beside


def test_a_run_that_read_other_recordings_is_marked(run, tmp_path):
    other = shutil.copytree(run[0], tmp_path / "other")
    assert "(other recordings)" not in evaluate.evaluate_run(run[0], compare=(str(other),))[1].read_text("utf-8")
    path = other / "report" / "eval-test.json"
    report = json.loads(path.read_text(encoding="utf-8"))
    report["readings"].pop()
    path.write_text(json.dumps(report), encoding="utf-8")
    # A damaged line, lines of something else, and the last one of a log that is being written.
    with (other / "metrics.jsonl").open("ab") as log:
        log.write(b'{"step": 30, \xff\n[3]\n{"epoch": 3}\n{"epoch": 3, "min')
    page = evaluate.evaluate_run(run[0], compare=(str(other),))[1].read_text("utf-8")
    assert re.search(r"<td>other <span[^>]*>\(other recordings\)", page)


def test_what_cannot_stand_beside_is_told_before_anything_is_measured(run, generator, tmp_path):
    with pytest.raises(TfvoiceError, match=r"has no report of split test yet; write it with tfvoice_eval --run="):
        evaluate.evaluate_run(run[0], compare=(str(tmp_path),))
    with pytest.raises(TfvoiceError, match="is a run of wavenet_asr, which is measured by other numbers"):
        generation_evaluate.evaluate_run(generator, compare=(str(run[0]),))
    old = shutil.copytree(run[0], tmp_path / "old")
    (old / "report" / "eval-test.json").write_text('{"wer": 0.5}')
    with pytest.raises(TfvoiceError, match="is of another version of tfvoice; write it anew with tfvoice_eval"):
        evaluate.evaluate_run(run[0], compare=(str(old),))


def test_what_another_decoder_read_is_told_from_the_best_path_in_the_picture(run, converted, monkeypatch):
    captions, drawn = [], plots.alignment
    monkeypatch.setattr(plots, "alignment", lambda *given: captions.append(given[-1]) or drawn(*given))
    used = Recognizer.load(run[0])
    scanned = used.scan(converted, "test")
    for decoder in ("greedy", "beam"):
        html.recogniser(used, scanned, run[1] | {"decoder": decoder, "worst": run[1]["worst"][:1]}, [])
    assert captions == ["", "read: the best path, without beam"]
