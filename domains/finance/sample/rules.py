"""What the sample's analysts watch: a rule of each kind."""

from __future__ import annotations

from typing import Any

from domains.finance.alerting import services
from domains.finance.models import AlertRule, WatchList

HOUR = 3_600
RULES: tuple[dict[str, Any], ...] = (
    {
        "name": "Unusual number of stories",
        "metric": "surge",
        "scope": "each_entity",
        "window_seconds": HOUR // 2,
        "threshold": 4.0,
        "clear_threshold": 2.0,
    },
    {
        "name": "Mostly bad news",
        "metric": "negative_share",
        "scope": "each_entity",
        "window_seconds": HOUR,
        "threshold": 0.7,
        "clear_threshold": 0.5,
        "min_stories": 5,
        "severity": "critical",
    },
    {
        "name": "Mood of a watch list",
        "metric": "mean_sentiment",
        "comparison": "below",
        "scope": "watch_list",
        "window_seconds": 6 * HOUR,
        "threshold": -0.4,
        "clear_threshold": -0.2,
        "for_seconds": 300,
        "min_stories": 4,
        "severity": "info",
    },
)


def write_rules() -> None:
    """Make the rules that do not exist; one that somebody changed stays as it is."""
    watch_list = WatchList.objects.order_by("id").first()
    for fields in RULES:
        if fields["scope"] == "watch_list" and watch_list is None:
            continue
        if not AlertRule.objects.filter(name=fields["name"]).exists():
            named = {"watch_list": watch_list} if fields["scope"] == "watch_list" else {}
            services.save_rule(fields | named, by="sample")
