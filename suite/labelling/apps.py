from django.apps import AppConfig


class LabellingConfig(AppConfig):
    name = "suite.labelling"
    label = "labelling"
    verbose_name = "Labelling"
    default_auto_field = "django.db.models.BigAutoField"
