"""Pages of the platform: the first page, the operator's figures, and errors that can be reported."""

from __future__ import annotations

import logging
import secrets
import sys
from typing import Any

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from suite.dashboard import decisions, figures
from suite.problems import Problem

log = logging.getLogger(__name__)


def home(request: HttpRequest) -> HttpResponse:
    return render(request, "home.html")


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the admin's first page shows above its list of tables; red figures first."""
    return context | {"figures": figures(), "decisions": decisions()}


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith("/api/"):
        return Problem(404, "Not found", "There is nothing at this address; /api/docs lists what there is.").response()
    return render(request, "404.html", status=404)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    response = render(request, "403_csrf.html", status=403)
    response["X-Error-Reason"] = "This page is too old to act on. Load it again."
    return response


def server_error(request: HttpRequest) -> HttpResponse:
    """An answer with an id that stands in the log beside the traceback, and nothing of the error itself."""
    error = sys.exc_info()[1]
    error_id = secrets.token_hex(4)
    log.error("error %s: %s at %s", error_id, type(error).__name__, request.path)
    is_database = isinstance(error, DatabaseError)
    status, title = (503, "The database cannot be used now") if is_database else (500, "Something went wrong here")
    if request.path.startswith("/api/"):
        detail = f"Quote {error_id} when you report it."
        response = Problem(status, title, detail, retry_after=2 if is_database else None, id=error_id).response()
    else:
        context = {"error_id": error_id, "title": title, "is_database": is_database}
        response = render(request, "500.html", context, status=status)
        if is_database:
            response["Retry-After"] = "2"
    response["X-Error-Id"] = error_id
    return response
