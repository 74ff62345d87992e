"""Costs of networks: parameters, tensors, MACs, latency."""

from ldc.profiling.counts import macs, params, tensors, to_meta
from ldc.profiling.latency import latency

__all__ = ["latency", "macs", "params", "tensors", "to_meta"]
