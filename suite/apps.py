"""The platform's own app: commands and system checks."""

from django.apps import AppConfig


class SuiteConfig(AppConfig):
    name = "suite"
    label = "suite"
    verbose_name = "Suite"

    def ready(self) -> None:
        from suite import checks  # noqa: F401  registers the system checks
