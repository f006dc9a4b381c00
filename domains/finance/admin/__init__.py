"""Finance in the admin."""

from domains.finance.admin import alerts, news

__all__ = ["alerts", "news"]
