"""What a shadow reads of finance: the same encoder decides the same of it."""

from __future__ import annotations

import pytest

from domains.finance.decisions import DECISIONS
from domains.finance.models import Score, Story
from domains.finance.tests.articles import article, take
from suite.events.handling import handle_pending

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(("head", "decided"), [("sentiment", 4), ("topic", 2)])
def test_the_encoder_that_decided_decides_the_same_once_more(encoder, companies, head: str, decided: int) -> None:
    take(article("Halden Motors rises on record sales"), article("Northwind Bank is fined after a probe"))
    handle_pending()
    rows = DECISIONS[head].rows().filter(release=encoder.fingerprint)
    found = DECISIONS[head].of([row.pk for row in rows])
    assert len(found) == decided  # two articles, and for sentiment each company in them, too
    probabilities = encoder.classify(head, [one.inputs for one in found])
    labels = encoder.heads[head].spec.labels
    assert [labels[row.argmax()] for row in probabilities] == [one.label for one in found]
    assert [row.max() for row in probabilities] == pytest.approx([one.probability for one in found], abs=1e-4)
    assert {one.url for one in found} == {f"/finance/stories/{story.pk}/" for story in Story.objects.all()}


def test_a_decision_that_is_gone_is_left_out(encoder, companies) -> None:
    take(article("Halden Motors rises on record sales"))
    handle_pending()
    ids = list(Score.objects.values_list("pk", flat=True))
    Score.objects.filter(pk=ids[0]).delete()
    assert [one.id for one in DECISIONS["sentiment"].of(ids)] == ids[1:]
