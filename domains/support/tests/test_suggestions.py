"""From a message to suggestions and on: what is offered, withdrawn, filled in, traced, and that it happens once."""

from __future__ import annotations

import pytest

from domains.support import jobs, selectors, services
from domains.support.learning.prior import relevance_head
from domains.support.models import Conversation, Ranker, Suggestion, SuggestionRun
from domains.support.suggesting.features import FEATURES
from domains.support.suggesting.ranker import RelevanceHead, Weights
from domains.support.suggesting.retrieve import IndexPools
from domains.support.suggesting.variables import unfilled
from domains.support.tests.events import answer, message, state, take
from suite.encoder.fake import FakeEncoder
from suite.events.models import Event, PendingEvent
from suite.events.services import replay_events
from suite.index import selectors as index
from suite.index.vectors import encode_queries

pytestmark = pytest.mark.django_db
BROKEN = "Send us a photo of the broken bowl, {{customer.name}}. We replace it today."
POSTAGE = "Postage to Norway costs nine euros. It takes a week."


def shop() -> None:
    take(
        answer("broken", BROKEN, "A broken bowl", source="Handbook"),
        answer("postage", POSTAGE, "Postage to Norway"),
        answer("greeting.en", "Hello {{customer.name}},", source="Handbook, page 1"),
        answer("closing.en", "Kind regards, {{agent.name}}"),
    )


def test_a_message_brings_suggestions_with_source_sentence_and_confidence(generous, agent) -> None:
    shop()
    generous.work()
    take(message("what does postage to norway cost?", customer={"name": "Bo"}))
    generous.work()
    found = selectors.suggestions_for("c", agent)
    assert found.outcome == "offered" and found.release == generous.encoder.fingerprint
    first = found.items[0]
    assert (first.answer_key, first.position, first.pool) == ("postage", 1, "answer")
    assert first.text[slice(*first.sentence)] == "Postage to Norway costs nine euros."
    assert [item.confidence for item in found.items] == sorted((item.confidence for item in found.items), reverse=True)
    assert "greeting.en" not in {item.answer_key for item in found.items}
    assert first.why and first.alike is None


def test_a_draft_is_made_of_sentences_that_stand_somewhere(generous, agent) -> None:
    shop()
    generous.work()
    take(message("my bowl is broken", customer={"name": "Bo"}))
    generous.work()
    row = Suggestion.objects.get(answer__key="broken")
    sources = {
        "Handbook, page 1": "Hello {{customer.name}},",
        "Handbook": BROKEN,
        "closing.en": "Kind regards, {{agent.name}}",
    }
    assert [part["source"] for part in row.composed] == list(sources)
    for part in row.composed:
        assert part["text"].strip() in sources[part["source"]]
    shown = next(item for item in selectors.suggestions_for("c", agent).items if item.answer_key == "broken")
    assert shown.composed.startswith("Hello Bo,\n\nSend us a photo of the broken bowl, Bo.")
    assert shown.composed.endswith("Kind regards, Ann") and shown.missing == []
    nobody = next(item for item in selectors.suggestions_for("c").items if item.answer_key == "broken")
    assert nobody.missing == ["agent.name"] and "{{agent.name}}" in nobody.composed


def test_nothing_good_is_said_and_teaches(desk) -> None:
    shop()
    desk.work()
    take(message("who won the election in the moon?"))
    desk.work()
    found = selectors.suggestions_for("c")
    assert (found.outcome, found.items) == ("nothing_good", [])
    assert found.best_confidence < found.threshold
    assert Event.objects.get(type="support.suggestion.offered").data["suggestions"] == []


def test_a_newer_message_withdraws_and_a_reply_ignores(generous) -> None:
    shop()
    generous.work()
    take(message("postage to norway?", minute=1))
    generous.work()
    take(message("and my bowl is broken", minute=2))
    assert set(Suggestion.objects.values_list("state", flat=True)) == {"withdrawn"}
    assert selectors.suggestions_for("c").outcome == "pending"
    generous.work()
    assert selectors.suggestions_for("c").outcome == "offered"
    assert SuggestionRun.objects.order_by("pk").values_list("outcome", flat=True)[0] == "withdrawn"
    take(message("I will look", minute=3, author="agent"))
    assert set(Suggestion.objects.filter(message__text__contains="bowl").values_list("state", flat=True)) == {"ignored"}
    assert selectors.suggestions_for("c").outcome == "none"


