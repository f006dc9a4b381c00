"""`{% marked record %}`: the text of a record, with the name that is judged marked."""

from __future__ import annotations

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from suite.releases.training_data import Record

register = template.Library()


@register.simple_tag
def marked(record: Record) -> SafeString:
    text, entity = record["text"], record.get("entity", "")
    if not entity:
        return format_html("{}", text)
    first, *others = text.split(entity)
    return format_html("{}{}", first, format_html_join("", "<mark>{}</mark>{}", ((entity, rest) for rest in others)))
