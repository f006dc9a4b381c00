"""What a message is about, in somebody's judgement: masked, learned from, and taken back."""

from __future__ import annotations

import pytest

from domains.support.models import LabelledQuestion
from domains.support.tests.events import event, message, take
from domains.support.training_data import TRAINING_DATA
from suite.events.ingestion import ingest
from suite.events.models import Event
from suite.releases.training_data import Record

pytestmark = pytest.mark.django_db
LABELLING = TRAINING_DATA.labelling["intent"]
WHERE = "Where is it? Write to bo@example.com"
MASKED = "Where is it? Write to [email]"


def learned() -> list[Record]:
    return list(TRAINING_DATA.rows["support.intents"]())


def test_messages_are_to_be_labelled_masked_and_once() -> None:
    take(message(WHERE), message("Thank you", author="agent"), message("And now?"))
    assert list(LABELLING.rows()) == [{"text": "And now?"}, {"text": MASKED}]
    assert learned() == []
    take(event("intent.labelled", {"text": MASKED, "label": "order.status", "by": "ada"}, minute=1))
    assert list(LABELLING.rows()) == [{"text": "And now?"}]
    assert learned()[0] == {"text": MASKED, "label": "order.status"}
    assert len(learned()) > 300  # with the sample, which knows the other intents
    take(event("intent.labelled", {"text": "And now?", "label": "my.own"}, minute=2))
    assert [one["label"] for one in learned()] == ["order.status", "my.own"]


def test_a_label_is_taken_back_in_any_order() -> None:
    label = event("intent.labelled", {"text": "And now?", "label": "order.status"}, minute=1)
    take(event("intent.withdrawn", {"text": "And now?", "by": "ada"}, minute=2), label)
    assert learned() == [] and LabelledQuestion.objects.get().label == ""


def test_what_a_sender_did_not_mask_is_masked() -> None:
    take(event("intent.labelled", {"text": WHERE, "label": "order.status"}))
    assert LabelledQuestion.objects.get().text == MASKED
    assert "bo@example.com" not in str(Event.objects.get().data)


@pytest.mark.parametrize(("data", "field"), [({"text": "a"}, "data.label"), ({"label": "x"}, "data.text")])
def test_a_bad_label_is_refused(data: dict[str, str], field: str) -> None:
    [result] = ingest([event("intent.labelled", data)])
    assert (result.status, result.field) == ("rejected", field)
