"""Whether bfloat16 is worth it is read from what the processor says of itself; and how many cores there are."""

import os

import pytest
import tensorflow as tf

from tfvoice import hardware


@pytest.mark.parametrize(
    ("text", "multiplies"),
    [
        ("model name : AMD EPYC\nflags\t\t: fpu avx2 avx512f avx512_bf16 rdrand\n", True),
        ("flags\t\t: fpu avx2 rdrand\n", False),
        ("Features\t: fp asimd i8mm bf16\n", True),
        ("something else\n", False),
    ],
)
def test_processors_name_their_instructions(tmp_path, monkeypatch, text, multiplies):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(hardware, "_CPUS", tmp_path / "cpuinfo")
    assert hardware.multiplies_bfloat16() is multiplies
    monkeypatch.setattr(hardware, "_CPUS", tmp_path / "nowhere")
    assert not hardware.multiplies_bfloat16()


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 5, 6}, raising=False)
    assert hardware.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert hardware.cores() == 7


@pytest.mark.parametrize(("capability", "multiplies"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_a_gpu_has_its_generation(monkeypatch, capability, multiplies):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["gpu"])
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda gpu: {"compute_capability": capability}, raising=False
    )
    assert hardware.multiplies_bfloat16() is multiplies
