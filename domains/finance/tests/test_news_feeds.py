"""Feeds from a local server that behaves, and from ones that do not."""

from __future__ import annotations

import contextlib
import gzip
import ipaddress
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import pytest
from django.utils import timezone

from domains.finance.models import Article, Source
from domains.finance.news import feeds
from suite.events.models import Event

pytestmark = pytest.mark.django_db
Serve = Callable[[BaseHTTPRequestHandler], None]

RSS = """<?xml version="1.0"?><rss version="2.0"><channel><title>Ledger</title><language>en</language>
<item><title>Halden &amp;amp; Co &lt;b&gt;recalls&lt;/b&gt; vans</title><link>/one</link><guid>g1</guid>
<pubDate>Mon, 02 Mar 2026 09:00:00 GMT</pubDate><description>&lt;p&gt;Brakes.&lt;script&gt;x()&lt;/script&gt;&lt;/p&gt;</description></item>
<item><title>Second</title><link>javascript:alert(1)</link><guid>g2</guid><pubDate>Fri, 01 Jan 2100 00:00:00 GMT</pubDate></item>
<item><title></title><link>/three</link></item>
</channel></rss>"""  # noqa: E501
ATOM = """<?xml version="1.0" encoding="utf-8"?><feed xmlns="http://www.w3.org/2005/Atom"><title>晨报</title>
<entry><id>a1</id><title>云岭银行季度亏损</title><link href="http://example.org/a1"/><updated>2026-03-02T09:00:00+08:00</updated>
<summary>短</summary><content type="html">&lt;p&gt;更长的正文&lt;/p&gt;</content></entry></feed>"""


