"""What became of the suggestions, and which questions have no answer."""

from __future__ import annotations

import random

import numpy as np
import pytest
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from domains.support import selectors, services
from domains.support.figures import support_figures
from domains.support.insights import analytics, clusters, knowledge_gaps
from domains.support.models import Answer, Conversation, Feedback, Ranker, Suggestion, SuggestionRun
from domains.support.sample.stream import answered
from domains.support.tests.events import answer, message, take
from suite.dashboard import WARN

pytestmark = pytest.mark.django_db


@pytest.fixture
def worked(generous, agent):
    """Two customers, one answer taken and one rejected."""
    take(
        answer("norway", "Postage to Norway costs nine euros.", "Norway"), answer("bowl", "We replace a bowl.", "Bowl")
    )
    generous.work()
    take(message("postage to norway?", "one"), message("a bowl and postage to norway?", "two"))
    generous.work()
    first = Suggestion.objects.get(conversation__key="one", answer__key="norway")
    services.send_reply("one", agent, "".join(part["text"] for part in first.composed), used=[first.uid])
    rejected = Suggestion.objects.get(conversation__key="two", answer__key="bowl")
    services.give_feedback(rejected.uid, "rejected", agent, reason="wrong")
    generous.work()
    return generous


def test_shares_by_position_answer_and_release(worked) -> None:
    found = analytics()
    assert (found.runs, found.offered, found.nothing_good, found.taken) == (2, 2, 0, 1)
    by_answer = {share.key: (share.shown, share.taken, share.rejected) for share in found.by_answer}
    assert by_answer["norway"] == (1, 1, 0) and by_answer["bowl"][2] == 1
    assert sum(share.taken for share in found.by_position) == 1
    assert [share.key for share in found.by_release] == [worked.encoder.fingerprint]
    assert found.never_shown == 0


def test_seconds_are_the_median(worked) -> None:
    assert analytics().median_seconds > 0
    SuggestionRun.objects.filter(message__conversation__key="one").update(seconds=2.0)
    SuggestionRun.objects.filter(message__conversation__key="two").update(seconds=900.0)
    assert analytics().median_seconds == 2.0
    SuggestionRun.objects.all().delete()
    assert analytics().median_seconds == 0.0


def test_the_samples_colleague_decides_on_suggestions_by_events(generous) -> None:
    take(
        answer("norway", "Postage to Norway costs nine euros.", "Norway"), answer("bowl", "We replace a bowl.", "Bowl")
    )
    generous.work()
    take(message("postage to norway?", "one"), message("a bowl and postage to norway?", "two"))
    generous.work()
    dice = random.Random(2)  # which edits nothing
    take(*answered("one", ["norway"], dice), *answered("two", ["another"], dice), *answered("three", [], dice))
    states = {(one.conversation.key, one.position): one.state for one in Suggestion.objects.all()}
    assert states["one", 1] == "accepted" and states["two", 1] == "rejected"
    assert set(states.values()) == {"accepted", "rejected", "ignored"}
    assert analytics().taken == 1


def test_a_share_of_alike_suggestions_is_told_from_ten_on() -> None:
    decided = [(0.8, True)] * 7 + [(0.85, False)] * 3 + [(0.2, False)] * 50
    assert selectors.share_alike(0.82, decided) == (7, 10)
    assert selectors.share_alike(0.82, decided[1:]) is None


def test_gaps_are_questions_that_mean_much_the_same(desk) -> None:
    take(answer("norway", "Postage to Norway costs nine euros.", "Norway"))
    desk.work()
    asked = ["can i rent a tent", "can i rent a tent please", "rent a tent?", "do you employ painters"]
    take(*(message(text, f"c{number}") for number, text in enumerate(asked)))
    desk.work()
    gaps = knowledge_gaps()
    assert [gap.count for gap in gaps] == [3, 1]
    assert "tent" in gaps[0].question and set(gaps[0].examples) == set(asked[:3])
    assert gaps[1].conversation == "c3"


def test_clusters_take_the_densest_first() -> None:
    angles = np.array([0.0, 0.1, 0.2, 2.0, 2.1, 4.0])
    found = clusters(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    assert [sorted(map(int, members)) for members in found] == [[0, 1, 2], [3, 4], [5]]


def test_the_operators_figures() -> None:
    answers, waiting, taken, gaps = support_figures()
    assert (answers.value, answers.state) == (0, WARN)
    take(message("hello"))
    assert support_figures()[1].value == 1
    assert taken.value == "no decision yet" and gaps.value == 0 and waiting.value == 0


@pytest.mark.parametrize("model", [Answer, Conversation, SuggestionRun, Suggestion, Feedback, Ranker])
def test_admin_pages_open(worked, admin_client: Client, model: type[Model]) -> None:
    name = f"admin:support_{model._meta.model_name}"
    assert admin_client.get(reverse(f"{name}_changelist"), {"q": "norway"}).status_code == 200
    row = model._default_manager.first()
    assert row is not None
    assert admin_client.get(reverse(f"{name}_change", args=[row.pk])).status_code == 200
