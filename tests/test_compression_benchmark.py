"""The benchmark of smaller releases, on a body of two tiny layers."""

from __future__ import annotations

from pathlib import Path

from benchmarks import compression
from suite.encoder.model import Encoder
from suite.encoder.tests.models import write_tiny


def test_the_table_has_a_row_for_each():
    row = {"metrics": {"support.intents": 0.9377, "finance.topics": 0.872}, "texts_a_second": 183.2, "ratio": 1.49,
           "megabytes": 86.7}  # fmt: skip
    assert compression.table({"teacher": row}).split("\n")[1:] == [
        "|  | support.intents accuracy | finance.topics macro_f1 | texts/s | times the rival's | MB |",
        "| --- | --- | --- | --- | --- | --- |",
        "| teacher | 0.9377 | 0.8720 | 183 | 1.49 | 87 |",
    ]


def test_smaller_bodies_are_made_without_teaching_them(tmp_path: Path):
    body = write_tiny(tmp_path / "three", layers=3)
    folders = compression.untaught(tmp_path, str(body), ["2x24", "2"])
    assert list(folders) == ["teacher", "2x24 layers", "2 layers"]
    sizes = {name: Encoder.load(str(folder)).settings for name, folder in folders.items()}
    assert [sizes[name]["num_hidden_layers"] for name in folders] == [3, 2, 2]
    assert [sizes[name]["intermediate_size"] for name in folders] == [64, 24, 64]
