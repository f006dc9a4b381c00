"""One body trained on all tasks together, beside the same heads on the body as it was, on public data sets.

`data=FOLDER` (or `SUITE_DATA`) holds sentfin, twitter_financial_topic, banking77, stackfaq, amazonqa_appliances and
online_retail as they are distributed, `movielens=FOLDER` (or `SUITE_MOVIELENS`) RecBole's ml-100k; what is not there is
left out. Held out: SEntFiN and topics 20% by a hash of the text (links and repeats removed from tweets before),
Banking77's own test file, StackFAQ every fourth thread, of Amazon QA 30% of the appliances, of MovieLens everybody's
last two films, of Online Retail what was bought after the cut.
`config=FILE` is the configuration of `manage.py train`, any other option a field of it (`minutes=5`); `output=DIR`
keeps the plain files and the releases; `only=NAME,NAME` trains on some formats only, `alone=yes` on each format alone,
too.
"""

from __future__ import annotations

import ast
import gzip
import io
import json
import os
import re
import tempfile
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from django.core.management import call_command

from domains.commerce.movielens import read_movielens
from domains.commerce.online_retail import read as read_online_retail
from domains.finance.public_data import read_sentfin, read_twitter_topics
from suite.encoder.training.config import TrainingConfig, read_config
from suite.formats import LoadOptions, read_records
from suite.management.training import clear_errors
from suite.releases import snapshot
from suite.releases.training_data import is_held_out

NAME = "training-quality"
HELP = "one body trained on all public tasks together, beside the frozen one, on what was held out"
FORMATS = ("finance.sentiment", "finance.topics", "support.intents", "support.questions", "commerce.interactions")
BESIDE = {"support.questions": "support.answers", "commerce.interactions": "commerce.items"}  # what goes with it
AGAINST = {
    "support.questions.test stackfaq": "support.answers.stackfaq",
    "support.questions.test appliances": "support.answers.appliances",
    "commerce.interactions.test movielens": "commerce.items.movielens",
    "commerce.interactions.test retail": "commerce.items.retail",
}
CUT = "2011-10-02"  # of Online Retail
PEOPLE = 150  # of each shop that are learned from
LEAST_ASKED, LEAST_SAID = 4, 8  # words: "Yes it does" answers a thousand questions
LINK = re.compile(r"https?://\S+")
Files = dict[str, list[dict[str, Any]]]  # name of a plain file: its records


def run(
    data: str = "", config: str = "", output: str = "", only: str = "", movielens: str = "", alone: str = "",
    **fields: Any,
) -> dict[str, Any]:  # fmt: skip
    """{"frozen": {measure: {metric: value}, "seconds": of training}, "trained": the same}; with `alone` that, too, its
    seconds of all trainings together."""
    with tempfile.TemporaryDirectory() as scratch, clear_errors():
        recipe = configured(config, fields, only)
        public = prepared(Path(output or scratch), data, only, movielens)
        answer: dict[str, Any] = {}
        for name, used in (("frozen", TrainingConfig(epochs=0)), ("trained", recipe)):
            release, seconds = public.trained(name, used)
            answer[name] = public.measured(release) | {"seconds": round(seconds, 1)}
        if alone:
            answer["alone"] = each_alone(public, recipe)
        return answer


def each_alone(public: PublicData, recipe: TrainingConfig) -> dict[str, Any]:
    """A body for each format, trained on it as long as the recipe says."""
    found: dict[str, Any] = {"seconds": 0.0}
    for name in public.wanted:
        single = replace(public, wanted=[name])
        release, seconds = single.trained(f"alone {name}", replace(recipe, task_weights={}))
        found |= single.measured(release) | {"seconds": round(found["seconds"] + seconds, 1)}
    return found


def configured(config: str, fields: Mapping[str, Any], only: str) -> TrainingConfig:
    """Of a file, with these fields changed. Raises `ConfigError`."""
    recipe = TrainingConfig.from_mapping(fields, read_config(Path(config)) if config else None)
    return replace(recipe, task_weights={}) if only else recipe  # weights are of tasks that may not be there


