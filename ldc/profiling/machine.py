"""What a measurement ran on: the machine, its load, the memory taken, and how fast it multiplies."""

import os
import platform
import re
import resource
import sys
from pathlib import Path
from typing import Any

import torch

from ldc.profiling.stopwatch import Stopwatch, spread

GB = 2**30
_MEMINFO, _CPUINFO = Path("/proc/meminfo"), Path("/proc/cpuinfo")


def machine() -> dict[str, Any]:
    """Returns {"cpu", "cores", "threads", "load", "gpu"}; `load` above the threads in use means a contended machine."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _cpu(),
        "cores": usable,
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _cpu() -> str:
    if not _CPUINFO.is_file():
        return platform.processor() or platform.machine()
    names = re.findall(r"^model name\s*: (.+)$", _CPUINFO.read_text(), re.MULTILINE)
    return names[0] if names else platform.machine()


def peak_memory_gb(device: str | torch.device = "cpu") -> float:
    """Returns the highest memory so far in GiB.

    On the CPU it is the process's resident set (libraries, code and page-cached files that are mapped included), over
    its whole life; on CUDA what torch has allocated, since `torch.cuda.reset_peak_memory_stats`.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated() / GB
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GB


def available_memory_gb() -> float | None:
    """Returns the host's memory that can be taken without swapping, in GiB; None where the system does not say."""
    if not _MEMINFO.is_file():
        return None
    lines = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) * 1024 / GB


@torch.no_grad()
def matmul_rate(
    device: str | torch.device, dtype: torch.dtype = torch.bfloat16, size: int = 8192, repeats: int = 10
) -> float:
    """Returns the FLOP/s of a product of two square matrices, (size, size): the median of `repeats`, after two more."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    watch = Stopwatch(device)
    for _ in range(repeats + 2):
        watch.start()
        a @ b
        watch.stop()
    return 2 * size**3 / spread(watch.laps()[2:]).median
