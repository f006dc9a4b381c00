"""Rules: the list, the editor, and the proof that is drawn while a rule is written."""

from __future__ import annotations

import json

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from domains.finance.alerting import services
from domains.finance.analysts import for_analysts
from domains.finance.forms import RuleForm
from domains.finance.models import AlertRule
from domains.finance.pages.choices import choices
from domains.finance.pages.rules import proof as proof_of
from domains.finance.pages.rules import rule_rows
from domains.finance.views.frame import frame, page, whole_number


@require_GET
@for_analysts()
def table(request: HttpRequest) -> HttpResponse:
    return page(request, "finance/rules.html", {"rows": rule_rows()}, "rules")


@require_http_methods(["GET", "POST"])
@for_analysts("may_rule")
def editor(request: HttpRequest, key: int = 0) -> HttpResponse:
    """A new rule, or one that is changed."""
    rule = get_object_or_404(AlertRule.objects.select_related("entity", "watch_list"), pk=key) if key else AlertRule()
    form = RuleForm(request.POST if request.method == "POST" else None, rule)
    if form.is_valid():
        saved = services.save_rule(form.stored, by=request.analyst.name, rule=rule if key else None)  # type: ignore[attr-defined]
        return redirect(f"{reverse('finance:rules')}#rule-{saved.pk}")
    context = {"form": form, "rule_id": key, "choices": choices(), "levels_json": json.dumps(AlertRule.LEVELS)}
    context["proof"] = proof_of(form.rule) if form.can_be_tested else None
    return page(request, "finance/rule.html", context, "rules", status=422 if form.is_bound else 200)


@require_GET
@for_analysts("may_rule")
def proof(request: HttpRequest) -> HttpResponse:
    """The proof of the rule as it is being written; what is not right yet is said instead."""
    key = whole_number(request, "rule")
    form = RuleForm(request.GET, AlertRule.objects.filter(pk=key).first() or AlertRule())
    context = frame(request) | {"form": form, "proof": proof_of(form.rule) if form.can_be_tested else None}
    return render(request, "finance/_proof.html", context)