def prepared(folder: Path, data: str, only: str, movielens: str) -> PublicData:
    """The plain files, written into the folder."""
    films = movielens or os.environ.get("SUITE_MOVIELENS", "")
    files = plain_files(Path(data or os.environ.get("SUITE_DATA", "")))
    files |= shop(movielens_records(Path(films)), "movielens") if films else {}
    join(files, "commerce.items.train", "commerce.interactions.train", "support.answers.train",
         "support.questions.train")  # fmt: skip
    for name, records in files.items():
        write(folder / f"{name}.jsonl", records)
    wanted = [name for name in FORMATS if f"{name}.train" in files and (not only or name in only.split(","))]
    return PublicData(folder, files, wanted)


@dataclass(frozen=True, slots=True)
class PublicData:
    """Plain files in a folder, and which formats of them are trained on and measured."""

    folder: Path
    files: Files
    wanted: list[str]

    def sources(self) -> list[snapshot.Source]:
        """What is trained on."""
        used = [*self.wanted, *(BESIDE[one] for one in self.wanted if one in BESIDE)]
        return [snapshot.Source(one, self.folder / f"{one}.train.jsonl") for one in used]

    def trained(self, name: str, config: TrainingConfig, **streams: Any) -> tuple[Path, float]:
        """(the folder of the release, seconds that training took)."""
        place = self.folder / f"{name}.json"
        place.write_text(json.dumps(config.changes()))
        inputs = [f"--data={source.name}={source.path}" for source in self.sources()]
        started = time.monotonic()
        call_command("train", *inputs, f"--config={place}", f"--output={self.folder / name}",
                     **{"stdout": io.StringIO()} | streams)  # fmt: skip
        return self.folder / name, time.monotonic() - started

    def measured(self, release: Path) -> dict[str, Any]:
        """{measure: metrics} of a release on what was held out."""
        found: dict[str, Any] = {}
        for name in self.files:
            measure, is_held, part = name.partition(".test")
            if not is_held or measure not in self.wanted:
                continue
            beside = AGAINST.get(name)
            arguments = ["--against", str(self.folder / f"{beside}.jsonl")] if beside else []
            if part == " retail":
                arguments += ["--cut", CUT]
            out = io.StringIO()
            call_command("evaluate", measure, "--data", str(self.folder / f"{name}.jsonl"), *arguments,
                         "--release", str(release), "--json", stdout=out)  # fmt: skip
            found[measure + part] = json.loads(out.getvalue())["metrics"]
        return found


