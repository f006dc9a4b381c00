"""The recommender that serves, beside its rivals and without each of its channels, on two public data sets.

MovieLens-100K (a folder with RecBole's `.inter` and `.item`; `SUITE_MOVIELENS` or `movielens=`): leave-last-one-out.
Online Retail (`online_retail/*.csv.gz` under `SUITE_DATA`, or `retail=FILE`): cut 30 days before the end, first later
basket, new items only. A data set that is not there is skipped with its reason. The encoder is used as it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.conf import settings

from domains.commerce.movielens import read_movielens
from domains.commerce.online_retail import read as read_online_retail
from domains.commerce.plain_records import encoded_text, interaction_row
from domains.commerce.recommender.baselines import fit_baselines
from domains.commerce.recommender.evaluation import (
    Split,
    ablations,
    cut_by_date,
    learned,
    leave_last_out,
    measure,
    scored,
    served,
)
from domains.commerce.recommender.graph import Graph, Triple, build_graph
from domains.commerce.recommender.log import InteractionLog
from domains.commerce.recommender.sources import ArrayText
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
        answer["movielens"] = table(split, vectors(texts, model), build_graph(links, list(texts)) if links else None)
    else:
        answer["movielens"] = "skipped: name RecBole's ml-100k folder with movielens=DIR or SUITE_MOVIELENS"
    if file and model:
        rows, texts, _ = split_records(read_online_retail(file, LoadOptions(catalogue="online-retail")))
        rows = [row for row in rows if not row[0].startswith("session ")]
        answer["online retail"] = table(
            cut_by_date(InteractionLog.from_rows(rows), CUT.timestamp()), vectors(texts, model)
        )
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
