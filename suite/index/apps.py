from django.apps import AppConfig


class IndexConfig(AppConfig):
    name = "suite.index"
    label = "index"
    verbose_name = "Candidates"
    default_auto_field = "django.db.models.BigAutoField"
