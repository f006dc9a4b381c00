"""How the analyst's pages say figures, times and addresses, and draw a tile's line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django import template
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString, mark_safe

from domains.finance.models import Silence
from domains.finance.pages.selection import Selection, topic_words
from domains.finance.pages.tiles import EntityTile

register = template.Library()
WIDTH, HEIGHT = 120, 34  # user units of a tile's line, which stretches to its place
STEPS = ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h"))

register.filter("topic_name", topic_words)


@register.filter
def percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"


@register.filter
def decimal(number: float | None) -> str:
    """4.25 as 4.2, 17.0 as 17; a dash for no number."""
    return "–" if number is None else f"{number:,.1f}".removesuffix(".0")


@register.filter
def decimal_2(number: float) -> str:
    return f"{number:.2f}"


@register.filter
def silence_words(silence: Silence) -> str:
    """What a silence matches."""
    parts = (
        f"“{silence.rule}”" if silence.rule else "",
        silence.entity.symbol if silence.entity else "",
        topic_words(silence.topic),
        silence.severity,
    )
    return " · ".join(filter(None, parts))


@register.filter
def signed(number: float | None) -> str:
    """Sentiment from -1 to 1, with its sign: −0.42, +0.10."""
    return "–" if number is None else f"{number:+.2f}".replace("-", "−") if abs(number) >= 0.005 else "0.00"


@register.filter
def fixed(number: float) -> str:
    return f"{number:.3f}"


@register.filter
def lag(time: datetime) -> SafeString:
    """How long ago, as a number that the page lets grow."""
    seconds = max(0, int((timezone.now() - time).total_seconds()))
    shown = next((f"{seconds // unit} {name}" for limit, unit, name in STEPS if seconds < limit), "")
    return format_html('<span data-lag="{}">{}</span>', int(time.timestamp()), shown or f"{seconds // 86_400} days")


@register.filter
def moment(time: datetime | None) -> SafeString | str:
    """A time of the clock, in the reader's zone once scripts run: `14:05`, or `3 May 14:05` on another day."""
    if time is None:
        return ""
    today = time.astimezone(UTC).date() == timezone.now().date()
    shown = f"{time:%H:%M}" if today else f"{time.day} {time:%b %H:%M}"
    return format_html('<time datetime="{}" data-clock title="{} UTC">{}</time>', time.isoformat(), time, shown)


@register.filter
def span(seconds: float | None) -> str:
    """Seconds in words: 90 as 1.5 min, 7200 as 2 h."""
    if seconds is None:
        return ""
    for unit, name in ((86_400, "day"), (3_600, "h"), (60, "min")):
        if seconds >= unit:
            number = f"{seconds / unit:.1f}".removesuffix(".0")
            return f"{number} {name}{'s' if name == 'day' and number != '1' else ''}"
    return f"{seconds:.0f} s"


@register.simple_tag(takes_context=True)
def board(context: template.Context, **changes: str) -> str:
    """The dashboard's address with the page's selection, changed."""
    selection: Selection = context.get("selection") or Selection()
    return f"{reverse('finance:board')}?{selection.query(**changes)}"


@register.simple_tag(takes_context=True)
def part(context: template.Context, name: str, **more: Any) -> str:
    """The address of one panel of the dashboard, of the page's selection."""
    selection: Selection = context.get("selection") or Selection()
    query = selection.query() + (f"&{urlencode(more)}" if more else "")
    return f"{reverse('finance:part', args=[name])}?{query}"


@register.simple_tag(takes_context=True)
def board_swap(context: template.Context) -> SafeString:
    """Attributes of a link to the dashboard that let htmx swap the board alone."""
    if not context.get("is_board"):
        return mark_safe("")
    return mark_safe('hx-boost="true" hx-target="#board" hx-swap="outerHTML" hx-push-url="true"')


@register.simple_tag
def tile_spark(tile: EntityTile) -> SafeString:
    """The tile's stories, of them the negative ones, and the band they are expected in."""
    if len(tile.counts) < 2:
        return format_html('<svg class="spark" viewBox="0 0 {} {}" aria-hidden="true"></svg>', WIDTH, HEIGHT)
    top = max(*tile.counts, *tile.high, 1e-9)
    step = WIDTH / (len(tile.counts) - 1)

    def points(values: tuple[float, ...]) -> list[str]:
        return [
            f"{index * step:.1f},{HEIGHT - 1 - value / top * (HEIGHT - 3):.1f}" for index, value in enumerate(values)
        ]

    band = [*points(tile.low), *reversed(points(tile.high))] if tile.high else []
    negatives = [f"0,{HEIGHT - 1}", *points(tile.negatives), f"{WIDTH},{HEIGHT - 1}"]
    areas = format_html_join(
        "", '<polygon class="{}" points="{}"/>', [("band", " ".join(band)), ("negatives", " ".join(negatives))]
    )
    line = format_html('<polyline class="values" points="{}"/>', " ".join(points(tile.counts)))
    return format_html(
        '<svg class="spark" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}">{}{}</svg>',
        WIDTH,
        HEIGHT,
        tile.line_words,
        areas,
        line,
    )
