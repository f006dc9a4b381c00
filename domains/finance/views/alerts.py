"""Alerts: their history, the evidence of one, and what people decide about it."""

from __future__ import annotations

import json
from typing import Any

from django.core.paginator import Paginator
from django.forms import Form
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from domains.finance.alerting import services
from domains.finance.alerting.notifications import active_silences
from domains.finance.analysts import for_analysts
from domains.finance.forms import AcknowledgeForm, SilenceForm
from domains.finance.models import Alert, Silence
from domains.finance.pages.alerts import alert_cards, group_words, taken_on
from domains.finance.pages.evidence import evidence_of
from domains.finance.views.frame import frame, is_fragment
from domains.finance.views.frame import page as framed
from suite.live.selectors import live_topic

PAGE_ROWS = 30
TOPIC = "finance.alerts"


@require_GET
@for_analysts()
def history(request: HttpRequest) -> HttpResponse:
    """Every alert that there was, by its state, and the silences that hold now."""
    topic = live_topic(TOPIC)
    firing = Alert.objects.filter(state=Alert.FIRING)
    found = {
        "all": Alert.objects.all(),
        "firing": firing.exclude(taken_on()),
        "acknowledged": firing.filter(taken_on()),
        "resolved": Alert.objects.filter(state=Alert.RESOLVED),
    }
    state = request.GET.get("state", "all")
    state = state if state in found else "all"
    shown = Paginator(found[state].select_related("entity").order_by("-fired_at", "-id"), PAGE_ROWS).get_page(
        request.GET.get("page")
    )
    counts = {"firing": found["firing"].count(), "acknowledged": found["acknowledged"].count()}
    context = {
        "topic": topic,
        "state": state,
        "tabs": [(name, name.capitalize(), counts.get(name)) for name in found],
        "alerts": alert_cards(list(shown)),
        "shown": shown,
        "silences": active_silences(timezone.now()),
    }
    return framed(request, "finance/alerts.html", context, "alerts")


@require_GET
@for_analysts()
def page(request: HttpRequest, key: int) -> HttpResponse:
    """An alert's own page: what a notification links to."""
    context = drawer_alert(key)
    if not context:
        raise Http404("There is no such alert.")
    return framed(request, "finance/alone.html", context)


@require_GET
@for_analysts()
def evidence(request: HttpRequest, key: int) -> HttpResponse:
    """The drawer's inside."""
    context = drawer_alert(key)
    if not context:
        return render(request, "finance/_gone.html", {"what": "This alert"})
    return render(request, "finance/_drawer.html", frame(request) | context)


def drawer_alert(key: int) -> dict[str, Any]:
    """What the drawer shows of an alert; nothing where there is none."""
    topic = live_topic(TOPIC)
    alert = Alert.objects.filter(pk=key).select_related("entity", "rule").first()
    if alert is None:
        return {}
    return {
        "drawer": "finance/_evidence.html",
        "address": f"alert={key}",
        "topic": topic,
        "evidence": evidence_of(alert),
    }


@require_http_methods(["GET", "POST"])
@for_analysts("may_decide")
def acknowledge(request: HttpRequest, key: int) -> HttpResponse:
    alert = found_alert(key)
    form = AcknowledgeForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        name, values = request.analyst.name, form.cleaned_data  # type: ignore[attr-defined]
        try:
            services.acknowledge(key, by=name, until=form.until, note=values["note"])
            return decided(request, alert, f"Acknowledged: {alert.rule_name}")
        except services.Invalid as invalid:
            form.add_error(None, str(invalid))
    return asked(request, alert, form, "Acknowledge", "acknowledge", "It stays on the board, and is quiet.")


@require_http_methods(["GET", "POST"])
@for_analysts("may_decide")
def silence(request: HttpRequest, key: int) -> HttpResponse:
    alert = found_alert(key)
    form = SilenceForm(alert, request.POST if request.method == "POST" else None)
    if form.is_valid():
        name, values = request.analyst.name, form.cleaned_data  # type: ignore[attr-defined]
        try:
            services.silence(by=name, until=form.until, reason=values["reason"], **form.matched)
            return decided(request, alert, f"Silenced: {alert.rule_name}")
        except services.Invalid as invalid:
            form.add_error(None, str(invalid))
    return asked(request, alert, form, "Silence", "silence", "Alerts that match are shown, and nobody is told of them.")


@require_POST
@for_analysts("may_decide")
def unacknowledge(request: HttpRequest, key: int) -> HttpResponse:
    alert = found_alert(key)
    services.unacknowledge(key, by=request.analyst.name)  # type: ignore[attr-defined]
    return decided(request, alert, f"Taken back: {alert.rule_name}")


@require_POST
@for_analysts("may_decide")
def end_silence(request: HttpRequest, key: int) -> HttpResponse:
    services.end_silence(get_object_or_404(Silence, pk=key), by=request.analyst.name)  # type: ignore[attr-defined]
    return redirect(f"{reverse('finance:alerts')}#silences")


def found_alert(key: int) -> Alert:
    return get_object_or_404(Alert.objects.select_related("entity", "rule"), pk=key)


def asked(request: HttpRequest, alert: Alert, form: Form, verb: str, name: str, hint: str) -> HttpResponse:
    """The form: in the dialog, or as a page of its own where there are no scripts."""
    context = frame(request) | {
        "form": form,
        "title": f"{verb}: {group_words(alert)}",
        "about": f"{alert.rule_name}. {hint}",
        "action": reverse(f"finance:{name}", args=[alert.pk]),
        "verb": verb,
    }
    if is_fragment(request):
        return render(request, "finance/_decision.html", context)
    return render(request, "finance/decision.html", context, status=422 if form.is_bound else 200)


def decided(request: HttpRequest, alert: Alert, words: str) -> HttpResponse:
    if not is_fragment(request):
        return redirect("finance:alert", alert.pk)
    response = HttpResponse(status=204)
    response["HX-Trigger"] = json.dumps({"decided": {"alert": alert.pk}, "toast": {"text": words}})
    return response
