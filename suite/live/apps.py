from django.apps import AppConfig


class LiveConfig(AppConfig):
    name = "suite.live"
    label = "live"
    verbose_name = "Live pages"
    default_auto_field = "django.db.models.BigAutoField"
