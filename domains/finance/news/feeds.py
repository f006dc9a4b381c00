"""Reading feeds: RSS and Atom by feedparser, on a schedule, politely, and with limits on all that a feed may do to us.

An entry becomes a `finance.article.published` event like any other, so a feed that is read again only finds duplicates;
an entry whose text changed is a newer event about the same article.
"""

from __future__ import annotations

import calendar
import hashlib
import io
import logging
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin

import feedparser
from django.db.models import Q
from django.utils import timezone

from domains.finance.models import Source
from domains.finance.news.text import plain_text
from suite.events.ingestion import ingest
from suite.events.models import PendingEvent
from suite.outbound import Answer, BadAddress, NoAnswer, request

log = logging.getLogger(__name__)
AT_ONCE = 8  # feeds that are fetched side by side
SECONDS = 8.0  # for one request
MOST_BYTES = 5 * 2**20  # of a feed, unpacked
MOST_ENTRIES = 500  # of one reading, in the feed's order
MOST_REDIRECTS = 5
LONGEST_PAUSE = timedelta(days=1)
SHORTEST_PAUSE = timedelta(seconds=30)
REDIRECTS, FOR_EVER = {301, 302, 303, 307, 308}, {301, 308}
ACCEPT = "application/atom+xml, application/rss+xml, application/xml;q=0.9, text/xml;q=0.8, */*;q=0.1"


