"""API keys: `Authorization: Bearer KEY`. A key is random, so its plain SHA-256 is what is stored.

Routers ask for one with `auth=ApiKeyAuth("recommend")`. Look-ups are remembered for `CACHE_SECONDS`, so that a key
costs nearly nothing; a key revoked in another process is refused that much later.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from datetime import timedelta

from django.db import DatabaseError
from django.db.models import Q
from django.http import HttpRequest
from django.utils import timezone
from ninja.security import HttpBearer

from suite.events.models import ApiKey
from suite.problems import Problem

CACHE_SECONDS = 5.0
CACHE_KEYS = 10_000  # a flood of wrong keys must not fill the memory
LAST_USE_SECONDS = 60  # how exact "last used" is

_known: dict[str, tuple[float, ApiKey | None]] = {}


class ApiKeyAuth(HttpBearer):
    """Admits requests whose key has the scope: 401 without a valid key, 403 without the scope."""

    def __init__(self, scope: str) -> None:
        if scope not in ApiKey.SCOPES:
            raise ValueError(f"no scope {scope!r}; scopes are {', '.join(ApiKey.SCOPES)}")
        super().__init__()
        self.scope = scope

    def authenticate(self, request: HttpRequest, token: str) -> ApiKey | None:
        key = valid_key(token)
        if key is not None and self.scope not in key.scopes:
            raise Problem(403, "This API key lacks a scope", f"It needs the scope '{self.scope}'.")
        return key


def create_key(name: str, scopes: list[str]) -> tuple[ApiKey, str]:
    """A new key, and its text, which is nowhere to be found afterwards.

    Raises `ValueError` for an unknown scope, none, or a name that is taken.
    """
    unknown = sorted(set(scopes) - set(ApiKey.SCOPES))
    if unknown or not scopes:
        raise ValueError(f"scopes must be some of {', '.join(ApiKey.SCOPES)}; not: {', '.join(unknown) or '(none)'}")
    if not 0 < len(name) <= 100:
        raise ValueError("the name must have 1 to 100 characters")
    if ApiKey.objects.filter(name=name).exists():
        raise ValueError(f"there is a key named {name!r} already; revoked keys keep their names, so choose another")
    key = ApiKey(name=name, scopes=sorted(set(scopes)))
    text = new_secret(key)
    key.save()
    return key, text


def new_secret(key: ApiKey) -> str:
    """Give a key that is not saved yet a new secret; returns its text."""
    text = f"suite_{secrets.token_urlsafe(32)}"
    key.hash, key.prefix = hash_of(text), text[: len("suite_") + 6]
    return text


def revoke_key(key: ApiKey) -> None:
    """Refuse the key from now on. Revoking twice changes nothing."""
    ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=timezone.now())
    _known.clear()


def hash_of(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def valid_key(text: str) -> ApiKey | None:
    """The key with this text, None where there is none or it is revoked."""
    digest = hash_of(text)
    now = time.monotonic()
    until, key = _known.get(digest, (0.0, None))
    if now > until:
        key = ApiKey.objects.filter(hash=digest, revoked_at=None).first()
        if len(_known) >= CACHE_KEYS:
            _known.clear()
        _known[digest] = (now + CACHE_SECONDS, key)
        if key is not None:
            _note_use(key)
    return key


def _note_use(key: ApiKey) -> None:
    now = timezone.now()
    if key.last_used_at and now - key.last_used_at < timedelta(seconds=LAST_USE_SECONDS):
        return
    stale = Q(last_used_at=None) | Q(last_used_at__lt=now - timedelta(seconds=LAST_USE_SECONDS))
    try:
        ApiKey.objects.filter(stale, pk=key.pk).update(last_used_at=now)
    except DatabaseError:  # a busy database must not refuse a good key
        return