def test_handling_twice_offers_once(generous) -> None:
    shop()
    generous.work()
    take(message("postage to norway?"))
    generous.work()
    before = list(Suggestion.objects.values_list("uid", flat=True))
    assert before and replay_events(types=["support.message.received"]) == 1
    generous.work()
    assert list(Suggestion.objects.values_list("uid", flat=True)) == before
    assert PendingEvent.objects.filter(work=PendingEvent.HANDLE).count() == 0
    assert Event.objects.filter(type="support.suggestion.offered").count() == 1


def test_who_came_before_any_release_is_answered_by_the_job(serving, fake_encoder) -> None:
    shop()
    take(message("postage to norway?"), message("late", "d", minute=1), state("solved", "d", minute=2))
    desk = serving(fake_encoder)
    Conversation.objects.update()  # nothing was handled yet: the marks of the messages are gone with this
    PendingEvent.objects.filter(event__type="support.message.received").delete()
    desk.work()
    jobs.make_ranker()
    jobs.answer_missed()
    assert list(SuggestionRun.objects.values_list("message__conversation__key", flat=True)) == ["c"]
    jobs.answer_missed()
    assert SuggestionRun.objects.count() == 1


def test_replies_of_solved_conversations_are_a_pool_of_their_own(generous, agent) -> None:
    reply = "The felt bag for chess pieces is sold on its own and holds all of them."
    take(
        message("is there a bag for chess pieces?", "old", minute=1),
        message(reply, "old", minute=2, author="agent"),
    )
    generous.work()
    take(message("a bag for my chess pieces?", "new", minute=3))
    generous.work()
    assert selectors.suggestions_for("new").items == []  # it is not solved yet
    take(state("solved", "old", minute=4))
    generous.work()
    take(message("a bag for chess pieces please", "newer", minute=5))
    generous.work()
    [item] = selectors.suggestions_for("newer").items
    assert (item.pool, item.text, item.source) == ("reply", reply, "conversation old")
    take(message("it broke!", "old", minute=6))  # open again: its reply is no example any more
    generous.work()
    take(message("a bag for chess pieces, once more", "newest", minute=7))
    generous.work()
    assert selectors.suggestions_for("newest").items == []


def test_a_reply_to_one_customer_names_nobody_to_another(generous, agent) -> None:
    anna = {"name": "Anna Smith", "plan": "Gold"}
    reply = "Hello Anna, the felt bag for chess pieces is free with your Gold plan. Golden, too."
    take(
        message("is there a bag for chess pieces?", "old", minute=1, customer=anna),
        message(reply, "old", minute=2, author="agent"),
        state("solved", "old", minute=3),
        message("is there a bag for chess pieces?", "older", minute=1),
        message("Write to felt@example.com for a bag for chess pieces.", "older", minute=2, author="agent"),
        state("solved", "older", minute=3),
    )
    generous.work()
    take(message("a bag for chess pieces please", "new", minute=5, customer={"name": "Bob", "plan": "Tin"}))
    generous.work()
    [item] = selectors.suggestions_for("new").items  # the other one would say "[email]"
    assert item.text == "Hello {{customer.name}}, the felt bag for chess pieces is free with your {{customer.plan}} " \
        "plan. Golden, too."  # fmt: skip
    assert "Anna" not in item.composed and "Gold plan" not in item.composed


@pytest.mark.parametrize(
    ("facts", "text", "expected"),
    [
        ({"customer.locale": "en", "customer.a b": "tea"}, "en route with tea", "en route with tea"),
        ({"customer.name": r"\1 (x)"}, r"Dear \1 (x)!", "Dear {{customer.name}}!"),
        ({"customer.name": "name", "customer.plan": "customer"}, "{{customer.name}}", "{{customer.name}}"),
    ],
)
def test_variables_come_back_where_they_can_be_filled(facts: dict[str, str], text: str, expected: str) -> None:
    assert unfilled(text, facts) == expected


