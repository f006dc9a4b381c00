"""`manage.py evaluate support.questions | support.pairs | support.intents`: the ranker that serves, on records of
files, beside words alone, vectors alone, and a linear model on words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.svm import LinearSVC

from domains.support.learning.prior import auroc, build_weights, relevance_head
from domains.support.plain_files import REQUIRED, fault_of_label, is_right_answer, right_answers
from domains.support.privacy import mask
from domains.support.suggesting.features import ANSWER, NO_PAST, Candidate
from domains.support.suggesting.ranker import Ranked, RelevanceHead, Weights, rank
from domains.support.suggesting.retrieve import DEPTH, MemoryPools
from domains.support.training_data import NONE, document_text
from suite.encoder.heads import Head
from suite.formats import Problem, read_records
from suite.index.engine import Document, Term
from suite.index.fusion import Weights as Legs
from suite.releases.baselines import words_of
from suite.releases.evaluation import SHOWN_LABELS, Evaluation, EvaluationError, Report, Request, Scorer, unknown_labels
from suite.releases.measures import RELEASE, mean, of_cases, of_head

ASKED = "asked"
TAIL = 100  # candidates that are looked at after those that are ranked
AT = (5, 10)
BM25, VECTORS = Legs(text=1, vector=0), Legs(text=0, vector=1)
Ranking = tuple[list[str], float]  # keys best first, and how sure the first one is


class Judge:
    """The ranker as it begins under a release, without any past."""

    def __init__(self, encoder: Scorer) -> None:
        self.weights: Weights = build_weights(encoder)[0]  # type: ignore[arg-type]
        self.head: RelevanceHead | None = relevance_head(encoder)  # type: ignore[arg-type]

    def __call__(self, question: str, vector: np.ndarray, candidates: Sequence[Candidate]) -> list[Ranked]:
        return rank(self.weights, self.head, question, vector, candidates, NO_PAST)


# Questions against all answers ----------------------------------------------------------------------------------
def evaluate_questions(request: Request) -> Report:
    """Raises `EvaluationError` where there is no answer to rank or no question."""
    bad: list[Problem] = []
    questions = list(records(request.data, ("question_id", "text"), bad))
    answers = {
        str(one["answer_id"]): one for path in request.against for one in records(path, ("answer_id", "text"), bad)
    }
    if not answers:
        raise EvaluationError("--against FILE of support.answers is needed: every answer in it is a candidate")
    if not questions:
        raise EvaluationError(f"{request.data}: holds no question{first_of(bad)}")
    right = [right_keys(one, answers) for one in questions]
    astray = [one for one, keys in zip(questions, right, strict=True) if right_answers(one) and not keys]
    if astray and not any(right):
        raise EvaluationError(f"{request.data}: no question names an answer of --against, such as "
                              f"{right_answers(astray[0])[0]!r}; is it the file of these questions?")  # fmt: skip
    encoder = request.encoder()
    texts = [mask(str(one["text"])) for one in questions]
    vectors = encoder.embed([*(document_text(one) for one in answers.values()), *texts])
    documents = [
        Document(key, str(one.get("title") or ""), str(one["text"]), vector=vector)
        for (key, one), vector in zip(answers.items(), vectors[: len(answers)], strict=True)
    ]
    asked = list(zip(texts, vectors[len(answers) :], strict=True))
    judge = Judge(encoder)
    with MemoryPools(documents) as pools:
        rankings = [ranking_of(judge, pools, text, vector) for text, vector in asked]
        rivals = {
            name: [leg_alone(pools, text, vector, legs) for text, vector in asked]
            for name, legs in (("bm25", BM25), ("vectors", VECTORS))
            if request.has_baselines
        }
    unknown = sum(len(right_answers(one)) for one in questions) - sum(map(len, right))
    return Report(
        len(questions),
        ranking_metrics(rankings, right),
        "every answer is a candidate; without a right answer: AUROC of the first one's confidence",
        {name: ranking_metrics(found, right) for name, found in rivals.items()},
        {"answers": len(answers), "unknown_answer_ids": unknown, "bad_lines": len(bad)},
        of_cases({name: by_question(found, right) for name, found in ({RELEASE: rankings} | rivals).items()}),
        bad,
        (
            f"counted as having no right answer, since what they name is not in --against: {len(astray):,} of "
            f"{len(questions):,} questions",
        )
        if astray
        else (),
    )


def right_keys(question: Mapping[str, Any], answers: Mapping[str, Any]) -> set[str]:
    return {key for key in right_answers(question) if key in answers}


def ranking_of(judge: Judge, pools: MemoryPools, text: str, vector: np.ndarray) -> Ranking:
    """What is ranked when it serves, then the rest as the legs have it."""
    found = pools.find(text, vector, k=TAIL).candidates
    ranked = judge(text, vector, found[:DEPTH])
    keys = [*(row.candidate.key for row in ranked), *(one.key for one in found[DEPTH:])]
    return keys, ranked[0].confidence if ranked else 0.0


def leg_alone(pools: MemoryPools, text: str, vector: np.ndarray, legs: Legs) -> Ranking:
    found = pools.find(text, vector, weights=legs, k=TAIL).candidates
    if not found:
        return [], 0.0
    first = found[0]
    score = (
        (first.bm25 or 0.0) if legs.vector == 0 else float(vector @ (first.vector if first.vector is not None else 0))
    )
    return [one.key for one in found], score


def ranking_metrics(rankings: Sequence[Ranking], right: Sequence[set[str]]) -> dict[str, float]:
    """MRR, MAP, P@1, R@k over questions with a right answer; AUROC of the first score where some have none."""
    has_right = np.array([bool(wanted) for wanted in right])
    found = {name: mean(values) for name, values in by_question(rankings, right).items()} if has_right.any() else {}
    if has_right.any() and not has_right.all():
        found["auroc"] = auroc(np.array([score for _, score in rankings]), has_right)
    return found


def by_question(rankings: Sequence[Ranking], right: Sequence[set[str]]) -> dict[str, np.ndarray]:
    """{metric: a value a question, (n,)}; NaN for those without a right answer."""
    rows = [(keys, wanted) for (keys, _), wanted in zip(rankings, right, strict=True)]

    def of(value: Callable[[list[str], set[str]], float]) -> np.ndarray:
        return np.array([value(keys, wanted) if wanted else np.nan for keys, wanted in rows])

    return {
        "mrr": of(reciprocal_rank),
        "map": of(average_precision),
        "p@1": of(lambda keys, wanted: float(bool(keys) and keys[0] in wanted)),
        **{f"r@{k}": of(partial(recall, k=k)) for k in AT},
    }


def recall(keys: Sequence[str], wanted: set[str], *, k: int) -> float:
    return len(wanted & set(keys[:k])) / len(wanted)


def reciprocal_rank(keys: Sequence[str], wanted: set[str]) -> float:
    return next((1 / place for place, key in enumerate(keys, start=1) if key in wanted), 0.0)


def average_precision(keys: Sequence[str], wanted: set[str]) -> float:
    """Over all right answers; one that was not found counts 0."""
    hits, total = 0, 0.0
    for place, key in enumerate(keys, start=1):
        if key in wanted:
            hits += 1
            total += hits / place
    return total / len(wanted)


# The lines of one question --------------------------------------------------------------------------------------
def evaluate_pairs(request: Request) -> Report:
    """Raises `EvaluationError` where no question has both a right and a wrong line."""
    bad: list[Problem] = []
    groups: dict[str, list[tuple[str, str, bool]]] = defaultdict(list)
    for one in records(request.data, REQUIRED["support.pairs"], bad, lambda one: fault_of_label(one["label"])):
        pair = mask(str(one["question"])), str(one["answer"]), is_right_answer(one["label"])
        groups[str(one["question_id"])].append(pair)
    kept = [lines for lines in groups.values() if any(line[2] for line in lines)]
    if not kept:
        raise EvaluationError(f"{request.data}: no question has a line with label 1{first_of(bad)}")
    encoder = request.encoder()
    encoder.score_pairs([("a", "b")], "relevance")  # a release without the head says so
    texts = list(dict.fromkeys(text for lines in kept for line in lines for text in line[:2]))
    vector_of = dict(zip(texts, encoder.embed(texts), strict=True))
    judge = Judge(encoder)
    asking: dict[str, list[str]] = defaultdict(list)  # {answer: numbers of the questions that it stands beside}
    for number, lines in enumerate(kept):
        for answer in dict.fromkeys(line[1] for line in lines):
            asking[answer].append(str(number))
    documents = [Document(str(row), "", text, {ASKED: asking[text]}) for row, text in enumerate(asking)]
    with MemoryPools(documents) as pools:
        scores = [pair_scores(judge, pools, str(number), lines, vector_of) for number, lines in enumerate(kept)]
    wanted = [{str(row) for row, line in enumerate(lines) if line[2]} for lines in kept]
    who = {RELEASE: "ranker"} | ({"bm25": "bm25", "vectors": "vectors"} if request.has_baselines else {})
    cases = {name: by_question([by_score(one[score]) for one in scores], wanted) for name, score in who.items()}
    measure = of_cases({name: {key: given[key] for key in ("mrr", "map", "p@1")} for name, given in cases.items()})
    baselines = measure(np.arange(len(kept)))
    return Report(
        len(kept),
        baselines.pop(RELEASE),
        "candidates are the lines of one question_id",
        baselines,
        {"lines": sum(map(len, kept)), "without_right": len(groups) - len(kept), "bad_lines": len(bad)},
        measure,
        bad,
    )


def pair_scores(
    judge: Judge, pools: MemoryPools, number: str, lines: Sequence[tuple[str, str, bool]],
    vector_of: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:  # fmt: skip
    """{who: a score a line} of the question of that number."""
    question = lines[0][0]
    vector = vector_of[question]
    others = np.stack([vector_of[line[1]] for line in lines])
    cosines = others @ vector
    own = (Term(ASKED, (number,)),)  # words are weighed by all answers, and looked up in those of the question
    words = {one.text: one.bm25 or 0.0 for one in pools.find(question, None, filters=own, k=len(lines)).candidates}
    bm25 = np.array([words.get(line[1], 0.0) for line in lines])
    order = {row: place for place, row in enumerate(np.argsort(-cosines, kind="stable"))}
    candidates = [
        Candidate(ANSWER, str(row), "", line[1], float(bm25[row]), order[row], others[row])
        for row, line in enumerate(lines)
    ]
    sure = {row.candidate.key: row.confidence for row in judge(question, vector, candidates)}
    ranker = np.array([sure[str(row)] for row in range(len(lines))])
    return {"ranker": ranker, "bm25": bm25, "vectors": cosines}


def by_score(scores: np.ndarray) -> Ranking:
    order = np.argsort(-scores, kind="stable")
    return [str(row) for row in order], float(scores[order[0]])


# Intents --------------------------------------------------------------------------------------------------------
def evaluate_intents(request: Request) -> Report:
    """`--against` names training records for the linear rival. Raises `EvaluationError` where there is no record."""
    bad: list[Problem] = []
    rows = [(str(one["text"]), str(one["label"])) for one in records(request.data, ("text", "label"), bad)]
    if not rows:
        raise EvaluationError(f"{request.data}: holds no record{first_of(bad)}")
    encoder = request.encoder()
    probabilities = encoder.classify("intent", [mask(text) for text, _ in rows])
    head: Head = encoder.heads["intent"]  # type: ignore[attr-defined]
    labels = head.spec.labels
    truth = [label for _, label in rows]
    unknown = sorted(set(truth) - set(labels) - {NONE})
    if unknown and not set(truth) & set(labels):
        raise EvaluationError(
            f"{request.data}: none of its {len(unknown)} labels is among those of the head, such as {unknown[0]!r}; "
            f"the head knows {', '.join(labels[:SHOWN_LABELS])}{' and others' if len(labels) > SHOWN_LABELS else ''}"
        )
    baselines, cases = {}, {RELEASE: intent_cases(probabilities, labels, truth)}
    train = [
        (str(o["text"]), str(o["label"])) for path in request.against for o in records(path, ("text", "label"), bad)
    ]
    if request.has_baselines and train and (rival := linear_rival(train, rows)):
        baselines["tfidf_linear"] = intent_metrics(*rival, truth)
        cases["tfidf_linear"] = intent_cases(*rival, truth)
    return Report(
        len(rows),
        intent_metrics(probabilities, labels, truth),
        "accuracy of those in scope; recall and AUROC of those out of scope (label __none__)",
        baselines,
        {"labels": len(labels), "unknown_labels": unknown, "bad_lines": len(bad)}
        | seen_through(head, probabilities, truth),
        of_cases(cases),
        bad,
        unknown_labels(truth, unknown),
    )


def seen_through(head: Head, probabilities: np.ndarray, truth: Sequence[str]) -> dict[str, Any]:
    """What it confuses and how sure it is, on the records whose label it knows. Its "labels" are `class_names` here."""
    order = {label: column for column, label in enumerate(head.spec.labels)}
    rows = [row for row, label in enumerate(truth) if label in order]
    if not rows:
        return {}
    found = of_head(head, probabilities[rows], np.array([order[truth[row]] for row in rows]))
    return {"class_names": found.pop("labels"), **found}


def intent_metrics(probabilities: np.ndarray, labels: Sequence[str], truth: Sequence[str]) -> dict[str, float]:
    """Probabilities (n, k). Out of scope is the class `__none__` where the head has it, else an unsure head."""
    in_scope = np.array([label != NONE for label in truth])
    found = {name: mean(values) for name, values in intent_cases(probabilities, labels, truth).items()}
    if in_scope.any() and not in_scope.all():
        found["auroc"] = auroc(scope_of(probabilities, labels), in_scope)
    return found


def intent_cases(probabilities: np.ndarray, labels: Sequence[str], truth: Sequence[str]) -> dict[str, np.ndarray]:
    """{metric: a value a record, (n,)}; NaN where it has no part in it, and no metric that no record has a part in."""
    predicted = np.array([labels[column] for column in probabilities.argmax(axis=1)])
    in_scope = np.array([label != NONE for label in truth])
    is_none = predicted == NONE if NONE in labels else scope_of(probabilities, labels) < 0.5
    found = {
        "accuracy": np.where(in_scope, predicted == np.array(truth), np.nan),
        "oos_recall": np.where(in_scope, np.nan, is_none),
    }
    return {name: values for name, values in found.items() if not np.isnan(values).all()}


def scope_of(probabilities: np.ndarray, labels: Sequence[str]) -> np.ndarray:
    """How sure the head is of any intent at all, (n,)."""
    return probabilities[:, [column for column, label in enumerate(labels) if label != NONE]].max(axis=1)


def linear_rival(
    train: Sequence[tuple[str, str]], rows: Sequence[tuple[str, str]]
) -> tuple[np.ndarray, list[str]] | None:
    """(scores (n, k), classes) by a linear model on words; None where there are no words, or no two classes."""
    words = words_of([text for text, _ in train], [text for text, _ in rows])
    labels = [label for _, label in train]
    if words is None or len(set(labels)) < 2:
        return None
    model = LinearSVC().fit(words[0], labels)
    scores = model.decision_function(words[1])  # (n,) of two classes, else (n, k)
    return (scores if scores.ndim > 1 else np.column_stack([-scores, scores])), list(model.classes_)


# Reading --------------------------------------------------------------------------------------------------------
def records(
    path: Path, fields: Sequence[str], bad: list[Problem], fault_of: Callable[[dict[str, Any]], str] = lambda one: ""
) -> Iterator[dict[str, Any]]:
    """The records of a file that have all `fields` and no fault; the others go to `bad`."""
    for found in read_records(path):
        if isinstance(found, Problem):
            bad.append(found)
        elif missing := [name for name in fields if found[1].get(name) in (None, "")]:
            bad.append(Problem(found[0], f"has no {missing[0]}"))
        elif fault := fault_of(found[1]):
            bad.append(Problem(found[0], fault))
        else:
            yield found[1]


def first_of(bad: Sequence[Problem]) -> str:
    return f"; line {bad[0].line} {bad[0].reason}" if bad else ""


Run = Callable[[Request], Report]
EVALUATIONS = {
    "support.questions": Evaluation(evaluate_questions, "right answers among all of --against ANSWERS"),
    "support.pairs": Evaluation(evaluate_pairs, "the right line among those of one question_id"),
    "support.intents": Evaluation(
        evaluate_intents, "intent of a text; a linear rival with --against TRAIN --baselines"
    ),
}
