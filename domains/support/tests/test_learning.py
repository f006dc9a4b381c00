"""Learning from what agents do: what a decision counts, what the gate lets through, and that new questions gain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from domains.support import selectors, services
from domains.support.learning import online
from domains.support.learning.examples import DecidedRun, decided_runs
from domains.support.learning.prior import calibrated, sample_cases
from domains.support.models import Answer, Feedback, Ranker, Suggestion, SuggestionRun
from domains.support.sample.files import sample_answers
from domains.support.suggesting.features import FEATURES
from domains.support.suggesting.past import examination, past_of
from domains.support.suggesting.ranker import Weights
from domains.support.suggesting.suggest import active_ranker, suggest
from domains.support.tests.events import answer, event, message, take
from domains.support.tests.repeated import REPEATED
from domains.support.training_data import TRAINING_DATA, tasks
from suite.live.models import Topic

pytestmark = pytest.mark.django_db


def run_of(signal: Sequence[float], taken: Sequence[bool]) -> DecidedRun:
    features = np.zeros((len(signal), len(FEATURES)))
    features[:, FEATURES.index("title")] = signal
    return DecidedRun(features, np.array(taken), np.ones(len(signal)))


def blank() -> Weights:
    zeros, ones = np.zeros(len(FEATURES)), np.ones(len(FEATURES))
    return Weights(zeros, zeros, ones, 0.0, 0.4)


def test_a_fit_finds_what_agents_go_by() -> None:
    runs = [run_of([0.1, 0.9, 0.2], [False, True, False]) for _ in range(20)]
    learned = online.fitted(blank(), runs)
    assert learned.weight[FEATURES.index("title")] > 1
    assert np.count_nonzero(learned.weight) == 1
    before, after = online.replay(blank(), runs), online.replay(learned, runs)
    assert after["mrr"] == 1.0 > before["mrr"] and after["log_loss"] < before["log_loss"]


def test_a_weight_keeps_its_sign_against_odd_decisions() -> None:
    runs = [run_of([0.1, 0.9], [True, False]) for _ in range(20)]
    assert online.fitted(blank(), runs).weight[FEATURES.index("title")] == 0


@pytest.mark.parametrize(
    ("before", "after", "is_passed"),
    [
        ({"mrr": 0.8, "log_loss": 0.5}, {"mrr": 0.8, "log_loss": 0.4}, True),
        ({"mrr": 0.8, "log_loss": 0.5}, {"mrr": 0.79, "log_loss": 0.1}, False),
        ({"mrr": 0.8, "log_loss": 0.5}, {"mrr": 0.9, "log_loss": 0.51}, False),
    ],
)
def test_the_gate(before: dict[str, float], after: dict[str, float], is_passed: bool) -> None:
    assert online.is_no_worse(before, after) is is_passed


def first_ranker() -> Ranker:
    return Ranker.objects.create(fingerprint="f" * 16, weights=blank().as_json())


def test_what_is_learned_serves_where_the_replay_is_no_worse() -> None:
    runs = [run_of([0.1, 0.9, 0.2], [False, True, False]) for _ in range(20)]
    served = online.learn_from(first_ranker(), runs, 60)
    assert served.is_active and served.trained_on == 60 and served.metrics["passed"]
    assert Ranker.objects.get(is_active=True) == served and Ranker.objects.count() == 2


def test_what_is_learned_does_not_serve_where_the_newest_decisions_speak_against_it() -> None:
    old = [run_of([0.1, 0.9, 0.2], [False, True, False]) for _ in range(20)]
    new = [run_of([0.1, 0.9, 0.2], [True, False, False]) for _ in range(8)]
    active = first_ranker()
    assert online.learn_from(active, old + new, 60) == active
    active.refresh_from_db()
    assert active.is_active and active.metrics["passed"] is False and Ranker.objects.count() == 1
    assert active.metrics["after"]["log_loss"] > active.metrics["before"]["log_loss"]


def test_calibration_says_how_often_the_first_is_right(fake_encoder) -> None:
    cases = sample_cases(fake_encoder)
    weights, metrics = calibrated(cases)
    tops = [(weights.confidence(case.features).max(), case) for case in cases]
    right = [bool(case.labels[weights.log_odds(case.features).argmax()]) for case in cases]
    assert np.mean([top for top, _ in tops]) == pytest.approx(np.mean(right), abs=0.02)
    assert metrics["auroc"] > 0.6 and 0.05 <= metrics["threshold"] <= 0.95


def test_positions_are_made_up_for(generous, agent) -> None:
    take(*(answer(f"a{n}", f"The blue lamp number {n} shines {'x' * 40 * n}", f"Lamp {n}") for n in range(1, 5)))
    generous.work()
    take(message("which blue lamp shines?"))
    generous.work()
    rows = list(Suggestion.objects.order_by("position"))
    assert len(rows) == 4
    services.give_feedback(rows[1].uid, "accepted", agent)
    services.give_feedback(rows[3].uid, "ignored", agent)
    [run] = decided_runs(generous.encoder.fingerprint)
    assert list(run.taken) == [True, False]  # the first and third are not decided: nobody replied yet
    take(message("the second one", author="agent", minute=5))
    [run] = decided_runs(generous.encoder.fingerprint)
    assert list(run.taken) == [False, True, False, False]
    above, taken, below, last = run.counts
    assert above == 1.0 and taken == pytest.approx(1 / examination(2))
    assert 0 < last <= examination(4) and 0 < below <= examination(3)


def test_the_past_tells_taken_from_passed_over() -> None:
    decided = [
        (1, "ignored", "first", None, 1), (1, "accepted", "second", None, 2), (1, "ignored", "third", None, 3),
        (2, "rejected", "second", None, 1), (3, "edited", None, 9, 1),
    ]  # fmt: skip
    past = past_of({"1": 0.9, "2": 0.7, "3": 0.5}, decided)
    assert past.accepted_near == {("answer", "second"): 0.9, ("reply", "9"): 0.5}
    assert past.rejected_near == {("answer", "first"): 0.9, ("answer", "second"): 0.7}


def test_decisions_become_training_data(generous, agent) -> None:
    take(*(answer(f"a{n}", f"The blue lamp number {n} shines {'x' * 40 * n}", f"Lamp {n}") for n in range(1, 4)))
    generous.work()
    take(message("which blue lamp shines? mail me at a@b.example.com"))
    generous.work()
    rows = list(Suggestion.objects.order_by("position"))
    services.send_reply("c", agent, "".join(part["text"] for part in rows[1].composed), used=[rows[1].uid])
    pairs = list(TRAINING_DATA.rows["support.pairs"]())
    assert [(pair["label"], "a@b" in pair["question"]) for pair in pairs] == [(0, False), (1, False)]
    [question] = TRAINING_DATA.rows["support.questions"]()
    assert rows[1].answer is not None and question["answer_ids"] == [rows[1].answer.key]
    assert [task.head for task in tasks({"support.pairs": pairs * 5})] == ["relevance", ""]


def test_an_answer_that_was_removed_or_changed_is_offered_no_more(generous, agent) -> None:
    take(*(answer(f"a{n}", f"The blue lamp number {n} shines {'x' * 40 * n}", f"Lamp {n}") for n in range(1, 4)))
    generous.work()
    take(message("which blue lamp shines?"))
    generous.work()
    Suggestion.objects.update(offered_at=datetime(2025, 12, 31, tzinfo=UTC))  # before the events of these tests
    Answer.objects.update(changed_at=datetime(2025, 12, 30, tzinfo=UTC))
    assert {item.answer_key for item in selectors.suggestions_for("c").items} == {"a1", "a2", "a3"}
    topic = services.conversation_topic("c")
    before = Topic.objects.get(name=topic).sequence
    take(event("answer.removed", {"answer_id": "a1"}, minute=5), answer("a2", "It is green now", "Lamp 2", minute=5))
    generous.work()
    assert {item.answer_key for item in selectors.suggestions_for("c").items} == {"a3"}
    assert Topic.objects.get(name=topic).sequence > before  # who has it open sees it go


def test_what_is_found_by_hand_answers_no_earlier_question(generous, agent) -> None:
    take(answer("a1", "The blue lamp shines", "Lamp"), answer("a2", "The red chair swings", "Chair"))
    generous.work()
    take(message("which lamp shines?", minute=1))
    generous.work()
    assert services.take_found("c", "a2") != ""
    take(message("and which chair swings?", minute=2))  # no worker has looked at it yet
    assert services.take_found("c", "a2") == ""
    generous.work()
    uid = services.take_found("c", "a1")
    assert Suggestion.objects.get(uid=uid).run.question.endswith("and which chair swings?")
    take(message("this one", author="agent", minute=3))
    assert services.take_found("c", "a2") == ""  # nobody waits


def test_after_a_rollback_the_ranker_that_serves_learns(generous) -> None:
    serving = selectors.serving_ranker()
    assert serving is not None
    newer = Ranker.objects.get(pk=serving.pk)
    newer.pk, newer.fingerprint = None, "f" * 16  # of a release that was promoted, and is rolled back again
    newer.save()
    assert selectors.serving_ranker() == serving


@pytest.mark.encoder
def test_forty_decisions_help_new_questions(serving, real_encoder, agent, record_property) -> None:
    """20 things that customers ask in words that no answer holds: agents decide on two ways of asking each, and the
    mean reciprocal rank of two other ways is measured before and after."""
    desk = serving(real_encoder)
    take(*(answer(one["answer_id"], one["text"], one["title"], language=one["language"]) for one in sample_answers()))
    desk.work()
    later = [(key, text) for key, _, asked in REPEATED for text in asked]
    take(message("hello", "warm-up"))
    desk.work()
    before = mean_reciprocal_rank(desk, later)
    for way in (0, 1):
        take(*(message(asked[way], f"{key} {way}") for key, asked, _ in REPEATED))
        desk.work()
        for key, _, _ in REPEATED:
            act_as_an_agent(agent, f"{key} {way}", key)
        desk.work()
    remembered = mean_reciprocal_rank(desk, later)
    served = online.learn()
    learned = mean_reciprocal_rank(desk, later)
    record_property("mrr", {"before": before, "remembered": remembered, "learned": learned})
    print(f"MRR of new questions: {before:.3f} before, {remembered:.3f} with memory, {learned:.3f} after learning")
    assert Feedback.objects.count() >= 40 and served is not None
    assert remembered >= before + 0.1
    assert learned >= remembered


def act_as_an_agent(agent, conversation: str, right: str) -> None:
    """Take the right answer where it is shown; else look it up and send it: then what was shown was not it."""
    run = SuggestionRun.objects.filter(message__conversation__key=conversation).get()
    shown = list(run.suggestions.select_related("answer").order_by("position"))
    wanted = [row for row in shown if row.answer and row.answer.key == right]
    if wanted:
        text = "".join(part["text"] for part in wanted[0].composed)
        services.send_reply(conversation, agent, text, used=[wanted[0].uid])
    else:
        uid = services.take_found(conversation, right)
        services.send_reply(conversation, agent, Suggestion.objects.get(uid=uid).text, used=[uid])


def mean_reciprocal_rank(desk, asked: Sequence[tuple[str, str]]) -> float:
    """Of the right answer among all that is ranked, whether good enough or not."""
    ranker = active_ranker(desk.encoder.fingerprint)
    assert ranker is not None
    everything = replace(ranker, weights=replace(ranker.weights, threshold=0.0))
    found = []
    for key, text in asked:
        ranked = suggest(text, desk.encoder.embed([text])[0], everything, 30).ranked
        keys = [row.candidate.key for row in ranked]
        found.append(1 / (1 + keys.index(key)) if key in keys else 0.0)
    return float(np.mean(found))
