"""Every address: pages of the domains under their label, the API under /api/, the admin, metrics and health."""

from importlib import import_module

from django.contrib import admin
from django.urls import include, path

from suite.api import api
from suite.domain import domains
from suite.events import health
from suite.views import home

urlpatterns = [
    path("", home, name="home"),
    path("admin/", admin.site.urls),
    path("api/", api.urls),
    path("metrics", health.metrics, name="metrics"),
    path("health/live", health.live, name="health-live"),
    path("health/ready", health.ready, name="health-ready"),
    *(
        path(f"{label}/", include((import_module(f"domains.{label}.urls"), label)))
        for label, domain in domains().items()
        if domain.part("urls")
    ),
]
handler404 = "suite.views.page_not_found"
handler500 = "suite.views.server_error"
