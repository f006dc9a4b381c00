"""What commerce gives to training: what people went on to, from plain files and from its own rows alike.

The newest interaction of everybody is never used: it is the target of `evaluate commerce.interactions`. The one before
it is for validation, the earlier ones are trained on.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from domains.commerce.documents import document_key
from domains.commerce.events import INTERACTION_FIELDS
from domains.commerce.models import Interaction, Item
from domains.commerce.plain_records import encoded_text, interaction_row, item_record
from domains.commerce.recommender.log import KINDS, InteractionLog
from suite.releases.training_data import NEXT_ITEM, PAIR, Record, TaskExamples, TrainingData, Unlabelled

INTERACTIONS, ITEMS = "commerce.interactions", "commerce.items"
PROFILE = 3  # newest items that describe a person
HISTORY = 10  # newest items whose texts go with a target
EACH = 20  # newest interactions of a person that are trained on
ROWS = 200_000  # newest interactions that are read from the database
SEED = 11
TEXTS = ("title", "description", "category", "brand", "attributes")  # of an item


def profile_text(titles: Sequence[str]) -> str:
    """What a person looked at last, newest first."""
    return " | ".join(titles[:PROFILE])


def item_text(item: Mapping[str, Any]) -> str:
    """An item as the interest head reads it: short, since a list of candidates is long."""
    return ". ".join(part for part in (item["title"], str(item.get("category") or "").replace(" > ", ", ")) if part)


@dataclass
class Examples:
    """Of one side: for `next-item` and for the interest head."""

    following: list[tuple[tuple[str, ...], str]] = field(default_factory=list)
    pairs: list[tuple[tuple[str, str], str]] = field(default_factory=list)


def tasks(records: Mapping[str, Sequence[Record]]) -> list[TaskExamples]:
    """Raises `KeyError` and `ValueError` for a record that lacks a field or has a wrong one."""
    items = {str(record["item_id"]): record for record in map(item_record, records.get(ITEMS, ())) if record["title"]}
    log = InteractionLog.from_rows(interaction_row(record) for record in records.get(INTERACTIONS, ()))
    log = log.select(log.kinds != KINDS.index("dismiss"))
    if not items or not len(log):
        return []
    train, validation = examples(log, items)
    found = [
        TaskExamples(INTERACTIONS, NEXT_ITEM, train=train.following, validation=validation.following),
        TaskExamples(INTERACTIONS, PAIR, "interest", ("no", "yes"), train.pairs, validation.pairs),
    ]
    return [replace(task, sources=(ITEMS,)) for task in found]


def examples(log: InteractionLog, items: Mapping[str, Record]) -> tuple[Examples, Examples]:
    """Of what came newly after something else, each with one item that only others had, popular ones often."""
    texts = {key: encoded_text(item) for key, item in items.items()}
    known = [log.item_keys[item] for item in log.items.tolist()]
    dice = random.Random(SEED)
    train, validation = Examples(), Examples()
    starts = log.starts().tolist()
    for first, stop in pairwise(starts):
        done = known[first:stop]
        seen = set(done)
        for place in range(max(1, len(done) - 2 - EACH), len(done) - 1):
            past = [key for key in dict.fromkeys(reversed(done[:place])) if key in items][:HISTORY]
            target = done[place]
            if target not in items or target in done[:place] or not past:
                continue
            side = validation if place == len(done) - 2 else train
            side.following.append((tuple(texts[key] for key in past), texts[target]))
            profile = profile_text([items[key]["title"] for key in past])
            side.pairs.append(((profile, item_text(items[target])), "yes"))
            other = dice.choice(known)
            if other not in seen and other in items:
                side.pairs.append(((profile, item_text(items[other])), "no"))
    return train, validation


def item_rows() -> Iterator[Record]:
    """Every item of every catalogue; ids carry the catalogue, so that no two are the same."""
    rows = Item.objects.filter(is_removed=False).values("catalogue__slug", "key", *TEXTS)
    for row in rows.iterator(chunk_size=5_000):
        yield {name: row[name] for name in TEXTS} | {"item_id": document_key(row["catalogue__slug"], row["key"])}


def interaction_rows() -> Iterator[Record]:
    """The newest interactions, oldest first."""
    columns = ("catalogue__slug", "user_key", "session_key", "item_key", "timestamp", "kind", "value")
    for slug, user, session, item, timestamp, kind, value in reversed(
        Interaction.objects.order_by("-event_id").values_list(*columns)[:ROWS]
    ):
        yield {
            "user_id": f"{slug} user {user}" if user else f"{slug} session {session}",
            "item_id": document_key(slug, item),
            "timestamp": timestamp.timestamp(),
            "kind": kind,
            "value": value,
        }


TRAINING_DATA = TrainingData(
    tasks=tasks,
    rows={ITEMS: item_rows, INTERACTIONS: interaction_rows},
    texts={ITEMS: Unlabelled(encoded_text, item_rows)},
    fields={INTERACTIONS: INTERACTION_FIELDS},
)
