"""What finance repeats in the background."""

from __future__ import annotations

from domains.finance.alerting import evaluation, notifications
from domains.finance.news import feeds
from suite.domain import Job

JOBS: dict[str, Job] = {
    "finance.alerts": Job(evaluation.evaluate_rules, every=2.0),
    "finance.notifications": Job(notifications.notify, every=2.0),
    "finance.feeds": Job(feeds.read_due, every=5.0),
}
