"""Who chats: the bearer of a signed token that names one conversation. No account, no cookie, nothing stored.

The token stands in the page's address, so the page works in a frame of another site, where browsers keep cookies back.
"""

from __future__ import annotations

import secrets

from django.core import signing

SALT = "support.visitor"
TOKEN_SECONDS = 30 * 86_400


class NotAVisitor(Exception):
    """The token is not ours, was changed, or is older than thirty days."""


def new_conversation_key() -> str:
    return f"web-{secrets.token_hex(12)}"


def visitor_token(conversation_key: str) -> str:
    return signing.dumps(conversation_key, salt=SALT)


def conversation_key_of(token: str) -> str:
    """Raises `NotAVisitor`."""
    try:
        return signing.loads(token, salt=SALT, max_age=TOKEN_SECONDS)
    except signing.BadSignature as error:
        raise NotAVisitor from error
