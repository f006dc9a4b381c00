"""The first release: the body as it is, the heads that domains declare fitted on it, calibrated, measured, stamped.

What it is made from has a digest, its recipe: made again from the same body, declarations and examples it is the
release that is there already, and nothing is fitted twice. Imports torch: for workers and commands only.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from django.conf import settings

from suite.domain import DomainError, declared
from suite.encoder import checkpoint
from suite.encoder.checkpoint import CheckpointError
from suite.encoder.heads import Head, HeadError, HeadSpec, fit_head, labels_of
from suite.encoder.model import Encoder
from suite.events.database import UNAVAILABLE
from suite.jobs import LeaseLost
from suite.marking import prefix_of
from suite.releases import comparison, engine_choice
from suite.releases.calibration import calibrated
from suite.releases.heads import Examples, HeadDeclaration
from suite.releases.models import Release

log = logging.getLogger(__name__)
SAMPLE = 16  # texts of each head that show whether bfloat16 will do
READ = ("*.json", "*.txt", "*.model", "*.safetensors", "*.bin", "1_Pooling/*.json")  # what a body is read from
RECIPE_FORMAT = 7  # raise it when the way of fitting changes what comes out


class HeadPlan(NamedTuple):
    """One head to fit, with its examples read."""

    spec: HeadSpec
    examples: Examples


def build_first_release(say: Callable[[str], None] = log.info) -> Release:
    """Make the release of `SUITE_ENCODER` as it is, or find the one that was made of the same.

    A head that cannot be fitted is left out, and the release's message says why. Raises `CheckpointError`.
    """
    plans = head_plans()
    recipe = recipe_of(settings.ENCODER, plans)
    release = made_before(recipe)
    if release is not None:
        say(f"Release {release.fingerprint} was made of the same body and examples before")
        return release
    say(f"Loading {settings.ENCODER}")
    encoder = Encoder.load(settings.ENCODER, threads=settings.ENCODER_THREADS)
    heads, metrics, problems = fit_heads(encoder, plans, say)
    encoder = encoder.with_heads(heads)
    release = keep(encoder, metrics, problems, recipe=recipe)
    calibrated(encoder, release.folder, plans, is_quick=True, say=say)
    comparison.note(release, comparison.evaluate(encoder.quickest(sample_texts(plans)), plans, (), {}))
    say(f"Made release {release.fingerprint} with {len(heads)} heads")
    return release


def measure_engines(release: Release, say: Callable[[str], None] = log.info) -> None:
    """Time every engine here anew and choose the best for the release. Raises `CheckpointError`."""
    encoder = Encoder.load(str(release.folder), threads=settings.ENCODER_THREADS)
    calibrated(encoder, release.folder, head_plans(), say=say)


def keep(
    encoder: Encoder, metrics: Mapping[str, Mapping[str, float]], problems: Sequence[str], recipe: str = ""
) -> Release:
    """Write the encoder's checkpoint among the releases, and its row. Raises `CheckpointError`."""
    encoder.save(settings.RELEASES_DIR / encoder.fingerprint, metrics)
    release, _ = Release.objects.update_or_create(
        fingerprint=encoder.fingerprint,
        defaults={
            "path": encoder.fingerprint,
            "body": encoder.body,
            "dimensions": encoder.dimensions,
            "recipe": recipe,
            "metrics": metrics,
            "message": "\n".join(problems),
        },
    )
    return release


@contextmanager
def kept(encoder: Encoder, metrics: Mapping[str, Mapping[str, float]], problems: Sequence[str]) -> Iterator[Release]:
    """The same for a candidate, which is measured inside: where that fails, it is gone again, unless it was there
    before or serves already. Where the run can be gone on with, it stays. Raises `CheckpointError`."""
    is_new = not Release.objects.filter(pk=encoder.fingerprint).exists()
    release = keep(encoder, metrics, problems)
    try:
        yield release
    except (LeaseLost, *UNAVAILABLE):
        raise
    except Exception:
        unused = Release.objects.filter(pk=release.pk, state=Release.State.CANDIDATE, promotions=None)
        if is_new and unused.delete()[0]:
            shutil.rmtree(release.folder, ignore_errors=True)
        raise


