"""What the processor is good at."""

import os
from pathlib import Path

# Instructions for products of bfloat16, as Linux calls them: x86 from Zen 4 and Cooper Lake on, and ARM.
_INSTRUCTIONS = {"avx512_bf16", "amx_bf16", "bf16"}
_CPUS = Path("/proc/cpuinfo")
# The first of NVIDIA's generations that multiplies it: Ampere.
_GENERATION = (8, 0)


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def multiplies_bfloat16() -> bool:
    """Whether products in bfloat16 are faster than in float32 here: on the GPU if there is one, else on the processor.

    Where there are no instructions for it, they are many times slower. Unknown processors are taken for such.
    """
    # Not above: commands ask for `cores` before there is TensorFlow.
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        known = [tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) for gpu in gpus]
        return min(known) >= _GENERATION
    if not _CPUS.is_file():
        return False
    lines = [line for line in _CPUS.read_text().splitlines() if line.startswith(("flags", "Features"))]
    return bool(lines) and bool(_INSTRUCTIONS & set(lines[0].split()))
