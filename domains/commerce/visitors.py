"""Who looks at the storefront: the session of a signed cookie, or a user that was chosen to look as.

Nothing is stored for a visitor who only looks: the cookie is the session, and the session's interactions are its rows.
Looking as a user shows what that user did, so it is open to staff, and to everybody where `settings.IS_DEMO` is on.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, replace

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from domains.commerce.models import Catalogue, Interaction
from domains.commerce.selectors import Person

COOKIE, SALT = "storefront", "commerce.visitor"
COOKIE_SECONDS = 180 * 86_400
RECENT_INTERACTIONS = 2_000  # newest ones in which users to look as are found
MAX_USERS = 12


@dataclass(frozen=True, slots=True)
class Visitor:
    session_key: str
    user_key: str = ""  # looked as; empty for the session itself

    @property
    def person(self) -> Person:
        return Person(self.user_key) if self.user_key else Person(self.session_key, is_session=True)


def visitor_of(request: HttpRequest) -> Visitor:
    """From the cookie and `?user=`; a cookie that is missing or was tampered with begins a new session."""
    stored = request.get_signed_cookie(COOKIE, default="", salt=SALT, max_age=COOKIE_SECONDS)
    session_key, user_key = json.loads(stored) if stored else (f"web-{secrets.token_hex(12)}", "")
    visitor = Visitor(session_key, user_key if user_key and may_choose(request) else "")
    if "user" in request.GET and may_choose(request):
        visitor = replace(visitor, user_key=storable(request.GET["user"]))
    return visitor


def remember(response: HttpResponse, visitor: Visitor) -> None:
    response.set_signed_cookie(
        COOKIE,
        json.dumps([visitor.session_key, visitor.user_key]),
        salt=SALT,
        max_age=COOKIE_SECONDS,
        httponly=True,
        samesite="Lax",
        secure=settings.IS_HTTPS,
    )


def may_choose(request: HttpRequest) -> bool:
    return settings.IS_DEMO or request.user.is_staff


def storable(user_key: str) -> str:
    """A user's id as rows hold it: without NUL and lone surrogates, at most 200 characters."""
    return user_key.replace("\0", "").encode("utf-8", "ignore").decode().strip()[:200]


def users_to_choose(catalogue: Catalogue) -> list[str]:
    """Users who did something lately, by name."""
    newest = Interaction.objects.filter(catalogue=catalogue).order_by("-event_id")
    keys = newest.values_list("user_key", flat=True)[:RECENT_INTERACTIONS]
    return sorted([key for key in dict.fromkeys(keys) if key][:MAX_USERS])
