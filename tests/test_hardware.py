"""The hardware of a machine: cores, fast bfloat16, the device of TensorFlow and the reason where it is no GPU."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import tensorflow as tf

from tfvoice import hardware

NOT_USED = "; an NVIDIA GPU is present but TensorFlow cannot use it: "


@pytest.mark.parametrize(
    ("text", "fast"),
    [
        ("model name : AMD EPYC\nflags\t\t: fpu avx2 avx512f avx512_bf16 rdrand\n", True),
        ("flags\t\t: fpu avx2 rdrand\n", False),
        ("Features\t: fp asimd i8mm bf16\n", True),
        ("something else\n", False),
    ],
)
def test_a_cpu_has_fast_bfloat16_if_its_flags_name_it(tmp_path, monkeypatch, text, fast):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(hardware, "_CPUINFO", tmp_path / "cpuinfo")
    assert hardware.has_fast_bfloat16() is fast
    monkeypatch.setattr(hardware, "_CPUINFO", tmp_path / "nowhere")
    assert not hardware.has_fast_bfloat16()


def test_cores_are_those_that_this_process_may_use(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {2, 5, 6}, raising=False)
    assert hardware.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert hardware.cores() == 7


@pytest.fixture
def gpus(monkeypatch):
    """Pretends that TensorFlow has GPUs of these names and compute capabilities."""

    def gpus(*details):
        by_gpu = {
            f"gpu:{number}": {"device_name": name, "compute_capability": capability}
            for number, (name, capability) in enumerate(details)
        }
        monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: list(by_gpu))
        monkeypatch.setattr(tf.config.experimental, "get_device_details", by_gpu.get, raising=False)

    return gpus


@pytest.mark.parametrize(("capability", "fast"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_a_gpu_has_fast_bfloat16_from_ampere_on(gpus, capability, fast):
    gpus(("GPU", capability))
    assert hardware.has_fast_bfloat16() is fast


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Pretends that the machine has 2 cores with bfloat16, and an NVIDIA GPU or only its driver or neither."""

    def machine(driver=False, device=False):
        cpuinfo = tmp_path / "cpuinfo"
        cpuinfo.write_text("flags : avx512_bf16\n")
        monkeypatch.setattr(hardware, "_CPUINFO", cpuinfo)
        monkeypatch.setattr(hardware, "_NVIDIA_DRIVER", tmp_path if driver else tmp_path / "none")
        monkeypatch.setattr(hardware, "_NVIDIA_DEVICE", cpuinfo if device else tmp_path / "none")
        monkeypatch.setattr(hardware, "cores", lambda: 2)
        monkeypatch.setenv("PATH", str(tmp_path))
        for name in ("TF_ENABLE_ONEDNN_OPTS", "CUDA_VISIBLE_DEVICES"):
            monkeypatch.delenv(name, raising=False)

    return machine


def test_a_machine_without_a_gpu_is_described_by_its_cpu(machine, monkeypatch):
    machine()
    assert not hardware.has_nvidia_gpu()
    assert hardware.describe() == "Device: CPU, 2 cores, fast bfloat16"
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    assert hardware.describe() == "Device: CPU, 2 cores, oneDNN, fast bfloat16"
    monkeypatch.setattr(hardware, "_CPUINFO", Path("none"))
    monkeypatch.setattr(hardware, "cores", lambda: 1)
    assert hardware.describe() == "Device: CPU, 1 core, oneDNN"


