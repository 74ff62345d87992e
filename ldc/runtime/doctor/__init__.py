"""Examines a run before it starts."""

from ldc.runtime.doctor.examination import examine

__all__ = ["examine"]
