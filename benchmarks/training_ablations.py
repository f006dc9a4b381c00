"""What one thing brings to training: the same recipe and seed, with one thing taken away or added.

`things=NAME,NAME` are of `THINGS`; the other options are those of the benchmark `training-quality`. With `minutes=0
epochs=E` each run gets as many examples, whatever else the machine does, and the table says what they cost; `minutes=M`
gives each as long. A thing that the recipe has is taken away, another one is added. The recipe with another seed shows
how much chance does. With `output=DIR` a run that was broken off goes on when it is given again.
"""

from __future__ import annotations

import io
import json
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandError
from tqdm import tqdm

from benchmarks.training_quality import PublicData, configured, prepared, write
from suite.encoder.training.config import EPOCHS, TrainingConfig
from suite.management.training import clear_errors

NAME = "training-ablations"
HELP = "what pretraining, hard negatives, adapters, averaging and other single things bring, in one table"
THINGS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {  # what adds it to a recipe, and what takes it away
    "pretraining": ({"body": "pretrained"}, {"body": ""}),
    "hard_negatives": ({"hard_negatives": 1}, {"hard_negatives": 0}),
    "adversarial": ({"adversarial": 0.05}, {"adversarial": 0.0}),
    "lora": ({"lora_rank": 16, "learning_rate": 2e-3}, {"lora_rank": 0}),  # adapters want ten times the rate
    "averaging": ({"average": 3}, {"average": 1}),
    "frozen_layers": ({"frozen_layers": 2}, {"frozen_layers": 0}),
    "retention": ({"retention": 20.0}, {"retention": 0.0}),
    "plain_texts": ({"plain_texts": 0.15}, {"plain_texts": 0.0}),
    "concatenated": ({"concatenated": 0.5}, {"concatenated": 0.0}),
}
READING = 0.25  # share of the minutes, where they are limited, that a recipe with pretraining added spends on it
PRIMARY = {"support.intents": "accuracy", "support.questions": "mrr", "commerce.interactions": "ndcg@10"}
ROWS = "ablations.json"
Row = dict[str, Any]  # {"config", "tasks", "metrics": {measure: value of its primary metric}, "seconds": of training}


def run(
    data: str = "", config: str = "", output: str = "", only: str = "", movielens: str = "",
    things: str = ",".join(THINGS), **fields: Any,
) -> dict[str, Any]:  # fmt: skip
    """{"table": in Markdown, "rows": {name: `Row`}}."""
    with tempfile.TemporaryDirectory() as scratch, clear_errors():
        runs = variants(configured(config, fields, only), things.split(","))
        public = prepared(Path(output or scratch), data, only, movielens)
        place = public.folder / ROWS
        rows: dict[str, Row] = json.loads(place.read_text()) if place.exists() else {}
        with tqdm(runs.items(), unit=" runs", dynamic_ncols=True) as bar:
            for name, used in bar:
                bar.set_description(name)
                asked = {"config": used.as_dict(), "tasks": public.wanted}
                if {key: rows.get(name, {}).get(key) for key in asked} != asked:
                    rows[name] = asked | carried_out(public, name, used, Told(bar))
                    place.write_text(json.dumps(rows))
        rows = {name: rows[name] for name in runs}
        return {"table": table(rows), "rows": rows}


def variants(recipe: TrainingConfig, things: Iterable[str]) -> dict[str, TrainingConfig]:
    """{row of the table: its configuration}. Raises `CommandError` for a thing that is not known."""
    runs = {"recipe": recipe, "another seed": replace(recipe, seed=recipe.seed + 1)}
    for thing in things:
        if thing not in THINGS:
            raise CommandError(f"things={thing}: there is no such thing; there are: {', '.join(THINGS)}")
        added, taken = THINGS[thing]
        without = replace(recipe, **taken)
        is_in = without != recipe
        runs[f"{'without' if is_in else 'with'} {thing}"] = without if is_in else replace(recipe, **added)
    return runs


def carried_out(public: PublicData, name: str, config: TrainingConfig, told: io.TextIOBase) -> Row:
    started = time.monotonic()
    if config.body == THINGS["pretraining"][0]["body"]:
        body = pretrained(public, config, told)
        config = replace(config, body=str(body), minutes=config.minutes * (1 - READING))
    release, _ = public.trained(f"run {name}", config, stderr=told)
    seconds = time.monotonic() - started
    values = {measure: metrics[primary(measure)] for measure, metrics in public.measured(release).items()}
    return {"metrics": values, "seconds": round(seconds, 1)}


def primary(measure: str) -> str:
    return PRIMARY.get(measure.split()[0], "macro_f1")


def pretrained(public: PublicData, config: TrainingConfig, told: io.TextIOBase) -> Path:
    """A body that has read the texts that are trained on, without their labels."""
    titles = [{"title": one["text"]} for name in ("finance.sentiment", "finance.topics") if name in public.wanted
              for one in public.files[f"{name}.train"]]  # fmt: skip
    if titles:
        write(public.folder / "finance.articles.train.jsonl", titles)
    sources = {
        "finance.articles.train": "finance.articles",
        "support.intents.train": "support.questions",
        "support.questions.train": "support.questions",
        "support.answers.train": "support.answers",
        "commerce.items.train": "commerce.items",
    }
    inputs = [f"--data={format}={public.folder / file}.jsonl" for file, format in sources.items()
              if (public.folder / f"{file}.jsonl").exists()]  # fmt: skip
    place = public.folder / "pretraining.json"
    fields = {"epochs": config.epochs or EPOCHS, "minutes": config.minutes * READING, "seed": config.seed}
    place.write_text(json.dumps(fields))
    output = public.folder / "pretrained"
    call_command("pretrain", *inputs, f"--config={place}", f"--output={output}", stdout=io.StringIO(), stderr=told)
    return output


class Told(io.StringIO):
    """Lines of progress, shown behind the bar."""

    def __init__(self, bar: Any) -> None:
        super().__init__()
        self.bar = bar

    def write(self, line: str) -> int:
        self.bar.set_postfix_str(line.partition(";")[0].strip())
        return len(line)


def table(rows: Mapping[str, Row]) -> str:
    """In Markdown: the recipe's figures, and how far the others are from them."""
    first = rows["recipe"]["metrics"]
    lines = [["", *(f"{measure} {primary(measure)}" for measure in first), "minutes"], ["---"] * (len(first) + 2)]
    for name, row in rows.items():
        values = row["metrics"]
        cells = [f"{values[one]:.4f}" if row is rows["recipe"] else f"{values[one] - first[one]:+.4f}" for one in first]
        lines.append([name, *cells, f"{row['seconds'] / 60:.1f}"])
    return "\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
