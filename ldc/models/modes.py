"""Modes of a model for the time of a call."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Switches dropout off for the time of a measurement."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
