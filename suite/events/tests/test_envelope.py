from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from suite.events.decoding import TooManyItems, Unreadable, decode
from suite.events.envelope import MAX_DEPTH, Rejected, parse

GOOD = {"id": "1", "source": "shop", "type": "trial.note.written", "data": {}}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"specversion": "0.3"}, "specversion", "1.0"),
        ({"id": None}, "id", "is required"),
        ({"id": ""}, "id", "is required"),
        ({"id": 7}, "id", "must be a text, not a number"),
        ({"id": "x" * 201}, "id", "201 characters long, the limit is 200"),
        ({"source": "a\x00b"}, "source", "NUL"),
        ({"source": "a\ud800b"}, "source", "surrogate"),
        ({"subject": []}, "subject", "not a list"),
        ({"time": "yesterday"}, "time", "ISO 8601"),
        ({"time": True}, "time", "ISO 8601"),
        ({"time": float("nan")}, "time", "ISO 8601"),
        ({"time": 10**400}, "time", "ISO 8601"),
        ({"time": -1}, "time", "1970"),
        ({"time": "9999-12-31T23:59:59-14:00"}, "time", "ISO 8601"),
        ({"data": None}, "data", "must be a JSON object, not null"),
        ({"data": [1]}, "data", "not a list"),
        ({"data": None, "data_base64": "eA=="}, "data_base64", "is not taken"),
        ({"data": {"a": nested(MAX_DEPTH)}}, "data", "nested deeper than 20"),
        ({"data": {"a": float("inf")}}, "data.a", "infinite"),
        ({"data": {"a": "\ud800"}}, "data.a", "surrogate"),
        ({"data": {"a": [{"b": "c"}, "b\x00"]}}, "data.a.1", "NUL"),
        ({"data": {"a\x00": 1}}, "data", "NUL"),
        ({"data": {"a": {"b\ud800": 1}}}, "data.a", "surrogate"),
        ({"data": {"a": {"my own name!": "\x00"}}}, "data.a", "NUL"),
        ({"data": {"a": "x" * settings.MAX_EVENT_BYTES}}, "data", "bytes, the limit is 262,144"),
    ],
)
def test_a_bad_field_is_named_with_what_would_be_right(change: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(Rejected) as caught:
        parse(GOOD | change)
    assert caught.value.field == field
    assert words in caught.value.reason


def test_a_text_that_only_looks_like_an_escaped_nul_is_taken() -> None:
    assert parse(GOOD | {"data": {"a": "\\u0000"}}).data == {"a": "\\u0000"}


@pytest.mark.parametrize(
    "time", ["2026-01-31T13:00:00+01:00", "2026-01-31T12:00:00Z", "2026-01-31 12:00:00", 1769860800, 1769860800.0]
)
def test_times_in_all_forms_are_one_moment(time: object) -> None:
    assert parse(GOOD | {"time": time}).time == datetime(2026, 1, 31, 12, tzinfo=UTC)


@given(JSON_VALUES)
def test_whatever_comes_is_parsed_or_rejected(value: object) -> None:
    for item in (value, GOOD | {"data": value}, GOOD | {"id": value, "time": value}):
        try:
            envelope = parse(item)
        except Rejected as error:
            assert error.field and error.reason
        else:
            json.dumps(envelope.data, allow_nan=False, ensure_ascii=False).encode()


@given(
    st.lists(st.dictionaries(st.text(max_size=5), st.none() | st.integers(-9, 9) | st.text(), max_size=4), max_size=8)
)
def test_decoding_gives_what_json_gives(items: list[object]) -> None:
    for text in (json.dumps(items), json.dumps(items, indent=1), "\ufeff" + json.dumps(items) + "\n"):
        assert decode(text.encode(), 10) == items


@given(st.binary(max_size=40))
def test_decoding_survives_any_bytes(body: bytes) -> None:
    with suppress(Unreadable, TooManyItems):
        decode(body, 10)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"\xff", "not UTF-8 (byte 1)"),
        (b"[{}", "a comma or the end"),
        (b"[{} {}]", "a comma or the end"),
        (b"[{},]", "not JSON"),
        (b"[] []", "more follows"),
        (b"{} {}", "more follows"),
        (b"[" + b"[" * 100_000, "nested too deep"),
        (b"9" * 5_000, "too many digits"),
    ],
)
def test_what_is_not_json_is_told_apart(body: bytes, words: str) -> None:
    with pytest.raises(Unreadable, match=words.replace("(", r"\(").replace(")", r"\)")):
        decode(body, 10)


def test_one_item_too_many_ends_the_reading() -> None:
    assert len(decode(b"[1,2,3]", 3)) == 3
    with pytest.raises(TooManyItems):
        decode(b"[1,2,3,4 and here it is broken, which nobody reads", 3)


def test_a_name_that_is_repeated_spoils_its_own_item_only() -> None:
    items = decode(b'[{"id":"a"},{"id":"b","data":{"x":1,"x":2}},{"id":"c"}]', 3)
    assert items[0] == {"id": "a"} and items[2] == {"id": "c"}
    with pytest.raises(Rejected, match="twice"):
        parse(items[1])
