"""Whom a text names, and whom it only seems to name."""

from __future__ import annotations

import pytest

from domains.finance.events import MAX_BODY
from domains.finance.models import Alias, Entity
from domains.finance.news.directory import BadEntity, check, write_entities
from domains.finance.news.entities import EntityTable, Name
from domains.finance.news.selectors import entity_table
from domains.finance.news.text import language_of, plain_text, sentence_at, sentences
from domains.finance.sample.press import entity_lines

APPLE, META, VISA, BOC, CHINA, ATT, LOREAL, GOLD, SHELL = range(1, 10)
NAMES = (
    Name(APPLE, "Apple", True, True, ("iphone", "shares", "profit", "ceo"), ("apple pie", "Apple growers", "orchard")),
    Name(APPLE, "Apple Inc"),
    Name(APPLE, "苹果", False, True, ("手机", "股价", "发布"), ("苹果汁", "种植")),
    Name(META, "FB", True, True, ("stock", "shares", "facebook"), ("share button", "share on FB")),
    Name(META, "Facebook", True, False, (), ("share on Facebook", "follow us on Facebook")),
    Name(VISA, "Visa", True, True, ("card", "payments", "shares", "profit"), ("tourist", "visa rules", "work visa")),
    Name(BOC, "中国银行"), Name(CHINA, "中国"), Name(CHINA, "China"), Name(ATT, "AT&T", True), Name(LOREAL, "L'Oréal"),
    Name(GOLD, "gold", False, False, (), ("gold medal",)), Name(SHELL, "Shell", True, True, ("oil", "profit"), ()),
)  # fmt: skip
TABLE = EntityTable.of(NAMES, {APPLE: "AAPL", META: "FB", VISA: "V", SHELL: "SHEL"})


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("Apple shares fall after results", {APPLE}),
        ("APPLE SHARES FALL", {APPLE}),
        ("Apple growers expect a record profit", set()),
        ("Recipes: apple pie and profit", set()),
        ("The best apple of the year", set()),
        ("Apple orchard reports profit", set()),
        ("Pineapple shares", set()),
        ("Apple Inc names chief; Apple to move", {APPLE}),
        ("$AAPL up", {APPLE}),
        ("$FB slides", {META}),
        ("FB stock slides", {META}),
        ("Press the FB share button", set()),
        ("Share on Facebook", set()),
        ("Share on FB or by mail, shares rise", set()),
        ("Facebook and $FBX", {META}),
        ("Visa rules ease for card holders", set()),
        ("Visa profit beats estimates", {VISA}),
        ("Tourist numbers and Visa card fees", set()),
        ("中国银行利润上升", {BOC}),
        ("中国经济增长", {CHINA}),
        ("苹果发布新款手机", {APPLE}),
        ("苹果汁股价", set()),
        ("AT&T's debt grows", {ATT}),
        ("L’Oréal rises", {LOREAL}),
        ("Gold and a gold medal", {GOLD}),
        ("A gold medal for Norway", set()),
        ("Shell shocked by profit", {SHELL}),
        ("Prime, gold", {GOLD}),
        ("", set()),
        ("$", set()),
        ("$$$AAPL $AAPL.", {APPLE}),
    ],
)
def test_names_are_found_and_seeming_names_are_not(text: str, named: set[int]) -> None:
    assert {one.entity_id for one in TABLE.read(text)} == named


def test_the_longest_name_wins_and_is_quoted_as_written() -> None:
    table = EntityTable.of([Name(1, "Bank of Lyon"), Name(2, "Lyon"), Name(3, "Lyon Energy")], {})
    [first, second] = table.read("Bank of  Lyon warns.", "Analysts in LYON disagree.")
    assert (first.entity_id, first.text, first.is_in_title) == (1, "Bank of  Lyon", True)
    assert (second.entity_id, second.text, second.sentence) == (2, "LYON", "Analysts in LYON disagree.")
    assert table.read("The Bank of England. Lyon Energy")[0].entity_id == 3
    assert table.read("Bank of, Lyon")[0].entity_id == 2  # no name goes over a comma


def test_the_title_is_about_its_companies() -> None:
    table = EntityTable.of([Name(1, "Halden"), Name(2, "lenders"), Name(3, "oil")], {}, companies=[1])
    assert table.subjects(table.read("Halden pays lenders", "Oil is dear")) == {1: "Halden"}
    assert table.subjects(table.read("Oil and lenders", "Halden")) == {3: "Oil", 2: "lenders"}


