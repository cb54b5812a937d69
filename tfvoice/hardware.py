"""The hardware of this machine: CPU cores, fast bfloat16, and the device that TensorFlow runs on."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

# CPU flags of bfloat16 products as Linux names them: x86 from Zen 4 and Cooper Lake on, and ARM.
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
_CPUINFO = Path("/proc/cpuinfo")
# Ampere, the first NVIDIA generation with bfloat16 tensor cores.
_BFLOAT16_CAPABILITY = (8, 0)

# The kernel module of the driver, which every container sees, and the first GPU, which needs --gpus=all.
_NVIDIA_DRIVER = Path("/proc/driver/nvidia")
_NVIDIA_DEVICE = Path("/dev/nvidia0")
_INSTALL = "pip install 'tfvoice[gpu]'"
_MISSING_LIBRARY = re.compile(r"Could not load dynamic library '([^']+)'")
_CUDA_FAILURE = re.compile(r"failed call to cuInit: (.*)")


def cores() -> int:
    """Number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def has_fast_bfloat16() -> bool:
    """Whether matrix products in bfloat16 are faster than in float32: on the GPUs if there are any, else on the CPU.

    Without instructions for it they are many times slower, so an unknown CPU counts as one that has none.
    """
    # Imported here because commands ask for `cores` before they load TensorFlow.
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capabilities = [_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus]
        return min(capabilities) >= _BFLOAT16_CAPABILITY
    if not _CPUINFO.is_file():
        return False
    lines = [line for line in _CPUINFO.read_text().splitlines() if line.startswith(("flags", "Features"))]
    return bool(lines) and bool(_BFLOAT16_FLAGS & set(lines[0].split()))


def has_nvidia_gpu() -> bool:
    """Whether the NVIDIA driver reports a GPU; TensorFlow is not asked."""
    if _NVIDIA_DRIVER.exists() or _NVIDIA_DEVICE.exists():
        return True
    # Under WSL there is neither path, but this program.
    if not shutil.which("nvidia-smi"):
        return False
    try:
        return subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def describe() -> str:
    """Describes in one line the device that TensorFlow runs on, and why it is no GPU where the machine has one.

    Returns:
      Such as `Device: CPU, 2 cores, oneDNN, fast bfloat16` or `Device: GPU, 2 x NVIDIA A100-SXM4-40GB, fast bfloat16`.
    """
    import tensorflow as tf

    fast = ["fast bfloat16"] if has_fast_bfloat16() else []
    if gpus := tf.config.list_physical_devices("GPU"):
        names = Counter(_details(gpu).get("device_name", "unknown model") for gpu in gpus)
        models = [f"{count} x {name}" if count > 1 else name for name, count in names.items()]
        return f"Device: {', '.join(['GPU', *models, *fast])}"
    count = cores()
    onednn = ["oneDNN"] if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "1" else []
    line = f"Device: {', '.join(['CPU', f'{count} core' + 's' * (count != 1), *onednn, *fast])}"
    if has_nvidia_gpu():
        line += f"; an NVIDIA GPU is present but TensorFlow cannot use it: {_reason_without_gpu()}"
    return line


def _details(gpu) -> dict:
    import tensorflow as tf

    return tf.config.experimental.get_device_details(gpu)


def _reason_without_gpu() -> str:
    """Why TensorFlow lists no GPU, and what to do about it."""
    import tensorflow as tf

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1"):
        return f"CUDA_VISIBLE_DEVICES={visible} hides it; unset that variable"
    if not tf.test.is_built_with_cuda():
        return f"this TensorFlow is built without CUDA; {_INSTALL}"
    if _NVIDIA_DRIVER.exists() and not _NVIDIA_DEVICE.exists():
        return f"there is no {_NVIDIA_DEVICE}; a container needs --gpus=all"
    log = _device_log()
    if libraries := [name for name in dict.fromkeys(_MISSING_LIBRARY.findall(log)) if name != "libcuda.so.1"]:
        return f"{', '.join(libraries)} cannot be loaded; {_INSTALL}"
    if failure := _CUDA_FAILURE.search(log):
        return f"{failure[1].strip()}; see whether nvidia-smi works"
    return f"its log gives no reason; {_INSTALL}"


def _device_log() -> str:
    """What TensorFlow logs while it looks for GPUs, the CUDA libraries that it cannot load included.

    It names them only at a verbosity that is fixed once it is loaded, hence in a process of its own (3 s).
    """
    verbose = {"TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_VMODULE": "dso_loader=1"}
    code = "import tensorflow as tf; tf.config.list_physical_devices()"
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | verbose, capture_output=True, text=True, errors="replace", timeout=60, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stderr
