"""Files of support: what is loaded and how often, what is measured on them, what a release is trained on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from domains.support.evaluations import EVALUATIONS, average_precision, linear_rival, ranking_metrics, reciprocal_rank
from domains.support.loaders import LIVE, LOADERS
from domains.support.models import Answer, Conversation
from domains.support.plain_files import right_answers
from domains.support.sample.files import FOLDER, sample_answers, sample_questions
from domains.support.training_data import (
    intent_examples,
    judged_questions,
    ranker_questions,
    relevance_examples,
    split,
    tasks,
)
from suite.domain import event_types
from suite.encoder.heads import HeadMissing
from suite.events.ingestion import ingest
from suite.events.loading import Load
from suite.formats import LoadOptions, Problem, Skipped
from suite.releases.evaluation import EvaluationError, Request
from suite.releases.snapshot import SnapshotError, Source, take


def write(path: Path, *records: dict) -> Path:
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
    return path


def load(name: str, path: Path) -> tuple[dict, list[str]]:
    complaints: list[str] = []
    counts = Load(name, LOADERS[name], [path], LoadOptions(), complaints.append).run()
    return counts.as_dict() if hasattr(counts, "as_dict") else vars(counts), complaints


@pytest.mark.django_db
def test_answers_are_states_and_the_last_line_holds(tmp_path: Path) -> None:
    path = write(
        tmp_path / "answers.jsonl",
        {"answer_id": "a", "text": "first"},
        {"answer_id": "b", "text": "B", "title": "T", "language": "en", "colour": "red"},
        {"answer_id": "a", "text": "second"},
        {"answer_id": "c"},
    )
    _, complaints = load("support.answers", path)
    assert dict(Answer.objects.values_list("key", "text")) == {"a": "second", "b": "B"}
    assert len(complaints) == 1 and complaints[0].startswith("line 4 data.text")
    load("support.answers", write(tmp_path / "later.jsonl", {"answer_id": "a", "text": "third"}))
    load("support.answers", write(tmp_path / "again.jsonl", {"answer_id": "a", "text": "second"}))
    assert Answer.objects.get(key="a").text == "second"


@pytest.mark.django_db
def test_questions_wait_and_training_files_are_not_stored(tmp_path: Path) -> None:
    questions = write(tmp_path / "q.jsonl", {"question_id": "1", "text": "where?", "answer_ids": ["a"]})
    load("support.questions", questions)
    load("support.questions", questions)
    assert list(Conversation.objects.values_list("key", "state")) == [("question-1", "waiting")]
    load("support.intents", write(tmp_path / "i.jsonl", {"text": "where?", "label": "x"}))
    assert Conversation.objects.count() == 1


@pytest.mark.django_db
def test_public_data_sets(tmp_path: Path) -> None:
    faq = {"root": {"qapair": [{"question": "How?", "answer": ["So.", None, "Or so."], "rephr": ["how", "*"]}]}}
    path = tmp_path / "stackfaq.json"
    path.write_text(json.dumps(faq))
    load("stackfaq", path)
    assert list(Answer.objects.values_list("title", "text")) == [("How?", "So."), ("How?", "Or so.")]
    table = tmp_path / "train.csv"
    table.write_text('text,category\n"I am waiting, still",card_arrival\n')
    load("banking77", table)
    assert Conversation.objects.get().messages.get().text == "I am waiting, still"


@pytest.mark.django_db
def test_the_sample_is_taken_whole_and_once() -> None:
    for _ in range(2):
        results = ingest(LOADERS["sample"].read(FOLDER, LoadOptions()))
        assert {result.status for result in results} <= {"accepted", "duplicate"}
    assert Answer.objects.count() == len(sample_answers())
    states = set(Conversation.objects.values_list("state", flat=True))
    assert states == {"open", "waiting", "solved"}


@pytest.mark.django_db
def test_the_live_stream_is_made_of_events_that_are_taken() -> None:
    stream = LIVE["support.customers"]()
    for _ in range(60):
        pause, event = next(stream)
        assert pause >= 0 and event["type"] in event_types()


# Training -------------------------------------------------------------------------------------------------------
def test_no_text_stands_on_both_sides() -> None:
    for examples in (relevance_examples(), intent_examples()):
        texts = [
            {part for text, _ in side for part in ((text,) if isinstance(text, str) else text)}
            for side in (examples.train, examples.validation)
        ]
        assert not texts[0] & texts[1] and all(texts)
    assert {label for _, label in intent_examples().train} >= {label for _, label in intent_examples().validation}
    seen = {pair[0] for pair, _ in relevance_examples().train}
    assert not seen & {one["text"] for one in ranker_questions()}


def test_first_examples_are_few() -> None:
    texts = {part for text, _ in (*relevance_examples().train, *relevance_examples().validation) for part in text}
    assert len(texts) <= 500  # what the encoder has to read for a first release


def texts_of(pairs: list[tuple[str, str, bool]]) -> set[str]:
    return {text for pair in pairs for text in pair[:2]}


def test_pairs_that_belong_together_stay_together() -> None:
    pairs = [(f"q{n}", f"a{n // 2}", True) for n in range(100)] + [
        (f"q{n}", f"a{(n // 2 + 7) % 50}", False) for n in range(100)
    ]
    train, validation = split(pairs, {}, (), 0.3)
    assert train and validation
    assert not texts_of(train) & texts_of(validation)


@pytest.mark.parametrize("subjects", [5, 8, 20])
def test_where_questions_are_few_enough_are_held_to_be_measured_on(subjects: int) -> None:
    judged = {f"question {n} of {subject}": [f"answer {subject}"] for subject in range(subjects) for n in range(6)}
    train, validation = split([], judged, [f"answer {subject}" for subject in range(subjects)])
    for side in (train, validation):
        assert {is_right for *_, is_right in side} == {True, False}
        assert len({answer for _, answer, _ in side}) >= 2
    assert not texts_of(train) & texts_of(validation)
    wrong = [pair for pair in validation if not pair[2]]
    assert all(judged[question] != [answer] for question, answer, _ in wrong)


def test_pairs_whose_texts_come_on_two_sides_are_told() -> None:
    pairs = [
        {"question_id": str(n), "question": f"about word{n}", "answer": f"word{other} text", "label": int(n == other)}
        for n in range(40)
        for other in (n, (n + 1) % 40)
    ]
    [relevance, contrasts] = tasks({"support.pairs": pairs})
    kept = {texts for texts, _ in (*relevance.train, *relevance.validation)}
    missing = sum((one["question"], one["answer"]) not in kept for one in pairs)
    assert missing
    assert relevance.notes == (
        f"{missing} wrong pairs left out: one text is trained on, the other held for validation",
    )
    assert not contrasts.notes


def test_questions_whose_answers_are_not_there_are_told_and_not_taken_for_unanswerable(tmp_path: Path) -> None:
    answers = [{"answer_id": str(n), "text": f"word{n} text"} for n in range(40)]
    asked = [{"question_id": str(n), "text": f"about word{n}", "answer_ids": [f"faq-{n}"]} for n in range(20)]
    asked += [{"question_id": str(n), "text": f"about word{n}", "answer_ids": [str(n)]} for n in range(20, 40)]
    relevance = tasks({"support.questions": asked, "support.answers": answers})[0]
    assert relevance.notes == ("20 questions left out: none of the answers that they name is there",)
    assert {pair[0] for pair, _ in [*relevance.train, *relevance.validation]} == {
        f"about word{n}" for n in range(20, 40)
    }
    path = write(tmp_path / "questions.jsonl", *asked)
    alone = Source("support.questions", path)
    intents = ({"text": f"t{n}", "label": "ab"[n % 2]} for n in range(40))
    beside = Source("support.intents", write(tmp_path / "intents.jsonl", *intents))
    told = take([alone, beside]).notes
    assert any(note.startswith("support.questions: no example could be made of the records") for note in told)
    with pytest.raises(SnapshotError, match=r"support\.questions: no example could be made"):
        take([alone])


def test_what_is_wrong_with_questions_is_said_though_their_task_bears_another_name(tmp_path: Path) -> None:
    answers = Source("support.answers", write(tmp_path / "answers.jsonl", {"answer_id": "1", "text": "by post"}))
    questions = Source("support.questions", write(tmp_path / "questions.jsonl", {"text": "how?", "answer_ids": ["1"]}))
    intents = ({"text": f"t{n}", "label": "ab"[n % 2]} for n in range(40))
    beside = Source("support.intents", write(tmp_path / "intents.jsonl", *intents))
    for others in ([], [beside]):
        with pytest.raises(
            SnapshotError, match=r"too few .* \(support.pairs is made of support.answers, support.questions"
        ):
            take([questions, answers, *others])


def test_pairs_that_are_given_for_validation_are_all_measured_on(tmp_path: Path) -> None:
    def pairs(word: str) -> list[dict[str, Any]]:
        return [
            {"question_id": str(n), "question": f"{word} {n}?", "answer": f"{word} text {m}", "label": int(n == m)}
            for n in range(40)
            for m in (n, (n + 1) % 40)
        ]

    data, held = (
        Source("support.pairs", write(tmp_path / f"{word}.jsonl", *pairs(word))) for word in ("train", "held")
    )
    taken = take([data], [held])
    relevance = next(task for task in taken.tasks if task.kind == "pair")
    for side, word in ((relevance.train, "train"), (relevance.validation, "held")):
        given = {(one["question"], one["answer"]): "yes" if one["label"] else "no" for one in pairs(word)}
        assert given.items() <= dict(side).items()
    assert not any("left out" in note for note in taken.notes)


def test_tasks_of_each_format() -> None:
    answers = [{"answer_id": str(n), "text": f"word{n} text"} for n in range(30)]
    questions = [{"question_id": str(n), "text": f"about word{n}", "answer_ids": [str(n)]} for n in range(30)]
    judged = judged_questions(questions, answers)
    assert judged.right == {f"about word{n}": [f"word{n} text"] for n in range(30)}
    assert (judged.answers, judged.unknown) == ([f"word{n} text" for n in range(30)], 0)
    train, validation = split([], judged.right, judged.answers)
    assert sum(is_right for *_, is_right in (*train, *validation)) == 30
    assert len(train) + len(validation) == 5 * 30  # each with four wrong ones of its side
    alone = [one | {"answer_ids": one["question_id"]} for one in questions]  # as a CSV has it
    assert judged_questions(alone, answers) == judged
    assert [right_answers(one) for one in ({"answer_ids": 5}, {"answer_ids": ""}, {})] == [["5"], [], []]
    found = tasks(
        {"support.questions": questions, "support.answers": answers, "support.intents": [{"text": "a", "label": "b"}]}
    )
    assert [(task.name, task.kind, task.head) for task in found] == [
        ("support.pairs", "pair", "relevance"),
        ("support.pairs", "contrastive", ""),
        ("support.intents", "classification", "intent"),
    ]
    assert all(wrong == () for _, _, wrong in found[1].train)  # the others of a batch are wrong, and mined ones
    assert tasks({}) == []


def test_what_people_wrote_is_masked_and_what_is_not_there_is_refused() -> None:
    [task] = tasks({"support.intents": [{"text": f"mail a{n}@example.org now", "label": "mail"} for n in range(3)]})
    assert not any("example.org" in text for text, _ in [*task.train, *task.validation])
    pair = {"question_id": "1", "question": "call me: ann@example.org", "answer": "we will", "label": 1}
    assert not any("example.org" in str(task.train) for task in tasks({"support.pairs": [pair]}))
    for format, record, fault in (
        ("support.intents", {"text": "hi", "label": None}, "label is required"),
        ("support.pairs", {"question": "", "answer": "b", "label": 1}, "question is required"),
        ("support.answers", {"answer_id": "a", "text": None}, "text is required"),
    ):
        with pytest.raises(ValueError, match=fault):
            tasks({format: [record]})


def test_questions_for_validation_go_with_the_answers_that_are_trained_on(tmp_path: Path) -> None:
    def file(name: str, records: list[dict]) -> Source:
        return Source(name, write(tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl", *records))

    answers = [{"answer_id": str(n), "text": f"word{n} text"} for n in range(40)]
    asked = [{"question_id": str(n), "text": f"about word{n}", "answer_ids": [str(n)]} for n in range(40)]
    again = [{"question_id": str(n), "text": f"more of word{n}", "answer_ids": [str(n)]} for n in range(40)]
    data = [file("support.questions", asked), file("support.answers", answers)]
    halves = [file("support.questions", again[:20]), file("support.questions", again[20:])]
    held = next(task for task in take(data, halves).tasks if task.kind == "pair").validation
    assert {text[0] for text, _ in held} == {one["text"] for one in again}
    intents = [file("support.intents", [{"text": f"text {n}", "label": "ab"[n % 2]} for n in range(40)])]
    with pytest.raises(SnapshotError, match=r"support\.questions: no example for validation could be made"):
        take(intents, halves)


def test_what_was_decided_is_learned_beside_answers_at_random() -> None:
    given = [
        {"question_id": str(n), "question": f"about word{n}", "answer": f"word{other} text", "label": int(n == other)}
        for n in range(60)
        for other in (n, (n + 1) % 60)
    ]
    pairs, contrasts = tasks({"support.pairs": given})
    shown = {(one["question"], one["answer"]): "yes" if one["label"] else "no" for one in given}
    learned = dict(pairs.train)
    assert all(label == shown.get(pair, "no") for pair, label in pairs.train)
    assert len(learned) == len(pairs.train)  # nothing twice
    drawn = [pair for pair in learned if pair not in shown]
    questions = {question for question, _ in learned}
    assert len(drawn) > 3 * len(questions)  # four, less what is known already
    assert {(question, answer) for question, _, wrong in contrasts.train for answer in wrong} <= shown.keys()
    assert sum(len(wrong) for *_, wrong in contrasts.train) > len(questions) / 2


def test_lines_that_only_training_reads_are_checked(tmp_path: Path) -> None:
    path = write(
        tmp_path / "pairs.jsonl",
        {"question_id": "1", "question": "Where?", "answer": "Here.", "label": 1, "answer_id": "a", "colour": "red"},
        {"question_id": "1", "question": "Where?", "answer": " ", "label": 0},
        {"question_id": "1", "question": "Where?", "answer": ["There."], "label": 0},
        {"question_id": "1", "question": "Where?", "answer": "There.", "label": "maybe"},
    )
    options = LoadOptions()
    fine, *bad = LOADERS["support.pairs"].read(path, options)
    assert isinstance(fine, Skipped) and options.unknown_fields == {"colour": 1}
    assert [(one.line, one.reason) for one in bad if isinstance(one, Problem)] == [
        (2, "answer is required"),
        (3, "answer must be a text or a number"),
        (4, "label must be 1 (a right answer) or 0 (a wrong one)"),
    ]


# Measuring ------------------------------------------------------------------------------------------------------
def test_metrics_by_hand() -> None:
    assert reciprocal_rank(["x", "a", "b"], {"a", "b"}) == 0.5
    assert average_precision(["x", "a", "b"], {"a", "b", "never"}) == pytest.approx((1 / 2 + 2 / 3) / 3)
    rankings = [(["a"], 0.9), (["x", "a"], 0.8), (["x"], 0.85)]
    found = ranking_metrics(rankings, [{"a"}, {"a"}, set()])
    assert found["mrr"] == 0.75 and found["p@1"] == 0.5 and found["auroc"] == 0.5


def test_questions_are_measured_against_all_answers_beside_rivals(tmp_path: Path, fake_encoder) -> None:
    answers = write(
        tmp_path / "answers.jsonl",
        *({"answer_id": one["answer_id"], "title": one["title"], "text": one["text"]} for one in sample_answers()[:20]),
    )
    keys = {one["answer_id"] for one in sample_answers()[:20]}
    asked = [one for one in sample_questions() if not one["answer_ids"] or one["answer_ids"][0] in keys]
    questions = write(tmp_path / "questions.jsonl", *asked, {"text": "without an id"})
    request = Request(questions, lambda: fake_encoder, (answers,), has_baselines=True)
    report = EVALUATIONS["support.questions"].run(request)
    assert report.n == len(asked) and report.details["bad_lines"] == 1
    assert set(report.metrics) == {"mrr", "map", "p@1", "r@5", "r@10", "auroc"}
    assert set(report.baselines) == {"bm25", "vectors"}
    assert 0.2 < report.metrics["p@1"] <= report.metrics["mrr"] <= 1
    assert report.notes == ()
    with pytest.raises(EvaluationError, match="--against"):
        EVALUATIONS["support.questions"].run(Request(questions, lambda: fake_encoder))
    astray = [one | {"answer_ids": ["faq-1"]} for one in asked[:3]]
    mixed = write(tmp_path / "mixed.jsonl", *asked, *astray)
    report = EVALUATIONS["support.questions"].run(replace(request, data=mixed))
    assert report.notes == (
        f"counted as having no right answer, since what they name is not in --against: 3 of {report.n} questions",
    )
    with pytest.raises(EvaluationError, match="no question names an answer of --against, such as 'faq-1'"):
        EVALUATIONS["support.questions"].run(replace(request, data=write(tmp_path / "astray.jsonl", *astray)))


@pytest.mark.parametrize(
    ("train", "expected"),
    [
        ([("late parcel", "parcel")], None),
        ([("😀", "parcel"), ("🎉", "money")], None),
        ([("late parcel", "parcel"), ("money back", "money"), ("new address", "address")], (1, 3)),
        ([("late parcel", "parcel"), ("money back", "money")], (1, 2)),
    ],
)
def test_a_linear_rival_of_little_is_none(train: list[tuple[str, str]], expected: tuple[int, int] | None) -> None:
    rival = linear_rival(train, [("where is my parcel", "parcel")])
    assert (rival and rival[0].shape) == expected


def test_pairs_and_intents(tmp_path: Path, fake_encoder) -> None:
    lines = [
        {"question_id": str(n), "question": f"about word{n}", "answer": f"text word{m}", "label": int(n == m)}
        for n in range(4)
        for m in range(4)
    ]
    path = write(tmp_path / "pairs.jsonl", *lines)
    report = EVALUATIONS["support.pairs"].run(Request(path, lambda: fake_encoder, has_baselines=True))
    assert report.n == 4 and report.metrics["p@1"] == 1.0 and set(report.baselines) == {"bm25", "vectors"}
    intents = write(tmp_path / "intents.jsonl", {"text": "a", "label": "b"})
    with pytest.raises(HeadMissing):
        EVALUATIONS["support.intents"].run(Request(intents, lambda: fake_encoder))
    bare = type(fake_encoder)(64)
    with pytest.raises(HeadMissing):
        EVALUATIONS["support.pairs"].run(Request(path, lambda: bare))
