"""The page of a recogniser needs no network, and shows what the report holds."""

import dataclasses
import html as html_
import json
import shutil

import numpy as np
import pytest
from pages import audio_of, external_links

from tfvoice import checkpoints, tasks
from tfvoice.asr import alignment_plot, evaluate, report, scoring
from tfvoice.asr.recognizer import Recognizer

SMALL = ("model.width=8", "model.kernel_size=3", "model.dilations=[1,2]", "model.stacks=1", "features.bins=20")
LINES = [
    {"step": 10, "minutes": 1.0, "train_loss": 9.0, "valid_loss": 8.0, "wer": 1.0, "cer": 0.9},
    {"step": 20, "minutes": 2.0, "train_loss": 7.0, "valid_loss": 6.0, "wer": 0.9, "cer": 0.5},
]


@pytest.fixture(scope="module")
def evaluated(converted, tmp_path_factory, random_words):
    """A run of random weights that emits words, evaluated beside another: its folder, its report, its page."""
    settings = tasks.resolve("wavenet_asr", overrides=SMALL)
    folder = tmp_path_factory.mktemp("runs")
    run = Recognizer.create(folder / "new <1>", settings, info={"data": str(converted)})
    random_words(run.model)
    checkpoints.save(run.checkpoint("best"), {"weights": run.model.weights}, {})
    (run.run_dir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    shutil.copytree(run.run_dir, folder / "old")
    evaluate.evaluate_run(folder / "old")
    found, path = evaluate.evaluate_run(run.run_dir, compare=(str(folder / "old"),))
    return run.run_dir, found, path.read_text(encoding="utf-8")


def test_the_page_needs_no_network_and_shows_the_report(evaluated):
    _, found, page = evaluated
    assert external_links(page) == [] and "<script" not in page
    for rate in (found["wer"], found["cer"]):
        assert f"<b>{100 * rate['rate']:.1f} %</b>" in page
    assert f"<b>{found['scored']} of {found['total']}</b>" in page
    text = html_.unescape(page)
    for result in found["worst"]:
        assert result["id"] in text
        assert all(f"<i>{word}</i>" in text for word in result["reference"].split())
    assert "new <1>" in text and "new <1>" not in page and ">old<" in page
    assert "<svg" in page and "currentColor" in page and "(other utterances)" not in page


def test_the_worst_utterances_can_be_played(evaluated, converted):
    folder, found, page = evaluated
    audio = audio_of(page)
    assert len(audio) == len(found["worst"]) == page.count("data:image/png;base64,")
    run = Recognizer.load(folder)
    utterances = run.scan(converted, "test")
    for result, (samples, rate_hz) in zip(found["worst"], audio, strict=True):
        seconds = utterances.samples[utterances.ids.index(result["id"])] / 16000
        assert rate_hz == 16000 and len(samples) / rate_hz == pytest.approx(seconds, abs=0.2)
        assert np.abs(samples).max() > 0.01


def test_a_page_without_errors_or_curves(evaluated, tmp_path, monkeypatch):
    folder = shutil.copytree(evaluated[0], tmp_path / "run")
    (folder / "metrics.jsonl").unlink()
    evaluate_ = scoring.Evaluator.evaluate
    monkeypatch.setattr(
        scoring.Evaluator,
        "evaluate",
        lambda *given: [dataclasses.replace(result, hypothesis=result.reference) for result in evaluate_(*given)],
    )
    found, path = evaluate.evaluate_run(folder)
    page = path.read_text(encoding="utf-8")
    assert found["wer"]["rate"] == 0 and "<b>0.0 %</b>" in page and "<svg" not in page and "<article>" not in page


def test_the_figure_says_where_its_hypothesis_is_not_that_of_the_decoder(evaluated, converted, monkeypatch):
    captions, plot = [], alignment_plot.alignment
    monkeypatch.setattr(alignment_plot, "alignment", lambda *given: captions.append(given[-1]) or plot(*given))
    run = Recognizer.load(evaluated[0])
    utterances = run.scan(converted, "test")
    for decoder in ("greedy", "beam"):
        found = evaluated[1] | {"decoder": decoder, "worst": evaluated[1]["worst"][:1]}
        report.write(run, utterances, found, [])
    assert captions == ["", "HYP: the best path, without beam"]
