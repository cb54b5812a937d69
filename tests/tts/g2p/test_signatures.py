"""The exported signature of a G2P model: what Python gives, from core TensorFlow operations alone."""

import json
import subprocess
import sys

import pytest
import tensorflow as tf

from tfvoice.export import export
from tfvoice.tts.g2p.predict import G2pPredictor

WORDS = ["abc", "", "DEAD", "é", "xyz", "cabbaged", "e", "日本"]
# A process with a stock TensorFlow, which can import neither tfvoice nor Keras.
CLIENT = """
import json, sys
sys.modules["tfvoice"] = sys.modules["keras"] = None
import tensorflow as tf
outputs = tf.saved_model.load(sys.argv[1]).signatures["serving_default"](words=tf.constant(json.loads(sys.argv[2])))
print(json.dumps([text.decode() for text in outputs["phonemes"].numpy()]))
"""


@pytest.fixture(scope="module")
def folder(g2p_run, tmp_path_factory):
    return export.export(g2p_run.run_dir, tmp_path_factory.mktemp("model") / "1")


def test_phonemes_equal_those_of_python_without_tfvoice(folder, g2p_run):
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, str(folder), json.dumps(WORDS)], capture_output=True, text=True, check=True
    )
    expected = G2pPredictor(g2p_run).pronounce(WORDS)
    assert [tuple(text.split()) for text in json.loads(done.stdout.splitlines()[-1])] == expected
    assert any(expected) and not expected[1] and not expected[4]


def test_the_graph_is_of_core_operations(folder):
    loaded = tf.saved_model.load(str(folder))
    assert sorted(loaded.signatures) == ["pronounce", "serving_default"]
    graph = loaded.signatures["pronounce"].graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    foreign = ("Xla", "Cudnn", "PyFunc", "EagerPyFunc", "IO>", "Table")
    assert [node.op for node in nodes if any(part in node.op for part in foreign)] == []
    outputs = loaded.signatures["pronounce"](words=tf.constant(["abc"]))
    assert float(outputs["log_prob"][0]) < 0
    assert loaded.signatures["pronounce"](words=tf.constant([], tf.string))["phonemes"].shape == 0


def test_the_card_and_the_description_are_beside_it(folder):
    assert "| letters | `abcde` |" in (folder / "model_card.md").read_text()
    known = json.loads((folder / "tfvoice.json").read_text())
    assert (known["task"], known["model"], known["letters"]) == ("g2p", "g2p", "abcde")
