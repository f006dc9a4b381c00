"""The desk: conversations, the one that is open, suggestions for it, and what the agent does.

What is done answers with news for the page (`HX-Trigger`); the rows themselves come when the socket rings.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_GET, require_POST

from domains.support import desk, selectors, services
from domains.support.events import MAX_TEXT
from domains.support.models import Conversation
from domains.support.suggesting.variables import names
from domains.support.views.access import REPLY, agent_of, for_agents, refused
from suite.live.selectors import live_topic

MAX_QUERY = 200
FOUND, CLOSEST = 8, 3


@require_GET
@for_agents()
def desk_page(request: HttpRequest) -> HttpResponse:
    longest = desk.next_waiting(agent_of(request), "waiting")
    return render(request, "support/desk.html", list_context(request) | {"longest": longest})


@require_GET
@for_agents()
def list_fragment(request: HttpRequest) -> HttpResponse:
    return render(request, "support/_list.html", list_context(request))


@require_GET
@for_agents()
def conversation_page(request: HttpRequest, key: str) -> HttpResponse:
    """One conversation: alone where htmx asks for it, else with the list beside it."""
    is_fragment = request.headers.get("HX-Target") == "conversation"
    topic = live_topic(services.conversation_topic(key))  # before the rows are read, so no news is missed
    try:
        context = desk.conversation_context(key, agent_of(request)) | {"conversation_topic": topic}
    except selectors.NotFound:
        context = {"is_missing": True}
    context |= {"message_id": uuid.uuid4().hex, "max_text": MAX_TEXT, "found": asked_answer(request, key)}
    if is_fragment:
        template = "support/_none.html" if "is_missing" in context else "support/_conversation.html"
        response = render(request, template, context)
    else:
        status = 404 if "is_missing" in context else 200
        response = render(request, "support/desk.html", list_context(request) | context, status=status)
    patch_vary_headers(response, ["HX-Target"])
    return response


@require_GET
@for_agents()
def news(request: HttpRequest, key: str) -> HttpResponse:
    """What changed in an open conversation: messages after event `after`, and the panel where it is not `version`."""
    user = agent_of(request)
    after = whole_number(request, "after")
    try:
        shown = selectors.thread(key, user)
        panel = desk.panel_of(key, user)
    except selectors.NotFound:
        return HttpResponse(status=204)
    messages = desk.messages_after(shown.conversation, after)
    context = desk.about(shown.conversation, user) | {
        "messages": messages,
        "others": shown.others,
        "panel": panel,
        "is_panel_new": panel.version != request.GET.get("version"),
        "after": max([after, *(message.event_id for message in messages)]),
        "is_news": True,
    }
    return render(request, "support/_news.html", context)


@require_GET
@for_agents()
def earlier(request: HttpRequest, key: str) -> HttpResponse:
    """Messages that stand before the message `before`."""
    user = agent_of(request)
    try:
        conversation = selectors.find_conversation(key)
    except selectors.NotFound:
        return HttpResponse(status=204)
    messages = desk.messages_before(conversation, whole_number(request, "before"))
    context = desk.about(conversation, user) | {"messages": messages, "is_cut": len(messages) == desk.EARLIER_MESSAGES}
    return render(request, "support/_earlier.html", context)


@require_POST
@for_agents(REPLY)
def reply(request: HttpRequest, key: str) -> HttpResponse:
    """Send what was written; then the next who waits, where the form asks for it."""
    user, text = agent_of(request), request.POST.get("text", "").strip()
    if not text:
        return refused(422, "Write something first.")
    if missing := names(text):
        return refused(422, f"Not sent: fill in {', '.join(missing)}.")
    try:
        conversation = selectors.find_conversation(key)
    except selectors.NotFound as error:
        return refused(404, str(error))
    used = [suggestion_of(key, taken) for taken in request.POST.getlist("taken")]
    services.send_reply(key, user, text, used, request.POST.get("message_id", "")[:64])
    if conversation.assignee_id is None:
        services.assign(key, user)
    following = desk.next_waiting(user, request.POST.get("tab", ""), but=key) if "next" in request.POST else None
    path = reverse("support:conversation", args=[following.key if following else key])
    if not request.htmx:  # type: ignore[attr-defined]  # without scripts
        return redirect(path)
    response = news_of("sent", {"is_last": following is None, "next_message": uuid.uuid4().hex})
    if following:
        response["HX-Location"] = json.dumps({"path": path, "target": "#conversation", "swap": "innerHTML"})
    return response


@require_POST
@for_agents(REPLY)
def reject(request: HttpRequest, uid: str) -> HttpResponse:
    reason = request.POST.get("reason", "")
    if reason not in {each.name for each in desk.REASONS}:
        return refused(422, f"The reason must be one of {', '.join(each.name for each in desk.REASONS)}.")
    services.give_feedback(uid, "rejected", agent_of(request), reason=reason)
    return news_of("decided", {})


@require_POST
@for_agents(REPLY)
def assign(request: HttpRequest, key: str) -> HttpResponse:
    services.assign(key, agent_of(request) if request.POST.get("to") == "me" else None)
    return done(request, key)


@require_POST
@for_agents(REPLY)
def set_state(request: HttpRequest, key: str) -> HttpResponse:
    state = request.POST.get("state", "")
    if state not in Conversation.State.values:
        return refused(422, f"state must be one of {', '.join(Conversation.State.values)}")
    services.set_state(key, state, agent_of(request))
    return done(request, key)


@require_POST
@for_agents()
def here(request: HttpRequest, key: str) -> HttpResponse:
    """The agent looks at the conversation; answers who else does."""
    user = agent_of(request)
    services.present(user, key)
    try:
        others = selectors.thread(key, user).others
    except selectors.NotFound:
        others = []
    return render(request, "support/_presence.html", {"others": others})


@require_POST
@for_agents()
def gone(request: HttpRequest, key: str) -> HttpResponse:
    services.absent(agent_of(request), key)
    return HttpResponse(status=204)


@require_GET
@for_agents()
def find(request: HttpRequest) -> HttpResponse:
    """Answers for what is typed, as cards filled in with what the conversation `key` knows."""
    user = agent_of(request)
    query = request.GET.get("q", "").replace("\0", " ").strip()[:MAX_QUERY]
    conversation = Conversation.objects.filter(key=request.GET.get("key", "").replace("\0", "")).first()
    answers = selectors.search_answers(query, FOUND) if query else []
    cards = [desk.found_card(answer, conversation, user) for answer in answers]
    context = {"cards": cards, "query": query, "may_write": user.has_perm("support.add_answer")}
    return render(request, "support/_found.html", context)


@require_GET
@for_agents()
def closest(request: HttpRequest, key: str) -> HttpResponse:
    """What comes nearest to a question that has no good answer."""
    user = agent_of(request)
    try:
        conversation = selectors.find_conversation(key)
    except selectors.NotFound:
        return HttpResponse(status=204)
    question = selectors.suggestions_for(key, user).question
    answers = selectors.search_answers(question, CLOSEST) if question else []
    return render(
        request, "support/_found.html", {"cards": [desk.found_card(each, conversation, user) for each in answers]}
    )


def list_context(request: HttpRequest) -> dict[str, Any]:
    topic = live_topic(services.DESK_TOPIC)
    return desk.list_context(desk.tab_of(request.GET.get("tab", "")), agent_of(request)) | {"topic": topic}


def asked_answer(request: HttpRequest, key: str) -> list[desk.Card]:
    """The card of `?answer=`: one that was just written for this conversation."""
    wanted = request.GET.get("answer", "").replace("\0", "")
    try:
        answer = selectors.find_answer(wanted) if wanted else None
    except selectors.NotFound:
        answer = None
    conversation = Conversation.objects.filter(key=key).first()
    return [desk.found_card(answer, conversation, agent_of(request))] if answer else []


def suggestion_of(key: str, taken: str) -> str:
    """The suggestion id of what was taken: a suggestion's own, or `found:` and the key of an answer searched for."""
    found = taken.removeprefix("found:")
    return taken if found == taken else services.take_found(key, found.replace("\0", ""))


def news_of(name: str, detail: dict[str, Any]) -> HttpResponse:
    return HttpResponse(status=204, headers={"HX-Trigger": json.dumps({name: detail})})


def done(request: HttpRequest, key: str) -> HttpResponse:
    if request.htmx:  # type: ignore[attr-defined]
        return news_of("decided", {})
    return redirect("support:conversation", key)


def whole_number(request: HttpRequest, name: str) -> int:
    text = request.GET.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else 0
