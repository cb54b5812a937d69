import numpy as np
import tensorflow as tf
from segmentations import segmentation_run

from tfvoice.export.export import export


def test_the_export_gives_what_python_gives(converted, tmp_path):
    run = segmentation_run(tmp_path / "run", converted)
    export(run.run_dir, tmp_path / "1")
    samples = np.random.default_rng(0).standard_normal((2, 4000)).astype(np.float32) * 0.1
    samples[1, 3000:] = 0
    lengths = np.array([4000, 3000], np.int32)
    expected = run.log_probabilities(samples, lengths)
    signatures = tf.saved_model.load(str(tmp_path / "1")).signatures
    for name in ("serving_default", "log_probs"):
        found = signatures[name](samples=tf.constant(samples), lengths=tf.constant(lengths))
        np.testing.assert_allclose(found["log_probs"], expected.values, atol=1e-4)
        np.testing.assert_array_equal(found["lengths"], expected.lengths)
    assert "PyFunc" not in str(signatures["log_probs"].graph.as_graph_def())
    assert "Finds where the phonemes of a known text lie" in (tmp_path / "1" / "model_card.md").read_text()
