"""Several sources as one: trained on together, held-out texts apart."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ldc.data.text.sources.base import TextSource, Unit


@dataclass(frozen=True)
class Mixture:
    """Sources by name.

    Args:
        parts: {name: source}; training reads them all, each as often as it has text.
        calibration: the part that calibration is drawn from; None draws from all.
    """

    parts: Mapping[str, TextSource]
    calibration: str | None = None

    @property
    def name(self) -> str:
        """The parts' names, joined by "+"."""
        return "+".join(part.name for part in self.parts.values())

    def check(self) -> None:
        """Raises ValueError when a part lacks its input, or calibration names none."""
        if not self.parts:
            raise ValueError("parts must name at least one source of text, but there is none.")
        if self.calibration is not None and self.calibration not in self.parts:
            raise ValueError(f"calibration must be one of {', '.join(self.parts)}, not {self.calibration!r}.")
        for part in self.parts.values():
            part.check()

    def units(self, cache: Path | None = None) -> list[Unit]:
        """Returns the units of all parts, named by the part."""
        self.check()
        return [replace(unit, name=name) for name, part in self.parts.items() for unit in part.units(cache)]
