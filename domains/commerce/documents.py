"""Items as the index sees them. A document's key is `<catalogue slug>:<item id>`; a removed item has no document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.db.models import Q

from domains.commerce.models import Item
from suite.index.collections import Collection
from suite.index.engine import Document

COLLECTION = "commerce.items"
FIELDS = ("key", "title", "description", "category", "brand", "price", "is_available", "attributes")


def document_key(slug: str, item_key: str) -> str:
    return f"{slug}:{item_key}"


def split_key(key: str) -> tuple[str, str]:
    """(catalogue slug, item id) of a document key; a slug holds no colon."""
    slug, _, item_key = key.partition(":")
    return slug, item_key


def load_documents(keys: Sequence[str]) -> dict[str, Document]:
    """The documents of the items that exist; a key that is absent from the answer has no document any more."""
    by_slug: dict[str, list[str]] = {}
    for key in keys:
        slug, item_key = split_key(key)
        by_slug.setdefault(slug, []).append(item_key)
    wanted = Q(pk__in=[])
    for slug, item_keys in by_slug.items():
        wanted |= Q(catalogue__slug=slug, key__in=item_keys)
    rows = Item.objects.filter(wanted, is_removed=False).values("catalogue__slug", *FIELDS)
    return {document.key: document for document in (as_document(row) for row in rows)}


def as_document(row: Mapping[str, Any]) -> Document:
    slug = row["catalogue__slug"]
    return Document(
        key=document_key(slug, row["key"]),
        title=row["title"],
        text=text_of(row),
        attributes={"catalogue": slug} | attributes_of(row),
    )


def text_of(row: Mapping[str, Any]) -> str:
    """What the item says of itself beside its title: category, brand, description, and its attributes in words."""
    words = [row["category"].replace(" > ", ", "), row["brand"], row["description"]]
    for name, value in sorted(row["attributes"].items()):  # databases differ in their order
        parts = value if isinstance(value, list) else [value]
        texts = [part for part in parts if isinstance(part, str)]
        if texts:
            words.append(f"{name.replace('_', ' ')}: {', '.join(texts)}")
    return ". ".join(word for word in words if word)


def attributes_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """What an item can be filtered by: its own attributes, and brand, price, availability and every category level.

    "Home > Kitchen" is in the categories "Home" and "Home > Kitchen".
    """
    levels = row["category"].split(" > ") if row["category"] else []
    found = dict(row["attributes"]) | {"available": row["is_available"]}
    if levels:
        found["category"] = [" > ".join(levels[: depth + 1]) for depth in range(len(levels))]
    if row["brand"]:
        found["brand"] = row["brand"]
    if row["price"] is not None:
        found["price"] = row["price"]
    return found


def document_keys() -> Iterator[str]:
    """The key of every item that has a document."""
    rows = Item.objects.filter(is_removed=False).values_list("catalogue__slug", "key")
    yield from (document_key(slug, key) for slug, key in rows.iterator(chunk_size=5_000))


def keys_of(slug: str, item_keys: Iterable[str]) -> list[str]:
    return [document_key(slug, item_key) for item_key in item_keys]


COLLECTIONS = {COLLECTION: Collection(load=load_documents, keys=document_keys)}
