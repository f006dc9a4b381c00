"""Masking: what identifies somebody is found, what only looks like it is left; and a plant is found nowhere."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from domains.support import services
from domains.support.models import Feedback, Message, Suggestion, SuggestionRun
from domains.support.privacy import find, mask, without_masks
from domains.support.tests.events import answer, message, take
from domains.support.training_data import TRAINING_DATA
from suite.events.models import Event, PendingEvent
from suite.index.models import DocumentChange, QueryVector

PLANTS = {
    "4111 1111 1111 1111": "card",
    "5500-0000-0000-0004": "card",
    "378282246310005": "card",
    "GB82 WEST 1234 5698 7654 32": "iban",
    "DE89370400440532013000": "iban",
    "mara.quist+shop@mail.example.org": "email",
    "+49 30 901820": "phone",
    "212-736-5000": "phone",
    "07911 123456": "phone",
    "139 1234 5678": "phone",
    "13912345678": "phone",
    "010-62345678": "phone",
    "11010519491231002X": "id",
    "１１０１０５１９４９１２３１００２X": "id",
    "536-90-4399": "id",
    "AB 12 34 56 C": "id",
}
INNOCENT = [
    "order 10023344 of 2024-05-01, invoice 536365, SKU 85123A",
    "订单号20240501123456789，金额1,299.00元，2024年5月1日下单",
    "I paid 1,249.90 on 12.05.2024 at 10:15 and got 24.99 back",
    "tracking number 1Z999AA10123456784, reference 2127365000",
    "3x 12.50 EUR, 6 pcs 100-200 cm, page 1999-2003",
    "4111 1111 1111 1112 has a wrong check digit",
    "GB00 WEST 1234 5698 7654 32 has wrong check digits",
    "110105194912310021 是一个编号",
    "model XR-2000-4500, serial number 8876543210",
    "shop@home is our slogan, see you @ 5",
    "订单号 20117 的茶壶 2个，运费 4.90",
]


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("frame", ["{}", "please use {} today", "请用{}，谢谢", "({}).", "a\n{}\nb"])
def test_what_identifies_is_masked(plant: str, frame: str) -> None:
    text = frame.format(plant)
    assert [found.kind for found in find(text)] == [PLANTS[plant]], text
    assert mask(text) == frame.format(f"[{PLANTS[plant]}]")


@pytest.mark.parametrize("text", INNOCENT)
def test_what_only_looks_like_it_is_left(text: str) -> None:
    assert mask(text) == text


def test_long_and_odd_texts_take_no_time_to_speak_of() -> None:
    for text in ("9" * 20_000, "a@" * 10_000, "aa11 " * 4_000, "4111 1111 " * 2_000):
        assert isinstance(mask(text), str)  # the suite's time limit would end it


def test_masks_are_no_words_of_a_question() -> None:
    assert without_masks(mask("Where is it? Mail me: a@b.example.com")) == "Where is it? Mail me:"


def test_a_plant_is_found_nowhere_but_in_what_agents_see(
    generous, agent, tmp_path: Path, caplog: pytest.LogCaptureFixture, settings
) -> None:
    settings.IS_EMBEDDED = False  # so that events are marked to be published
    caplog.set_level(logging.DEBUG)
    text = "My things broke. " + ", ".join(PLANTS)
    take(answer("broken", "Send us a photo and we replace what is broken.", "Something broke"))
    generous.work()
    take(message(text, customer={"name": "Mara", "card": "4111 1111 1111 1111"}))
    generous.work()
    services.give_feedback(Suggestion.objects.get().uid, "edited", agent, text=f"Sorry! {text}", reason=text[:200])
    services.send_reply("c", agent, f"We have {text}, and we will send it all again.")
    services.set_state("c", "solved", agent)
    generous.work()
    assert Message.objects.filter(text__contains="4111 1111").count() == 2  # agents read what was written

    for format, records in TRAINING_DATA.rows.items():
        (tmp_path / f"{format}.jsonl").write_text("\n".join(json.dumps(one, ensure_ascii=False) for one in records()))
    published = Event.objects.filter(pending__work=PendingEvent.PUBLISH)
    assert published.exists()
    held = {
        "logs": caplog.text,
        "events that are published": json.dumps(list(published.values("data", "subject")), ensure_ascii=False),
        "suggestions": json.dumps(list(Suggestion.objects.values("text", "composed", "features")), ensure_ascii=False),
        "runs": json.dumps(list(SuggestionRun.objects.values("question")), ensure_ascii=False),
        "feedback": json.dumps(list(Feedback.objects.values("text", "reason")), ensure_ascii=False),
        "masked messages": "\n".join(Message.objects.values_list("masked_text", flat=True)),
        "query vectors": "\n".join(QueryVector.objects.values_list("text", flat=True)),
        "keys of documents": "\n".join(DocumentChange.objects.values_list("key", flat=True)),
    }
    for path in tmp_path.rglob("*"):
        if path.is_file():
            held[str(path.relative_to(tmp_path))] = path.read_bytes().decode("utf-8", "replace")
    assert any(name.startswith("index/") for name in held) and any(name.endswith(".jsonl") for name in held)
    digits = {plant: "".join(plant.split()) for plant in PLANTS}
    for name, content in held.items():
        squeezed = "".join(content.split())
        for plant, plain in digits.items():
            assert plain not in squeezed, f"{plant} stands in {name}"
    assert "Mara" not in held["suggestions"]


def test_texts_of_files_are_masked_before_they_are_read_without_labels():
    given = TRAINING_DATA.texts["support.questions"]
    assert "ada@example.com" not in given.text({"text": "Write to ada@example.com, please"})
    assert given.text({"masked": "Write to [email]"}) == "Write to [email]"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("my card is 4111 1111 1111 1111 12/27 cvv 123", "my card is [card] 12/27 cvv 123"),
        ("4111111111111111 12/27", "[card] 12/27"),
        ("5500 0055 5555 5559 03-28", "[card] 03-28"),
        ("3782 822463 10005 12/27", "[card] 12/27"),
        ("order 4111 1111 1111 1112 12", "order 4111 1111 1111 1112 12"),
    ],
)
def test_a_card_is_masked_whatever_follows_it(text: str, masked: str) -> None:
    assert mask(text) == masked
