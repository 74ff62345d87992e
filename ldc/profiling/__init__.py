"""Costs of networks: parameters, tensors, MACs, latency; and what a machine gives."""

from ldc.profiling.counts import macs, params, tensors, text_encoder_macs, to_meta, vae_encoder_macs
from ldc.profiling.generation import GenerationProtocol, time_generation
from ldc.profiling.latency import latency
from ldc.profiling.machine import available_memory_gb, machine, matmul_rate, peak_memory_gb
from ldc.profiling.stopwatch import Spread, Stopwatch, spread

__all__ = [
    "GenerationProtocol",
    "Spread",
    "Stopwatch",
    "available_memory_gb",
    "latency",
    "machine",
    "macs",
    "matmul_rate",
    "params",
    "peak_memory_gb",
    "spread",
    "tensors",
    "text_encoder_macs",
    "time_generation",
    "to_meta",
    "vae_encoder_macs",
]