def test_sending_says_what_became_of_each_suggestion(generous, agent) -> None:
    shop()
    generous.work()
    take(message("postage to norway? my bowl is broken"))
    generous.work()
    items = {item.answer_key: item for item in selectors.suggestions_for("c", agent).items}
    services.send_reply("c", agent, f"Hi!\n{items['postage'].composed}\nBye", used=[items["postage"].uid])
    states = dict(Suggestion.objects.values_list("answer__key", "state"))
    assert states == {"postage": "accepted", "broken": "ignored"}
    assert Conversation.objects.get().state == "open"
    services.give_feedback(items["broken"].uid, "edited", agent, text="We replace it today.")
    edited = Suggestion.objects.get(answer__key="broken")
    assert edited.state == "edited" and 0 < edited.feedback.get(kind="edited").edit_distance < 1


def test_a_variable_that_the_agent_filled_is_no_edit(generous, agent) -> None:
    take(answer("late", "Your order {{customer.order}} is late, we look where the order is.", "Late order"))
    generous.work()
    take(message("my order is late"))
    generous.work()
    [item] = selectors.suggestions_for("c", agent).items
    assert item.missing == ["customer.order"]
    services.send_reply("c", agent, "Your order 77 is late, we look where the order is.", used=[item.uid])
    assert Suggestion.objects.get().state == "accepted"


def test_texts_that_say_the_same_are_offered_once(generous) -> None:
    take(answer("a", POSTAGE, "Postage to Norway"), answer("b", POSTAGE + " ", "Postage to Norway"))
    generous.work()
    take(message("postage to norway?"))
    generous.work()
    assert len(selectors.suggestions_for("c").items) == 1


def test_near_duplicates_are_shown_before_saving(desk) -> None:
    shop()
    desk.work()
    written = "Postage to Norway\nPostage to Norway costs nine euros. It takes weeks."
    assert index.query_vector(written, desk.encoder.fingerprint)[0] is None  # no worker was there in time
    encode_queries(lambda fingerprint: desk.encoder.embed)
    [(row, cosine)] = selectors.similar_answers(*written.split("\n"))
    assert row.key == "postage" and cosine > 0.85
    assert selectors.similar_answers(*written.split("\n"), key="postage") == []


def test_the_ranker_scores_as_the_releases_head_does(fake_encoder) -> None:
    head = relevance_head(fake_encoder)
    assert head is not None
    again = RelevanceHead.unpack(head.pack())
    assert again is not None
    pairs = [("where is it", "Tracking\nFollow the link"), ("a b", "c d"), ("postage", "Postage costs nine")]
    expected = fake_encoder.score_pairs(pairs, "relevance")
    for (question, text), probability in zip(pairs, expected, strict=True):
        u, v = fake_encoder.embed([question, text])
        odds = float(again.log_odds(u, v[None, :])[0])
        assert 1 / (1 + 2.718281828459045**-odds) == pytest.approx(float(probability), abs=1e-4)


def test_weights_survive_their_row(desk) -> None:
    jobs.make_ranker()
    row = Ranker.objects.get()
    weights = Weights.from_json(row.weights)
    assert weights.as_json() == row.weights and len(weights.weight) == len(FEATURES)
    jobs.make_ranker()
    assert Ranker.objects.count() == 1


def test_a_question_is_searched_under_the_release_of_its_vector(serving, fake_encoder) -> None:
    """Another release may come to serve between the two; its vectors are of other dimensions here."""
    shop()
    serving(fake_encoder).work()
    pools = IndexPools(fake_encoder.fingerprint)
    vector = fake_encoder.embed(["postage to norway?"])[0]
    before = pools.find("postage to norway?", vector)
    assert before.candidates and all(one.vector is not None for one in before.candidates)
    serving(FakeEncoder(dimensions=64)).work()
    after = pools.find("postage to norway?", vector)
    assert [one.key for one in after.candidates] == [one.key for one in before.candidates]
    assert all(one.vector is not None for one in after.candidates) and after.degraded == ()
