"""The HTTP API: events, and the router of every domain under its label. Errors are problem+json (RFC 9457)."""

from __future__ import annotations

from ninja import NinjaAPI

from suite.domain import domains
from suite.events.api import router as events_router
from suite.problems import install_problem_handlers

api = NinjaAPI(title="Suite", version="1", urls_namespace="api", docs_url="docs", openapi_url="openapi.json")
install_problem_handlers(api)
api.add_router("events", events_router, tags=["events"])
for label, domain in domains().items():
    part = domain.part("api")
    if part is not None:
        api.add_router(label, part.router, tags=[label])
