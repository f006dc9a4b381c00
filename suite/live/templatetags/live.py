"""`{% live_topic topic %}` inside a tag makes that element listen: `live.js` sends it `live:topic` with the news."""

from __future__ import annotations

from django import template
from django.utils.html import format_html
from django.utils.safestring import SafeString

from suite.live.selectors import LiveTopic, live_topic

register = template.Library()


@register.simple_tag(name="live_topic")
def live_topic_attributes(topic: LiveTopic | str) -> SafeString:
    """Attributes for a topic. Pass the `LiveTopic` that the view took before its queries; a bare name may miss news
    that comes between those queries and this tag."""
    live = live_topic(topic) if isinstance(topic, str) else topic
    return format_html(
        'data-live-topic="{}" data-live-token="{}" data-live-sequence="{}"', live.name, live.token, live.sequence
    )
