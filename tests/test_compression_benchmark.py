"""The benchmark of smaller releases, on a body of two tiny layers."""

from __future__ import annotations

from benchmarks import compression


def test_the_table_has_a_row_for_each():
    row = {"metrics": {"support.intents": 0.9377, "finance.topics": 0.872}, "texts_a_second": 183.2, "ratio": 1.49,
           "megabytes": 86.7}  # fmt: skip
    assert compression.table({"teacher": row}).split("\n")[1:] == [
        "|  | support.intents accuracy | finance.topics macro_f1 | texts/s | times the rival's | MB |",
        "| --- | --- | --- | --- | --- | --- |",
        "| teacher | 0.9377 | 0.8720 | 183 | 1.49 | 87 |",
    ]
