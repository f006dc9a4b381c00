"""The pages over HTTP, without a browser: who may see what, what they show, what they refuse."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client
from django.utils import timezone

from domains.support import desk, selectors, services
from domains.support.models import Answer, Conversation, Feedback, Message, Presence, Suggestion, SuggestionRun
from domains.support.phrases import PHRASES
from domains.support.templatetags.support_desk import lateness, waited
from domains.support.views import chat
from domains.support.visitors import visitor_token
from suite.events.ingestion import BacklogFull

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}
RELEASE = "7f3ab2c4d5e6f708"


@pytest.fixture
def agent(django_user_model: type[User]) -> User:
    user = django_user_model.objects.create_user("mira")
    wanted = ("view_conversation", "change_conversation", "add_answer", "change_answer")
    user.user_permissions.add(*Permission.objects.filter(content_type__app_label="support", codename__in=wanted))
    return user


@pytest.fixture
def page(agent: User) -> Client:
    client = Client()
    client.force_login(agent)
    return client


def says(key: str, *texts: str, author: str = "customer", seconds: float = 0, **customer: Any) -> Message:
    """Messages, the first one of some seconds ago, each a millisecond after the other; returns the last."""
    first = timezone.now() - timedelta(seconds=seconds)
    events = []
    for number, text in enumerate(texts):
        sent_at = (first + timedelta(milliseconds=number)).isoformat()
        data: dict[str, Any] = {"conversation_id": key, "message_id": uuid.uuid4().hex, "text": text}
        data |= {"author": author, "customer": customer, "sent_at": sent_at}
        events.append(services.event("support.message.received", data))
    services.take(events)
    return Message.objects.get(key=events[-1]["data"]["message_id"])


def answer(key: str, title: str, text: str, agent: User, **fields: str) -> Answer:
    services.save_answer(agent, title=title, text=text, key=key, **fields)
    return Answer.objects.get(key=key)


def offer(message: Message, answers: Sequence[Answer], confidences: Sequence[float] = (0.8, 0.6)) -> list[Suggestion]:
    """What the worker writes for a message; nothing good where there are no answers."""
    outcome = SuggestionRun.Outcome.OFFERED if answers else SuggestionRun.Outcome.NOTHING_GOOD
    now = timezone.now()
    fields = {"outcome": outcome, "question": message.masked_text, "threshold": 0.4, "best_confidence": 0.3}
    run = SuggestionRun.objects.create(message=message, release=RELEASE, created_at=now, **fields)
    return [
        Suggestion.objects.create(
            uid=uuid.uuid4().hex, run=run, conversation=message.conversation, message=message, pool="answer",
            answer=each, position=position, confidence=confidence, text=each.text, sentence_start=0,
            sentence_end=f"{each.text} ".index(". ") + 1, composed=[{"text": each.text, "source": each.source}],
            release=RELEASE, offered_at=now,
        )
        for position, (each, confidence) in enumerate(zip(answers, confidences, strict=False), start=1)
    ]  # fmt: skip


# Who may ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "path", ["", "list/", "conversations/c/", "news/c/", "earlier/c/", "find/", "answers/", "answers/new/", "insights/"]
)
def test_pages_of_agents_want_a_log_in_and_the_permission(
    client: Client, django_user_model: type[User], path: str
) -> None:
    assert client.get(f"/support/{path}").headers["Location"].startswith("/admin/login/?next=/support/")
    fragment = client.get(f"/support/{path}", headers=HTMX | {"HX-Current-URL": "/support/"})
    assert (fragment.status_code, fragment.headers["HX-Redirect"]) == (204, "/admin/login/?next=/support/")
    client.force_login(django_user_model.objects.create_user("nobody"))
    refused = client.get(f"/support/{path}")
    assert refused.status_code == 403
    assert "Your account may not do this" in refused.text


@pytest.mark.parametrize("path", ["reply/c/", "assign/c/", "state/c/", "suggestions/u/reject/", "answers/remove/a/"])
def test_who_may_only_read_changes_nothing(django_user_model: type[User], path: str) -> None:
    reader = django_user_model.objects.create_user("reader")
    reader.user_permissions.add(Permission.objects.get(content_type__app_label="support", codename="view_conversation"))
    client = Client()
    client.force_login(reader)
    says("c", "Where is it?")
    assert (
        client.post(f"/support/{path}", {"text": "x", "state": "solved", "to": "me", "reason": "wrong"}).status_code
        == 403
    )
    assert Message.objects.count() == 1
    assert "You may read, not reply" in client.get("/support/conversations/c/").text


def test_what_changes_rows_wants_the_token_of_the_page(agent: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(agent)
    says("c", "Where is it?")
    assert client.post("/support/reply/c/", {"text": "Here"}).status_code == 403
    assert Message.objects.count() == 1


# The desk -----------------------------------------------------------------------------------------------------
def test_who_waits_longest_stands_first_and_late_ones_say_so(page: Client) -> None:
    says("new", "Just now", seconds=5, name="Bo")
    says("old", "Some time ago", seconds=400, name="Ada")
    says("mid", "A while ago", seconds=150, name="Cleo")
    html = page.get("/support/").text
    assert html.index(">Ada") < html.index(">Cleo") < html.index(">Bo")
    waits = re.findall(r'class="wait (\w*)" [^>]*>([^<]+)<', html.split('id="conversation"')[0])
    assert [level for level, _ in waits] == ["late", "warn", ""]
    assert waits[0][1] == "6:40"
    assert "Ada waits longest" in html
    assert "<title>(3) Support desk" in html


def test_nothing_open_is_missed_among_many(page: Client, agent: User, monkeypatch) -> None:
    monkeypatch.setattr(
        selectors.desk_list, "__kwdefaults__", (selectors.desk_list.__kwdefaults__ or {}) | {"limit": 3}
    )
    says("open", "Hello", seconds=90)
    says("open", "Hi", author="agent", seconds=80)
    services.assign("open", agent)
    for number in range(4):
        says(f"done {number}", "Hello", seconds=30)
        services.set_state(f"done {number}", "solved", agent)
        services.assign(f"done {number}", agent)
    assert 'data-entry="open"' in page.get("/support/list/?tab=mine").text
    colleague = User.objects.create_user("otto")
    for number in range(4):
        says(f"taken {number}", "Hello", seconds=70)
        services.assign(f"taken {number}", colleague)
    says("free", "Hello", seconds=10)
    following = desk.next_waiting(agent, "waiting", but="taken 0")
    assert following is not None and following.key == "free"


def test_tabs_count_and_hold_their_conversations(page: Client, agent: User) -> None:
    says("waits", "Hello")
    says("answered", "Hello", seconds=20)
    says("answered", "Hi", author="agent", seconds=10)
    says("done", "Hello", seconds=30)
    services.set_state("done", "solved", agent)
    services.assign("answered", agent)
    html = page.get("/support/list/?tab=open").text
    counts = re.findall(r">(\w+) <span class=\"number\">(\d+)</span>", html)
    assert counts == [("Waiting", "1"), ("Open", "1"), ("Solved", "1"), ("Mine", "1")]
    assert 'data-entry="answered"' in html
    assert 'data-entry="waits"' not in html
    assert 'data-entry="answered"' in page.get("/support/list/?tab=mine").text
    assert 'data-entry="done"' in page.get("/support/list/?tab=solved").text
    assert 'data-entry="waits"' in page.get("/support/list/?tab=nonsense").text


@pytest.mark.parametrize(
    ("tab", "words"),
    [("waiting", "Nobody waits"), ("open", "No open"), ("solved", "Nothing solved"), ("mine", "Nothing is assigned")],
)
def test_an_empty_tab_says_what_to_do(page: Client, tab: str, words: str) -> None:
    assert words in page.get(f"/support/list/?tab={tab}").text


def test_an_open_conversation_shows_thread_suggestions_and_what_marks_them(page: Client, agent: User) -> None:
    question = says("c", "Is <b>it</b> late?", name="Ada & Co", orders=3)
    late = answer(
        "late", "Late parcels", "It comes, {{customer.name}}. Your order {{order.id}} left.", agent, source="Book 2"
    )
    offer(question, [late])
    html = page.get("/support/conversations/c/").text
    assert "Is &lt;b&gt;it&lt;/b&gt; late?" in html
    assert "<mark>It comes, {{customer.name}}.</mark>" in html
    assert "80%" in html
    assert "Book 2" in html
    assert "asks for order.id" in html
    inserted = unescape(re.search(r'data-text="([^"]*)"', html)[1])  # type: ignore[index]
    assert inserted == "It comes, Ada & Co. Your order {{order.id}} left."
    assert "orders: 3" in html
    fragment = page.get("/support/conversations/c/", headers={"HX-Target": "conversation"}).text
    assert "<html" not in fragment
    assert "Late parcels" in fragment


def test_a_conversation_that_is_not_there_is_a_page_that_says_so(page: Client) -> None:
    response = page.get("/support/conversations/none%2Fof it/")
    assert response.status_code == 404
    assert "There is no such conversation" in response.text
    assert page.get("/support/conversations/a%00b/").status_code == 404
    assert page.get("/support/news/none/").status_code == 204


def test_the_panel_says_why_it_has_nothing(page: Client, agent: User) -> None:
    question = says("c", "Do you deliver to the moon?")
    assert "Looking for answers" in page.get("/support/conversations/c/").text
    offer(question, [])
    html = page.get("/support/conversations/c/").text
    assert "No answer above 40%" in html
    assert "/support/answers/new/?conversation=c" in html
    services.send_reply("c", agent, "No.")
    assert "Nothing to answer" in page.get("/support/conversations/c/").text


def test_news_bring_what_came_since_and_the_panel_only_where_it_changed(page: Client, agent: User) -> None:
    question = says("c", "One", seconds=9)
    offer(question, [answer("a", "A", "Answer.", agent)])
    html = page.get("/support/conversations/c/").text
    after, version = re.search(r'name="after" value="(\d+)"', html)[1], re.search(r'value="(\w{16})"', html)[1]  # type: ignore[index]
    quiet = page.get("/support/news/c/", {"after": after, "version": version}).text
    assert 'id="message-' not in quiet
    assert "innerHTML:#panel" not in quiet

    says("c", *(f"Number {number}" for number in range(500)), seconds=1)
    news = page.get("/support/news/c/", {"after": after, "version": version}).text
    assert news.count('<p class="text">Number ') == 500
    assert "innerHTML:#panel" in news  # the suggestion was withdrawn
    assert 'data-suggestion="' not in news
    again = re.search(r'name="after" value="(\d+)"', news)[1]  # type: ignore[index]
    assert 'id="message-' not in page.get("/support/news/c/", {"after": again}).text


def test_a_long_thread_is_cut_and_the_rest_can_be_asked_for(page: Client) -> None:
    says("c", *(f"Number {number}" for number in range(503)), seconds=900)
    html = page.get("/support/conversations/c/").text
    assert "Number 2<" not in html
    assert "Number 3<" in html
    earlier = page.get("/support/earlier/c/", {"before": Message.objects.get(text="Number 3").pk}).text
    assert re.findall(r"Number \d+(?=<)", earlier) == ["Number 0", "Number 1", "Number 2"]
    assert "Earlier messages" not in earlier


# Replying -----------------------------------------------------------------------------------------------------
def test_a_reply_is_sent_decides_on_the_suggestions_and_leads_to_the_next(page: Client, agent: User) -> None:
    says("next", "I wait, too", seconds=50)
    question = says("c", "Late?", seconds=90)
    taken, ignored = offer(question, [answer("a", "A", "It comes.", agent), answer("b", "B", "It went.", agent)])
    form = {"text": "Hello. It comes.", "taken": taken.uid, "message_id": "0" * 32, "next": "1", "tab": "waiting"}
    response = page.post("/support/reply/c/", form, headers=HTMX)
    assert response.status_code == 204
    sent = json.loads(response.headers["HX-Trigger"])["sent"]
    assert not sent["is_last"]
    assert sent["next_message"] != form["message_id"]
    assert json.loads(response.headers["HX-Location"])["path"] == "/support/conversations/next/"
    reply = Message.objects.get(author="agent")
    assert (reply.text, reply.by, reply.key) == ("Hello. It comes.", agent, "0" * 32)
    states = dict(Suggestion.objects.values_list("uid", "state"))
    assert states == {taken.uid: "accepted", ignored.uid: "ignored"}
    conversation = Conversation.objects.get(key="c")
    assert (conversation.state, conversation.assignee) == ("open", agent)

    page.post("/support/reply/c/", form, headers=HTMX)  # the answer was lost, and the browser sends it again
    assert Message.objects.filter(author="agent").count() == 1
    stay = page.post("/support/reply/next/", {"text": "Now you."}, headers=HTMX)
    assert "HX-Location" not in stay.headers


def test_a_changed_suggestion_is_an_edited_one(page: Client, agent: User) -> None:
    (taken,) = offer(says("c", "Late?"), [answer("a", "A", "It comes on Monday, I think.", agent)])
    page.post("/support/reply/c/", {"text": "It comes on Friday, I think.", "taken": taken.uid}, headers=HTMX)
    decided = Feedback.objects.get()
    assert decided.kind == "edited"
    assert 0 < decided.edit_distance < 0.5


def test_an_answer_that_was_searched_for_is_taken_as_a_suggestion(page: Client, agent: User) -> None:
    (passed,) = offer(says("c", "Late?"), [answer("a", "A", "It comes on Monday.", agent)])
    answer("b", "Strike", "The post is on strike.", agent)
    assert 'data-found="b"' in page.get("/support/find/", {"q": "strike", "key": "c"}).content.decode()
    page.post("/support/reply/c/", {"text": "The post is on strike.", "taken": "found:b"}, headers=HTMX)
    assert dict(Suggestion.objects.values_list("answer__key", "state")) == {"a": "ignored", "b": "accepted"}
    assert passed.uid in set(Feedback.objects.values_list("suggestion__uid", flat=True))

    response = page.post("/support/reply/c/", {"text": "Hm.", "taken": "found:nothing"}, headers=HTMX)
    assert response.status_code == 204  # it is gone meanwhile; the reply is not held up by it


def test_others_conversations_are_not_the_next(page: Client, django_user_model: type[User]) -> None:
    other = django_user_model.objects.create_user("other")
    says("theirs", "Hello", seconds=90)
    services.assign("theirs", other)
    says("c", "Hello")
    response = page.post("/support/reply/c/", {"text": "Hi", "next": "1"}, headers=HTMX)
    assert json.loads(response.headers["HX-Trigger"])["sent"]["is_last"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("  ", "Write something first."),
        ("Order {{order.id}}, {{ when }}", "Not sent: fill in order.id, when."),
        ("x" * 20_001, "text is 20,001 characters long, the limit is 20,000"),
    ],
)
def test_what_cannot_be_sent_says_why(page: Client, text: str, reason: str) -> None:
    says("c", "Late?")
    response = page.post("/support/reply/c/", {"text": text}, headers=HTMX)
    assert (response.status_code, response.headers["X-Error-Reason"]) == (422, reason)
    assert Message.objects.count() == 1


def test_a_full_backlog_keeps_nothing_and_says_so(page: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    says("c", "Late?")

    def full(events: object) -> None:
        raise BacklogFull

    monkeypatch.setattr(services, "ingest", full)
    response = page.post("/support/reply/c/", {"text": "Hi"}, headers=HTMX)
    assert response.status_code == 429
    assert "Too much is waiting" in response.text


def test_without_scripts_a_reply_leads_back(page: Client) -> None:
    says("c", "Late?")
    response = page.post("/support/reply/c/", {"text": "No."})
    assert response.headers["Location"] == "/support/conversations/c/"


def test_a_rejection_has_one_of_the_reasons_and_leaves_the_panel(page: Client, agent: User) -> None:
    first, second = offer(says("c", "Late?"), [answer("a", "Aa", "A.", agent), answer("b", "Bb", "B.", agent)])
    assert page.post(f"/support/suggestions/{first.uid}/reject/", {"reason": "ugly"}).status_code == 422
    response = page.post(f"/support/suggestions/{first.uid}/reject/", {"reason": "outdated"}, headers=HTMX)
    assert "decided" in response.headers["HX-Trigger"]
    assert Feedback.objects.get().reason == "outdated"
    html = page.get("/support/conversations/c/").text
    assert f'data-suggestion="{first.uid}"' not in html
    assert f'data-suggestion="{second.uid}"' in html
    assert "1 rejected" in html
    assert page.post("/support/suggestions/unknown/reject/", {"reason": "wrong"}).status_code == 422


def test_assigning_and_solving(page: Client, agent: User) -> None:
    says("c", "Late?")
    page.post("/support/assign/c/", {"to": "me"}, headers=HTMX)
    assert Conversation.objects.get().assignee == agent
    page.post("/support/assign/c/", {"to": "nobody"}, headers=HTMX)
    assert Conversation.objects.get().assignee is None
    assert page.post("/support/state/c/", {"state": "lost"}).status_code == 422
    assert page.post("/support/state/c/", {"state": "solved"}).headers["Location"] == "/support/conversations/c/"
    assert Conversation.objects.get().state == "solved"


def test_who_looks_is_shown_to_the_others_until_they_leave(page: Client, django_user_model: type[User]) -> None:
    says("c", "Late?")
    other = Client()
    other.force_login(django_user_model.objects.create_superuser("otto"))
    assert "here" not in page.post("/support/here/c/").text
    assert "1 other here" in other.post("/support/here/c/").text
    assert "otto" in page.post("/support/here/c/").text
    assert other.post("/support/gone/c/").status_code == 204
    assert Presence.objects.get().user.username == "mira"


def test_answers_are_found_and_filled_in_with_what_is_known(page: Client, agent: User) -> None:
    says("c", "Late?", name="Ada")
    answer("a", "Late parcels", "Hello {{customer.name}}, it comes.", agent)
    html = page.get("/support/find/", {"q": "late parcels", "key": "c"}).text
    assert 'data-text="Hello Ada, it comes."' in html
    assert "No answer matches" in page.get("/support/find/", {"q": "zzz"}).text
    assert page.get("/support/find/", {"q": ""}).text.strip() == ""


# The customer page --------------------------------------------------------------------------------------------
def test_a_customer_needs_no_account_and_no_cookie(client: Client) -> None:
    form = {"name": "Ada", "text": "Where is it?", "message_id": "a" * 32}
    response = client.post("/support/chat/?lang=zh", form)
    address = response.headers["Location"]
    assert not response.cookies
    conversation = Conversation.objects.get()
    assert conversation.customer == {"name": "Ada", "locale": "zh"}
    shown = Client().get(address)
    assert "Where is it?" in shown.text
    assert PHRASES["zh"]["waiting"] in shown.text
    assert not shown.cookies

    sent = client.post(address, {"text": "Hello?", "message_id": "b" * 32}, headers=HTMX)
    assert "sent" in json.loads(sent.headers["HX-Trigger"])
    client.post(address, {"text": "Hello?", "message_id": "b" * 32}, headers=HTMX)
    assert [message.text for message in conversation.messages.all()] == ["Where is it?", "Hello?"]


def test_the_customer_hears_of_the_reply_and_of_nothing_else(client: Client, agent: User) -> None:
    question = says("c", "Late?", seconds=9)
    offer(question, [answer("a", "Secret title", "It comes.", agent)])
    token = visitor_token("c")
    services.send_reply("c", agent, "It <i>comes</i>.")
    html = client.get(f"/support/chat/{token}/").text
    news = client.get(f"/support/chat/{token}/news/", {"after": question.event_id}).text
    for text in (html, news):
        assert "It &lt;i&gt;comes&lt;/i&gt;." in text
        assert "Secret title" not in text
        assert "mira" not in text
    assert "Late?" not in news


@pytest.mark.parametrize("token", ["forged", "x" * 300])
def test_a_token_that_is_not_ours_opens_nothing(client: Client, token: str) -> None:
    says("c", "Late?")
    assert client.get(f"/support/chat/{token}/").status_code == 404
    assert client.get(f"/support/chat/{token}/news/").status_code == 404
    assert client.post(f"/support/chat/{token}/", {"text": "Hi"}).status_code == 404
    assert Message.objects.count() == 1
    assert "cannot be opened" in client.get(f"/support/chat/{visitor_token('another')}/").text


@pytest.mark.parametrize(("text", "phrase"), [(" ", "empty"), ("x" * (chat.MAX_TEXT + 1), "too_long")])
def test_a_message_that_is_not_taken_is_kept_on_the_page(client: Client, text: str, phrase: str) -> None:
    response = client.post("/support/chat/?lang=zh", {"text": text})
    assert response.status_code == 422
    assert PHRASES["zh"][phrase].format(chat.MAX_TEXT) in response.text
    says("c", "Late?")
    refused = client.post(f"/support/chat/{visitor_token('c')}/?lang=zh", {"text": text}, headers=HTMX)
    news = json.loads(refused.headers["HX-Trigger"])
    assert news == {"refused": {"text": PHRASES["zh"][phrase].format(chat.MAX_TEXT)}}
    assert Message.objects.count() == 1


def test_a_visitor_who_floods_is_asked_to_wait(client: Client) -> None:
    says("c", *["More"] * chat.MESSAGES_A_MINUTE)
    response = client.post(f"/support/chat/{visitor_token('c')}/", {"text": "More"}, headers=HTMX)
    assert response.status_code == 429
    assert Message.objects.count() == chat.MESSAGES_A_MINUTE


def test_only_named_sites_may_frame_the_chat_and_none_the_desk(page: Client, settings: Any) -> None:
    closed = page.get("/support/chat/")
    assert closed.headers["X-Frame-Options"] == "DENY"
    assert closed.headers["Content-Security-Policy"].endswith("frame-ancestors 'none'")
    settings.FRAME_ORIGINS = ["https://shop.example"]
    opened = page.get("/support/chat/")
    assert "X-Frame-Options" not in opened.headers
    assert opened.headers["Content-Security-Policy"].endswith("frame-ancestors 'self' https://shop.example")
    assert page.get("/support/").headers["X-Frame-Options"] == "DENY"


@pytest.mark.parametrize(
    ("asked", "accepted", "language"),
    [
        ("", "", "en"),
        ("", "zh-CN,zh;q=0.9", "zh"),
        ("en", "zh-CN", "en"),
        ("xx", "de, fr;q=0.5", "en"),
        ("zh-Hans", "", "zh"),
    ],
)
def test_the_customer_page_speaks_the_customers_language(
    client: Client, asked: str, accepted: str, language: str
) -> None:
    html = client.get("/support/chat/", {"lang": asked}, headers={"Accept-Language": accepted}).text
    assert f'<html lang="{language}"' in html
    assert PHRASES[language]["welcome"] in html


def test_every_language_has_every_phrase() -> None:
    assert {language: phrases.keys() for language, phrases in PHRASES.items()} == {
        language: PHRASES["en"].keys() for language in ("en", "zh")
    }


# Answers and insights -----------------------------------------------------------------------------------------
def test_answers_are_listed_searched_changed_and_removed(page: Client, agent: User) -> None:
    assert "No answers yet" in page.get("/support/answers/").text
    answer("a", "Late parcels", "Hello {{customer.name}}.", agent, language="en")
    answer("b/c?", "退货", "三十天内可以退货。", agent, language="zh-Hans")
    html = page.get("/support/answers/").text
    assert "2 answers" in html
    assert "customer.name" in html
    found = page.get("/support/answers/", {"q": "退货"}, headers={"HX-Target": "rows"}).text
    assert "Late parcels" not in found
    assert "<html" not in found
    assert "退货" not in page.get("/support/answers/", {"language": "en"}, headers={"HX-Target": "rows"}).text

    editor = "/support/answers/of/b%2Fc%3F/"
    assert "三十天内可以退货。" in page.get(editor).text
    response = page.post(editor, {"title": "退货 & 退款", "text": "七天内\r\n可以退货。", "language": "zh-Hans"})
    assert response.status_code == 302
    changed = Answer.objects.get(key="b/c?")
    assert (changed.title, changed.text) == ("退货 & 退款", "七天内\n可以退货。")
    assert page.post("/support/answers/remove/b%2Fc%3F/").status_code == 302
    assert page.get(editor).status_code == 404


def test_a_new_answer_is_checked_field_by_field(page: Client) -> None:
    response = page.post("/support/answers/new/", {"title": "t" * 301, "text": " ", "source": "kept"})
    assert response.status_code == 422
    assert "Title has 301 characters, the limit is 300." in response.text
    assert "Text must not be empty." in response.text
    assert 'value="kept"' in response.text
    assert not Answer.objects.exists()


def test_what_says_the_same_is_shown_before_anything_is_saved(
    page: Client, agent: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = answer("a", "Late parcels", "It comes.", agent)
    monkeypatch.setattr("domains.support.selectors.similar_answers", lambda *args, **kwargs: [(known, 0.93)])
    form = {"title": "Parcels that are late", "text": "It comes."}
    asked = page.post("/support/answers/new/", form)
    assert asked.status_code == 409
    assert "Not saved yet" in asked.text
    assert "93% alike" in asked.text
    assert Answer.objects.count() == 1
    assert "93% alike" in page.post("/support/answers/similar/", form).text
    assert page.post("/support/answers/new/", form | {"is_sure": "1"}).status_code == 302
    assert Answer.objects.count() == 2


def test_an_answer_for_a_gap_shows_its_question_and_leads_back_to_who_waits(page: Client) -> None:
    offer(says("c/1", "My card 4111 1111 1111 1111: do you deliver to the moon?", name="Ada"), [])
    address = "/support/answers/new/?conversation=c/1"
    html = page.get(address).text
    assert "deliver to the moon?" in html
    assert "4111" not in html
    assert "deliver to the moon?" in page.get(f"/support/answers/new/?run={SuggestionRun.objects.get().pk}").text
    response = page.post(address, {"title": "Moon", "text": "Not yet, {{customer.name}}."})
    assert response.headers["Location"].startswith("/support/conversations/c/1/?answer=")
    assert 'data-text="Not yet, Ada."' in page.get(response.headers["Location"]).text


def test_insights_count_what_agents_decided(page: Client, agent: User) -> None:
    assert "Nothing decided in these 30 days" in page.get("/support/insights/").text
    good, bad = answer("g", "Good one", "It comes.", agent), answer("b", "Bad one", "It went.", agent)
    for number in range(5):
        first, _ = offer(says(f"c{number}", "Late?", seconds=9), [good, bad])
        services.send_reply(f"c{number}", agent, "It comes.", [first.uid])
    html = page.get("/support/insights/?days=7").text
    assert "Taken, of 10 decided" in html
    assert ">50%<" in html
    charts = json.loads(re.search(r'id="charts" type="application/json">(.*?)</script>', html)[1])  # type: ignore[index]
    assert charts["position"][0] == {
        "name": "1", "shown": 5, "accepted": 5, "edited": 0, "rejected": 0, "ignored": 0,
    }  # fmt: skip
    assert [row["name"] for row in charts["release"]] == [RELEASE[:12]]
    never = html.split('id="never"')[1].split("</section>")[0]
    assert "Bad one" in never
    assert "Good one" not in never


def test_waiting_times_are_short() -> None:
    now = timezone.now()
    spoken = [
        (waited(now - timedelta(seconds=s)), lateness(now - timedelta(seconds=s))) for s in (9, 130, 3_900, 200_000)
    ]
    assert spoken == [("0:09", ""), ("2:10", "warn"), ("1:05 h", "late"), ("2 d", "late")]


def test_reasons_have_a_key_each_that_no_other_command_has() -> None:
    keys = [reason.key for reason in desk.REASONS]
    assert len(set(keys)) == len(keys) == 5
