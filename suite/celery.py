"""The Celery application. Its tasks stand in `workers/`; its messages only say "look now"."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "suite.settings")

app = Celery("suite")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.imports = ("workers.events", "workers.indexing", "workers.interactive", "workers.jobs", "workers.train")
