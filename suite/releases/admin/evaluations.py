"""How good a release is, on its page: each head beside its rivals, what it confuses, and how far its words are to be
trusted. Reads what `suite.releases.comparison` stored."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.template.loader import render_to_string
from django.utils.safestring import SafeString

MOST_CLASSES = 12  # of a table of confusions; of more classes the pairs that are confused most are listed
MOST_PAIRS = 15


def evaluation_of(release: Any) -> SafeString | str:
    """All heads and tasks of a release, or why there is nothing to show."""
    shown = [section(name, entry, release) for name, entry in release.evaluation.items()]
    if not shown:
        return "not measured: it was made before releases were"
    return render_to_string("releases/_evaluation.html", {"sections": shown})


def section(name: str, entry: Mapping[str, Any], release: Any) -> dict[str, Any]:
    return {
        "name": name,
        "metric": entry["metric"].replace("_", " "),
        "examples": entry["examples"],
        "rows": list(rows_of(entry, release)),
        "ece": entry.get("ece"),
        "temperature": entry.get("temperature"),
        "spread": entry.get("spread"),
        "confusion": confusion_of(entry) if "confusion" in entry else None,
        "diagrams": [diagram(stage, entry) for stage in ("before", "after")] if "reliability" in entry else [],
    }


def rows_of(entry: Mapping[str, Any], release: Any) -> Iterator[dict[str, Any]]:
    yield {"name": "this release", "value": entry["value"], "interval": entry["interval"], "is_own": True}
    for name, rival in entry["rivals"].items():
        low, high = rival["lead"]
        yield rival | {
            "name": f"active then, {release.compared_with[:8]}" if name == "active" else name.replace("_", " "),
            "verdict": "worse" if high < 0 else "better" if low > 0 else "within noise",
        }


def confusion_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A table of few classes, a list of many; shares are of the true class."""
    labels, counts = entry["labels"], entry["confusion"]
    totals = [sum(row) or 1 for row in counts]
    if len(labels) > MOST_CLASSES:
        pairs = [
            {"true": labels[row], "predicted": labels[column], "count": counts[row][column],
             "percent": round(100 * counts[row][column] / totals[row])}
            for row in range(len(labels)) for column in range(len(labels)) if row != column and counts[row][column]
        ]  # fmt: skip
        return {"classes": len(labels), "pairs": sorted(pairs, key=lambda one: -one["count"])[:MOST_PAIRS]}
    rows = [
        {"label": label, "cells": [
            {"count": count, "percent": round(100 * count / total), "is_right": column == row}
            for column, count in enumerate(counts[row])
        ]}
        for row, (label, total) in enumerate(zip(labels, totals, strict=True))
    ]  # fmt: skip
    return {"labels": labels, "rows": rows}


def diagram(stage: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The points of a reliability diagram, in a square of 100 by 100 whose origin is above on the left."""
    points = [
        {"x": round(100 * sure, 1), "y": round(100 * (1 - right), 1), "sure": sure, "right": right, "count": int(count),
         "radius": round(1 + 4 * (count / entry["examples"]) ** 0.5, 1)}
        for sure, right, count in entry["reliability"][stage]
    ]  # fmt: skip
    return {
        "stage": stage,
        "ece": entry["ece"][stage],
        "points": points,
        "line": " ".join(f"{one['x']},{one['y']}" for one in points),
    }
