"""Smaller releases beside the one that taught them: quality on what was held out, texts/s, and megabytes.

`release=FOLDER` is a trained checkpoint, `trained` in the output of the benchmark `training-quality` say; without it a
body is trained first. Data and options are those of that benchmark. `students=4,3,3x960` have so many layers, the last
one a feed-forward part of that width in each; `teaching=40` are the minutes that each is taught for, at most. Students
learn from what is trained on, and each has heads of its own. Rates are from raw text, all in turn, beside
sentence-transformers' `encode` of the large body at its defaults.
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
from benchmarks.training_quality import configured, prepared
from suite.encoder import checkpoint
from suite.encoder.model import Encoder
from suite.encoder.sample import sample_texts
from suite.management.training import clear_errors
from suite.releases import calibration
from suite.releases.compression import TEACHING
from suite.releases.services import TEACHING_MINUTES

NAME = "compression"
HELP = "releases with fewer layers beside the one that taught them: quality, texts/s, megabytes (release, students, teaching)"  # noqa: E501
TEXTS = 600
RIVAL = "sentence-transformers"


def run(
    release: str = "", students: str = "4x384", teaching: float = TEACHING_MINUTES, data: str = "", config: str = "",
    output: str = "", only: str = "", movielens: str = "", rounds: int = 5, **fields: Any,
) -> dict[str, Any]:  # fmt: skip
    """{"table": in Markdown, "rows": {name: {"metrics": {measure: primary metric}, "texts_a_second", "ratio" to the
    rival's, "megabytes", "engine"}}}."""
    with tempfile.TemporaryDirectory() as scratch, clear_errors():
        recipe = configured(config, fields, only)
        public = prepared(Path(output or scratch), data, only, movielens)
        folders = {"teacher": Path(release) if release else public.trained("teacher", recipe)[0]}
        teacher = Encoder.load(str(folders["teacher"]), threads=settings.ENCODER_THREADS)
        for student in str(students).split(","):  # one alone comes as a number
            layers, _, width = student.partition("x")
            lesson = replace(TEACHING, body=str(folders["teacher"]), layers=int(layers), feed_forward=int(width or 0),
                             minutes=teaching)  # fmt: skip
            folders[f"{student} layers"], _ = public.trained(f"{student} layers", lesson)
        metrics = {
            name: {measure: found[primary(measure)] for measure, found in public.measured(folder).items()}
            for name, folder in folders.items()
        }
        encoders = {name: calibration.load(folder) for name, folder in folders.items()}
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
                "megabytes": round((folder / checkpoint.WEIGHTS).stat().st_size / 2**20, 1),
                "engine": encoders[name].engine_name,
            }
            for name, folder in folders.items()
        }
        return {"table": table(rows), "rival": round(rates[RIVAL], 1), "rows": rows}


def table(rows: dict[str, dict[str, Any]]) -> str:
    first = next(iter(rows.values()))["metrics"]
    lines = [["", *(f"{measure} {primary(measure)}" for measure in first), "texts/s", "times the rival's", "MB"]]
    lines.append(["---"] * len(lines[0]))
    for name, row in rows.items():
        values = (f"{row['metrics'][measure]:.4f}" for measure in first)
        lines.append([name, *values, f"{row['texts_a_second']:.0f}", f"{row['ratio']:.2f}", f"{row['megabytes']:.0f}"])
    return "\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