def write(path: Path, records: Iterable[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")


# The data sets, as records of plain formats --------------------------------------------------------------------
def plain_files(folder: Path) -> Files:
    files: Files = {}
    if (folder / "sentfin").is_dir():
        files |= sentiment(folder / "sentfin")
    if (folder / "twitter_financial_topic").is_dir():
        files |= topics(folder / "twitter_financial_topic")
    if (folder / "banking77").is_dir():
        for part in ("train", "test"):
            rows = [row[1] for row in read_records(folder / "banking77" / f"{part}.csv") if isinstance(row, tuple)]
            files[f"support.intents.{part}"] = [{"text": row["text"], "label": row["category"]} for row in rows]
    if (folder / "stackfaq").is_dir():
        files |= faq(folder / "stackfaq" / "stackfaq.json")
    if (folder / "amazonqa_appliances").is_dir():
        files |= appliances(folder / "amazonqa_appliances" / "qa_Appliances.json.gz")
    if (folder / "online_retail").is_dir():
        lines = sorted((folder / "online_retail").glob("*.csv*"))[0]
        files |= shop(read_online_retail(lines, LoadOptions(catalogue="retail", is_dry=True)), "retail", CUT)
    if not files:
        raise FileNotFoundError(f"{folder}: holds none of the public data sets; name their folder with data=DIR")
    return files


def is_test(text: str) -> bool:
    return is_held_out(f"test {text}", 0.2)


def sentiment(folder: Path) -> Files:
    """Every judged name, and each headline with one sentiment as a whole."""
    judged = [one["data"] for one in read_sentfin(folder / "sentfin.csv", LoadOptions(is_dry=True))
              if isinstance(one, dict)]  # fmt: skip
    by_text: dict[str, set[str]] = {}
    for one in judged:
        by_text.setdefault(one["text"], set()).add(one["label"])
    whole = [{"text": text, "label": next(iter(labels))} for text, labels in by_text.items() if len(labels) == 1]
    return {
        "finance.sentiment.train": [one for one in (*whole, *judged) if not is_test(one["text"])],
        "finance.sentiment.test": [one for one in whole if is_test(one["text"])],
        "finance.sentiment.test by entity": [one for one in judged if is_test(one["text"])],
    }


def topics(folder: Path) -> Files:
    records: dict[str, dict[str, Any]] = {}
    for one in read_twitter_topics(folder, LoadOptions(is_dry=True)):
        if isinstance(one, dict):
            text = " ".join(LINK.sub("", one["data"]["text"]).split())
            records.setdefault(text, {"text": text, "label": one["data"]["label"]})
    del records[""]
    return {
        "finance.topics.train": [one for text, one in records.items() if not is_test(text)],
        "finance.topics.test": [one for text, one in records.items() if is_test(text)],
    }


def faq(path: Path) -> Files:
    """Paraphrases ask, answers are ranked; the answers of a thread that is held out are not trained on."""
    answers: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    questions: dict[bool, list[dict[str, Any]]] = {True: [], False: []}
    for number, thread in enumerate(json.loads(path.read_text(encoding="utf-8"))["root"]["qapair"]):
        is_held = number % 4 == 0
        keys = [f"{number}-{place}" for place in range(len(thread["answer"]))]
        answers[is_held] += [{"answer_id": key, "text": text} for key, text in zip(keys, thread["answer"], strict=True)]
        asked = [text for text in thread["rephr"] if text and text.strip("* ")]
        questions[is_held] += [
            {"question_id": f"{number} {place}", "text": text, "answer_ids": keys} for place, text in enumerate(asked)
        ]
    return {
        "support.answers.stackfaq": answers[False] + answers[True],
        "support.answers.train stackfaq": answers[False],
        "support.questions.train stackfaq": questions[False],
        "support.questions.test stackfaq": questions[True],
    }


def appliances(path: Path) -> Files:
    """Questions on products, each with the answer that a customer gave; those on one appliance are on one side."""
    keys: dict[str, str] = {}  # of each answer
    learned: set[str] = set()  # answers
    questions: dict[str, list[dict[str, Any]]] = {"train": [], "test": []}
    asked: set[str] = set()
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = ast.literal_eval(line)
            question, answer = (" ".join(row[name].split()) for name in ("question", "answer"))
            if question in asked or len(question.split()) < LEAST_ASKED or len(answer.split()) < LEAST_SAID:
                continue
            asked.add(question)
            key = keys.setdefault(answer, f"appliances {len(keys)}")
            side = "test" if is_held_out(f"test {row['asin']}", 0.3) else "train"
            one = {"question_id": f"appliances {len(asked)}", "text": question, "answer_ids": [key]}
            questions[side].append(one)
            if side == "train":
                learned.add(answer)
    return {
        "support.answers.appliances": [{"answer_id": key, "text": text} for text, key in keys.items()],
        "support.answers.train appliances": [
            {"answer_id": key, "text": text} for text, key in keys.items() if text in learned
        ],
        "support.questions.train appliances": questions["train"],
        "support.questions.test appliances": questions["test"],
    }


def movielens_records(folder: Path) -> Iterable[Any]:
    return read_movielens(folder, LoadOptions(catalogue="movielens", is_dry=True))


def shop(events: Iterable[Any], name: str, cut: str = "") -> Files:
    """Items and interactions of who has an account; some people are learned from, up to the cut, all are tested."""
    items: dict[str, dict[str, Any]] = {}
    people: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        data = event["data"] if isinstance(event, dict) else {}
        if isinstance(event, dict) and event["type"] == "commerce.item.changed":
            items[data["item_id"]] = data | {"item_id": f"{name} {data['item_id']}"}
        elif data.get("user_id"):
            one = data | {"item_id": f"{name} {data['item_id']}", "user_id": f"{name} {data['user_id']}"}
            people.setdefault(one["user_id"], []).append(one)
    learned = sorted(people, key=lambda key: zlib.crc32(key.encode()))[:PEOPLE]
    return {
        f"commerce.items.{name}": list(items.values()),
        f"commerce.items.train {name}": list(items.values()),
        f"commerce.interactions.test {name}": [one for rows in people.values() for one in rows],
        f"commerce.interactions.train {name}": [
            one for key in learned for one in people[key] if not cut or str(one["timestamp"]) < cut
        ],
    }


def join(files: Files, *names: str) -> None:
    """One file of those whose names begin so."""
    for name in names:
        parts = [key for key in files if key.startswith(f"{name} ")]
        if parts:
            files[name] = [record for part in parts for record in files.pop(part)]
