"""Smaller releases beside the one that taught them: quality on what was held out, texts/s, and megabytes.

`release=FOLDER` is a trained checkpoint, `trained` in the output of the benchmark `training-quality` say; without it
a body is trained first. Data and options are those of that benchmark. `students=4,3,0x960` have so many layers (0:
all), the last one a feed-forward part of that width in all but the last; `teaching=40` are the minutes that each is
taught for, at most, 0: none is taught and nothing but rates is measured, which needs no data. Students learn from
what is trained on, and each has heads of its own. Each is run by the engine that is chosen for it here. Rates are
from raw text, all in turn, beside sentence-transformers' `encode` of the large body at its defaults.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from django.conf import settings

from benchmarks.encoder import BODY, in_turn, rivals_of
from benchmarks.training_ablations import primary
from benchmarks.training_quality import PublicData, configured, prepared
from suite.encoder import checkpoint
from suite.encoder.model import Encoder
from suite.encoder.sample import sample_texts
from suite.encoder.training.body import body_of, pooling_of, sizes_of
from suite.encoder.training.config import TrainingConfig
from suite.management.training import clear_errors
from suite.releases.calibration import calibrated
from suite.releases.compression import TEACHING
from suite.releases.services import TEACHING_MINUTES

NAME, TEACHER = "compression", "teacher"
HELP = "releases with fewer layers beside the one that taught them: quality, texts/s, megabytes (release, students, teaching)"  # noqa: E501
TEXTS = 600
RIVAL = "sentence-transformers"


def run(
    release: str = "", students: str = "4x768", teaching: float = TEACHING_MINUTES, data: str = "", config: str = "",
    output: str = "", only: str = "", movielens: str = "", rounds: int = 5, **fields: Any,
) -> dict[str, Any]:  # fmt: skip
    """{"table": in Markdown, "rows": {name: {"metrics": {measure: primary metric}, "texts_a_second", "ratio" to the
    rival's, "megabytes", "engine"}}}."""
    names = str(students).split(",")  # one alone comes as a number
    with tempfile.TemporaryDirectory() as scratch, clear_errors():
        recipe = configured(config, fields, only)
        folder = Path(output or scratch)
        if teaching:
            public = prepared(folder, data, only, movielens)
            folders = taught(public, recipe, release, names, teaching)
        else:
            folders = untaught(folder / "untaught", release or recipe.body or BODY, names)
        encoders = {name: calibrated(Encoder.load(str(place), threads=settings.ENCODER_THREADS), place)
                    for name, place in folders.items()}  # fmt: skip
        metrics = {name: qualities(public, place) if teaching else {} for name, place in folders.items()}
        teacher = encoders[TEACHER]
        rivals, _ = rivals_of(recipe.body or BODY, teacher.device.type)
        texts = sample_texts(teacher.tokenizer, TEXTS)
        torch.set_num_threads(teacher.threads)
        contestants = {name: (encoder.embed, texts) for name, encoder in encoders.items()}
        rates, _ = in_turn({RIVAL: (rivals[RIVAL], texts), **contestants}, rounds)
        rows = {
            name: {
                "metrics": metrics[name],
                "texts_a_second": round(rates[name], 1),
                "ratio": round(rates[name] / rates[RIVAL], 2),
                "megabytes": round((place / checkpoint.WEIGHTS).stat().st_size / 2**20, 1),
                "engine": encoders[name].engine_name,
            }
            for name, place in folders.items()
        }
        return {"table": table(rows), "rival": round(rates[RIVAL], 1), "rows": rows}


def taught(
    public: PublicData, recipe: TrainingConfig, release: str, students: list[str], minutes: float
) -> dict[str, Path]:
    """The folders of the teacher, trained where no release is given, and its students."""
    teacher = Path(release) if release else public.trained(TEACHER, recipe)[0]
    folders = {TEACHER: teacher}
    for student in students:
        lesson = replace(smaller(student), body=str(teacher), minutes=minutes)
        folders[named(student)], _ = public.trained(named(student), lesson)
    return folders


def untaught(folder: Path, release: str, students: list[str]) -> dict[str, Path]:
    """The folders of a release and of smaller bodies made of it, as they are before anything is taught."""
    teacher = Encoder.load(release, threads=settings.ENCODER_THREADS)
    encoders = {TEACHER: teacher}
    for student in students:
        lesson = smaller(student)
        sizes = teacher.config_with(**sizes_of(lesson))
        encoders[named(student)] = teacher.with_body(body_of(teacher, lesson), sizes, pooling_of(teacher, lesson))
    for name, encoder in encoders.items():
        encoder.save(folder / name)
    return {name: folder / name for name in encoders}


def smaller(student: str) -> TrainingConfig:
    """What "4x768" says."""
    layers, _, width = student.partition("x")
    return replace(TEACHING, layers=int(layers), feed_forward=int(width or 0))


def named(student: str) -> str:
    return f"{student} layers"


def qualities(public: PublicData, release: Path) -> dict[str, float]:
    return {measure: found[primary(measure)] for measure, found in public.measured(release).items()}


def table(rows: dict[str, dict[str, Any]]) -> str:
    first = next(iter(rows.values()))["metrics"]
    lines = [["", *(f"{measure} {primary(measure)}" for measure in first), "texts/s", "times the rival's", "MB"]]
    lines.append(["---"] * len(lines[0]))
    for name, row in rows.items():
        values = (f"{row['metrics'][measure]:.4f}" for measure in first)
        lines.append([name, *values, f"{row['texts_a_second']:.0f}", f"{row['ratio']:.2f}", f"{row['megabytes']:.0f}"])
    return "\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
