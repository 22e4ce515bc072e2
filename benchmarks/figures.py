"""What the loads measured, and what is worked out from it."""

from __future__ import annotations

from statistics import median
from typing import Any

Figures = dict[str, Any]  # of one load in one round, as the load printed it
Results = dict[str, dict[str, list[Figures]]]  # by proxy and load, an item a round

QUIET = 0.07  # other programs may take so much of a core before the report says so


def rate(figures: Figures) -> float:
    return _count(figures) / float(figures["seconds"])


def cpu_us(figures: Figures) -> float:
    """CPU of the proxy for one event, or one JSON request."""
    return 1e6 * float(figures["proxy_cpu"]) / max(1, _count(figures))


def delay(figures: Figures) -> float:
    return float(figures["delay_us"]["p50"])


def others(rounds: list[Figures]) -> float:
    """The share of a core that other programs took."""
    return median(max(figures.get("others", {}).values(), default=0.0) for figures in rounds)


def behind(figures: Figures) -> bool:
    """Whether a paced load got fewer events than were offered."""
    return "offered" in figures and figures["events"] < 0.97 * figures["offered"]


def row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _count(figures: Figures) -> float:
    return float(figures["events"] if "events" in figures else figures["answers"])