class FeedError(Exception):
    """The feed could not be read this time; the text says why. `wait` is what it asked for."""

    def __init__(self, reason: str, *, wait: timedelta | None = None, is_gone: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.is_gone = is_gone


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a feed answered: its events (none where nothing changed), and what to send with the next request."""

    events: list[dict[str, Any]]
    etag: str
    last_modified: str
    moved_to: str = ""
    is_unchanged: bool = False


def read_due() -> None:
    """Read every feed whose turn has come. What goes wrong with one is kept with it, and stops no other."""
    now = timezone.now()
    due = Source.objects.filter(Q(next_fetch_at=None) | Q(next_fetch_at__lte=now), is_feed=True, is_enabled=True)
    sources = list(due.order_by("next_fetch_at", "id")[: 4 * AT_ONCE])
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="feeds") as threads:
        for source, found in zip(sources, threads.map(attempt, sources), strict=True):
            note(source, found)


def attempt(source: Source) -> Fetched | FeedError:
    try:
        return fetch(source, timezone.now())
    except FeedError as error:
        return error
    except Exception as error:  # whatever the parser raises on what somebody else wrote
        log.warning("feed %s could not be read (%s)", source.pk, type(error).__name__)
        return FeedError(f"cannot be read ({type(error).__name__})")


def note(source: Source, found: Fetched | FeedError) -> None:
    """Take the events in, and write down how it went and when the next turn is."""
    now = timezone.now()
    every = max(timedelta(seconds=source.every_seconds), SHORTEST_PAUSE)
    row = Source.objects.filter(pk=source.pk)
    if isinstance(found, FeedError):
        pause = max(found.wait or min(every * 2 ** min(source.failures, 12), LONGEST_PAUSE), SHORTEST_PAUSE)
        gone = {"is_enabled": False} if found.is_gone else {}  # else as it is: somebody may have switched it off
        row.update(
            fetched_at=now,
            next_fetch_at=now + pause,
            failures=source.failures + 1,
            last_error=str(found)[:500],
            **gone,
        )
        return
    results = ingest(found.events, priority=PendingEvent.INTERACTIVE) if found.events else []
    accepted = sum(result.status == "accepted" for result in results)
    rejected = [result for result in results if result.status == "rejected"]
    report = "nothing new" if found.is_unchanged or not accepted else f"{accepted} new of {len(results)} entries"
    if rejected:
        report += f", {len(rejected)} not taken: {rejected[0].field} {rejected[0].reason}"
    row.update(
        fetched_at=now,
        next_fetch_at=now + every,
        failures=0,
        last_error="",
        last_report=report[:200],
        etag=found.etag,
        last_modified=found.last_modified,
        **({"url": found.moved_to} if found.moved_to else {}),
    )


# One feed ----------------------------------------------------------------------------------------------------
def fetch(source: Source, now: datetime) -> Fetched:
    """Ask for what changed since the last time. Raises `FeedError`."""
    headers = {"Accept": ACCEPT, "Accept-Encoding": "gzip"}
    if source.etag:
        headers["If-None-Match"] = source.etag
    if source.last_modified:
        headers["If-Modified-Since"] = source.last_modified
    answer, url, moved_to = follow(source.url, headers)
    if answer.status == 304:
        return Fetched([], source.etag, source.last_modified, moved_to, is_unchanged=True)
    if answer.status in (404, 410):
        raise FeedError(f"answers {answer.status}: there is no feed at this address", is_gone=answer.status == 410)
    if answer.status != 200:
        raise FeedError(f"answers {answer.status}", wait=asked_to_wait(answer.headers, now))
    parsed = feedparser.parse(
        io.BytesIO(unpacked(answer)),
        response_headers={"content-type": answer.headers.get("content-type", ""), "content-location": url},
    )
    if not parsed.entries and (parsed.bozo or not parsed.get("version")):
        raise FeedError("is no RSS or Atom feed")
    events = list(entry_events(source, parsed, url, now))
    etag, last_modified = answer.headers.get("etag", ""), answer.headers.get("last-modified", "")
    return Fetched(events, etag[:500], last_modified[:100], moved_to)


def follow(url: str, headers: Mapping[str, str]) -> tuple[Answer, str, str]:
    """(answer, the address it came from, the address that it has for ever or nothing). Every address is checked by
    `suite.outbound`. Raises `FeedError`."""
    moved_to, is_permanent = "", True
    for _ in range(MOST_REDIRECTS + 1):
        try:
            answer = request("GET", url, headers=headers, seconds=SECONDS, limit=MOST_BYTES)
        except BadAddress as error:
            raise FeedError(f"may not be asked: {error}") from error
        except NoAnswer as error:
            raise FeedError(f"gave no answer: {error}") from error
        location = answer.headers.get("location", "")
        if answer.status not in REDIRECTS or not location:
            return answer, url, moved_to
        url = urljoin(url, location)
        is_permanent = is_permanent and answer.status in FOR_EVER
        moved_to = url if is_permanent and len(url) <= 1_000 else moved_to
    raise FeedError(f"was redirected more than {MOST_REDIRECTS} times")


def unpacked(answer: Answer) -> bytes:
    """The feed's bytes, at most MOST_BYTES. Raises `FeedError`."""
    packing = answer.headers.get("content-encoding", "").lower()
    if packing in ("", "identity"):
        return answer.body
    if packing not in ("gzip", "x-gzip"):
        raise FeedError("is packed in a way that was not asked for")
    unpack = zlib.decompressobj(wbits=31)
    try:
        body = unpack.decompress(answer.body, MOST_BYTES + 1)
    except zlib.error as error:
        raise FeedError("is broken gzip") from error
    if len(body) > MOST_BYTES:
        raise FeedError(f"is longer than {MOST_BYTES:,} bytes when it is unpacked")
    return body


def asked_to_wait(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """What `Retry-After` asks for, up to a day."""
    value = headers.get("retry-after", "").strip()
    try:
        wait = timedelta(seconds=int(value)) if value.isdigit() else parsedate_to_datetime(value) - now
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(wait, timedelta(0)), LONGEST_PAUSE)


# Its entries -------------------------------------------------------------------------------------------------
def entry_events(source: Source, parsed: Any, url: str, now: datetime) -> Iterator[dict[str, Any]]:
    language = source.language or str(parsed.feed.get("language", ""))[:20]
    for entry in parsed.entries[:MOST_ENTRIES]:
        title = plain_text(str(entry.get("title", "")))[:500]
        link = urljoin(url, str(entry.get("link", "")))
        name = str(entry.get("id") or link or title)
        if not title or not name:
            continue
        data = {
            "article_id": f"{source.name[:60]} {digest(name)}",
            "title": title,
            "body": body_of(entry),
            "url": link if link.startswith(("http://", "https://")) and len(link) <= 2_000 else "",
            "source": source.name,
            "published_at": time_of(entry, now).isoformat(),
            "language": language,
        }
        version = digest(data["title"], data["body"], data["url"])
        yield {
            "id": f"{data['article_id']} {version}",
            "source": "feed",
            "type": "finance.article.published",
            "time": now.isoformat(),
            "data": data,
        }


def body_of(entry: Any) -> str:
    """The longer of its content and its summary."""
    texts = [str(part.get("value", "")) for part in entry.get("content", ())]
    texts.append(str(entry.get("summary", "")))
    return plain_text(max(texts, key=len))[:50_000]


def time_of(entry: Any, now: datetime) -> datetime:
    """When it was published; now, where it does not say so or names a time to come."""
    for name in ("published_parsed", "updated_parsed", "created_parsed"):
        parsed = entry.get(name)
        if parsed:
            try:
                return min(datetime.fromtimestamp(max(0, calendar.timegm(parsed)), UTC), now)
            except (ValueError, OverflowError):
                continue
    return now


def digest(*texts: str) -> str:
    return hashlib.blake2b("\0".join(texts).encode("utf-8", "replace"), digest_size=10).hexdigest()
