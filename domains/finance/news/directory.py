"""Writing whom news is about and who writes it: entities with their names, watch lists, sources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import transaction

from domains.finance.models import Alias, Entity, Source, WatchList

SHORT = 5  # letters; names so short count only as they are written
ALIAS_FIELDS = ("is_case_sensitive", "needs_context", "context_words", "reject_words")
AT_ONCE = 500


class BadEntity(ValueError):
    """An entity that cannot be written; the message names the field and the limit."""


def write_entities(lines: Iterable[Mapping[str, Any]]) -> int:
    """Make the entities and names that are not there yet, and leave the others as they are; returns how many entities
    were new. A line has `symbol`, `name`, `kind` and `aliases`: texts, or objects with `text` and ALIAS_FIELDS.

    Raises `BadEntity`; the lines were checked (`check`), where they are not ours.
    """
    wanted = [(entity_of(line), line.get("aliases") or ()) for line in lines]
    symbols = sorted({entity.symbol for entity, _ in wanted})
    with transaction.atomic():
        before = ids_of(symbols)
        Entity.objects.bulk_create([entity for entity, _ in wanted], AT_ONCE, ignore_conflicts=True)
        ids = ids_of(symbols)
        names = [alias_of(ids[entity.symbol], alias) for entity, aliases in wanted for alias in (entity.name, *aliases)]
        Alias.objects.bulk_create(names, AT_ONCE, ignore_conflicts=True)
        return len(ids) - len(before)


def ids_of(symbols: Sequence[str]) -> dict[str, int]:
    """{symbol: id} of the entities that are there."""
    found: dict[str, int] = {}
    for begin in range(0, len(symbols), AT_ONCE):
        known = Entity.objects.filter(symbol__in=symbols[begin : begin + AT_ONCE])
        found |= dict(known.values_list("symbol", "id"))
    return found


def check(line: Mapping[str, Any]) -> None:
    """Raises `BadEntity` where a line cannot be written."""
    aliases = line.get("aliases") or []
    if not isinstance(aliases, list):
        raise BadEntity("aliases: must be a list of names")
    for alias in (entity_of(line).name, *aliases):
        if not isinstance(alias, str | dict):
            raise BadEntity("aliases: a name must be a text, or an object with text")
        alias_of(0, alias)


def entity_of(line: Mapping[str, Any]) -> Entity:
    symbol, name = str(line.get("symbol") or "").strip(), str(line.get("name") or "").strip()
    kind = str(line.get("kind") or Entity.Kind.COMPANY)
    if not symbol or len(symbol) > 60:
        raise BadEntity("symbol: is required, at most 60 characters")
    if len(name) > 200:
        raise BadEntity(f"name: is {len(name)} characters long, the limit is 200")
    if kind not in Entity.Kind.values:
        raise BadEntity(f"kind: must be one of {', '.join(Entity.Kind.values)}")
    return Entity(symbol=symbol, name=name or symbol, kind=kind)


def alias_of(entity_id: int, alias: str | Mapping[str, Any]) -> Alias:
    given = {"text": alias} if isinstance(alias, str) else alias
    text = str(given.get("text") or "").strip()
    if not text or len(text) > 200:
        raise BadEntity("aliases: a name must have 1 to 200 characters")
    is_short = text.isascii() and len(text) < SHORT and not text.islower()
    fields = {"is_case_sensitive": is_short} | {name: given[name] for name in ALIAS_FIELDS if name in given}
    return Alias(entity_id=entity_id, text=text, **fields)


def ensure_watch_list(name: str, symbols: Sequence[str]) -> None:
    """A watch list of everybody's, filled only when it is made."""
    watch_list, is_new = WatchList.objects.get_or_create(name=name)
    if is_new:
        watch_list.entities.set(Entity.objects.filter(symbol__in=symbols))


def ensure_sources(names: Iterable[str], language: str = "") -> None:
    Source.objects.bulk_create([Source(name=name, language=language) for name in names], ignore_conflicts=True)
