"""Protocols, metrics, baselines and the learned blend on cases computed by hand. No database, no encoder."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import pytest

from domains.commerce.evaluations import evaluate_interactions
from domains.commerce.plain_records import encoded_text
from domains.commerce.recommender.baselines import Together, all_sets, fit_baselines
from domains.commerce.recommender.evaluation import cut_by_date, deciles, leave_last_out, measure, ndcg, scored, served
from domains.commerce.recommender.features import FEATURES
from domains.commerce.recommender.fitting import PRIOR, fit_blend
from domains.commerce.recommender.log import InteractionLog
from domains.commerce.recommender.sources import ArrayText, NoText
from suite.releases.evaluation import EvaluationError, Request


def log_of(*rows: tuple) -> InteractionLog:
    return InteractionLog.from_rows((user, item, time, "view", None) for user, item, time in rows)


def test_ndcg_by_hand():
    assert ndcg([7, 3, 5], frozenset({3}), 10) == pytest.approx(1 / np.log2(3))
    assert ndcg([7, 3, 5], frozenset({3}), 1) == 0.0
    both = (1 / np.log2(2) + 1 / np.log2(4)) / (1 / np.log2(2) + 1 / np.log2(3))
    assert ndcg([7, 3, 5], frozenset({7, 5}), 10) == pytest.approx(both)


def test_leave_last_out_keeps_the_order_of_lines_and_hides_the_target():
    log = log_of(("u", "a", 1.0), ("u", "c", 2.0), ("u", "b", 2.0), ("v", "a", 1.0))
    split = leave_last_out(log)
    [case] = split.cases
    assert [log.item_keys[int(item)] for item in case.targets] == ["b"]
    assert [log.item_keys[item] for item in split.log.items[case.past]] == ["a", "c"]
    assert log.item_keys.index("b") not in split.known.items


def test_a_cut_takes_the_new_items_of_the_first_later_basket_that_were_sold_before():
    log = log_of(
        ("u", "a", 1.0), ("u", "a", 12.0), ("u", "b", 12.0), ("u", "late", 12.0), ("u", "c", 13.0),
        ("v", "b", 2.0), ("v", "c", 3.0), ("w", "b", 15.0),
    )  # fmt: skip
    split = cut_by_date(log, 10.0)
    [case] = split.cases  # v has no later basket, w no history; c is in u's second basket, late was not sold
    assert [log.item_keys[int(item)] for item in case.targets] == ["b"]
    assert {log.item_keys[int(item)] for item in np.flatnonzero(split.ranked)} == {"a", "b", "c"}
    assert split.known.timestamps.max() < 10


def test_metrics_of_a_known_ranking():
    log = log_of(*((user, item, float(time)) for user in "uv" for time, item in enumerate("abc")))
    split = leave_last_out(log)
    c = log.item_keys.index("c")
    order = {split.cases[0].past.start: [c, 0], split.cases[1].past.start: [0, c]}
    metrics, details, _ = measure(split, lambda case: order[case.past.start])
    assert metrics["ndcg@10"] == pytest.approx((1 + 1 / np.log2(3)) / 2)
    assert metrics["hr@5"] == 1.0
    assert metrics["coverage"] == pytest.approx(2 / 3)
    assert details["slices"] == {"cold": {"n": 2, "ndcg@10": metrics["ndcg@10"]}}  # c is never in what was learned from
    low, high = details["ndcg@10_interval"]
    assert low < metrics["ndcg@10"] < high


def test_deciles_tell_how_popular_the_targets_are():
    rows = [(f"f{n}-{copy}", f"i{n}", 0.0) for n in range(10) for copy in range(20 - n)]
    split = leave_last_out(log_of(*rows, ("u", "i5", 1.0), ("u", "i0", 2.0)))
    assert deciles(split, np.bincount(split.known.items, minlength=10) + np.arange(10, 0, -1) * 100)[0] == 1.0


def test_baselines_rank_what_they_should():
    rows = [(f"u{n}", item, float(time)) for n in range(20) for time, item in enumerate("ab")]
    rows += [(f"v{n}", item, float(time)) for n in range(25) for time, item in enumerate("cd")]
    log = log_of(*rows, ("x", "a", 0.0), ("x", "b", 1.0))
    fitted = fit_baselines(log)
    a, b, c = (log.item_keys.index(key) for key in "abc")
    history = np.array([a])
    assert {"popularity", "cooccurrence", "itemknn", "markov", "ease", "ease_last_10"} == fitted.keys()
    assert fitted["popularity"](history)[c] == 25
    for name in ("cooccurrence", "itemknn", "markov", "ease", "ease_last_10"):
        scores = fitted[name](history)
        assert scores[b] == scores.max() > scores[c], name
    assert fitted["markov"](np.array([b])).max() == 0.0  # nothing ever followed b


def test_what_is_together_is_what_the_table_of_all_pairs_says():
    rng = np.random.default_rng(0)
    sets = all_sets(log_of(*((f"u{user}", f"i{item}", 0.0) for user, item in rng.integers(0, 30, (200, 2)))))
    table = (sets.T @ sets).toarray()
    together = Together(sets)
    assert together.counts.tolist() == table.diagonal().tolist()
    np.fill_diagonal(table, 0)
    items, weights = np.array([3, 7, 3]), np.array([1.0, 0.5, 0.25])
    assert together.of(items, weights) == pytest.approx(weights @ table[items])


def test_a_baseline_never_ranks_the_history_and_breaks_ties_by_item():
    split = leave_last_out(log_of(("u", "a", 0.0), ("u", "b", 1.0), ("v", "c", 0.0)))
    assert scored(split, lambda history: np.zeros(3))(split.cases[0]) == [1, 2]


def planted() -> tuple[InteractionLog, ArrayText]:
    """Users who always go on to what is alike by text: from item 2n to 2n + 1."""
    rng = np.random.default_rng(0)
    matrix = np.repeat(rng.normal(size=(40, 16)), 2, axis=0) + 0.1 * rng.normal(size=(80, 16))
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    rows = []
    for user in range(150):
        first = rng.permutation(40)[:4] * 2
        for step, item in enumerate(first):
            after = item + 1
            rows += [
                (f"u{user}", f"i{item}", 100.0 * user + 10 * step),
                (f"u{user}", f"i{after}", 100.0 * user + 10 * step + 1),
            ]
    return log_of(*rows), ArrayText([f"i{n}" for n in range(80)], matrix.astype(np.float32))


def test_the_blend_learns_what_the_shop_is_like():
    log, text = planted()
    learned = fit_blend(log, text)
    names = list(FEATURES)
    prior = Recorded(PRIOR.short + PRIOR.long, names)
    found = Recorded(learned.short + learned.long, names)
    assert found.share("text") > 1.2 * prior.share("text")
    assert found.share("popular") < 0.5 * prior.share("popular")
    split = leave_last_out(log)
    assert measure(split, served(split, text, learned))[0]["hr@5"] > 0.9


class Recorded:
    def __init__(self, weights: np.ndarray, names: list[str]) -> None:
        self.weights = dict(zip(names, weights.tolist(), strict=True))

    def share(self, channel: str) -> float:
        return sum(weight for name, weight in self.weights.items() if name.startswith(channel)) / sum(
            self.weights.values()
        )


def test_too_little_to_learn_from_is_the_prior():
    assert fit_blend(log_of(("u", "a", 0.0), ("u", "b", 1.0)), NoText()) is PRIOR


def test_fitting_never_sees_the_target():
    """Another last item changes nothing in what is learned."""
    log, text = planted()
    swapped = log.items.copy()
    last = log.positions_from_end() == 0
    swapped[last] = np.roll(swapped[last], 1)
    other = InteractionLog(log.users, swapped, log.timestamps, log.kinds, log.values, log.user_keys, log.item_keys)
    blends = [fit_blend(leave_last_out(each).known, text) for each in (log, other)]
    assert np.array_equal(blends[0].long, blends[1].long)


def write(path, records) -> None:
    path.write_text("\n".join(json.dumps(record) if isinstance(record, dict) else record for record in records))


class Axes:
    """An encoder for the test: a text's vector is its first letter's axis."""

    dimensions, fingerprint = 26, "0" * 16

    def embed(self, texts):
        return np.eye(26, dtype=np.float32)[[ord(text[0].lower()) - 97 for text in texts]]

    def classify(self, head, texts):
        raise NotImplementedError

    score_pairs = classify


def test_a_file_is_evaluated_with_baselines_texts_and_bad_lines(tmp_path):
    data, items = tmp_path / "log.jsonl", tmp_path / "items.jsonl"
    lines = [
        {"user_id": f"u{n}", "item_id": item, "timestamp": f"2024-01-0{day + 1}"}
        for n in range(12)
        for day, item in enumerate(["a", "b", "c"])
    ]
    write(data, [*lines, "{broken", {"user_id": "u", "item_id": "a", "timestamp": "someday"}])
    odd = [{"item_id": "o", "title": 1984}, {"item_id": "p", "title": "Mug", "attributes": ["red"]}, {"title": "x"}]
    write(items, [*({"item_id": key, "title": key.upper() * 3} for key in "abcz"), *odd])
    report = evaluate_interactions(Request(data, cast(Any, Axes), against=(items,), has_baselines=True))
    assert report.n == 12
    assert report.metrics["hr@10"] == 1.0
    assert report.baselines["popularity"]["hr@10"] == 1.0
    assert report.details["bad_lines"] == 5
    assert [one.reason for one in report.bad[2:]] == [
        "of items.jsonl is not an item (ValueError: title must be a text)",
        "of items.jsonl is not an item (ValueError: attributes must be an object)",
        "of items.jsonl is not an item (KeyError: 'item_id')",
    ]
    assert report.details["items"] == 4


def test_a_graph_finds_what_nobody_has_seen_and_its_absence_is_seen(tmp_path):
    """Everybody goes from a film to the next of its director, which is new to all."""
    data, items, links = (tmp_path / f"{name}.jsonl" for name in ("log", "items", "links"))
    films = [(f"film {n} {part}", f"director {n}") for n in range(40) for part in "abcd"]
    views = [(film, director) for film, director in films if not film.endswith("d")]
    write(
        data,
        [{"user_id": who, "item_id": film, "timestamp": place} for place, (film, who) in enumerate(views)],
    )
    write(items, [{"item_id": film, "title": "Alike"} for film, _ in films])
    write(links, [{"head": film, "relation": "director", "tail": director} for film, director in films])
    report = evaluate_interactions(
        Request(data, cast(Any, Axes), (items,), has_baselines=True, options={"links": str(links)})
    )
    assert report.metrics["hr@10"] > 0.9
    assert report.baselines["without graph"]["hr@10"] < 0.3
    assert {"without text", "without together", "without popular"} < report.baselines.keys()


def test_an_unknown_option_is_named(tmp_path):
    data = tmp_path / "log.csv"
    data.write_text("user_id,item_id,timestamp\nu,a,1\nu,b,2\n")
    with pytest.raises(EvaluationError, match="--option graph: is not known"):
        evaluate_interactions(Request(data, cast(Any, Axes), options={"graph": "x"}))


def test_a_cut_without_anything_later_is_a_clear_error(tmp_path):
    data = tmp_path / "log.csv"
    data.write_text("user_id,item_id,timestamp\nu,a,1\nu,b,2\n")
    with pytest.raises(EvaluationError, match="no user has both a history and something held out"):
        evaluate_interactions(Request(data, cast(Any, Axes), cut=datetime(2030, 1, 1, tzinfo=UTC)))


def test_an_items_text_is_what_the_index_encodes():
    item = {
        "item_id": "1",
        "title": "Kettle",
        "category": "Home > Kitchen",
        "brand": "Ö",
        "price": 3,
        "for_whom": ["tea"],
    }
    assert encoded_text(item) == "Kettle\nHome, Kitchen. Ö. for whom: tea"
