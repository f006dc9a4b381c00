"""The rows of finance: the news and what was read in it, and the alerts on it."""

from domains.finance.models.alerts import (
    Alert,
    AlertRule,
    Channel,
    DailyBaseline,
    Notification,
    RuleProgress,
    RuleState,
    Silence,
    Transition,
)
from domains.finance.models.news import (
    Alias,
    Article,
    Bucket,
    Entity,
    Mention,
    Revision,
    Score,
    Source,
    Story,
    Trace,
    WatchList,
)

__all__ = [
    "Alert",
    "AlertRule",
    "Alias",
    "Article",
    "Bucket",
    "Channel",
    "DailyBaseline",
    "Entity",
    "Mention",
    "Notification",
    "Revision",
    "RuleProgress",
    "RuleState",
    "Score",
    "Silence",
    "Source",
    "Story",
    "Trace",
    "Transition",
    "WatchList",
]
