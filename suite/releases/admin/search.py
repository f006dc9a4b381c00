"""The trials of a search, on the page of its run."""

from __future__ import annotations

import json
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from suite.releases.models import TrainingRun


def searched(run: TrainingRun) -> SafeString | str:
    """The best configuration, and a row for each trial; empty where there are none."""
    if not run.trials:
        return ""
    best = run.best_trial
    names = list(run.trials[0]["values"])
    heads = ("trial", "state", "best mean", *(name.replace("_", " ") for name in names))
    failed = ((trial["number"], trial["message"]) for trial in run.trials if trial["message"])
    rows = ((row(trial, names, is_best=trial is best),) for trial in run.trials)
    return format_html(
        '{}<div class="overflow-x-auto"><table><tr>{}</tr>{}</table></div>{}',
        format_html("<p>Best settings: <code>{}</code></p>", json.dumps(run.best_config)) if best else "",
        format_html_join("", '<th class="pr-3 text-left">{}</th>', ((head,) for head in heads)),
        format_html_join("", "{}", rows),
        format_html_join("", "<p>Trial {} failed: {}</p>", failed),
    )


def row(trial: dict[str, Any], names: list[str], *, is_best: bool) -> SafeString:
    mean = f"{max(trial['means']):.4f}" if trial["means"] else "-"
    cells = (
        trial["number"],
        "best" if is_best else trial["state"],
        mean,
        *(f"{trial['values'][name]:.3g}" for name in names),
    )
    return format_html(
        '<tr class="{}">{}</tr>',
        "font-semibold text-primary-600 dark:text-primary-500" if is_best else "",
        format_html_join("", '<td class="pr-3">{}</td>', ((cell,) for cell in cells)),
    )
