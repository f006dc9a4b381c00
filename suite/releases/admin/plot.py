"""All releases on one plot: how good they are in a head against texts a second, and how much space they take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from typing import Any

from django.urls import reverse

from suite.releases import engine_choice
from suite.releases.engine_choice import Choice, Measured
from suite.releases.models import Release

MOST = 50  # releases, the newest


def plot_of(releases: Iterable[Release]) -> dict[str, Any]:
    """{"heads", "machine", "rows"}; a row has "values", one a head. Rates are those of one machine, on which most of
    them were measured, so that they can be compared."""
    shown = list(islice(releases, MOST))
    choices = {release.pk: engine_choice.read(release.folder) for release in shown}
    machines = Counter(machine for found in choices.values() for machine, choice in found.items() if measured(choice))
    machine = machines.most_common(1)[0][0] if machines else ""
    counts = Counter(name for release in shown for name in release.evaluation)
    heads = sorted(counts, key=lambda name: (-counts[name], name))  # first what most can be compared by
    return {
        "heads": [{"name": name, "metric": metric_of(shown, name)} for name in heads],
        "machine": machine,
        "rows": [row(release, choices[release.pk].get(machine), heads) for release in shown],
    }


def metric_of(releases: Iterable[Release], head: str) -> str:
    return next(one.evaluation[head]["metric"] for one in releases if head in one.evaluation).replace("_", " ")


def row(release: Release, choice: Choice | None, heads: list[str]) -> dict[str, Any]:
    chosen = measured(choice)
    return {
        "name": str(release),
        "url": reverse("admin:releases_release_change", args=[release.pk]),
        "state": release.state,
        "made": release.message.split("\n")[0] if release.message.startswith("compressed") else release.body,
        "engine": chosen.engine if chosen else "",
        "rate": chosen.texts_a_second if chosen else None,
        "megabytes": round(release.megabytes, 1),
        "values": [release.evaluation.get(head, {}).get("value") for head in heads],
    }


def measured(choice: Choice | None) -> Measured | None:
    """The row of the engine that was chosen."""
    return next((one for one in choice.table if one.engine == choice.engine), None) if choice else None
