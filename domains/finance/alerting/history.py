"""Stored buckets as what the evaluator takes: series, and what was to be expected of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from django.db.models import BigIntegerField, Func

from domains.finance.alerting.baseline import HISTORY, Baseline, fit
from domains.finance.alerting.rules import SILENCE_WINDOW, Expectation, Observations, RuleSpec, days_of, observe
from domains.finance.alerting.series import (
    DAY,
    EVERYTHING,
    HOUR,
    MINUTE,
    Group,
    Series,
    dense,
    floor,
    moment,
)
from domains.finance.models import AlertRule, Bucket, DailyBaseline, Entity

DAYS_KEPT = 8  # of baselines: more than any evaluation looks back
NAMED_AT_MOST = 500  # entities that a query names; more are read with all the others


class Scope(NamedTuple):
    """The groups that a rule looks at: an entity each, 0 being all stories; None: each entity that has a story."""

    entity_ids: frozenset[int] | None
    topic: str = ""

    def __contains__(self, group: object) -> bool:
        return (
            isinstance(group, Group)
            and group.topic == self.topic
            and (group.entity_id in self.entity_ids if self.entity_ids is not None else group.entity_id != 0)
        )

    @classmethod
    def of_groups(cls, groups: Iterable[Group]) -> Scope:
        """Of groups that share a topic."""
        groups = list(groups)
        return cls(frozenset(group.entity_id for group in groups), groups[0].topic if groups else "")


EVERYTHING_SCOPE = Scope(frozenset((0,)))


def scope_of(rule: AlertRule) -> Scope:
    if rule.scope == AlertRule.Scope.EVERYTHING:
        return Scope(EVERYTHING_SCOPE.entity_ids, rule.topic)
    if rule.scope == AlertRule.Scope.ENTITY:
        return Scope(frozenset((rule.entity_id,) if rule.entity_id else ()), rule.topic)
    if rule.scope == AlertRule.Scope.WATCH_LIST:
        ids = rule.watch_list.entities.values_list("id", flat=True) if rule.watch_list else ()
        return Scope(frozenset(ids), rule.topic)
    if rule_spec(rule).judges_silence:  # an entity without a single story is what it looks for
        return Scope(frozenset(Entity.objects.filter(is_active=True).values_list("id", flat=True)), rule.topic)
    return Scope(None, rule.topic)


def rule_spec(rule: AlertRule) -> RuleSpec:
    return RuleSpec(
        metric=rule.metric,
        window=rule.window_seconds,
        comparison=rule.comparison,
        threshold=rule.threshold,
        clear=rule.threshold if rule.clear_threshold is None else rule.clear_threshold,
        for_seconds=rule.for_seconds,
        cool_down=rule.cool_down_seconds,
        min_stories=rule.min_stories,
    )


class Epoch(Func):
    """A time as whole Unix seconds, by the database: making `datetime`s of many rows costs more than reading them."""

    output_field = BigIntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **more: Any) -> Any:
        return self.as_sql(compiler, connection, template="CAST(strftime('%%%%s', %(expressions)s) AS INTEGER)", **more)

    def as_postgresql(self, compiler: Any, connection: Any, **more: Any) -> Any:
        return self.as_sql(compiler, connection, template="CAST(EXTRACT(EPOCH FROM %(expressions)s) AS BIGINT)", **more)


def stored_cells(scope: Scope, start: int, end: int, seconds: int) -> np.ndarray:
    """The stored buckets of a scope in [start, end), as `series.dense` takes them."""
    rows = Bucket.objects.filter(seconds=seconds, topic=scope.topic, start__gte=moment(start), start__lt=moment(end))
    ids = scope.entity_ids
    if ids is not None and len(ids) <= NAMED_AT_MOST:
        rows = rows.filter(entity_id__in=ids)
    elif ids is None or 0 not in ids:
        rows = rows.filter(entity_id__gt=0)
    found = list(rows.values_list("entity_id", Epoch("start"), "stories", "negative", "neutral", "positive"))
    return np.array(found, dtype=np.float64).reshape(len(found), 6)


def stored_series(scope: Scope, start: int, end: int, seconds: int, also: Collection[Group] = ()) -> Series:
    """The buckets of a scope as a series: of all groups that the scope names, or, where it names none, of those that
    have a bucket and of those in `also`."""
    return as_series(scope, start, end, seconds, stored_cells(scope, start, end, seconds), also)


def as_series(
    scope: Scope, start: int, end: int, seconds: int, cells: np.ndarray, also: Collection[Group] = ()
) -> Series:
    if scope.entity_ids is not None:
        groups = {Group(entity_id, scope.topic) for entity_id in scope.entity_ids}
    else:
        groups = {Group(int(entity_id), scope.topic) for entity_id in np.unique(cells[:, 0])}.union(also)
    return dense(sorted(groups), start, end, seconds, cells)


class Minutes:
    """The minutes of [start, end), read once for all rules that are evaluated together."""

    def __init__(self, start: int, end: int) -> None:
        self.start, self.end = start, end
        self._cells: dict[tuple[str, bool], np.ndarray] = {}

    def series(self, scope: Scope, start: int, end: int, also: Collection[Group] = ()) -> Series:
        """As `stored_series`; what does not lie within is read by itself."""
        if start < self.start or end > self.end:
            return stored_series(scope, start, end, MINUTE, also)
        is_everything = scope.entity_ids == {0}
        key = (scope.topic, is_everything)
        if key not in self._cells:
            whole = Scope(frozenset((0,)) if is_everything else None, scope.topic)
            self._cells[key] = stored_cells(whole, self.start, self.end, MINUTE)
        cells = self._cells[key]
        return as_series(scope, start, end, MINUTE, cells[(cells[:, 1] >= start) & (cells[:, 1] < end)], also)


def everything_between(start: int, end: int, seconds: int = MINUTE) -> Series:
    return stored_series(EVERYTHING_SCOPE, start, end, seconds)


def fitted(groups: Sequence[Group], days: Sequence[int]) -> list[Baseline]:
    """The baseline of each day, given by its midnight UTC, of groups that share a topic; from hourly buckets as they
    are now."""
    start, end = days[0] - HISTORY, days[-1]
    hours = stored_series(Scope.of_groups(groups), start, end, HOUR).part(groups).stories
    everything = everything_between(start, end, HOUR).stories[0]
    spans = [slice((day - HISTORY - start) // HOUR, (day - start) // HOUR) for day in days]
    return [fit(hours[:, span], everything[span]) for span in spans]


def expected(groups: Sequence[Group], start: int, end: int) -> Expectation:
    """What is to be expected in [start, end), from the buckets as they are now."""
    days = days_of(start, end)
    return Expectation.of_days(days[0], fitted(groups, days))


def expected_live(groups: Sequence[Group], start: int, end: int) -> Expectation:
    """The same from the rows that are kept; what is missing is fitted and kept."""
    days = days_of(start, end)
    stored = [kept(groups, day) for day in days]
    missing = [group for group in groups if any(group.key not in found for found in stored)]
    if missing:
        for day, found, fit_of_day in zip(days, stored, fitted(missing, days), strict=True):
            found |= keep(missing, day, fit_of_day)
    return Expectation.of_days(days[0], [laid_out(groups, found) for found in stored])


Kept = dict[str, tuple[bytes, float]]  # by group: 24 float32 and the size


def kept(groups: Sequence[Group], day: int) -> Kept:
    rows = DailyBaseline.objects.filter(day=moment(day).date())
    if len(groups) <= NAMED_AT_MOST:
        rows = rows.filter(group_key__in=[group.key for group in groups])
    return {key: (bytes(rate), size) for key, rate, size in rows.values_list("group_key", "rate", "size")}


def keep(groups: Sequence[Group], day: int, found: Baseline) -> Kept:
    """Store a fit of the groups; where somebody else has just done so, theirs stays."""
    rows = {group.key: (found.rate[i].tobytes(), float(found.size[i])) for i, group in enumerate(groups)}
    date = moment(day).date()
    DailyBaseline.objects.filter(day__lt=moment(day - DAYS_KEPT * DAY).date()).delete()
    DailyBaseline.objects.bulk_create(
        (DailyBaseline(group_key=key, day=date, rate=rate, size=size) for key, (rate, size) in rows.items()),
        ignore_conflicts=True,
    )
    return rows


def laid_out(groups: Sequence[Group], found: Kept) -> Baseline:
    rate = b"".join(found[group.key][0] for group in groups)
    size = np.array([found[group.key][1] for group in groups], dtype=np.float32)
    return Baseline(np.frombuffer(rate, dtype=np.float32).reshape(len(groups), 24), size)


def forget_baselines(group_keys: Collection[str], after: int) -> None:
    """Hours of the groups have changed from Unix seconds `after` on: days that were fitted on them are fitted anew."""
    first = moment(floor(after, DAY) + DAY).date()
    stale = DailyBaseline.objects.filter(day__gte=first)
    keys = sorted(group_keys)
    for begin in range(0, len(keys), NAMED_AT_MOST):
        stale.filter(group_key__in=keys[begin : begin + NAMED_AT_MOST]).delete()


def reach(spec: RuleSpec) -> int:
    """Seconds of buckets before a minute that deciding it wants."""
    return max(spec.window, SILENCE_WINDOW)


def observed(
    spec: RuleSpec,
    series: Series,
    everything: Series,
    start: int,
    end: int,
    *,
    live: bool = False,
) -> Observations:
    """`rules.observe` with what is to be expected read from the rows."""
    expectation_of = expected_live if live else expected
    begin = start - reach(spec)
    return observe(
        spec,
        series,
        start,
        end,
        everything=everything,
        expectation=expectation_of(series.groups, begin, end) if spec.wants_baseline else None,
        everything_expected=expectation_of((EVERYTHING,), begin, end),
    )
