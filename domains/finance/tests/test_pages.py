"""The analyst's pages over HTTP, without a browser: what they show, to whom, what they take and what they refuse."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from domains.finance.alerting.backtest import back_test
from domains.finance.alerting.evaluation import evaluate_rules
from domains.finance.alerting.history import rule_spec, scope_of
from domains.finance.alerting.series import DAY, MINUTE, floor, unix
from domains.finance.models import (
    Alert,
    AlertRule,
    Channel,
    Entity,
    Notification,
    RuleState,
    Silence,
    Source,
    Story,
    Transition,
    WatchList,
)
from domains.finance.pages.alerts import figure_words
from domains.finance.pages.evidence import chance_words
from domains.finance.pages.selection import Selection
from domains.finance.pages.series import span_words
from domains.finance.tests.articles import article, take

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
BAD = (
    "Halden Motors recalls vans after a probe",
    "Court: Halden Motors fined over brakes",
    "Halden Motors cuts forecast, loss widens",
    "Workers strike at Halden Motors in the north",
    "Second probe of Halden Motors, 40 plants",
    "Halden Motors falls 12% as loss deepens",
)

DEEDS = ("opens", "sells", "audits", "insures", "paints", "finances")
THINGS = (
    "a bridge in Lund",
    "forty trams",
    "its archive",
    "the old harbour",
    "wind farms at sea",
    "a museum",
    "school roofs",
)


@pytest.fixture(autouse=True)
def demo(settings: Any) -> None:
    settings.IS_DEMO = True


def published(title: str, minutes_ago: float = 1.0, **more: Any) -> dict[str, Any]:
    at = timezone.now() - timedelta(minutes=minutes_ago)
    return article(title, published_at=at.isoformat(), **more)


@pytest.fixture
def news(companies: dict[str, Entity], encoder: object) -> dict[str, Entity]:
    """Bad news of HLDN, something good of NWB and something Chinese, all of the last hour."""
    take(*(published(title, minutes_ago=20 - index) for index, title in enumerate(BAD)))
    take(published("Northwind Bank beats forecasts, record profit", 5, source="Harbour Wire"))
    take(published("云岭银行增长获批", 3, language="zh"))
    return companies


@pytest.fixture
def alert(news: dict[str, Entity]) -> Alert:
    """HLDN's bad press, as the evaluator raises it."""
    rule = AlertRule.objects.create(
        name="Bad press",
        metric="negative_share",
        threshold=0.5,
        min_stories=4,
        window_seconds=3600,
        severity="critical",
    )
    now = timezone.now().timestamp()
    evaluate_rules(now - 120)
    evaluate_rules(now)
    return Alert.objects.get(rule=rule, entity=news["HLDN"])


def panel(client: Client, name: str, **query: str) -> str:
    return client.get(f"/finance/parts/{name}/", query, headers=HTMX).text


def tile_of(html: str, symbol: str) -> str:
    return html.split(f'id="tile-{symbol}"')[1].split("</a>")[0]


