"""What is not there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Missing:
    """Why a part of the evidence is not there.

    ``settled``: waiting will not bring it (the files are complete, and not about this run).
    """

    reason: str
    settled: bool = False
