"""Reads of releases for everybody: no torch."""

from __future__ import annotations

from django.db.models import QuerySet

from suite.releases.models import Promotion, Release, Shadow, TrainingRun

OUTSTANDING = (Promotion.State.REQUESTED, Promotion.State.RUNNING)
OUTSTANDING_RUNS = (TrainingRun.State.REQUESTED, TrainingRun.State.RUNNING)


class NoSuchRelease(LookupError):
    """A name that is no release's, or several releases'; the message says which there are."""


def active() -> Release | None:
    """The release that serves; None until the first one is made."""
    return Release.objects.filter(state=Release.State.ACTIVE).first()


def find(name: str) -> Release:
    """The release with this fingerprint or this beginning of it. Raises `NoSuchRelease`."""
    found = list(Release.objects.filter(fingerprint__startswith=name.lower())[:2]) if name else []
    if len(found) == 1:
        return found[0]
    known = ", ".join(release.fingerprint for release in Release.objects.all()[:10]) or "none"
    problem = "more than one release begins" if found else "no release begins"
    raise NoSuchRelease(f"{problem} with {name!r}; there are: {known}")


def doubts(release: Release) -> list[str]:
    """What its comparison cannot tell of it beside the active release, each in a sentence."""
    found = []
    if few := release.compared_by_few:
        found.append(f"Too few were held out to tell a small difference in {few}")
    serving = active()
    if serving is None or serving == release:
        return found
    if release.compared_with != serving.fingerprint:
        beside = f"beside {release.compared_with[:8]}" if release.compared_with else "alone"
        found.append(f"It was measured {beside}, not beside {serving}, which serves now")
    elif unlike := sorted(serving.metrics.keys() - release.comparison.keys()):
        found.append(f"Not compared, since it lacks them or decides between other classes: {', '.join(unlike)}")
    return found


def rollback_target() -> Release | None:
    """The release that served before the active one."""
    return Release.objects.filter(state=Release.State.RETIRED).order_by("-activated_at").first()


def outstanding() -> QuerySet[Promotion]:
    """Promotions and rollbacks that are not finished: rollbacks first, then the oldest."""
    return Promotion.objects.filter(state__in=OUTSTANDING).select_related("release").order_by("-is_rollback", "id")


def outstanding_runs() -> QuerySet[TrainingRun]:
    """Training runs that are not finished, oldest first."""
    return TrainingRun.objects.filter(state__in=OUTSTANDING_RUNS).order_by("id")


def running_shadow() -> Shadow | None:
    """The release that scores live traffic beside the active one now, if any."""
    return Shadow.objects.filter(is_running=True).select_related("release", "active").first()