def test_gpus_are_described_by_their_names(machine, gpus):
    machine(driver=True, device=True)
    gpus(("NVIDIA A100", (8, 0)), ("NVIDIA A100", (8, 0)))
    assert hardware.describe() == "Device: GPU, 2 x NVIDIA A100, fast bfloat16"
    gpus(("Tesla T4", (7, 5)))
    assert hardware.describe() == "Device: GPU, Tesla T4"


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (
            "I0000 dso_loader.cc:144] Could not load dynamic library 'libcudnn.so.9'; dlerror: libcudnn.so.9: cannot\n"
            "I0000 dso_loader.cc:144] Could not load dynamic library 'libcublas.so.12'; dlerror: libcublas.so.12: no\n"
            "I0000 dso_loader.cc:144] Could not load dynamic library 'libcudnn.so.9'; dlerror: libcudnn.so.9: cannot\n",
            "libcudnn.so.9, libcublas.so.12 cannot be loaded; pip install 'tfvoice[gpu]'",
        ),
        (
            "I0000 dso_loader.cc:144] Could not load dynamic library 'libcuda.so.1'; dlerror: libcuda.so.1: cannot\n"
            "E0000 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: UNKNOWN ERROR (303)\n",
            "INTERNAL: CUDA error: UNKNOWN ERROR (303); see whether nvidia-smi works",
        ),
        ("", "its log gives no reason; pip install 'tfvoice[gpu]'"),
    ],
)
def test_the_log_of_tensorflow_says_why_it_does_not_use_a_gpu(machine, monkeypatch, log, reason):
    machine(driver=True, device=True)
    monkeypatch.setattr(hardware, "_device_log", lambda: log)
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: True)
    assert hardware.describe() == f"Device: CPU, 2 cores, fast bfloat16{NOT_USED}{reason}"


def test_other_reasons_need_no_log(machine, monkeypatch):
    monkeypatch.setattr(hardware, "_device_log", lambda: pytest.fail("not needed"))
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: True)
    machine(driver=True)
    assert hardware.describe().endswith(
        f"{NOT_USED}there is no {hardware._NVIDIA_DEVICE}; a container needs --gpus=all"
    )
    machine(driver=True, device=True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert hardware.describe().endswith(f"{NOT_USED}CUDA_VISIBLE_DEVICES=-1 hides it; unset that variable")
    machine(driver=True, device=True)
    monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: False)
    expected = "this TensorFlow is built without CUDA; pip install 'tfvoice[gpu]'"
    assert hardware.describe().endswith(f"{NOT_USED}{expected}")


@pytest.mark.parametrize(("status", "present"), [(0, True), (9, False)])
def test_nvidia_smi_is_asked_where_there_is_no_file_of_the_driver(machine, tmp_path, status, present):
    machine()
    script = tmp_path / "nvidia-smi"
    script.write_text(f"#!/bin/sh\nexit {status}\n")
    script.chmod(0o755)
    assert hardware.has_nvidia_gpu() is present


# As much of the driver as TensorFlow asks before it looks for the CUDA libraries.
DRIVER = """
#include <string.h>
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { *version = 12050; return 0; }
int cuDeviceGetCount(int *count) { *count = 1; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Stub", length); return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { *value = attribute == 75 ? 9 : 0; return 0; }
int cuDeviceGetPCIBusId(char *id, int length, int device) { strncpy(id, "0000:00:00.0", length); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 1ul << 33; return 0; }
int cuGetErrorName(int error, const char **name) { *name = "error"; return 0; }
int cuGetErrorString(int error, const char **text) { *text = "error"; return 0; }
int nvmlInit_v2(void) { return 0; }
int nvmlShutdown(void) { return 0; }
"""


@pytest.mark.skipif(
    not shutil.which("cc") or bool(tf.config.list_physical_devices("GPU")) or not tf.test.is_built_with_cuda(),
    reason="needs a C compiler, and TensorFlow with CUDA on a machine without a GPU",
)
def test_a_missing_cuda_library_is_named(tmp_path, monkeypatch):
    (tmp_path / "driver.c").write_text(DRIVER)
    for library in ("libcuda.so.1", "libnvidia-ml.so.1"):
        subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / library, tmp_path / "driver.c"], check=True)
    for name in [name for name in os.environ if name.startswith(("TF_", "CUDA_"))]:
        monkeypatch.delenv(name)
    # For the process in which TensorFlow looks for the libraries once more, and logs it.
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    monkeypatch.setattr(hardware, "_NVIDIA_DRIVER", tmp_path)
    monkeypatch.setattr(hardware, "_NVIDIA_DEVICE", tmp_path)
    described = hardware.describe()
    if "libcudnn" not in described:
        pytest.skip(f"CUDA libraries are installed, or this TensorFlow asks more of a driver: {described}")
    assert NOT_USED in described and described.endswith("cannot be loaded; pip install 'tfvoice[gpu]'")
