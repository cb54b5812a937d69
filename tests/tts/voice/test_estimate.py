"""The time of each stage is measured on an excerpt of the data."""

import voices

from tfvoice.data import index, shards
from tfvoice.tts.voice import estimate
from tfvoice.tts.voice.estimate import Pace


def test_an_excerpt_repeats_what_is_there(converted, tmp_path):
    folder = estimate.excerpt(converted, tmp_path / "excerpt", {"train": 3, "valid": 5})
    manifest = shards.read_manifest(folder)
    assert {name: split.utterances for name, split in manifest.splits.items()} == {"train": 3, "valid": 5}
    found = index.scan_clips(manifest, folder, "valid", 1)
    original = index.scan_clips(shards.read_manifest(converted), converted, "valid", 1)
    assert len(found) == 5 and set(found.ids) <= set(original.ids)
    assert len(found.audio(4)) == found.samples[4]
    assert abs(manifest.splits["valid"].seconds - found.seconds) < 1e-3


def test_every_stage_is_measured(converted, monkeypatch):
    few = {"train": 4, "valid": 2}
    monkeypatch.setattr(estimate, "_ALIGNED", few)
    monkeypatch.setattr(estimate, "_TRAINED", dict.fromkeys(("segmentation", "duration_f0", "vocoder"), few))
    small = ("vocoder.quantization.levels=16", "vocoder.data.seconds=0.5", "vocoder.sampling.count=0", "f0.min_hz=150")
    pace = estimate.measure(converted, voices.settings(small))
    assert list(pace) == ["segmentation", "aligned", "duration_f0", "vocoder"]
    assert all(each.epoch > 0 and each.start >= 0 for each in pace.values())


def test_a_stage_takes_its_epochs():
    assert Pace(10.0, 2.0).seconds(30) == 70
