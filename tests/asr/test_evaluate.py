"""Laws of evaluating a split: every utterance counts, and rates are those counted by hand."""

import json
import re
import shutil

import numpy as np
import pytest

from tfvoice import checkpoints, ctc, tasks
from tfvoice.asr import decoders, evaluate, metrics, scoring
from tfvoice.asr.decoders import DecoderConfig
from tfvoice.asr.recognizer import Recognizer
from tfvoice.asr.scoring import ScoredUtterance
from tfvoice.asr.transcribe import Transcriber
from tfvoice.data import records
from tfvoice.errors import TfvoiceError

SMALL = ("model.width=8", "model.kernel_size=3", "model.dilations=[1,2]", "model.stacks=1", "features.bins=20")
RESULTS = [
    ScoredUtterance("one", "p1", 2.0, "a cat sat", "a cat sat", 1.0),
    ScoredUtterance("two", "p1", 3.0, "the dog", "the dig in", 2.0),
    ScoredUtterance("three", "p2", 5.0, "no", "", 6.0),
]
RATE_KEYS = {"rate", "interval_95", "substitutions", "deletions", "insertions", "reference_units"}


@pytest.fixture(scope="module")
def run(converted, tmp_path_factory, random_words):
    """A run of random weights that emits words. Read only, but for its report."""
    settings = tasks.resolve("wavenet_asr", overrides=SMALL)
    made = Recognizer.create(tmp_path_factory.mktemp("runs") / "run", settings, info={"data": str(converted)})
    random_words(made.model)
    for name in ("best", "last"):
        checkpoints.save(made.checkpoint(name), {"weights": made.model.weights}, {})
    return made.run_dir


@pytest.fixture
def copied(run, tmp_path):
    return shutil.copytree(run, tmp_path / "copied")


def test_rates_are_those_counted_by_hand():
    report = evaluate.summarise(RESULTS, 2.0)
    # Words: 6 in all; dig for dog, in, no. Characters: 18; i for o, " in", "no".
    assert report["wer"] | {"interval_95": None} == {
        "rate": 3 / 6, "interval_95": None, "substitutions": 1, "deletions": 1, "insertions": 1, "reference_units": 6,
    }  # fmt: skip
    assert report["cer"] | {"interval_95": None} == {
        "rate": 6 / 18, "interval_95": None, "substitutions": 1, "deletions": 2, "insertions": 3, "reference_units": 18,
    }  # fmt: skip
    assert report["cer_without_spaces"]["rate"] == 5 / 15
    assert (report["total"], report["scored"], report["audio_seconds"], report["loss"]) == (3, 3, 10.0, 3.0)
    assert report["real_time_factor"] == 0.2
    assert scoring.score(RESULTS) == scoring.Score(wer=3 / 6, cer=6 / 18, loss=3.0)


def test_intervals_hold_the_rate_and_shrink_with_the_corpus():
    widths = []
    for copies in (4, 100):
        report = evaluate.summarise(RESULTS * copies, 1.0)
        for key in ("wer", "cer", "cer_without_spaces"):
            low, high = report[key]["interval_95"]
            assert 0 <= low <= report[key]["rate"] <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_the_worst_utterances_come_first_and_show_their_errors():
    report = evaluate.summarise(RESULTS, 1.0, worst=2)
    assert [one["id"] for one in report["worst"]] == ["two", "three"]
    assert report["worst"][0]["aligned"] == metrics.aligned("the dog", "the dig in")
    assert [one["id"] for one in evaluate.summarise(RESULTS, 1.0)["worst"]] == ["two", "three"], "one has no error"


def test_an_empty_reference_and_an_empty_split_have_rates():
    empty = ScoredUtterance("four", "p2", 1.0, "", "uh oh", 0.5)
    report = evaluate.summarise([*RESULTS, empty], 1.0)
    assert report["wer"]["rate"] == 5 / 6 and report["wer"]["insertions"] == 3
    assert evaluate.summarise([empty], 1.0)["wer"]["rate"] == 2.0
    nothing = evaluate.summarise([], 0.0)
    assert (nothing["wer"]["rate"], nothing["loss"], nothing["real_time_factor"]) == (0.0, 0.0, 0.0)
    json.dumps(nothing, allow_nan=False)


