"""What became of the suggestions, and which questions have no answer yet."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from domains.support import insights
from domains.support.views.access import WRITE, agent_of, for_agents

PERIODS = {7: "7 days", 30: "30 days", 90: "90 days"}
SHOWN_ANSWERS = 12


@require_GET
@for_agents()
def insights_page(request: HttpRequest) -> HttpResponse:
    asked = request.GET.get("days", "")
    days = int(asked) if asked in map(str, PERIODS) else 30
    found = insights.analytics(days)
    decided = sum(share.shown for share in found.by_position)
    context = {
        "found": found,
        "days": days,
        "periods": PERIODS,
        "decided": decided,
        "rate": found.taken / decided if decided else None,
        "answers": found.by_answer[:SHOWN_ANSWERS],
        "gaps": insights.knowledge_gaps(),
        "charts": {"position": series(found.by_position), "release": series(found.by_release)},
        "may_write": agent_of(request).has_perm(WRITE),
    }
    return render(request, "support/insights.html", context)


def series(shares: list[insights.Share]) -> list[dict[str, Any]]:
    """What a chart draws: of each share how much was taken as it was, edited, rejected, ignored."""
    return [
        {
            "name": share.name[:12],
            "shown": share.shown,
            "accepted": share.taken - share.edited,
            "edited": share.edited,
            "rejected": share.rejected,
            "ignored": share.shown - share.taken - share.rejected,
        }
        for share in shares
    ]
