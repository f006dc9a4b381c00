from __future__ import annotations

from collections import Counter

import pytest

from suite.encoder.heads import HeadSpec, fit_head
from suite.encoder.model import Encoder
from suite.encoder.tests.test_heads import moods
from suite.encoder.training.config import TrainingConfig
from suite.marking import mark_entity, without_mark
from suite.releases import pseudo_labels, runs, services
from suite.releases.cleaning import cleaned
from suite.releases.models import Release
from suite.releases.pseudo_labels import scorer, texts_in, with_pseudo_labels
from suite.releases.snapshot import Snapshot
from suite.releases.tests.test_training import records, shop, tasks  # noqa: F401  the fixture
from suite.releases.training_data import Labelling, TaskExamples, is_held_out
from suite.releases.validation import with_enough

pytestmark = pytest.mark.django_db(transaction=True)
NEW = [text for text, _ in moods(400, seed=7)]


@pytest.fixture
def unlabelled(monkeypatch, shop) -> list[str]:  # noqa: F811
    """Texts of the head `mood` that nobody labelled."""
    texts = list(NEW)
    given = Labelling("shop.moods", lambda: ({"text": text} for text in texts), "shop.labelled", "shop.withdrawn")
    monkeypatch.setattr(pseudo_labels, "labelling", lambda: {"mood": given})
    return texts


def taken() -> Snapshot:
    return Snapshot(tuple(task for task in tasks({"shop.moods": records(200)}) if task.train), ("a note",))


def made(threshold: float, snapshot: Snapshot | None = None) -> TaskExamples:
    return with_pseudo_labels(snapshot or taken(), TrainingConfig(pseudo_labels=threshold), print).tasks[0]


def test_without_a_threshold_nothing_is_added(unlabelled):
    given = taken()
    assert TrainingConfig().pseudo_labels == 0
    assert with_pseudo_labels(given, TrainingConfig(), print) is given


def test_texts_that_a_release_is_sure_of_are_trained_on_and_counted_by_class(unlabelled):
    given = taken()
    found = with_pseudo_labels(given, TrainingConfig(pseudo_labels=0.8), print)
    task, before = found.tasks[0], given.tasks[0]
    assert (task.train, task.validation) == (before.train, before.validation)
    assert 10 < len(task.pseudo_labelled) <= len(task.train)
    assert {text for text, _ in task.pseudo_labelled} <= set(NEW)
    right = dict(moods(400, seed=7))
    assert sum(right[text] == label for text, label in task.pseudo_labelled) > 0.8 * len(task.pseudo_labelled)
    counts = Counter(label for _, label in task.pseudo_labelled)
    said = ", ".join(f"{label} {counts[label]}" for label in task.labels if counts[label])
    assert found.notes[0] == "a note" and found.notes[1].endswith(f"0.8 sure or more: {said}")
    assert len(made(0.999).pseudo_labelled) < len(task.pseudo_labelled)


def test_a_text_that_stands_for_validation_never_comes_in(unlabelled):
    given = taken()
    held = [text for text, _ in given.tasks[0].validation]
    elsewhere = "the LATE w1 thing"
    other = TaskExamples("a.b", "contrastive", train=[("a", "b", ())], validation=[("c", "d", (elsewhere.lower(),))])
    unlabelled[:0] = [*held, *(f" {text.upper()}  " for text in held), elsewhere]
    task = made(0.4, Snapshot((*given.tasks, other)))
    assert len(task.pseudo_labelled) > 20
    texts = {text for text, _ in task.pseudo_labelled}
    assert {" ".join(text.lower().split()) for text in texts}.isdisjoint([*held, elsewhere.lower()])
    assert not any(map(is_held_out, texts))  # nor what would stand there, were it labelled
    assert texts.isdisjoint(text for text, _ in task.train) and len(texts) == len(task.pseudo_labelled)


def test_a_marked_name_hides_no_text(unlabelled):
    text = "Acme | a story: Halden sues Acme"
    assert [without_mark(mark_entity(text, name)) for name in ("Acme", "Halden", "")] == [text] * 3
    assert list(texts_in([(("a", "b"), "c"), ("d", "e", ("f",))])) == list("abcdef")


def test_the_active_release_labels_where_it_knows_the_classes(unlabelled, bodies, settings):
    encoder = Encoder.load(str(bodies[1]), threads=1)
    spec = HeadSpec("mood", "classification", ("bad", "fine", "good"), "macro_f1")
    encoder = encoder.with_heads({"mood": fit_head(encoder, spec, moods(90), moods(60, seed=1))[0]})
    encoder.save(settings.RELEASES_DIR / encoder.fingerprint)
    Release.objects.create(fingerprint=encoder.fingerprint, path=encoder.fingerprint, body="tiny", dimensions=32,
                           state=Release.State.ACTIVE)  # fmt: skip
    [task] = taken().tasks
    used = scorer(task, TrainingConfig(), print)
    assert used is not None and used.fingerprint == encoder.fingerprint
    [other] = [task for task in tasks({"shop.kinds": records(90, bad="b", fine="c", good="a")}) if task.train]
    other = cleaned(other, print)
    used = scorer(other, TrainingConfig(), print)
    assert used is not None and used.heads["kind"].spec.labels == ("a", "b", "c")


def test_a_run_learns_from_them_and_says_so(unlabelled, shop, settings, tmp_path):  # noqa: F811
    settings.TRAINING_DIR = tmp_path / "training"
    shop["shop.moods"] = records(200)
    run = services.request_training(config={"epochs": 0, "pseudo_labels": 0.8})
    runs.carry_out_requested()
    run.refresh_from_db()
    assert run.state == "done", run.message
    [line] = [line for line in run.notes.splitlines() if "pseudo-labels of" in line]
    count = int(line.split()[1])
    learned = with_enough(taken().tasks[0]).train
    assert f"Fitting head mood on {count + len(learned):,} examples" in run.notes
