"""The benchmark of smaller releases, on a body of two tiny layers."""

from __future__ import annotations

import pytest

from benchmarks import compression
from benchmarks.training_quality import PublicData, write
from suite.encoder.model import Encoder
from suite.encoder.tests.models import write_tiny


@pytest.mark.django_db
def test_a_student_has_fewer_layers_and_heads_of_its_own(tmp_path):
    teacher = Encoder.load(str(write_tiny(tmp_path / "tiny", layers=2)), threads=1, device="cpu")
    words = ["tent", "lamp", "stove", "rope", "boot"]
    rows = [
        {"text": f"{word} {number}", "label": "up" if number % 2 else "down"} for word in words for number in range(40)
    ]
    files = {"finance.topics.train": rows, "finance.topics.test": rows[::7]}
    for name, records in files.items():
        write(tmp_path / f"{name}.jsonl", records)
    public = PublicData(tmp_path, files, ["finance.topics"])
    folder = compression.taught(teacher, 1, 0.05, public)
    student = Encoder.load(str(folder), threads=1, device="cpu")
    assert (len(teacher.model.encoder.layer), len(student.model.encoder.layer)) == (2, 1)
    assert list(student.heads) == ["topic"]
    assert set(public.measured(folder)) == {"finance.topics"}


def test_the_table_has_a_row_for_each():
    row = {"metrics": {"support.intents": 0.9377, "finance.topics": 0.872}, "texts_a_second": 183.2, "ratio": 1.49,
           "megabytes": 86.7}  # fmt: skip
    assert compression.table({"teacher": row}).split("\n")[1:] == [
        "|  | support.intents accuracy | finance.topics macro_f1 | texts/s | times the rival's | MB |",
        "| --- | --- | --- | --- | --- | --- |",
        "| teacher | 0.9377 | 0.8720 | 183 | 1.49 | 87 |",
    ]
