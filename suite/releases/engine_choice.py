"""Which engine runs a release on which machine, with the figures that decided: `engines.json` in the release's folder.

It is no part of the fingerprint: all engines that are chosen give the same vectors, nearly. No torch in here.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FILE = "engines.json"


@dataclass(frozen=True, slots=True)
class Measured:
    """One engine on one machine. `refused` says why it may not serve; empty where it may."""

    engine: str
    texts_a_second: float = 0.0
    mean_cosine: float = 0.0  # to the exact vectors
    min_cosine: float = 0.0
    worst_loss: float = 0.0  # of a head's primary metric, against the exact vectors
    refused: str = ""

    @property
    def verdict(self) -> str:
        if self.refused:
            return f"refused, {self.refused}"
        return f"{self.texts_a_second:,.0f} texts/s, cosine to the exact vectors {self.mean_cosine:.5f}"


@dataclass(frozen=True, slots=True)
class Choice:
    engine: str
    measured_at: str  # ISO 8601
    table: tuple[Measured, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def read(folder: Path) -> dict[str, Choice]:
    """{machine: its choice}; empty where nothing was measured, or what was noted cannot be read."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        stored = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return {
            machine: Choice(
                entry["engine"], entry["measured_at"], tuple(Measured(**measured) for measured in entry["table"])
            )
            for machine, entry in stored.items()
        }
    return {}


def note(folder: Path, machine: str, choice: Choice) -> None:
    """Add the choice of one machine. Raises `OSError`."""
    choices: Mapping[str, Choice] = read(folder) | {machine: choice}
    place = folder / f".{FILE}.{secrets.token_hex(4)}"
    place.write_text(json.dumps({name: one.as_dict() for name, one in choices.items()}, indent=2), encoding="utf-8")
    os.replace(place, folder / FILE)  # noqa: PTH105
