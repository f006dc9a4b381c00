"""The recommender that serves, beside its rivals and without each of its channels, on two public data sets.

MovieLens-100K (a folder with RecBole's `.inter` and `.item`; `SUITE_MOVIELENS` or `movielens=`): leave-last-one-out.
Online Retail (`online_retail/*.csv.gz` under `SUITE_DATA`, or `retail=FILE`): cut 30 days before the end, first later
basket, new items only. A data set that is not there is skipped with its reason. The encoder is used as it is.

`new shops` are drawn from both: all items and what 1, 3, 10 or 30 people did, four shops of each size; 60 others in
each, of whom one to three items are known, ask for up to five that came next. Their people are the half that the
weights of `blend.PRIOR` that go by new shops were not chosen on.
"""

from __future__ import annotations

import os
import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings

from domains.commerce.movielens import read_movielens
from domains.commerce.online_retail import read as read_online_retail
from domains.commerce.plain_records import encoded_text, interaction_row
from domains.commerce.recommender.baselines import fit_baselines
from domains.commerce.recommender.blend import PRIOR
from domains.commerce.recommender.evaluation import (
    Split,
    ablations,
    cut_by_date,
    learned,
    leave_last_out,
    measure,
    ndcg,
    scored,
    served,
)
from domains.commerce.recommender.graph import Graph, Triple, build_graph
from domains.commerce.recommender.log import InteractionLog
from domains.commerce.recommender.ranker import Recommender
from domains.commerce.recommender.sources import ArrayText, Seen
from domains.commerce.recommender.statistics import build_statistics
from suite.encoder.model import Encoder
from suite.formats import LoadOptions

NAME = "recommendation-quality"
HELP = "HR@10 and NDCG@10 of the serving recommender beside its rivals, on MovieLens-100K and Online Retail"
CUT = datetime(2011, 10, 2, tzinfo=UTC)
SHOWN = ("ndcg@10", "hr@10", "coverage")


def run(movielens: str = "", retail: str = "", encoder: str = "") -> dict[str, Any]:
    """{data set: {name: {"ndcg@10", "hr@10", "coverage"}}}, or the reason why a data set was skipped."""
    folder = (
        Path(movielens or os.environ.get("SUITE_MOVIELENS", ""))
        if movielens or "SUITE_MOVIELENS" in os.environ
        else None
    )
    found = sorted(Path(os.environ["SUITE_DATA"]).glob("online_retail/*.csv*")) if "SUITE_DATA" in os.environ else []
    file = Path(retail) if retail else found[0] if found else None
    model = Encoder.load(encoder or settings.ENCODER) if folder or file else None
    answer: dict[str, Any] = {}
    if folder and model:
        rows, texts, links = split_records(read_movielens(folder, LoadOptions(catalogue="movielens")))
        split = leave_last_out(InteractionLog.from_rows(rows))
        text = vectors(texts, model)
        answer["movielens"] = table(split, text, build_graph(links, list(texts)) if links else None)
        answer["movielens, new shops"] = new_shops(rows, text)
    else:
        answer["movielens"] = "skipped: name RecBole's ml-100k folder with movielens=DIR or SUITE_MOVIELENS"
    if file and model:
        rows, texts, _ = split_records(read_online_retail(file, LoadOptions(catalogue="online-retail")))
        rows = [row for row in rows if not row[0].startswith("session ")]
        text = vectors(texts, model)
        answer["online retail"] = table(cut_by_date(InteractionLog.from_rows(rows), CUT.timestamp()), text)
        answer["online retail, new shops"] = new_shops(rows, text)
    else:
        answer["online retail"] = "skipped: name the order lines with retail=FILE, or their folder with SUITE_DATA"
    return answer


def split_records(records: Iterator[Any]) -> tuple[list[Any], dict[str, str], list[Triple]]:
    """(interaction rows, text by item, links) of a loader's events; who has no account is a session."""
    rows, texts, links = [], {}, []
    for record in records:
        if not isinstance(record, dict):
            continue  # skipped or bad: `load` counts them
        if record["type"] == "commerce.link.recorded":
            links.append((record["data"]["head"], record["data"]["relation"], record["data"]["tail"]))
        elif record["type"] == "commerce.item.changed":
            texts[record["data"]["item_id"]] = encoded_text(record["data"])
        else:
            data = record["data"]
            named = data if data.get("user_id") else data | {"user_id": f"session {data['session_id']}"}
            rows.append(interaction_row(named))
    return rows, texts, links


def vectors(texts: dict[str, str], encoder: Encoder) -> ArrayText:
    return ArrayText(list(texts), encoder.embed(list(texts.values())))


def table(split: Split, text: ArrayText, graph: Graph | None = None) -> dict[str, Any]:
    """Ours, ours without each channel (weights set to 0, the others as learned), and the baselines."""
    blend = learned(split, text, graph)
    ranks = {"ours": served(split, text, blend, graph)}
    ranks |= {f"ours {name}": rank for name, rank in ablations(split, text, blend, graph).items()}
    ranks |= {name: scored(split, scores) for name, scores in fit_baselines(split.known).items()}
    figures: dict[str, Any] = {"n": len(split.cases)}
    for name, rank in ranks.items():
        metrics, details, _ = measure(split, rank)
        figures[name] = {key: round(metrics[key], 4) for key in SHOWN} | {"interval": details["ndcg@10_interval"]}
    return figures


def new_shops(rows: Sequence[tuple[Any, ...]], text: ArrayText) -> dict[str, dict[str, float]]:
    """{"people": {name: mean NDCG@10}} of the blend that every shop begins with, whole, and without what is popular or
    text."""
    blends = {"ours": PRIOR, "without popular": PRIOR.without("popular"), "without text": PRIOR.without("text")}
    by_person: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for row in rows:
        by_person[row[0]].append(row)
    for own in by_person.values():
        own.sort(key=lambda row: row[2])  # by time
    people = sorted(person for person, own in by_person.items() if len({row[1] for row in own}) > 4)
    random.Random(3).shuffle(people)
    people = people[len(people) // 2 :]
    found: dict[str, dict[str, list[float]]] = {}
    for size in (1, 3, 10, 30):
        gains = found[f"{size} people"] = {name: [] for name in blends}
        for seed in range(4):
            drawn = random.Random(seed).sample(people, size + 60)
            log = InteractionLog.from_rows([row for person in drawn[:size] for row in by_person[person][:20]])
            statistics = build_statistics(log)
            for number, person in enumerate(drawn[size:]):
                by_item: dict[str, tuple[Any, ...]] = {}
                for row in by_person[person]:
                    by_item.setdefault(row[1], row)
                firsts, length = list(by_item.values()), 1 + number % 3
                now = firsts[length][2]
                history = [Seen(row[1], now - row[2], row[3], row[4]) for row in firsts[:length]]
                targets = frozenset(text.rows[row[1]] for row in firsts[length : length + 5] if row[1] in text.rows)
                if not targets:
                    continue
                known = {seen.key for seen in history}
                for name, blend in blends.items():
                    best = Recommender(statistics, text, blend).recommend(history, 10, exclude=known)
                    gains[name].append(ndcg([text.rows.get(each.key, -1) for each in best], targets, 10))
    return {size: {name: round(sum(v) / len(v), 4) for name, v in gains.items()} for size, gains in found.items()}
