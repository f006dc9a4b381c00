"""Who looks at the pages, who may decide, and under what name a decision stands.

Somebody logged in acts as themselves, with the permissions of Django's admin. Where `settings.IS_DEMO` is on, everybody
may look and decide, under a name of their own choice (`?analyst=`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse

COOKIE, SALT = "analyst", "finance.analyst"
COOKIE_SECONDS = 180 * 86_400
UNNAMED = "analyst"
MAX_NAME = 60
View = Callable[..., HttpResponse]


@dataclass(frozen=True, slots=True)
class Analyst:
    name: str
    may_look: bool
    may_decide: bool  # acknowledge and silence alerts
    may_rule: bool  # write rules
    is_chosen: bool = False  # a name of the demo, not of somebody logged in


def analyst_of(request: HttpRequest) -> Analyst:
    user = request.user
    if user.is_authenticated:
        has_perm = user.has_perm
        return Analyst(
            user.get_username(),
            settings.IS_DEMO or has_perm("finance.view_alert"),
            settings.IS_DEMO or has_perm("finance.change_alert"),
            settings.IS_DEMO or has_perm("finance.change_alertrule"),
        )
    asked = "".join(letter for letter in request.GET.get("analyst", "") if letter.isprintable()).strip()[:MAX_NAME]
    name = asked or request.get_signed_cookie(COOKIE, default="", salt=SALT, max_age=COOKIE_SECONDS) or UNNAMED
    return Analyst(name, settings.IS_DEMO, settings.IS_DEMO, settings.IS_DEMO, is_chosen=True)


def for_analysts(permission: str = "may_look") -> Callable[[View], View]:
    """Lets a view run where the analyst has the permission: others are sent to log in, or refused where they have."""

    def decorate(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            analyst = analyst_of(request)
            if not getattr(analyst, permission):
                if request.user.is_authenticated:
                    raise PermissionDenied
                return to_log_in(request)
            request.analyst = analyst  # type: ignore[attr-defined]
            response = view(request, *args, **kwargs)
            if analyst.is_chosen and "analyst" in request.GET:
                remember(response, analyst)
            return response

        return guarded

    return decorate


def to_log_in(request: HttpRequest) -> HttpResponse:
    """The log-in page; a fragment cannot hold it, so htmx is told to load it as a page."""
    if request.headers.get("HX-Request"):
        address = redirect_to_login(request.headers.get("HX-Current-URL", "/finance/"))["Location"]
        return HttpResponse(status=204, headers={"HX-Redirect": address})
    return redirect_to_login(request.get_full_path())


def remember(response: HttpResponse, analyst: Analyst) -> None:
    response.set_signed_cookie(
        COOKIE,
        analyst.name,
        salt=SALT,
        max_age=COOKIE_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=settings.IS_HTTPS,
    )
