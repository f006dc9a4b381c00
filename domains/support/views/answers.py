"""The answers: look them up, write one, change one; answers that say the same are shown before anything is saved."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from domains.support import selectors, services
from domains.support.events import MAX_LANGUAGE, MAX_SOURCE, MAX_TEXT, MAX_TITLE
from domains.support.models import Answer, SuggestionRun
from domains.support.suggesting.variables import names
from domains.support.views.access import WRITE, agent_of, for_agents
from suite.events.envelope import Rejected

PAGE_ANSWERS = 200
MAX_QUERY = 200
LIMITS = {"title": MAX_TITLE, "text": MAX_TEXT, "source": MAX_SOURCE, "language": MAX_LANGUAGE}


@require_GET
@for_agents()
def answers_page(request: HttpRequest) -> HttpResponse:
    query = request.GET.get("q", "").replace("\0", " ").strip()[:MAX_QUERY]
    language = request.GET.get("language", "").replace("\0", "")[:MAX_LANGUAGE]
    rows = selectors.answers(query, language=language, limit=PAGE_ANSWERS)
    existing = Answer.objects.filter(is_removed=False)
    context = {
        "answers": [(row, names(row.text)) for row in rows],
        "query": query,
        "language": language,
        "languages": sorted(set(existing.exclude(language="").values_list("language", flat=True))),
        "total": existing.count(),
        "is_cut": len(rows) == PAGE_ANSWERS,
        "saved": existing.filter(key=request.GET.get("saved", "").replace("\0", "")).first(),
        "may_write": agent_of(request).has_perm(WRITE),
    }
    is_fragment = request.headers.get("HX-Target") == "rows"
    return render(request, "support/_answer_rows.html" if is_fragment else "support/answers.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@for_agents(WRITE)
def new_answer(request: HttpRequest) -> HttpResponse:
    """An empty editor; `?run=` and `?conversation=` say which question the answer is for."""
    return editor(request, None)


@require_http_methods(["GET", "HEAD", "POST"])
@for_agents()
def answer_page(request: HttpRequest, key: str) -> HttpResponse:
    try:
        answer = selectors.find_answer(key)
    except selectors.NotFound as error:
        context = {"title": "There is no such answer", "detail": str(error)}
        back = {"back": reverse("support:answers"), "back_label": "To the answers"}
        return render(request, "404.html", context | back, status=404)
    if not agent_of(request).has_perm(WRITE):
        return render(request, "support/answer.html", {"answer": answer, "is_read_only": True} | fields_of(answer))
    return editor(request, answer)


@require_POST
@for_agents(WRITE)
def similar(request: HttpRequest) -> HttpResponse:
    """Answers that say much the same as what is being written, and the variables in it."""
    given = given_fields(request)
    key = request.POST.get("key", "").replace("\0", "")
    context = {"variables": names(given["text"]), "similar": similar_to(given, key)}
    return render(request, "support/_similar.html", context)


@require_POST
@for_agents(WRITE)
def remove_answer(request: HttpRequest, key: str) -> HttpResponse:
    services.remove_answer(agent_of(request), key)
    return redirect("support:answers")


def editor(request: HttpRequest, answer: Answer | None) -> HttpResponse:
    context = fields_of(answer) | {"answer": answer, "limits": LIMITS, "problems": {}} | asked_question(request)
    if request.method != "POST":
        return render(request, "support/answer.html", context)
    given = given_fields(request)
    key = answer.key if answer else ""
    context |= given | {"variables": names(given["text"])}
    if problems := problems_of(given):
        return render(request, "support/answer.html", context | {"problems": problems}, status=422)
    same = similar_to(given, key)
    if same and "is_sure" not in request.POST:
        return render(request, "support/answer.html", context | {"similar": same, "asks": True}, status=409)
    try:
        saved = services.save_answer(agent_of(request), key=key, **given)
    except Rejected as error:
        problems = {error.field.removeprefix("data."): error.reason}
        return render(request, "support/answer.html", context | {"problems": problems}, status=422)
    if conversation := context["conversation_key"]:
        return redirect(f"{reverse('support:conversation', args=[conversation])}?{urlencode({'answer': saved})}")
    return redirect(f"{reverse('support:answers')}?{urlencode({'saved': saved})}")


def fields_of(answer: Answer | None) -> dict[str, Any]:
    fields = {name: getattr(answer, name, "") for name in LIMITS}
    return fields | {"variables": names(fields["text"])}


def given_fields(request: HttpRequest) -> dict[str, str]:
    """What was typed, as rows can hold it."""
    return {name: request.POST.get(name, "").replace("\0", "").replace("\r\n", "\n").strip() for name in LIMITS}


def problems_of(given: dict[str, str]) -> dict[str, str]:
    """{field: what is wrong with it}."""
    found = {
        name: f"has {len(given[name]):,} characters, the limit is {limit:,}"
        for name, limit in LIMITS.items()
        if len(given[name]) > limit
    }
    if not given["text"]:
        found["text"] = "must not be empty"
    return found


def similar_to(given: dict[str, str], key: str) -> list[tuple[Answer, float]]:
    return selectors.similar_answers(given["title"], given["text"], key=key) if given["text"] else []


def asked_question(request: HttpRequest) -> dict[str, str]:
    """The masked question that an answer is written for, from `?run=` or the newest one of `?conversation=`."""
    key = request.GET.get("conversation", "").replace("\0", "")
    number = request.GET.get("run", "")
    runs = SuggestionRun.objects.filter(message__conversation__key=key)
    if number.isascii() and number.isdigit() and len(number) < 19:
        runs = SuggestionRun.objects.filter(pk=int(number))
    run = runs.order_by("-id").first()
    return {"question": run.question if run else "", "conversation_key": key}