@pytest.mark.parametrize("decoder", ["greedy", "beam"])
def test_a_split_is_transcribed_as_each_utterance_alone(run, converted, decoder):
    report, path = evaluate.evaluate_run(run, decoder=DecoderConfig(name=decoder, beam_width=5))
    used = Recognizer.load(run)
    scanned = used.scan(converted, "test")
    assert len(report["results"]) == len(scanned) == 3
    for one in report["results"]:
        row = scanned.ids.index(one["id"])
        audio = records.decode(scanned.read([row])[0])["audio"].numpy()
        logits = used.logits(audio[np.newaxis], [len(audio)])
        ids = (ctc.greedy(logits) if decoder == "greedy" else ctc.beam(logits, 5)).ids
        assert one["hypothesis"] == " ".join(used.alphabet.decode(ids[0].numpy()).split()) != ""
        assert one["reference"] == used.alphabet.normalise(scanned.texts[row])
        labels = scanned.labels[row][np.newaxis]
        assert one["loss"] == pytest.approx(float(ctc.loss(logits, labels, [labels.size])[0]), rel=1e-4)
        assert one["seconds"] == pytest.approx(len(audio) / 16000, abs=1e-3)
    for key, count in (("wer", metrics.word_errors), ("cer", metrics.character_errors)):
        errors = [count(one["reference"], one["hypothesis"]) for one in report["results"]]
        assert report[key]["rate"] == metrics.rate(errors)
        assert report[key]["interval_95"] == list(metrics.interval(errors))
    assert path == run / "report" / "eval-test.html" and path.is_file()
    assert json.loads(path.with_suffix(".json").read_text()) == report
    assert report["decoder"] == ("greedy" if decoder == "greedy" else "beam of 5")
    assert set(report) == {
        "split", "data", "checkpoint", "decoder", "dropped_symbols", "total", "scored", "unreadable", "audio_seconds",
        "wer", "cer", "cer_without_spaces", "loss", "real_time_factor", "worst", "results",
    }  # fmt: skip
    assert set(report["wer"]) == RATE_KEYS


def test_the_text_of_a_report_has_rates_and_the_worst():
    report = {"split": "test", "decoder": "greedy"} | evaluate.summarise(RESULTS, 1.0)
    text = evaluate.as_text(report, worst=1)
    assert "no reference has a space" not in text
    unspaced = {**report, "results": [{"reference": "今天天气", "hypothesis": "今天"}]}
    note = "no reference has a space, so that WER counts whole utterances; compare CER instead\n"
    assert note in evaluate.as_text(unspaced, worst=0)
    assert "test: 3 of 3 utterances scored, 0.2 minutes\n" in text and "unreadable" not in text
    assert re.search(r"WER +50\.00%  \[.*%, .*%\]  1 substitutions, 1 deletions, 1 insertions in 6\n", text)
    assert "two (3.0 s)\nREF: the *** dog\nHYP: the dig in\n" in text and "three" not in text


def changed(run, **config):
    """Changes sections of the configuration of a run."""
    content = json.loads((run / "experiment.json").read_text())
    for section, values in config.items():
        content["config"][section] |= values
    (run / "experiment.json").write_text(json.dumps(content))


def test_symbols_outside_the_alphabet_are_counted(copied):
    changed(copied, alphabet={"characters": " 'abcdefghijklmnopqrstuéwxyz"})
    report, _ = evaluate.evaluate_run(copied)
    assert report["dropped_symbols"] == {"v": 1}, "of Invalid Choice"


