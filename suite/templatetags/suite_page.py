"""What every template may use: links to the domains, short numbers, ageing times, spark lines."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django import template
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from suite.domain import domains

register = template.Library()
SPARK_WIDTH, SPARK_HEIGHT = 120, 28  # user units of the drawing, which stretches to its place
SHORT = ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k"))


@register.simple_tag(takes_context=True)
def domain_links(context: template.Context) -> list[dict[str, Any]]:
    """[{"title", "description", "href", "is_current"}] of every domain that has pages."""
    path = getattr(context.get("request"), "path", "")
    return [
        {
            "title": domain.title,
            "description": domain.description,
            "href": reverse(domain.home),
            "is_current": path.startswith(f"/{domain.label}/"),
        }
        for domain in domains().values()
        if domain.home
    ]


@register.filter
def short(number: float | None) -> SafeString | str:
    """1234 as 1.2k, with the exact number on hover."""
    if number is None:
        return ""
    exact = f"{number:,.10g}" if isinstance(number, float) else f"{number:,}"
    for size, letter in SHORT:
        if abs(number) >= size:
            return format_html('<span title="{}">{}{}</span>', exact, f"{number / size:.1f}".removesuffix(".0"), letter)
    return exact


@register.filter
def ago(time: datetime | None) -> SafeString | str:
    """A time relative to now; `suite.js` lets it age and puts the absolute time on hover."""
    if time is None:
        return ""
    seconds = max(0, int((timezone.now() - time).total_seconds()))
    steps = ((60, 1, "sec."), (3_600, 60, "min."), (86_400, 3_600, "hr."), (2_592_000, 86_400, "days"))
    words = [f"{seconds // unit} {name} ago" for limit, unit, name in steps if seconds < limit]
    shown = "just now" if seconds < 10 else words[0] if words else f"{time:%d %b %Y}"
    return format_html('<time datetime="{}" data-relative>{}</time>', time.isoformat(), shown)


@register.simple_tag
def spark(values: Sequence[float], label: str) -> SafeString | str:
    """A line of the values, oldest first, from 0 to the highest; `label` is what it says to who cannot see it."""
    if len(values) < 2:
        return ""
    top = max(*values, 1e-9)
    step, scale = SPARK_WIDTH / (len(values) - 1), (SPARK_HEIGHT - 4) / top
    points = [f"{index * step:.1f},{SPARK_HEIGHT - 2 - value * scale:.1f}" for index, value in enumerate(values)]
    return format_html(
        '<svg class="spark" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" aria-label="{}"><polyline '
        'points="{}" fill="none" stroke="currentColor" stroke-width="1.5" vector-effect="non-scaling-stroke"/></svg>',
        SPARK_WIDTH,
        SPARK_HEIGHT,
        label,
        " ".join(points),
    )