def test_tens_of_thousands_of_names_are_told_apart() -> None:
    names = [Name(n, f"Firm {n} Holdings") for n in range(20_000)] + [Name(n, f"F{n}X") for n in range(20_000)]
    table = EntityTable.of(names, {n: f"S{n}" for n in range(20_000)})
    body = "The Firm of Firm 17 Holdings and F19X said that Firm 8 Holding and $S4 did nothing. " * 200
    found = table.read("Firm 12345 Holdings falls", body)
    assert [one.entity_id for one in found] == [12345, 17, 19, 4]


def test_the_last_words_of_the_longest_body_are_read() -> None:
    end = "Visa profit rises."
    body = ("Tourist visa.\n" * 4_000).ljust(MAX_BODY - len(end) - 1, "-") + "\n" + end
    assert len(body) == MAX_BODY
    [named] = TABLE.read("News", body)
    assert (named.entity_id, named.sentence) == (VISA, end)


@pytest.mark.django_db
def test_the_sample_tells_its_common_words_apart() -> None:
    write_entities(entity_lines())
    symbols = dict(Entity.objects.values_list("id", "symbol"))

    def named(text: str) -> set[str]:
        return {symbols[one.entity_id] for one in entity_table().read(text)}

    assert named("Kestrel nest found on roof, food for all") == set()
    assert named("Kestrel shares rise as Kestrel Foods sells snacks") == {"KSTL"}
    assert named("Gale warning for mobile homes") == set()
    assert named("金价创历史新高 云岭银行") == {"GOLD", "YLB"}
    assert named("$NWB and Northwind's chief") == {"NWB"}


@pytest.mark.django_db
def test_a_changed_name_is_looked_for_at_once() -> None:
    entity = Entity.objects.create(symbol="HLDN", name="Halden Motors")
    alias = Alias.objects.create(entity=entity, text="Halden Motors")
    assert entity_table().read("Halden Motors rises")
    alias.text = "Halden Works"
    alias.save()
    assert not entity_table().read("Halden Motors rises")
    assert entity_table().read("Halden Works rises")
    entity.is_active = False
    entity.save()
    assert not entity_table().read("Halden Works rises")


@pytest.mark.parametrize(
    "line",
    [{}, {"symbol": "A" * 61}, {"symbol": "A", "kind": "fruit"}, {"symbol": "A", "aliases": "A"},
     {"symbol": "A", "aliases": [7]}, {"symbol": "A", "aliases": [""]},
     {"symbol": "A", "aliases": [{"text": "x" * 201}]}, {"symbol": "A", "name": "x" * 201}],
)  # fmt: skip
def test_an_entity_that_cannot_be_written_says_why(line: dict) -> None:
    with pytest.raises(BadEntity, match=r"^(symbol|name|kind|aliases): "):
        check(line)


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("<p>Hi <b>there</b><script>alert(1)</script></p><p>you</p>", "Hi there\nyou"),
        ("a < b and AT&T", "a < b and AT&T"),
        ("AT&amp;T &lt;up&gt;", "AT&T"),
        ("&amp;lt;b&amp;gt;twice", "twice"),
        ("<style>p{}</style><!-- no -->yes<br/>no", "yes\nno"),
        ("<script>never closed", ""),
        ("line\r\n\r\n two\x07  words", "line\ntwo words"),
        ("<<<>>>", "<<<>>>"),
        ("<iframe src=x>a</iframe>b", "b"),
        ('<img src=x onerror="alert(1)">seen', "seen"),
    ],
)
def test_markup_is_taken_off(given: str, plain: str) -> None:
    assert plain_text(given) == plain


def test_sentences_end_where_they_end() -> None:
    text = "U.S. stocks rose 3.5 percent. Halden Inc. fell! 好的。跌了？end"
    parts = [text[start:end].strip() for start, end in sentences(text)]
    assert parts == ["U.S. stocks rose 3.5 percent.", "Halden Inc. fell!", "好的。", "跌了？", "end"]
    long = "x " * 400 + "Halden falls " + "y " * 400
    found = sentence_at(long, list(sentences(long)), 800, 806)
    assert "Halden falls" in found and len(found) <= 500


@pytest.mark.parametrize(
    ("text", "language"), [("Halden", ""), ("央行", "zh"), ("日銀が利上げ", "ja"), ("은행", "ko"), ("", "")]
)
def test_a_script_tells_its_language(text: str, language: str) -> None:
    assert language_of(text) == language
