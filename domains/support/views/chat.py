"""The customer page: no log-in, no cookie; a signed token in the address names the conversation.

There is nothing that a browser sends by itself, so no other site can act for a visitor, and the page may stand in a
frame of the sites that `SUITE_FRAME_ORIGINS` names.
"""

from __future__ import annotations

import json
import math
import uuid
from datetime import timedelta
from functools import wraps
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_http_methods

from domains.support import desk, selectors, services
from domains.support.models import Conversation, Message
from domains.support.phrases import PHRASES, language_of
from domains.support.views.access import View
from domains.support.views.desk import whole_number
from domains.support.visitors import (
    NotAVisitor,
    conversation_key_of,
    new_conversation_key,
    seconds_to_wait,
    visitor_token,
)
from suite.events.envelope import Rejected
from suite.events.ingestion import BacklogFull
from suite.live.selectors import live_topic

MAX_TEXT = 4_000  # characters of a visitor's message
MAX_NAME = 100
MESSAGES_A_MINUTE = 20  # of one conversation
POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors "


def embeddable(view: View) -> View:
    """Says who may show the page in a frame: the sites of `SUITE_FRAME_ORIGINS`, and nobody where it names none."""

    @wraps(view)
    def framed(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response = view(request, *args, **kwargs)
        origins = settings.FRAME_ORIGINS
        response["Content-Security-Policy"] = POLICY + (" ".join(["'self'", *origins]) if origins else "'none'")
        if origins:
            response.xframe_options_exempt = True  # the older header knows no list
        return response

    return framed


class NotTaken(Exception):
    """A message that is not taken; `phrase` says why, in the visitor's language, with a number where it has a place
    for one. `wait` is in seconds."""

    def __init__(self, status: int, phrase: str, number: int = 0, wait: int = 0) -> None:
        super().__init__(phrase)
        self.status, self.phrase, self.number, self.wait = status, phrase, number, wait


@csrf_exempt
@embeddable
@require_http_methods(["GET", "HEAD", "POST"])
def start(request: HttpRequest) -> HttpResponse:
    """The first message; what it answers is the conversation's own address."""
    context = page_context(request)
    name, text = request.POST.get("name", "").strip()[:MAX_NAME], request.POST.get("text", "").strip()
    if request.method != "POST":
        return render(request, "support/chat.html", context)
    key = new_conversation_key()
    try:
        if text and (wait := seconds_to_wait(request.META.get("REMOTE_ADDR") or "")):
            raise NotTaken(429, "too_many", math.ceil(wait / 60), wait)
        take(key, text, request.POST.get("message_id", ""), {"name": name, "locale": context["language"]})
    except NotTaken as error:
        problem = {"error": context["say"][error.phrase].format(error.number), "name": name, "text": text[:MAX_TEXT]}
        headers = {"Retry-After": str(error.wait)} if error.wait else None
        page = render_to_string("support/chat.html", context | problem, request)
        return HttpResponse(page, status=error.status, headers=headers)
    return redirect(f"{reverse('support:chat-with', args=[visitor_token(key)])}?lang={context['language']}")


@csrf_exempt
@embeddable
@require_http_methods(["GET", "HEAD", "POST"])
def chat(request: HttpRequest, token: str) -> HttpResponse:
    context = page_context(request)
    try:
        key = conversation_key_of(token)
        if request.method == "POST":
            return answer(request, key, context)
        topic = live_topic(services.conversation_topic(key))
        shown = selectors.thread(key)
    except (NotAVisitor, selectors.NotFound):
        return render(request, "support/chat.html", context | {"is_gone": True}, status=404)
    messages = {"messages": shown.messages, "after": desk.newest_event(shown.conversation)}
    return render(request, "support/chat.html", context | messages | talk_context(shown.conversation, token, topic))


@embeddable
@require_GET
def chat_news(request: HttpRequest, token: str) -> HttpResponse:
    """Messages after event `after`, and the state."""
    after = whole_number(request, "after")
    try:
        conversation = selectors.find_conversation(conversation_key_of(token))
    except (NotAVisitor, selectors.NotFound):
        return HttpResponse(status=404)
    messages = desk.messages_after(conversation, after)
    context = {
        "messages": messages,
        "conversation": conversation,
        "after": max([after, *(message.event_id for message in messages)]),
        "is_news": True,
    }
    return render(request, "support/_chat_news.html", page_context(request) | context)


def answer(request: HttpRequest, key: str, context: dict[str, Any]) -> HttpResponse:
    try:
        take(key, request.POST.get("text", "").strip(), request.POST.get("message_id", ""))
    except NotTaken as error:
        text = context["say"][error.phrase].format(error.number)
        response = HttpResponse(text, status=error.status, content_type="text/plain; charset=utf-8")
        return with_news(response, "refused", {"text": text})
    if not request.htmx:  # type: ignore[attr-defined]  # without scripts: the page again
        return redirect(request.get_full_path())
    return with_news(HttpResponse(status=204), "sent", {"next_message": context["message_id"]})


def take(key: str, text: str, message: str, customer: dict[str, str] | None = None) -> None:
    """Take a visitor's message in. Raises `NotTaken`."""
    if not text:
        raise NotTaken(422, "empty")
    if len(text) > MAX_TEXT:
        raise NotTaken(422, "too_long", MAX_TEXT)
    minute = timezone.now() - timedelta(minutes=1)
    lately = Message.objects.filter(conversation__key=key, author=Message.Author.CUSTOMER, sent_at__gte=minute)
    if lately.count() >= MESSAGES_A_MINUTE:
        raise NotTaken(429, "too_fast")
    try:
        services.add_message(key, text, customer=customer, message=message if is_id(message) else "")
    except BacklogFull as error:
        raise NotTaken(429, "not_sent") from error
    except Rejected as error:
        raise NotTaken(422, "not_sent") from error


def is_id(message: str) -> bool:
    """Whether it is an id as the page makes them, by which a message that is sent twice is stored once."""
    return len(message) == 32 and message.isascii() and message.isalnum()


def page_context(request: HttpRequest) -> dict[str, Any]:
    language = language_of(request)
    return {"language": language, "say": PHRASES[language], "max_text": MAX_TEXT, "message_id": uuid.uuid4().hex}


def talk_context(conversation: Conversation, token: str, topic: Any) -> dict[str, Any]:
    return {"conversation": conversation, "token": token, "topic": topic}


def with_news(response: HttpResponse, name: str, detail: dict[str, Any]) -> HttpResponse:
    response["HX-Trigger"] = json.dumps({name: detail})
    return response
