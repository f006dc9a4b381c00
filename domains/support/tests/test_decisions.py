"""What a shadow reads of support: the same encoder decides the same of it, and nobody is named in it."""

from __future__ import annotations

import pytest

from domains.support.decisions import DECISIONS, first_suggestions
from domains.support.models import Suggestion
from domains.support.tests.events import answer, message, take

pytestmark = pytest.mark.django_db
RELEVANCE = DECISIONS["relevance"]


@pytest.fixture
def suggested(generous) -> list[int]:
    """Ids of all suggestions for a question that holds an address."""
    take(
        answer("broken", "Send a photo of the broken bowl to us. We replace it today.", "A broken bowl"),
        answer("postage", "Postage to Norway costs nine euros. It takes a week.", "Postage to Norway"),
    )
    generous.work()
    take(message("what does postage to norway cost? write to bo@example.org"))
    generous.work()
    return list(Suggestion.objects.values_list("pk", flat=True))


def test_the_encoder_that_decided_decides_the_same_once_more(generous, suggested) -> None:
    first = list(first_suggestions().values_list("pk", flat=True))
    assert len(suggested) > len(first) == 1
    [found] = RELEVANCE.of(suggested)
    assert found.id == first[0]
    yes = generous.encoder.score_pairs([found.inputs], "relevance")[0]
    assert found.label == ("yes" if yes > 0.5 else "no")
    assert found.probability == pytest.approx(max(yes, 1 - yes), abs=2e-3)  # stored vectors are of half precision
    assert found.url == "/support/conversations/c/"
    assert "bo@example.org" not in found.text and "norway" in found.text


def test_what_the_head_did_not_decide_is_left_out(generous, suggested) -> None:
    Suggestion.objects.update(features={"relevance": 0.0})
    assert RELEVANCE.of(suggested) == []
