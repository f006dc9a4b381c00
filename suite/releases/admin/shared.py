"""What the pages of releases and of training runs share."""

from __future__ import annotations

from collections.abc import Mapping

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

STYLES = {"all": ("releases/releases.css",)}
STATE_COLOURS = {
    "active": "success",
    "done": "success",
    "building": "info",
    "running": "info",
    "requested": "info",
    "failed": "danger",
    "refused": "danger",
}


def go(request: HttpRequest, url: str) -> HttpResponse:
    """To a page, from a dialog (which htmx sends) or from a plain form."""
    return HttpResponse(headers={"HX-Redirect": url}) if request.headers.get("HX-Request") else redirect(url)


def table(rows: Mapping[str, Mapping[str, float]], first: str) -> SafeString | str:
    """{row: {column: number}} as a table, which a narrow page scrolls; empty where there are no rows."""
    columns = list(dict.fromkeys(name for values in rows.values() for name in values))
    if not columns:
        return ""
    head = format_html_join("", '<th scope="col">{}</th>', ((name.replace("_", " "),) for name in columns))
    body = format_html_join(
        "",
        '<tr><th scope="row">{}</th>{}</tr>',
        ((name, cells([values.get(column) for column in columns])) for name, values in rows.items()),
    )
    return format_html(
        '<div class="overflow-x-auto" tabindex="0"><table class="figures"><tr><th scope="col">{}</th>{}</tr>{}</table>'
        "</div>",
        first, head, body,
    )  # fmt: skip


def cells(values: list[float | None]) -> SafeString:
    shown = ("-" if value is None else f"{value:,.0f}" if float(value).is_integer() and value != 1 else f"{value:.3f}"
             for value in values)  # fmt: skip
    return format_html_join("", "<td>{}</td>", ((text,) for text in shown))
