"""Texts in a language that the body never read, learned with tokens of their characters (docs/adr/0016) and without.

`data=FOLDER` (or `SUITE_DATA`) holds the folder chinese: posts on shares (FinFE, three leanings) and reviews of
deliveries (Waimai, two), as they are distributed. A fifth of each is held out by a hash of the text; the rest trains a
body on that file alone, once with `new_characters=0` and once without. The rival is a linear model on one and two
characters. `only=finfe` is one of them; any other option is a field of `manage.py train`.
"""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from benchmarks.training_quality import PublicData, is_test, write
from suite.encoder.training.config import TrainingConfig
from suite.management.training import clear_errors

NAME = "unread-language"
HELP = "Chinese with and without tokens of its characters, beside a linear model on them (data, only)"
Record = dict[str, str]  # text, label


def run(data: str = "", only: str = "", **fields: Any) -> dict[str, Any]:
    """{data set: macro F1 on what was held out, of each of three, and how many texts that was}."""
    folder = Path(data or os.environ.get("SUITE_DATA", "")) / "chinese"
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: is not there; name the folder that it is in with data=DIR")
    recipe = TrainingConfig.from_mapping(fields)
    with tempfile.TemporaryDirectory() as scratch, clear_errors():
        return {name: figures(Path(scratch) / name, *source, folder, recipe)
                for name, source in SOURCES.items() if not only or name in only.split(",")}  # fmt: skip


def figures(
    scratch: Path, measure: str, read: Callable[[Path], Iterator[Record]], folder: Path, recipe: TrainingConfig
) -> dict[str, Any]:
    records = list({one["text"]: one for one in read(folder)}.values())
    known = [one for one in records if not is_test(one["text"])]
    asked = [one for one in records if is_test(one["text"])]
    files = {f"{measure}.train": known, f"{measure}.test": asked}
    for name, lines in files.items():
        write(scratch / f"{name}.jsonl", lines)
    public = PublicData(scratch, files, [measure])
    found: dict[str, Any] = {"texts": len(asked), "linear": round(linear(known, asked), 4)}
    for name, config in (("without", replace(recipe, new_characters=0)), ("with", recipe)):
        release, seconds = public.trained(name, config)
        metrics = public.measured(release)[measure]
        found |= {name: round(metrics["macro_f1"], 4), f"{name}_seconds": round(seconds)}
    return found


def linear(known: list[Record], asked: list[Record]) -> float:
    """Macro F1 of a linear model on one and two characters."""
    model = make_pipeline(TfidfVectorizer(analyzer="char", ngram_range=(1, 2), sublinear_tf=True), LinearSVC())
    model.fit([one["text"] for one in known], [one["label"] for one in known])
    return float(f1_score([one["label"] for one in asked], model.predict([one["text"] for one in asked]),
                          average="macro"))  # fmt: skip


# The data sets -----------------------------------------------------------------------------------------------
def finfe(folder: Path) -> Iterator[Record]:
    leanings = ("negative", "neutral", "positive")
    for text, label in json.loads((folder / "finfe_train.json").read_text(encoding="utf-8")):
        if text.strip():
            yield {"text": text, "label": leanings[label]}


def waimai(folder: Path) -> Iterator[Record]:
    with (folder / "waimai_10k.csv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["review"].strip():
                yield {"text": row["review"], "label": ("bad", "good")[int(row["label"])]}


SOURCES: dict[str, tuple[str, Callable[[Path], Iterator[Record]]]] = {
    "finfe": ("finance.sentiment", finfe),
    "waimai": ("finance.topics", waimai),
}