def drawing(html: str) -> dict[str, Any]:
    found = re.search(r'<script id="(?:series|proof)-data" type="application/json">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


# Who may look ---------------------------------------------------------------------------------------------------


def test_without_a_demo_only_analysts_look_and_only_some_decide(client: Client, alert: Alert, settings: Any) -> None:
    settings.IS_DEMO = False
    response = client.get("/finance/?entity=HLDN")
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/admin/login/?next=/finance/")
    part = client.get("/finance/parts/alerts/", headers=HTMX)
    assert (part.status_code, part.text) == (204, "")
    assert "/admin/login/" in part.headers["HX-Redirect"]

    reader = User.objects.create_user("reader", is_staff=True)
    client.force_login(reader)
    assert client.get("/finance/").status_code == 403
    reader.user_permissions.add(Permission.objects.get(codename="view_alert"))
    reader = User.objects.get(pk=reader.pk)
    client.force_login(reader)
    page = client.get("/finance/").text
    assert "Bad press" in page
    assert "acknowledge/" not in page
    assert client.post(f"/finance/alerts/{alert.pk}/acknowledge/", {"span": "4h"}).status_code == 403
    assert client.get("/finance/rules/new/").status_code == 403


def test_a_name_of_the_demo_is_remembered_and_cannot_be_forged(client: Client) -> None:
    assert "You act as <strong>mara</strong>" in client.get("/finance/?analyst=mara").text
    assert "You act as <strong>mara</strong>" in client.get("/finance/rules/").text
    client.cookies["analyst"] = "boss"
    assert "You act as <strong>analyst</strong>" in client.get("/finance/").text


# The dashboard --------------------------------------------------------------------------------------------------


def test_empty_panels_say_what_to_do_next(client: Client) -> None:
    page = client.get("/finance/").text
    assert "No rule watches yet" in page
    assert "There are no entities yet" in page
    assert "No stories yet" in page
    assert "no article yet" in page
    for path in ("alerts", "rules", "sources", "entities", "notifications"):
        assert client.get(f"/finance/{path}/").status_code == 200


def test_tiles_show_what_is_said_of_whom(client: Client, news: dict[str, Entity], alert: Alert) -> None:
    html = panel(client, "tiles", window="1h")
    assert html.index("tile-HLDN") < html.index("tile-NWB")  # what fires comes first
    halden = tile_of(html, "HLDN")
    assert "6 stories" in halden
    assert 'class="score number negative"' in halden
    assert ">firing<" in halden
    assert 'class="score number positive"' in tile_of(html, "NWB")
    assert "云岭银行" in html


def test_the_series_counts_stories_once_and_knows_what_of_them_is_negative(
    client: Client, news: dict[str, Entity]
) -> None:
    take(published(BAD[0], 2, source="Valley Post"))  # a copy
    for window in ("1h", "1d", "7d", "30d"):
        drawn = drawing(panel(client, "series", entity="HLDN", window=window))
        assert sum(drawn["value"]) == 6, window
        assert 3 < sum(drawn["negative"]) <= 6, window
        assert len(drawn["value"]) == len(drawn["low"]) == len(drawn["high"])
    assert sum(drawing(panel(client, "series", window="1d"))["value"]) == 8
    share = drawing(panel(client, "series", entity="HLDN", window="1h", metric="negative_share"))
    assert share["value"][-1] > 0.5
    assert drawing(panel(client, "series", entity="HLDN", metric="mean_sentiment"))["value"][-1] < 0
    assert drawing(panel(client, "series", entity="HLDN", metric="surge"))["value"][-1] > 2


@pytest.mark.parametrize("window", ["1h", "1d", "7d", "30d"])
def test_the_first_second_of_a_day_is_counted(
    client: Client, companies: dict[str, Entity], encoder: object, monkeypatch: pytest.MonkeyPatch, window: str
) -> None:
    midnight = timezone.now().replace(hour=0, minute=0, second=0, microsecond=0)
    take(article(BAD[0], published_at=midnight.isoformat()))
    monkeypatch.setattr("django.utils.timezone.now", lambda: midnight)
    assert "1 story" in tile_of(panel(client, "tiles", window=window), "HLDN")
    assert drawing(panel(client, "series", window=window, entity="HLDN"))["value"][-1] == 1


def test_a_rule_on_the_figure_gives_its_window_and_level(client: Client, alert: Alert) -> None:
    drawn = drawing(panel(client, "series", entity="HLDN", metric="negative_share", window="1d"))
    assert drawn["reach"] == 3600
    assert drawn["thresholds"] == [{"level": 0.5, "name": "Bad press"}]
    assert [span["state"] for span in drawn["spans"]] == ["firing"]
    assert drawing(panel(client, "series", entity="NWB"))["spans"] == []


def test_the_table_says_what_the_drawing_shows(client: Client, news: dict[str, Entity]) -> None:
    html = panel(client, "table", entity="HLDN", window="1h")
    assert html.count("<tr>") == 61
    [href] = {link.replace("&amp;", "&") for link in re.findall(r'href="(/finance/stories/[^"]+)"', html)[19:20]}
    assert "to HLDN" not in client.get(href, headers=HTMX).text
    everything = client.get("/finance/stories/", {"entity": "HLDN", "from": "0", "to": "9999999999"}, headers=HTMX).text
    assert "6 stories for HLDN" in everything
    assert "Northwind" not in everything


def test_the_selection_narrows_every_panel(client: Client, news: dict[str, Entity]) -> None:
    WatchList.objects.create(name="Banks & co").entities.set([news["NWB"], news["YLB"]])
    listed = client.get("/finance/", {"list": "Banks & co"}).text
    assert "Northwind Bank beats" in listed
    assert "Halden Motors recalls" not in listed
    assert sum(drawing(listed)["value"]) == 2
    one = client.get("/finance/", {"entity": "halden m"}).text  # the beginning of a name, whatever the case
    assert "Halden Motors recalls" in one
    assert "Northwind Bank beats" not in one
    topics = set(Story.objects.values_list("topic", flat=True))
    topic = Story.objects.get(title=BAD[0]).topic
    assert len(topics) > 1
    assert "Northwind Bank beats" not in panel(client, "feed", topic=topic)
    unknown = client.get("/finance/", {"entity": "Nobody <b>"}).text
    assert "Nobody &lt;b&gt;" in unknown
    assert "No entity is called" in unknown
    assert "Show every story" in unknown
    assert sum(drawing(unknown)["value"]) == 0


def test_new_stories_wait_behind_a_pill(client: Client, news: dict[str, Entity]) -> None:
    first = panel(client, "feed")
    upto = re.search(r'data-upto="(\d+)"', first)
    assert upto is not None
    take(published("Corvane Pharma wins approval", 0), published("Northwind Bank names a new chief", 0))
    later = panel(client, "feed", upto=upto[1])
    assert "2 new" in later
    assert "Corvane Pharma wins" not in later
    assert f'data-upto="{upto[1]}"' in later
    shown = panel(client, "feed")
    assert "Corvane Pharma wins" in shown
    assert " new</button>" not in shown


def test_a_long_feed_comes_in_pages_with_a_fixed_number_of_queries(client: Client, news: dict[str, Entity]) -> None:
    with CaptureQueriesContext(connection) as few:
        panel(client, "feed")
    deeds = [f"Northwind Bank {did} {what}" for did in DEEDS for what in THINGS]
    take(*(published(title, 1440 * 3 * days) for days, title in enumerate(deeds, 1)))  # too far apart to be copies
    with CaptureQueriesContext(connection) as many:
        html = panel(client, "feed")
    assert len(many) == len(few)
    assert html.count('class="story"') == 30
    older = re.search(r'hx-get="([^"]+before=\d+)"', html)
    assert older is not None
    rest = client.get(older[1].replace("&amp;", "&"), headers=HTMX).text
    assert 0 < rest.count('class="story"') <= 30
    assert not set(re.findall(r'id="story-(\d+)"', rest)) & set(re.findall(r'id="story-(\d+)"', html))


def test_texts_of_others_are_text(client: Client, companies: dict[str, Entity], encoder: object) -> None:
    Entity.objects.filter(symbol="HLDN").update(name="<script>alert(1)</script>")
    take(published("Halden Motors &lt;script&gt;alert(2)&lt;/script&gt; wins", 1, source="<i>wire</i>"))
    story = Story.objects.get()
    for path in ("/finance/", f"/finance/stories/{story.pk}/", "/finance/entities/", "/finance/sources/"):
        html = client.get(path).text
        assert "<script>alert" not in html, path
        assert "<i>wire" not in html, path


def test_a_story_that_became_part_of_another_leads_to_it(client: Client, companies: dict[str, Entity], encoder) -> None:
    take(published("Halden Motors recalls vans", 1), published("Teapots are cheaper this week", 2))
    gone, middle = Story.objects.order_by("pk")
    last = Story.everything.create(first_published_at=gone.first_published_at, last_published_at=gone.last_published_at,
                                   lead=middle.lead, title="Where both are told")  # fmt: skip
    Story.everything.filter(pk=gone.pk).update(merged_into=middle)
    Story.everything.filter(pk=middle.pk).update(merged_into=last)
    assert "Where both are told" in client.get(f"/finance/stories/{gone.pk}/").text


@pytest.mark.parametrize(
    "query",
    ["window=9y&metric=x", "entity=%00", "topic=%ED%A0%80", "list=none", "alert=9&story=9", "alert=x", "upto=-1"],
)
def test_odd_addresses_are_pages(client: Client, query: str) -> None:
    assert client.get(f"/finance/?{query}").status_code == 200
    assert client.get(f"/finance/parts/feed/?{query}").status_code == 200


def test_what_is_not_there_is_said(client: Client) -> None:
    assert client.get("/finance/parts/nothing/").status_code == 404
    assert client.get("/finance/alerts/7/").status_code == 404
    assert client.get("/finance/stories/7/").status_code == 404
    assert "not here any more" in client.get("/finance/alerts/7/evidence/", headers=HTMX).text
    assert "not here any more" in client.get("/finance/stories/7/", headers=HTMX).text
    assert client.get("/finance/stories/?from=99999999999999&to=999999999999999").status_code == 200


# Alerts ---------------------------------------------------------------------------------------------------------


def test_a_card_says_what_the_rule_saw(client: Client, alert: Alert) -> None:
    html = panel(client, "alerts")
    assert "HLDN: Bad press" in html
    assert re.search(r"<strong>\d+% negative</strong>.*of 6 stories, at 50% or more", html, re.DOTALL)
    assert "Fired in 1 of the last 24 hours" in html
    assert "HLDN: Bad press" in panel(client, "alerts", entity="HLDN")
    assert "HLDN: Bad press" not in panel(client, "alerts", entity="NWB")
    assert ">1</strong> <span>firing" in panel(client, "states")


def test_a_rule_that_waits_is_a_card_too(client: Client, news: dict[str, Entity]) -> None:
    rule = AlertRule.objects.create(name="Slow", for_seconds=600)
    RuleState.objects.create(rule=rule, group_key=f"{news['NWB'].pk}/", name="pending", since=timezone.now())
    html = panel(client, "alerts")
    assert "NWB: Slow" in html
    assert "fires after 10 min beyond its level" in html
    assert ">1</strong> <span>pending" in panel(client, "states")


@pytest.mark.parametrize("path", ["/finance/alerts/{}/evidence/", "/finance/alerts/{}/", "/finance/?alert={}"])
def test_the_evidence_is_the_stories_that_were_counted(client: Client, alert: Alert, path: str) -> None:
    html = client.get(path.format(alert.pk)).text
    evidence = html.split("data-address")[-1]
    for title in BAD:
        assert title in evidence
    assert "Northwind" not in evidence
    assert "6 stories counted" in evidence
    assert "A week before" in evidence
    assert "<strong>fired</strong>" in evidence
    assert f'href="/finance/alerts/{alert.pk}/"' in evidence  # to be sent to somebody


def test_acknowledging_says_by_whom_and_how_long(client: Client, alert: Alert) -> None:
    client.get("/finance/?analyst=mara")
    address = f"/finance/alerts/{alert.pk}/acknowledge/"
    assert "How long" in client.get(address, headers=HTMX).text.replace("how long", "How long")
    response = client.post(address, {"span": "1h", "note": "asked the desk"}, headers=HTMX)
    assert response.status_code == 204
    assert json.loads(response.headers["HX-Trigger"])["decided"] == {"alert": alert.pk}
    html = panel(client, "alerts")
    assert "Acknowledged by <strong>mara</strong>" in html
    assert "asked the desk" in html
    alert.refresh_from_db()
    assert alert.acknowledged_until is not None
    assert timedelta(minutes=55) < alert.acknowledged_until - timezone.now() <= timedelta(hours=1)
    assert "by mara" in client.get(f"/finance/alerts/{alert.pk}/evidence/").text
    assert ">0</strong> <span>firing" in panel(client, "states")
    assert ">1</strong> <span>acknowledged" in panel(client, "states")

    client.post(f"/finance/alerts/{alert.pk}/unacknowledge/", headers=HTMX)
    assert "Acknowledged by" not in panel(client, "alerts")
    assert Transition.objects.filter(alert=alert, by="mara").count() == 2


def test_a_silence_has_a_reason_and_an_end(client: Client, alert: Alert) -> None:
    address = f"/finance/alerts/{alert.pk}/silence/"
    refused = client.post(address, {"what": "entity", "span": "4h", "reason": " "}, headers=HTMX)
    assert refused.status_code == 200  # the form again, into the dialog
    assert 'aria-invalid="true"' in refused.text
    assert client.post(address, {"what": "entity", "span": "4h", "reason": " "}).status_code == 422
    yesterday = f"{timezone.now() - timedelta(days=1):%Y-%m-%dT%H:%M}"
    late = client.post(
        address, {"what": "entity", "span": "until", "until_time": yesterday, "reason": "x"}, headers=HTMX
    )
    assert "must be in the future" in late.text
    assert Silence.objects.count() == 0

    done = client.post(address, {"what": "entity", "span": "1d", "reason": "known strike"}, headers=HTMX)
    assert done.status_code == 204
    silence = Silence.objects.get()
    assert (silence.entity, silence.rule, silence.by) == (alert.entity, None, "analyst")
    assert "known strike" in panel(client, "alerts")
    assert "known strike" in client.get("/finance/alerts/").text
    client.post(f"/finance/silences/{silence.pk}/end/")
    assert "known strike" not in panel(client, "alerts")


def test_decisions_work_without_scripts(client: Client, alert: Alert) -> None:
    page = client.get(f"/finance/alerts/{alert.pk}/acknowledge/").text
    assert "<html" in page
    response = client.post(f"/finance/alerts/{alert.pk}/acknowledge/", {"span": "resolved"})
    assert response.status_code == 302
    assert "Acknowledged by" in client.get(response.headers["Location"]).text


def test_the_history_is_told_by_state(client: Client, alert: Alert) -> None:
    resolved = Alert.objects.create(
        rule=alert.rule, rule_name="Bad press", rule_version=1, spec=alert.spec, severity="info", group_key="0/",
        state="resolved", started_at=alert.started_at, fired_at=alert.fired_at - timedelta(days=2),
        resolved_at=alert.fired_at - timedelta(days=1), decided_at=alert.fired_at, figures=alert.figures, seen=[],
    )  # fmt: skip
    everything = client.get("/finance/alerts/").text
    assert "HLDN: Bad press" in everything
    assert "all stories: Bad press" in everything
    assert "HLDN" not in client.get("/finance/alerts/?state=resolved").text
    assert f'id="alert-{resolved.pk}"' not in client.get("/finance/alerts/?state=firing").text
    assert "No alert is acknowledged" in client.get("/finance/alerts/?state=acknowledged").text
    assert client.get("/finance/alerts/?state=odd&page=999").status_code == 200


@pytest.mark.parametrize(
    ("metric", "comparison", "threshold", "figures", "saw", "versus"),
    [
        ("surge", "above", 4, {"stories": 17, "value": 5.5, "expected": 4.21}, "17 stories", "vs 4.2 expected"),
        ("volume", "below", 2, {"stories": 1, "value": 1.0}, "1 story", "at 2 or less"),
        ("negative_share", "above", 0.6, {"stories": 5, "value": 0.71}, "71% negative", "of 5 stories, at 60% or more"),
        ("mean_sentiment", "below", -1, {"stories": 1, "value": -1}, "−1.00 sentiment", "of 1 story, at −1.00 or less"),
        ("negative_share", "above", 0.6, {"stories": 0, "value": None}, "0 stories", ""),
    ],
)  # fmt: skip
def test_figures_in_words(metric: str, comparison: str, threshold: float, figures: dict, saw: str, versus: str) -> None:
    spec = {"metric": metric, "comparison": comparison, "threshold": threshold}
    assert figure_words(spec, figures) == (saw, versus)


@pytest.mark.parametrize(
    ("surprise", "words"),
    [(0.3, "1 in 2"), (3.3, "1 in 2,000"), (8.99, "1 in 1,000,000,000"), (20.6, "under 1 in a billion")],
)
def test_chances_in_words(surprise: float, words: str) -> None:
    assert chance_words(surprise) == words


# Rules ----------------------------------------------------------------------------------------------------------

FIELDS = {
    "name": "Bad press", "is_enabled": "on", "metric": "negative_share", "scope": "each_entity", "window": "60",
    "comparison": "above", "threshold": "0.5", "clear_threshold": "0.4", "lasting": "0", "cool_down": "30",
    "min_stories": "4", "severity": "critical",
}  # fmt: skip


def test_the_proof_is_the_back_test_of_what_is_being_written(client: Client, news: dict[str, Entity]) -> None:
    html = client.get("/finance/rules/proof/", FIELDS | {"name": ""}, headers=HTMX).text
    end = floor(unix(timezone.now()), MINUTE)
    fields = {
        "metric": "negative_share",
        "threshold": 0.5,
        "clear_threshold": 0.4,
        "min_stories": 4,
        "window_seconds": 3600,
    }
    rule = AlertRule(**fields)
    found = back_test(rule_spec(rule), scope_of(rule), end - 30 * DAY, end)
    assert found.count == 1
    assert "It would have fired 1 time" in html
    assert re.findall(r'data-fired="(\d+)" data-group="(\w+)"', html) == [(str(found.firings[0].fired_at), "HLDN")]
    drawn = drawing(html)
    assert [level["level"] for level in drawn["thresholds"]] == [0.5, 0.4]
    assert [span["state"] for span in drawn["spans"]] == ["firing"]
    higher = client.get("/finance/rules/proof/", FIELDS | {"threshold": "1"}, headers=HTMX).text
    assert "It would not have fired" in higher
    wrong = client.get("/finance/rules/proof/", FIELDS | {"threshold": "x"}, headers=HTMX).text
    assert "Threshold: Enter a number." in wrong


def test_a_rule_is_saved_and_changed(client: Client, news: dict[str, Entity]) -> None:
    client.get("/finance/?analyst=mara")
    assert client.get("/finance/rules/new/").status_code == 200
    response = client.post("/finance/rules/new/", FIELDS | {"scope": "entity", "entity": "Halden Motors"})
    assert response.status_code == 302
    rule = AlertRule.objects.get()
    assert (rule.entity, rule.window_seconds, rule.clear_threshold, rule.changed_by) == (
        news["HLDN"],
        3600,
        0.4,
        "mara",
    )
    table = client.get("/finance/rules/").text
    assert "negative share 50% or more of HLDN within an hour" in table
    editor = client.get(f"/finance/rules/{rule.pk}/").text
    assert 'value="HLDN"' in editor
    client.post(f"/finance/rules/{rule.pk}/", FIELDS | {"threshold": "0.7"})
    rule.refresh_from_db()
    assert (rule.threshold, rule.entity, rule.version) == (0.7, None, 2)


@pytest.mark.parametrize(
    ("wrong", "field", "reason"),
    [
        ({"name": ""}, "name", "This field is required"),
        ({"threshold": "1.5"}, "threshold", "Must be from 0 to 1"),
        ({"clear_threshold": "0.6"}, "clear_threshold", "not be above the threshold"),
        ({"window": "2"}, "window", "greater than or equal to 5"),
        ({"scope": "entity", "entity": "Nobody"}, "entity", "No entity has this symbol"),
        ({"scope": "entity", "entity": ""}, "entity", "Is required where the scope is one entity"),
        ({"scope": "watch_list"}, "watch_list", "Is required where the scope is a watch list"),
        ({"min_stories": "-1"}, "min_stories", "greater than or equal to 0"),
        ({"metric": "mood"}, "metric", "not one of the available choices"),
    ],
)
def test_what_is_wrong_with_a_rule_stands_at_its_field(
    client: Client, companies: dict[str, Entity], wrong: dict[str, str], field: str, reason: str
) -> None:
    response = client.post("/finance/rules/new/", FIELDS | wrong)
    assert response.status_code == 422
    [error] = re.findall(rf'id="id_{field}_error">.*?</span>(.*?)</p>', response.text)
    assert reason in error
    assert AlertRule.objects.count() == 0


def test_two_rules_cannot_have_one_name(client: Client, companies: dict[str, Entity]) -> None:
    AlertRule.objects.create(name="Bad press")
    response = client.post("/finance/rules/new/", FIELDS)
    assert response.status_code == 422
    assert "already exists" in response.text
    assert "It would" in response.text  # what decides is right, so the proof stands


# The lists behind it --------------------------------------------------------------------------------------------


def test_sources_say_how_they_do(admin_client: Client, news: dict[str, Entity]) -> None:
    now = timezone.now()
    Source.objects.create(
        name="Valley Post", url="https://a.example/rss", is_feed=True, fetched_at=now, failures=3, last_error="503"
    )
    Source.objects.create(name="Harbour Wire", is_feed=True, fetched_at=now, last_report="2 new")
    html = admin_client.get("/finance/sources/").text
    assert "failing ×3" in html
    assert "healthy" in html
    assert "Add a feed" in html
    assert "Add a feed" not in Client().get("/finance/sources/").text  # the admin is for staff


def test_entities_are_found_by_any_of_their_names(client: Client, companies: dict[str, Entity]) -> None:
    assert "Halden Motors" in client.get("/finance/entities/", {"q": "halden"}).text
    found = client.get("/finance/entities/", {"q": "云岭"}).text
    assert "YLB" in found
    assert "HLDN" not in found
    assert "No entity is called" in client.get("/finance/entities/", {"q": "<zz>"}).text


def test_the_log_tells_what_was_sent(client: Client, alert: Alert) -> None:
    now: datetime = timezone.now()
    channel = Channel.objects.create(name="Chat", target="https://chat.example/hook")
    for key, state in (("a", "sent"), ("b", "failed")):
        sent = Notification.objects.create(
            channel=channel, key=key, group_key=key, state=state, due_at=now, created_at=now, response=f"answer {key}"
        )
        sent.alerts.add(alert)
    everything = client.get("/finance/notifications/").text
    assert "answer a" in everything
    assert f"Bad press #{alert.pk}" in everything
    failed = client.get("/finance/notifications/?state=failed").text
    assert "answer b" in failed
    assert "answer a" not in failed


# Words ----------------------------------------------------------------------------------------------------------


def test_an_address_leaves_out_what_is_as_by_default() -> None:
    selection = Selection(entity="HLDN", topic="a&b", window="7d")
    assert selection.query() == "entity=HLDN&topic=a%26b&window=7d"
    assert selection.query(window="1d", entity="") == "topic=a%26b"
    assert Selection().query() == ""


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(60, "a minute"), (1800, "30 min"), (3600, "an hour"), (21_600, "6 hours"), (86_400, "a day"), (90, "90 s")],
)
def test_spans_in_words(seconds: int, words: str) -> None:
    assert span_words(seconds) == words
