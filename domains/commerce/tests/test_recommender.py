"""Statistics, features and the ranking by hand-computed cases. No database."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sparse

from domains.commerce.recommender.blend import PRIOR, Blend
from domains.commerce.recommender.features import FEATURES
from domains.commerce.recommender.graph import build_graph, shared_traits
from domains.commerce.recommender.log import InteractionLog
from domains.commerce.recommender.ranker import Recommender, causes, newest_first
from domains.commerce.recommender.sources import ArrayText, Neighbours, NoText, Seen
from domains.commerce.recommender.statistics import (
    COLUMNS,
    DAY,
    StatisticsSettings,
    build_statistics,
    ease_weights,
    following,
    pack,
    unpack,
    user_sets,
)

PLAIN = StatisticsSettings(gap_days=np.inf, half_life_days=np.inf, prior_count=0.0, window=2, step_decay=0.5)


def log_of(*rows: tuple) -> InteractionLog:
    return InteractionLog.from_rows((user, item, time, "view", None) for user, item, time in rows)


def test_a_log_is_in_time_order_and_equal_times_keep_the_order_of_lines():
    log = log_of(("u", "c", 5.0), ("v", "a", 9.0), ("u", "a", 1.0), ("u", "b", 5.0))
    assert [log.item_keys[item] for item in log.items] == ["a", "c", "b", "a"]
    assert log.positions_from_end().tolist() == [2, 1, 0, 0]
    assert log.starts().tolist() == [0, 3, 4]


def test_pairs_are_ordered_and_fade_with_every_step():
    log = log_of(("u", "a", 1.0), ("u", "b", 2.0), ("u", "c", 3.0), ("v", "b", 1.0), ("v", "a", 2.0))
    counts = following(log, np.zeros(len(log)), PLAIN).toarray()
    a, b, c = (log.item_keys.index(key) for key in "abc")
    assert counts[a, b] == 1.0
    assert counts[a, c] == 0.5
    assert counts[b, c] == 1.0
    assert counts[b, a] == 1.0
    assert counts[c].sum() == 0.0


def test_pairs_fade_with_their_gap_and_their_age():
    log = log_of(("u", "a", 0.0), ("u", "b", 10 * DAY))
    settings = StatisticsSettings(gap_days=10.0, half_life_days=5.0)
    counts = following(log, np.array([15.0, 5.0]), settings).toarray()
    assert counts[0, 1] == pytest.approx(np.exp(-1) * 0.5)


def test_chunks_do_not_change_the_pairs(monkeypatch):
    rng = np.random.default_rng(1)
    log = log_of(*((f"u{rng.integers(3)}", f"i{rng.integers(6)}", float(time)) for time in range(60)))
    whole = following(log, np.zeros(len(log)), PLAIN).toarray()
    monkeypatch.setattr("domains.commerce.recommender.statistics.CHUNK", 7)
    assert following(log, np.zeros(len(log)), PLAIN).toarray() == pytest.approx(whole)


def test_popularity_halves_and_the_trend_is_the_share_that_is_new():
    log = log_of(("u", "old", 0.0), ("v", "old", 0.0), ("w", "new", 14 * DAY))
    found = build_statistics(log).popularity(["old", "new", "unknown"])
    assert found.keys() == {"old", "new"}
    assert found["old"].recent == pytest.approx(1.0)  # two, each half
    assert found["new"].recent == pytest.approx(1.0)
    assert found["old"].trend == pytest.approx(1 / 7)
    assert found["new"].trend == pytest.approx(1 / 6)


def test_dismissals_do_not_count():
    log = InteractionLog.from_rows([("u", "a", 0.0, "view", None), ("u", "b", 1.0, "dismiss", None)])
    statistics = build_statistics(log)
    assert statistics.popular(5) == [("a", 1.0)]
    assert statistics.of(0).keys == []


def test_popular_is_stable_where_items_are_equally_popular():
    log = log_of(("u", "b", 0.0), ("v", "a", 0.0), ("w", "c", 0.0))
    assert [key for key, _ in build_statistics(log).popular(3)] == ["b", "a", "c"]


def test_only_the_best_neighbours_are_kept():
    rows = [(f"u{n}", key, float(step)) for n in range(4) for step, key in enumerate("ab")]
    rows += [("w", "a", 0.0), ("w", "c", 1.0)]
    statistics = build_statistics(log_of(*rows), settings=StatisticsSettings(neighbours=1))
    assert statistics.neighbours(["a"])["a"].keys == ["b"]


def test_ease_is_the_solution_of_its_own_problem():
    """B minimises |X - XB|^2 + ridge |B|^2 with a zero diagonal, so the gradient is zero off the diagonal."""
    x = np.random.default_rng(0).integers(0, 2, (30, 6)).astype(np.float32)
    weights = ease_weights(sparse.csr_array(x), 3.0)
    gradient = x.T @ (x @ weights - x) + 3.0 * weights
    off = ~np.eye(6, dtype=bool)
    assert np.abs(gradient[off]).max() < 1e-5
    assert not np.diag(weights).any()


def test_user_sets_take_the_newest_items_once():
    log = log_of(("u", "a", 0.0), ("u", "b", 1.0), ("u", "c", 2.0), ("u", "c", 3.0))
    assert user_sets(log, 3).toarray().tolist() == [[0.0, 1.0, 1.0]]


def test_neighbours_survive_packing():
    weights = np.array([[0.5, 1e-6, 0.0, 1.0], [0.25, 3e-7, 0.0, 0.1]], np.float32)
    found = unpack(pack(Neighbours(["ключ", "b c"], weights)))
    assert found.keys == ["ключ", "b c"]
    assert found.weights == pytest.approx(weights, rel=1e-3, abs=1e-12)
    assert unpack(b"").keys == []
    assert unpack(pack(Neighbours([], weights[:0]))).keys == []


def test_another_version_of_packing_is_refused():
    with pytest.raises(ValueError, match="build the statistics again"):
        unpack(b"\x09" + pack(Neighbours(["a"], np.ones((1, len(COLUMNS)), np.float32)))[1:])


def shop() -> InteractionLog:
    rows = []
    for n in range(30):
        rows += [(f"tea {n}", key, 10.0 * n + step) for step, key in enumerate(["kettle", "teapot", "cup"])]
        rows += [(f"tool {n}", key, 10.0 * n + step) for step, key in enumerate(["hammer", "nails"])]
    return log_of(*rows)


def text() -> ArrayText:
    keys = ["kettle", "teapot", "cup", "hammer", "nails", "brand new teapot"]
    matrix = np.array([[1, 0], [0.9, 0.1], [0.8, 0.2], [0, 1], [0.1, 0.9], [0.95, 0.05]], np.float32)
    return ArrayText(keys, matrix / np.linalg.norm(matrix, axis=1, keepdims=True))


def test_what_follows_comes_first_and_the_reason_names_it():
    best = Recommender(build_statistics(shop()), text(), PRIOR).recommend([Seen("kettle")], 5, exclude={"kettle"})
    assert best[0].key == "teapot"
    assert {key for key, _, _ in best[0].because} == {"kettle"}
    assert best[0].shares["together"] > 0
    for each in best:
        assert sum(each.shares.values()) == pytest.approx(1.0, abs=1e-3)
        for channel in ("text", "together"):
            strengths = sum(strength for _, name, strength in each.because if name == channel)
            assert strengths == pytest.approx(each.shares[channel], abs=1e-3)
    assert [each.score for each in best] == sorted((each.score for each in best), reverse=True)


def test_a_new_item_is_found_by_its_text_alone():
    best = Recommender(build_statistics(shop()), text(), PRIOR).recommend([Seen("kettle")], 5, exclude={"kettle"})
    found = next(each for each in best if each.key == "brand new teapot")
    assert found.shares == {"text": 1.0, "together": 0.0, "popular": 0.0, "graph": 0.0}


def test_one_click_of_another_comes_after_what_is_like_the_history():
    statistics = build_statistics(log_of(("u", "hammer", 0.0)))
    best = Recommender(statistics, text(), PRIOR).recommend([Seen("kettle")], 5, exclude={"kettle"})
    assert [each.key for each in best[:3]] == ["brand new teapot", "teapot", "cup"]


def test_nothing_excluded_or_forbidden_comes_back():
    recommender = Recommender(build_statistics(shop()), text(), PRIOR)
    found = recommender.recommend(
        [Seen("kettle")], 9, exclude={"kettle", "teapot"}, allowed=lambda keys: set(keys) - {"cup"}
    )
    assert {each.key for each in found} == {"hammer", "nails", "brand new teapot"}


def test_somebody_unknown_gets_what_is_popular():
    log = log_of(("u", "rare", 0.0), *((f"u{n}", "often", 0.0) for n in range(5)))
    found = Recommender(build_statistics(log), NoText(), PRIOR).recommend([], 2)
    assert [each.key for each in found] == ["often", "rare"]
    assert found[0].because == []
    assert found[0].shares["popular"] == 1.0


def test_filters_that_let_little_through_are_filled_from_far_down_the_popular_list():
    log = log_of(*((f"u{n} {copy}", f"i{n:04}", 0.0) for n in range(700) for copy in range(2 if n < 600 else 1)))
    found = Recommender(build_statistics(log), NoText(), PRIOR).recommend(
        [], 3, allowed=lambda keys: {"i0650"} & set(keys)
    )
    assert [each.key for each in found] == ["i0650"]


def test_ties_are_broken_by_key():
    log = log_of(("u", "b", 0.0), ("v", "c", 0.0), ("w", "a", 0.0))
    assert [each.key for each in Recommender(build_statistics(log), NoText(), PRIOR).recommend([], 3)] == [
        "a",
        "b",
        "c",
    ]


def test_the_same_question_has_the_same_answer():
    recommender = Recommender(build_statistics(shop()), text(), PRIOR)
    history = [Seen("hammer", 9.0), Seen("kettle", 2.0)]
    assert recommender.recommend(history, 5) == recommender.recommend(history, 5)


def test_history_is_newest_first_without_repeats_and_one_moment_is_one_step():
    history = [Seen("a", 9.0), Seen("b", 5.0), Seen("c", 5.0), Seen("a", 1.0)]
    keys, steps = newest_first(history)
    assert keys == ["a", "c", "b"]
    assert steps.tolist() == [0, 1, 1]
    assert newest_first([])[0] == []


def test_a_newer_item_of_the_history_counts_more():
    recommender = Recommender(build_statistics(shop()), NoText(), PRIOR)
    for newest, wanted in (("hammer", "nails"), ("kettle", "teapot")):
        oldest = {"hammer": "kettle", "kettle": "hammer"}[newest]
        best = recommender.recommend([Seen(oldest, 9.0), Seen(newest, 1.0)], 1, exclude={"hammer", "kettle"})
        assert best[0].key == wanted


def test_a_blend_survives_json_and_another_versions_blend_is_not_used():
    assert np.allclose(Blend.from_json(PRIOR.as_json()).long, PRIOR.long)
    assert Blend.from_json({}) is PRIOR
    assert Blend.from_json(PRIOR.as_json() | {"unknown": [1, 2, 3]}) is PRIOR
    assert set(PRIOR.as_json()) == set(FEATURES)


LINKS = [
    ("emma", "author", "Austen"),
    ("persuasion", "author", "Austen"),
    ("dune", "author", "Herbert"),
    *((key, "language", "English") for key in ("emma", "persuasion", "dune", "messiah")),
    ("messiah", "follows", "dune"),
    ("Gollancz", "published", "dune"),
    ("Gollancz", "published", "emma"),
]
BOOKS = ["dune", "emma", "messiah", "persuasion"]


def test_items_are_related_by_what_few_share_and_by_direct_links():
    related = build_graph([*LINKS, LINKS[0]], BOOKS).related(["emma", "dune", "unknown"])
    assert related.keys() == {"emma", "dune"}
    assert dict(zip(related["emma"].keys, related["emma"].weights[:, 0].tolist(), strict=True)) == pytest.approx(
        {"persuasion": 1 / 2 + 1 / 4, "dune": 1 / 2 + 1 / 4, "messiah": 1 / 4}
    )
    assert related["dune"].keys[0] == "messiah"
    assert related["dune"].weights[0, 0] == pytest.approx(1 + 1 / 4)


def test_what_too_many_share_relates_nothing(monkeypatch):
    monkeypatch.setattr("domains.commerce.recommender.graph.COMMON", 3)
    related = build_graph(LINKS, BOOKS).related(BOOKS)
    assert "messiah" not in related["emma"].keys


def test_blocks_do_not_change_the_graph(monkeypatch):
    rng = np.random.default_rng(3)
    links = [(f"i{rng.integers(40)}", f"r{rng.integers(3)}", f"t{rng.integers(12)}") for _ in range(200)]
    items = [f"i{number}" for number in range(40)]
    whole = build_graph(links, items)
    monkeypatch.setattr("domains.commerce.recommender.graph.BLOCK", 7)
    parts = build_graph(links, items)
    assert [(key, found.keys, found.weights.tolist()) for key, found in whole.rows()] == [
        (key, found.keys, found.weights.tolist()) for key, found in parts.rows()
    ]
    assert pack(whole.of(0)) == pack(parts.of(0))


def test_the_graph_brings_an_item_that_nothing_else_knows_and_is_named_for_it():
    graph = build_graph([("kettle", "maker", "Acme"), ("toaster", "maker", "Acme")], ["kettle", "toaster"])
    recommender = Recommender(build_statistics(shop()), NoText(), PRIOR, graph)
    best = recommender.recommend([Seen("kettle")], 9, exclude={"kettle"})
    found = next(each for each in best if each.key == "toaster")
    assert found.shares["graph"] == pytest.approx(1.0)
    assert found.because == [("kettle", "graph", pytest.approx(1.0))]
    deaf = Recommender(build_statistics(shop()), NoText(), PRIOR.without("graph"), graph)
    assert next(each for each in deaf.recommend([Seen("kettle")], 9) if each.key == "toaster").score == 0.0


def test_what_two_items_share_is_named_and_a_direct_link_goes_first():
    shared = shared_traits(LINKS, [("emma", "persuasion"), ("dune", "messiah"), ("emma", "unknown")])
    assert shared == {
        ("emma", "persuasion"): [("author", "Austen", True), ("language", "English", True)],
        ("dune", "messiah"): [("follows", "messiah", False)],
    }


def test_every_channel_that_speaks_for_an_item_names_its_strongest_cause():
    strengths = np.array([[0.3, 0.2, 0.15, 0.12], [0.0, 0.1, 0.05, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert causes(strengths) == [(0, 0), (0, 1), (0, 2), (1, 1)]