def test_the_filters_of_training_do_not_apply(copied, converted, monkeypatch):
    """Utterances that are too long, too short or without a CTC path are scored, as the transcriber transcribes them."""
    run = Recognizer.load(copied)
    utterances = run.scan(converted, "test", filtered=False)
    seconds = np.sort(utterances.samples) / 16000
    changed(copied, data={"max_seconds": float(seconds[1]) - 0.01, "min_seconds": float(seconds[0]) + 0.01})
    with pytest.raises(TfvoiceError, match="nothing to use in test"):
        Recognizer.load(copied).scan(converted, "test")
    built, build = [], decoders.build
    monkeypatch.setattr(decoders, "build", lambda *arguments: built.append(arguments) or build(*arguments))
    report, _ = evaluate.evaluate_run(copied)
    assert len(built) == 1, "a language model takes time and memory"
    assert (report["scored"], report["total"]) == (len(utterances), 3)
    transcriber = Transcriber(Recognizer.load(copied))
    for result in report["results"]:
        audio = utterances.audio(utterances.ids.index(result["id"]))
        assert result["hypothesis"] == transcriber.transcribe_samples(audio).text
        assert (result["loss"] is None) == (len(audio) / 16000 >= seconds[1])


def test_an_utterance_without_a_ctc_path_is_scored_and_has_no_loss(copied):
    changed(copied, model={"stride": 2}, features={"hop_ms": 100.0, "window_ms": 100.0})
    report, _ = evaluate.evaluate_run(copied)
    losses = [result["loss"] for result in report["results"]]
    assert report["scored"] == report["total"] == 3 and None in losses
    assert report["loss"] == pytest.approx(np.mean([loss for loss in losses if loss is not None] or [0.0]))


def test_a_record_that_cannot_be_read_counts_as_all_words_deleted(copied, converted, tmp_path):
    data = shutil.copytree(converted, tmp_path / "data")
    (shard,) = sorted(data.glob("test-*.tfrecord"))[:1]
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 0xFF
    shard.write_bytes(content)
    report, path = evaluate.evaluate_run(copied, data_dir=data)
    (unreadable,) = report["unreadable"]
    (result,) = [result for result in report["results"] if result["id"] == unreadable]
    assert (result["hypothesis"], result["unreadable"], report["scored"], report["total"]) == ("", True, 2, 3)
    assert report["wer"]["deletions"] >= len(result["reference"].split()) > 0
    assert f"{unreadable}: all their words count as deleted" in evaluate.as_text(report)
    assert "<b>2 of 3</b>" in path.read_text("utf-8")


def failing(run, fact, **arguments):
    with pytest.raises(TfvoiceError, match=fact):
        evaluate.evaluate_run(run, **arguments)
    assert not (run / "report").exists()


def test_data_that_are_missing_are_an_error(copied, tmp_path):
    content = json.loads((copied / "experiment.json").read_text())
    for data in ("/gone", "", None):
        content["info"]["data"] = data
        (copied / "experiment.json").write_text(json.dumps(content))
        shutil.rmtree(copied / "report", ignore_errors=True)
        failing(copied, f"^{copied}: its data, {data}, is not on this machine; name it with --data=DIR.$")
    failing(copied, f"^{tmp_path}/none: no converted corpus is here; make one with", data_dir=tmp_path / "none")


def test_what_cannot_be_evaluated_is_an_error(copied, converted, tmp_path):
    shutil.rmtree(copied / "report", ignore_errors=True)
    failing(copied, "there is no split tset; did you mean test\\? Known: test, train, valid", split="tset")
    (copied / "checkpoints" / "best.safetensors").write_bytes(b"PK")
    failing(copied, "best.safetensors: this checkpoint is damaged .* There is --checkpoint=last.$")
    shutil.rmtree(copied / "checkpoints")
    failing(copied, "has no checkpoint best yet; train it with tfvoice_train")
    (copied / "experiment.json").write_text("{")
    failing(copied, "experiment.json: is damaged")
    failing(tmp_path, "is not the folder of a run")
