"""How two items are related by the knowledge graph, in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.db.models import Count

from domains.commerce.models import Catalogue, Link
from domains.commerce.recommender.graph import Trait, shared_traits

Pair = tuple[str, str]  # item ids
ENDS = ("head", "tail")


def links_between(catalogue: Catalogue, pairs: Collection[Pair], titles: Mapping[str, str]) -> dict[Pair, str]:
    """What relates each pair, such as "same author: Ada Lovelace": of several the one that the fewest items have.

    `titles` by item id, for ends that are items. Pairs that nothing relates any more are left out.
    """
    rows = Link.objects.filter(catalogue=catalogue)
    keys = {key for pair in pairs for key in pair}
    touching = (rows.filter(**{f"{end}__in": keys}).values_list("head", "relation", "tail") for end in ENDS)
    links = {link for found in touching for link in found}
    shared = shared_traits(links, pairs)
    counts = trait_counts(catalogue, {trait for traits in shared.values() for trait in traits})
    rarest = {pair: min(traits, key=lambda trait: (counts.get(trait, 0), trait)) for pair, traits in shared.items()}
    return {pair: phrase(trait, titles, is_direct=trait[1] == pair[1]) for pair, trait in rarest.items()}


def trait_counts(catalogue: Catalogue, traits: Collection[Trait]) -> dict[Trait, int]:
    """How many links say each trait."""
    counts: dict[Trait, int] = {}
    for is_tail, end in ((False, "head"), (True, "tail")):
        relations = {relation for relation, _, of_tail in traits if of_tail == is_tail}
        others = {other for _, other, of_tail in traits if of_tail == is_tail}
        rows = Link.objects.filter(catalogue=catalogue, relation__in=relations, **{f"{end}__in": others}).order_by()
        for relation, other, count in rows.values_list("relation", end).annotate(count=Count("id")):
            counts[relation, other, is_tail] = count
    return counts


def phrase(trait: Trait, titles: Mapping[str, str], *, is_direct: bool) -> str:
    relation, other, is_tail = trait
    words = relation.rsplit(".", 1)[-1].replace("_", " ")
    name = titles.get(other, other)
    if is_direct:
        return f"{words}: {name}"
    return f"same {words}: {name}" if is_tail else f"both {words} of {name}"
