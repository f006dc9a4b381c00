"""System checks with stable ids. They also run when a worker starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, register

from suite.domain import DomainError, domains, event_types


@register
def check_domains(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """suite.E001: every folder under `domains/` keeps the contract."""
    try:
        domains()
        event_types()
    except DomainError as error:
        return [Error(str(error), id="suite.E001")]
    return []