@pytest.fixture
def server(settings: Any) -> Iterator[Callable[[dict[str, Serve]], str]]:
    """Starts a server with these pages and gives its address; loopback addresses are allowed."""
    settings.PRIVATE_NETWORKS = [ipaddress.ip_network("127.0.0.0/8")]
    started: list[ThreadingHTTPServer] = []

    def start(pages: dict[str, Serve]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with contextlib.suppress(OSError):  # the client went away
                    pages[self.path](self)

            def log_message(self, *args: Any) -> None:
                pass

        running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        running.daemon_threads = True
        started.append(running)
        threading.Thread(target=running.serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{running.server_port}"

    yield start
    for running in started:
        running.shutdown()
        running.server_close()


def page(body: str | bytes = b"", status: int = 200, **headers: str) -> Serve:
    content = body.encode() if isinstance(body, str) else body

    def serve(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in ({"Content_Length": str(len(content))} | headers).items():
            request.send_header(name.replace("_", "-"), value)
        request.end_headers()
        request.wfile.write(content)

    return serve


def feed(url: str, **more: Any) -> Source:
    return Source.objects.create(name=more.pop("name", "Ledger"), url=url, is_feed=True, **more)


def pause(source: Source) -> timedelta:
    """From the last reading to the next turn."""
    assert source.next_fetch_at and source.fetched_at
    return source.next_fetch_at - source.fetched_at


def read(source: Source) -> Source:
    """Read the feeds whose turn it is, this one among them."""
    Source.objects.filter(pk=source.pk).update(next_fetch_at=None)
    feeds.read_due()
    source.refresh_from_db()
    return source


def test_rss_becomes_articles(server: Any) -> None:
    base = server({"/rss": page(RSS)})
    source = read(feed(f"{base}/rss"))
    assert (source.last_error, source.failures, source.last_report) == ("", 0, "2 new of 2 entries")
    first, second = Article.objects.order_by("published_at")
    assert (first.title, first.body, first.url) == ("Halden & Co recalls vans", "Brakes.", f"{base}/one")
    assert (first.source_name, first.language, first.published_at.isoformat()) == (
        "Ledger", "en", "2026-03-02T09:00:00+00:00"
    )  # fmt: skip
    assert second.url == ""  # no web address
    assert second.published_at <= timezone.now()  # it named a time to come
    assert read(source).last_report == "nothing new"
    assert Article.objects.count() == 2


def test_atom_and_chinese(server: Any) -> None:
    source = read(feed(server({"/atom": page(ATOM)}) + "/atom", name="晨报"))
    assert source.last_error == ""
    row = Article.objects.get()
    assert (row.title, row.body, row.language) == ("云岭银行季度亏损", "更长的正文", "zh")
    assert row.published_at.isoformat() == "2026-03-02T01:00:00+00:00"


def test_only_what_changed_is_asked_for(server: Any) -> None:
    heard: list[dict[str, str]] = []

    def serve(request: BaseHTTPRequestHandler) -> None:
        heard.append({name.lower(): value for name, value in request.headers.items()})
        if request.headers.get("If-None-Match") == '"v1"':
            page(status=304)(request)
        else:
            page(gzip.compress(RSS.encode()), Content_Encoding="gzip", ETag='"v1"', Last_Modified="Mon")(request)

    source = read(feed(server({"/": serve}) + "/"))
    assert (source.etag, source.last_modified) == ('"v1"', "Mon")
    source = read(source)
    assert heard[1]["if-none-match"] == '"v1"'
    assert heard[1]["if-modified-since"] == "Mon"
    assert (source.last_report, source.last_error, source.etag) == ("nothing new", "", '"v1"')


def test_a_changed_entry_is_news_about_the_same_article(server: Any) -> None:
    pages = {"/": page(RSS)}
    source = read(feed(server(pages) + "/"))
    pages["/"] = page(RSS.replace("Brakes.", "Brakes and lights."))
    read(source)
    assert Article.objects.count() == 2
    assert Article.objects.get(title__startswith="Halden").body == "Brakes and lights."
    assert Event.objects.filter(type="finance.article.published").count() == 3


def test_redirects_are_followed_and_kept_where_they_are_for_ever(server: Any) -> None:
    pages = {"/old": page(status=301, Location="/new"), "/new": page(RSS), "/now": page(status=302, Location="/new")}
    base = server(pages)
    assert read(feed(f"{base}/old")).url == f"{base}/new"
    assert read(feed(f"{base}/now", name="Other")).url == f"{base}/now"


def endless(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(b"<item>" * 10_000)


def drip(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(b"x")
        time.sleep(0.05)


BOMB = gzip.compress(b"<rss>" + b" " * 60_000_000)
NESTED = "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in pairwise("abcdefghi"))
BILLION = f"""<!DOCTYPE l [<!ENTITY a "ha">{NESTED}]><rss version="2.0"><channel>
<item><title>&i;</title><guid>1</guid></item></channel></rss>"""


@pytest.mark.parametrize(
    ("serve", "reason"),
    [
        (endless, "longer than 5,242,880 bytes"),
        (drip, "took more than"),
        (page(BOMB, Content_Encoding="gzip"), "longer than 5,242,880 bytes when it is unpacked"),
        (page(b"\x1f\x8bno", Content_Encoding="gzip"), "is broken gzip"),
        (page(RSS, Content_Encoding="br"), "packed in a way"),
        (page("<html><body>Welcome</body></html>"), "is no RSS or Atom feed"),
        (page(""), "is no RSS or Atom feed"),
        (page("gone", status=404), "answers 404"),
        (page("down", status=500), "answers 500"),
        (page(status=302, Location="/"), "redirected more than 5 times"),
        (page(status=302, Location="http://10.0.0.1/"), "may not be asked"),
        (page(status=302, Location="file:///etc/passwd"), "may not be asked"),
        (page(RSS, Content_Length="9999"), "gave no answer"),
    ],
)
def test_a_bad_feed_is_named_and_costs_little(
    server: Any, serve: Serve, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "SECONDS", 1.5)
    started = time.monotonic()
    source = read(feed(server({"/": serve}) + "/"))
    assert reason in source.last_error
    assert (source.failures, Article.objects.count()) == (1, 0)
    assert source.next_fetch_at is not None
    assert time.monotonic() - started < 30


def test_entities_that_unfold_without_end_do_no_harm(server: Any) -> None:
    read(feed(server({"/": page(BILLION)}) + "/"))  # unfolded, it would outlast any test's time limit
    assert not Article.objects.filter(title__contains="hahahaha").exists()


def test_one_bad_feed_does_not_stop_the_others(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "SECONDS", 1.0)
    base = server({"/drip": drip, "/rss": page(RSS)})
    bad, good = feed(f"{base}/drip", name="Bad"), feed(f"{base}/rss")
    feeds.read_due()
    bad.refresh_from_db()
    good.refresh_from_db()
    assert (bad.failures, good.failures, good.last_report) == (1, 0, "2 new of 2 entries")


def test_failures_make_the_pause_longer(server: Any) -> None:
    source = feed(server({"/": page(status=500)}) + "/", every_seconds=60)
    pauses = []
    for _ in range(4):
        read(source)
        pauses.append(pause(source).total_seconds())
    assert pauses == [60, 120, 240, 480]
    Source.objects.filter(pk=source.pk).update(failures=50)
    source.refresh_from_db()
    read(source)
    assert pause(source) == timedelta(days=1)


def test_what_a_feed_asks_for_is_done(server: Any) -> None:
    base = server({"/busy": page(status=429, Retry_After="1800"), "/gone": page(status=410)})
    busy = read(feed(f"{base}/busy"))
    assert pause(busy) == timedelta(seconds=1_800)
    gone = read(feed(f"{base}/gone", name="Gone"))
    assert (gone.is_enabled, gone.last_error) == (False, "answers 410: there is no feed at this address")


def test_only_due_feeds_are_read(server: Any) -> None:
    base = server({"/": page(RSS)})
    later = feed(f"{base}/", next_fetch_at=timezone.now() + timedelta(minutes=1))
    off = feed(f"{base}/", name="Off", is_enabled=False)
    sender = Source.objects.create(name="Sender", url=f"{base}/")
    feeds.read_due()
    for source in (later, off, sender):
        source.refresh_from_db()
        assert source.fetched_at is None


def test_a_private_address_is_refused(settings: Any) -> None:
    settings.PRIVATE_NETWORKS = []
    assert "private network" in read(feed("http://127.0.0.1:9/")).last_error
