"""Labelling in the admin: the examples, and the page on which they are labelled one after another."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import URLPattern, path, reverse
from unfold.decorators import action, display

from suite.admin import ReadOnlyAdmin
from suite.labelling import selectors, services
from suite.labelling.models import LabelList, LabelRequest
from suite.live.selectors import live_topic
from suite.releases import selectors as releases

SHOWN = 9  # labels that are shown at once, each with a key


@admin.register(LabelRequest)
class LabelRequestAdmin(ReadOnlyAdmin):
    nothing_yet = (
        "Choose Label next above: a worker then picks the texts of which the release that serves is least sure."
    )
    list_display = ("text", "head", "place", "shown_state", "label", "decided_by", "decided_at", "uncertainty")
    list_filter = ("head", "state")
    actions_list = ("label_next",)

    def has_label_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        return request.user.has_perm("labelling.change_labelrequest")

    @display(description="Text")
    def text(self, row: LabelRequest) -> str:
        return row.record["text"]

    @display(description="State", label={"labelled": "success", "open": "info"}, ordering="state")
    def shown_state(self, row: LabelRequest) -> str:
        return row.state

    @action(description="Label next", url_path="label-next", permissions=["label"], icon="label")
    def label_next(self, request: HttpRequest) -> HttpResponse:
        return redirect("admin:labelling_next")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.next_view)
        own = [path("next/", view, name="labelling_next"), path("next/<str:head>/", view, name="labelling_next_of")]
        return own + super().get_urls()

    def next_view(self, request: HttpRequest, head: str = "") -> HttpResponse:
        """The text of a head that is worth labelling next; a POST decides on one, and the answer shows the next."""
        if not self.has_label_permission(request):
            raise PermissionDenied
        heads = selectors.heads()
        if head and head not in heads:
            raise Http404
        head = head or next(iter(heads), "")
        said = decide(request, head) if request.method == "POST" else ""
        context = self.admin_site.each_context(request) | {
            "title": f"Label next: {head}" if head else "Label next",
            "opts": self.opts,
            "heads": heads,
            "said": said,
            **(page(head) if head else {}),
        }
        return render(request, "labelling/next.html", context)


def decide(request: HttpRequest, head: str) -> str:
    """Do what a form asks for; what came of it in a line."""
    by, given = request.user.get_username(), request.POST
    try:
        match given.get("do", "label"):
            case "more":
                services.want_list(head)
                return "A list is being made."
            case "undo":
                services.undo(head, by)
                return "Undone: here it is again."
            case wish:
                pk = given.get("request", "")
                row = get_object_or_404(LabelRequest, head=head, pk=int(pk) if pk.isdecimal() else 0)
                if wish == "skip":
                    services.skip(row, by)
                    return "Skipped."
                services.label(row, given.get("label", ""), by)
                return f"Labelled {given['label']}."
    except services.Refused as error:
        return f"Not done: {error}."


def page(head: str) -> dict[str, Any]:
    """What the page of a head shows. A list that the active release did not make is asked for anew."""
    topic = live_topic(services.topic(head))
    active = releases.active()
    made = LabelList.objects.filter(head=head).first()
    if active and (made is None or (made.release != active.fingerprint and not made.is_outstanding)):
        services.want_list(head)
        topic, made = live_topic(services.topic(head)), LabelList.objects.get(head=head)
    row = selectors.next_request(head) if made and not made.is_outstanding else None
    return {
        "head": head,
        "topic": topic,
        "has_release": active is not None,
        "made": made,
        "row": row,
        "progress": selectors.progress(head),
        "labels": labels_of(row) if row else [],
        "new_labels": selectors.new_labels(head),
        "train_url": reverse("admin:releases_trainingrun_changelist"),
        "shown": SHOWN,
    }


def labels_of(row: LabelRequest) -> list[tuple[str, float, int]]:
    """(label, percent, key), in class order where each has a key; of more the likeliest first, and the others keyless
    (0)."""
    pairs = list(row.chances.items())
    if len(pairs) > SHOWN:
        pairs.sort(key=lambda pair: -pair[1])
    return [(label, 100 * chance, number if number <= SHOWN else 0) for number, (label, chance) in enumerate(pairs, 1)]
