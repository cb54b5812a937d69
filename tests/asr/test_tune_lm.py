"""Laws of the search for the weights of a language model."""

import json
import os
import signal

import matplotlib.image
import numpy as np
import pytest

from tfvoice import checkpoints, tasks
from tfvoice.asr import decoders, recognizer, tune_lm
from tfvoice.asr.decoders import DecoderConfig
from tfvoice.asr.tune_lm import Trial
from tfvoice.errors import TfvoiceError

ARPA = """\\data\\
ngram 1=6
ngram 2=1

\\1-grams:
-1.0\tthe\t0
-1.0\tnumber\t0
-1.0\tplease\t0
-2.0\t<unk>\t0
-99\t<s>\t0
-1.0\t</s>\t0

\\2-grams:
-0.5\tthe number

\\end\\
"""


@pytest.fixture(scope="module")
def run(converted, tmp_path_factory, random_words):
    """The folder of a run of random weights."""
    small = ("model.width=4", "model.kernel_size=3", "model.dilations=[1]", "model.stacks=1", "features.bins=20")
    settings = tasks.resolve("wavenet_asr", overrides=small)
    folder = tmp_path_factory.mktemp("runs") / "run"
    made = recognizer.Recognizer.create(folder, settings, info={"data": str(converted)})
    random_words(made.model)
    checkpoints.save(made.checkpoint("best"), {"weights": made.model.weights}, {})
    return folder


@pytest.fixture
def decoder(tmp_path):
    path = tmp_path / "words.arpa"
    path.write_text(ARPA)
    return DecoderConfig(name="lm", lm=str(path), beam_width=5)


def test_the_best_weights_are_stored_in_the_run(run, decoder, monkeypatch):
    monkeypatch.setattr(tune_lm, "_LM_WEIGHTS", (0.0, 1.0))
    monkeypatch.setattr(tune_lm, "_WORD_SCORES", (-1.0, 1.0))
    monkeypatch.setattr(tune_lm, "_HALVINGS", 1)
    (greedy, *trials), best = tune_lm.tune(run, decoder, utterances=2, workers=1)
    assert len({(trial.lm_weight, trial.word_score) for trial in trials}) == len(trials) >= 6
    assert best.wer == min(trial.wer for trial in trials) and greedy.wer > 0
    content = json.loads((run / "report" / "lm-tuning.json").read_text())
    assert (content["split"], content["utterances"], len(content["trials"])) == ("valid", 2, len(trials))
    chosen = decoders.choose(run, "lm")
    assert (chosen.lm, chosen.lm_weight, chosen.word_score) == (decoder.lm, best.lm_weight, best.word_score)
    assert chosen.beam_width == 5
    assert matplotlib.image.imread(run / "report" / "lm-tuning.png").shape == (500, 750, 4)
    # The network does not run again, unless its weights have changed.
    monkeypatch.setattr(tune_lm, "_computed", lambda *_: (_ for _ in ()).throw(TfvoiceError("computed again")))
    opened = recognizer.Recognizer.open(run)
    stored = tune_lm._utterances(opened, None, "valid", "best")
    assert tune_lm._greedy(tune_lm._spread(stored, 2), opened.alphabet) == greedy
    path = run / "report" / "logits-valid.npz"
    content = path.read_bytes()
    for damaged in (content[:-100], content[:1000] + b"12345678" + content[1008:], b""):
        path.write_bytes(damaged)
        with pytest.raises(TfvoiceError, match="computed again"):
            tune_lm._utterances(opened, None, "valid", "best")
    path.write_bytes(content)
    changed = recognizer.Recognizer.load(run)
    checkpoints.save(changed.checkpoint("best"), {"weights": changed.model.weights}, {"epoch": 1})
    with pytest.raises(TfvoiceError, match="computed again"):
        tune_lm._utterances(recognizer.Recognizer.open(run), None, "valid", "best")


def test_a_killed_process_is_an_error_with_a_remedy(run, decoder, monkeypatch):
    monkeypatch.setattr(tune_lm, "_try", _die)
    with pytest.raises(TfvoiceError, match="a process of the search was killed, perhaps for lack of memory"):
        tune_lm.tune(run, decoder, utterances=1, workers=1)


def _die(_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_finer_grids_lie_around_the_best():
    trials = [Trial(0.0, 0.0, 0.5, 0.2)]
    grids = tune_lm._grids(trials)
    first = next(grids)
    assert len(first) == len(set(first)) == len(tune_lm._LM_WEIGHTS) * len(tune_lm._WORD_SCORES)
    trials += [Trial(*pair, abs(pair[0] - 0.6) + abs(pair[1] - 2.0), 0.0) for pair in first]
    second = next(grids)
    assert sorted(second) == sorted((w, s) for w in (0.45, 0.6, 0.75) for s in (1.0, 2.0, 3.0) if (w, s) != (0.6, 2.0))


def test_a_share_of_the_utterances_has_all_lengths():
    everything = tune_lm.Utterances([np.zeros([n, 2]) for n in range(1, 101)], [str(n) for n in range(1, 101)])
    found = tune_lm._spread(everything, 12)
    assert found.references == [str(len(values)) for values in found.log_probabilities]
    assert (found.references[0], found.references[-1], len(found.references)) == ("1", "100", 12)
    assert tune_lm._spread(everything, 1000).references == everything.references


def test_equal_trials_can_be_plotted(tmp_path):
    trials = [Trial(weight, score, 0.5, 0.2) for weight in (0.0, 1.0) for score in (0.0, 1.0)]
    tune_lm.plot(tmp_path / "a.png", [trials[0], *trials], "a caption")
    assert (tmp_path / "a.png").stat().st_size > 1000