def head_plans() -> list[HeadPlan]:
    """The heads that all domains declare, with the examples they declare, in order of their names. Raises
    `DomainError`."""
    return [plan_of(declaration, declaration.examples()) for declaration in declarations().values()]


def declarations() -> dict[str, HeadDeclaration]:
    """Every declared head by name, in order. Raises `DomainError`."""
    found: dict[str, HeadDeclaration] = {}
    for domain, name, declaration in declared("heads", "HEADS"):
        if not isinstance(declaration, HeadDeclaration) or declaration.name != name:
            raise DomainError(
                f"domains/{domain.label}/heads.py: HEADS[{name!r}] must be a HeadDeclaration of that name"
            )
        if name in found:
            raise DomainError("two domains declare a head of the same name")
        found[name] = declaration
    return dict(sorted(found.items()))


def plan_of(declaration: HeadDeclaration, examples: Examples) -> HeadPlan:
    """A head to fit on these examples. Raises `DomainError` where the declaration makes no sense."""
    labels = tuple(declaration.labels) or labels_of(examples.train)
    try:
        prefix = prefix_of(declaration.kind)
        spec = HeadSpec(declaration.name, declaration.kind, labels, declaration.primary_metric, prefix)
        return HeadPlan(spec, examples)
    except HeadError as error:
        raise DomainError(f"heads.py: {error}") from error


def recipe_of(body: str, plans: list[HeadPlan]) -> str:
    """Digest of all that a first release is made from, 16 hex digits; loads no model."""
    folder = checkpoint.locate(body)
    digest = hashlib.sha256(f"{RECIPE_FORMAT} {body}".encode())
    paths = [path for pattern in READ for path in sorted(folder.glob(pattern)) if path.name != engine_choice.FILE]
    if any(path.suffix == ".safetensors" for path in paths):
        paths = [path for path in paths if path.suffix != ".bin"]  # the same weights once more
    for path in paths:
        digest.update(f"\n{path.name} {checkpoint.digest_file(path)}".encode())
    for plan in plans:
        spec = plan.spec
        for part in (spec.name, spec.kind, spec.labels, spec.primary_metric, spec.prefix):
            digest.update(f"\n{json.dumps(part)}".encode())
        for example in (*plan.examples.train, "", *plan.examples.validation):
            digest.update(f"\n{json.dumps(example)}".encode())
    return digest.hexdigest()[:16]


def made_before(recipe: str) -> Release | None:
    """The release of this recipe whose checkpoint is whole; one that is broken is to be made again."""
    for release in Release.objects.filter(recipe=recipe):
        try:
            if checkpoint.read(release.folder).fingerprint == release.fingerprint:
                return release
        except CheckpointError as error:
            log.warning("release %s is made again: %s", release.fingerprint, error)
    return None


def fit_heads(
    encoder: Encoder, plans: list[HeadPlan], say: Callable[[str], None]
) -> tuple[dict[str, Head], dict[str, dict[str, float]], list[str]]:
    """(heads, their metrics on held-out examples, why others are missing)."""
    heads: dict[str, Head] = {}
    metrics: dict[str, dict[str, float]] = {}
    problems: list[str] = []
    quick = encoder.quickest(sample_texts(plans))
    for plan in plans:
        name, given = plan.spec.name, plan.examples
        try:
            say(f"Fitting head {name} on {len(given.train) + len(given.pseudo_labelled):,} examples")
            heads[name], metrics[name] = fit_head(
                quick, plan.spec, given.train, given.validation, given.origins, given.pseudo_labelled
            )
        except HeadError as error:
            problems.append(str(error))
            say(f"Left out: {error}")
            continue
        primary = plan.spec.primary_metric
        value = f"{metrics[name][primary]:.3f}" if primary in metrics[name] else "unknown (one class held out)"
        say(f"Head {name}: {primary} {value}, ece {metrics[name]['ece']:.3f}")
    return heads, metrics, problems


def sample_texts(plans: list[HeadPlan]) -> list[str]:
    """Some texts of every head."""
    inputs = [text for plan in plans for text, _ in plan.examples.validation[:SAMPLE]]
    return [text if isinstance(text, str) else text[1] for text in inputs]
