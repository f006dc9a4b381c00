"""`manage.py evaluate commerce.interactions`: the recommender that serves, on held-out interactions of a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from domains.commerce.events import LINK_FIELDS
from domains.commerce.plain_records import encoded_text, interaction_row, item_record
from domains.commerce.recommender.baselines import LARGEST, fit_baselines
from domains.commerce.recommender.evaluation import (
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
from domains.commerce.recommender.sources import ArrayText, NoText, TextSource
from suite.formats import Problem, read_records
from suite.releases.evaluation import Evaluation, EvaluationError, Report, Request
from suite.releases.measures import RELEASE, of_cases

PROTOCOLS = {
    False: "leave-last-one-out in stable order (timestamp, line); every item is ranked, history excluded",
    True: "history before the cut; targets: new items of the first later basket; all items of before the cut ranked",
}


def evaluate_interactions(request: Request) -> Report:
    """Raises `EvaluationError` where the file has no user with a history and a target."""
    bad: list[Problem] = []
    log = InteractionLog.from_rows(interaction_rows(request.data, bad))
    items = [record for path in request.against for record in item_records(path, bad)]
    known = set(log.item_keys)
    extra = dict.fromkeys(str(item["item_id"]) for item in items if str(item["item_id"]) not in known)
    log = replace(log, item_keys=[*log.item_keys, *extra])
    split = cut_by_date(log, request.cut.timestamp()) if request.cut else leave_last_out(log)
    if not split.cases:
        reasons = f"; line {bad[0].line} {bad[0].reason}" if bad else ""
        raise EvaluationError(f"{request.data}: no user has both a history and something held out{reasons}")
    text = item_text(items, request)
    graph = item_graph(request, log.item_keys, bad)
    blend = learned(split, text, graph)
    metrics, details, own = measure(split, served(split, text, blend, graph))
    baselines, cases = {}, {RELEASE: own}
    if request.has_baselines:
        fitted = fit_baselines(split.known)
        rivals = {name: scored(split, scores) for name, scores in fitted.items()}
        rivals |= ablations(split, text, blend, graph)
        for name, rank in rivals.items():
            baselines[name], _, cases[name] = measure(split, rank)
        if "ease" not in fitted:
            details["left_out"] = f"ease: more than {LARGEST:,} items"
    details |= {"items": int(split.ranked.sum()), "with_text": len(items), "bad_lines": len(bad)}
    protocol = PROTOCOLS[request.cut is not None]
    return Report(len(split.cases), metrics, protocol, baselines, details, of_cases(cases), bad)


def interaction_rows(path: Path, bad: list[Problem]) -> Iterator[tuple[str, str, float, str, float | None]]:
    """(user, item, Unix seconds, kind, value) of each good line; the others go to `bad`."""
    for found in read_records(path):
        if isinstance(found, Problem):
            bad.append(found)
            continue
        number, record = found
        try:
            yield interaction_row(record)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            bad.append(Problem(number, f"is not an interaction ({error.__class__.__name__}: {error})"))


def item_records(path: Path, bad: list[Problem]) -> Iterator[dict[str, Any]]:
    for found in read_records(path):
        if isinstance(found, Problem):
            bad.append(found)
            continue
        try:
            yield dict(item_record(found[1]))
        except (KeyError, ValueError, TypeError, OverflowError) as error:
            bad.append(Problem(found[0], f"of {path.name} is not an item ({error.__class__.__name__}: {error})"))


def item_text(items: Sequence[dict[str, Any]], request: Request) -> TextSource:
    """The items' vectors by the release under test, from the same text that the index holds."""
    if not items:
        return NoText()
    texts = {str(item["item_id"]): encoded_text(item) for item in items}
    return ArrayText(list(texts), request.encoder().embed(list(texts.values())))


def item_graph(request: Request, items: Sequence[str], bad: list[Problem]) -> Graph | None:
    """The knowledge graph of `--option links=FILE` over the items; None where none is named."""
    unknown = request.options.keys() - {"links"}
    if unknown:
        raise EvaluationError(f"--option {sorted(unknown)[0]}: is not known; there is: links=FILE")
    return build_graph(link_rows(Path(request.options["links"]), bad), items) if "links" in request.options else None


def link_rows(path: Path, bad: list[Problem]) -> Iterator[Triple]:
    for found in read_records(path):
        if isinstance(found, Problem):
            bad.append(found)
        elif all(found[1].get(name) not in (None, "") for name in LINK_FIELDS):
            head, relation, tail = (str(found[1][name]) for name in LINK_FIELDS)
            yield head, relation, tail
        else:
            bad.append(Problem(found[0], "is not a link: head, relation and tail are required"))


EVALUATIONS = {
    "commerce.interactions": Evaluation(
        evaluate_interactions,
        "next-item ranking: leave-last-one-out, or --cut DATE; texts: --against ITEMS, graph: --option links=FILE",
    )
}
