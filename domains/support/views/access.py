"""Who may see and do what: agents by Django's permissions, customers by their token alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast

from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from suite.events.envelope import Rejected
from suite.events.ingestion import BacklogFull

View = Callable[..., HttpResponse]
READ, REPLY, WRITE = "support.view_conversation", "support.change_conversation", "support.change_answer"


def for_agents(permission: str = READ) -> Callable[[View], View]:
    """Sends who is not logged in to the log-in, and refuses who lacks the permission."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            if not request.user.is_authenticated:
                return to_log_in(request)
            if not request.user.has_perm(permission):
                raise PermissionDenied
            try:
                return view(request, *args, **kwargs)
            except Rejected as error:
                return refused(422, f"{error.field.removeprefix('data.')} {error.reason}")
            except BacklogFull:
                return refused(429, "Too much is waiting to be handled. Try again in a moment.")

        return guarded

    return decorate


def agent_of(request: HttpRequest) -> User:
    return cast(User, request.user)


def to_log_in(request: HttpRequest) -> HttpResponse:
    """The log-in page; a fragment cannot hold it, so htmx is told to load it as a page."""
    if request.headers.get("HX-Request"):
        address = redirect_to_login(request.headers.get("HX-Current-URL", reverse("support:desk")))["Location"]
        return HttpResponse(status=204, headers={"HX-Redirect": address})
    return redirect_to_login(request.get_full_path())


def refused(status: int, reason: str) -> HttpResponse:
    """An error whose reason `suite.js` shows."""
    response = HttpResponse(reason, status=status, content_type="text/plain; charset=utf-8")
    response["X-Error-Reason"] = reason.encode("ascii", "replace").decode()
    return response
