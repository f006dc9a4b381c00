"""Who chats: the bearer of a signed token that names one conversation. No account, no cookie, nothing stored.

The token stands in the page's address, so the page works in a frame of another site, where browsers keep cookies back.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import secrets
import time

from django.conf import settings
from django.core import signing
from django.core.cache import cache
from redis.exceptions import RedisError

log = logging.getLogger(__name__)

SALT = "support.visitor"
TOKEN_SECONDS = 30 * 86_400
HOUR = 3_600  # seconds in which the conversations that one address begins are counted


class NotAVisitor(Exception):
    """The token is not ours, was changed, or is older than thirty days."""


def new_conversation_key() -> str:
    return f"web-{secrets.token_hex(12)}"


def seconds_to_wait(address: str) -> int:
    """Count one more conversation that an address begins; 0, or the seconds until it may, where it began as many as
    it may in this hour. What is counted is a digest that nobody can turn back into the address without our key.

    Where the count cannot be had nobody is turned away.
    """
    now = int(time.time())
    secret = f"{settings.SECRET_KEY} {SALT}".encode()
    digest = hashlib.blake2b(neighbourhood(address).encode(), key=hashlib.sha256(secret).digest(), digest_size=12)
    name = f"{SALT}.starts.{now // HOUR}.{digest.hexdigest()}"
    try:
        cache.add(name, 0, HOUR)
        count = cache.incr(name)
    except (RedisError, ValueError) as error:  # ValueError: it was thrown out between the two
        log.warning("new conversations are not counted (%s)", type(error).__name__)
        return 0
    return HOUR - now % HOUR if 0 < settings.STARTS_AN_HOUR < count else 0


def neighbourhood(address: str) -> str:
    """What counts as one address: of IPv6 the first 64 bits, which one household has for itself."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ip.version == 6 else str(ip)


def visitor_token(conversation_key: str) -> str:
    return signing.dumps(conversation_key, salt=SALT)


def conversation_key_of(token: str) -> str:
    """Raises `NotAVisitor`."""
    try:
        return signing.loads(token, salt=SALT, max_age=TOKEN_SECONDS)
    except signing.BadSignature as error:
        raise NotAVisitor from error
