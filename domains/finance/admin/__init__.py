"""Finance in the admin."""

from domains.finance.admin import alerts

__all__ = ["alerts"]
