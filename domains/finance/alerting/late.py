"""Stories that come late, into minutes that were decided without them. What was decided stands, and nobody is told
anew; what would have been decided with them is written beside the alert and into the ledger.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Min
from django.utils import timezone

from domains.finance.alerting import history, ledger
from domains.finance.alerting.rules import FIRING, INACTIVE, PENDING, RESOLVED, State, evaluate
from domains.finance.alerting.series import DAY, MINUTE, Group, floor, moment, unix
from domains.finance.models import Alert, AlertRule, Bucket, RuleProgress
from domains.finance.models import Transition as Line

LONGEST = DAY  # seconds that a story may be late and still be held against what was decided
STATES = (INACTIVE, PENDING, FIRING, RESOLVED)


@dataclass(frozen=True, slots=True)
class Finding:
    """With all its stories the group would have fired at `at` (None: never); `alert` is what fired (None: nothing)."""

    group: Group
    at: int | None
    alert: Alert | None


def forget_stale_baselines(since: int, today: int) -> None:
    """Fit anew what rests on hours before `today` (a midnight UTC) that changed after revision `since`."""
    rows = Bucket.objects.filter(seconds=Bucket.MINUTE, revision__gt=since, start__lt=moment(today))
    by_start: dict[int, list[str]] = defaultdict(list)
    for entity_id, topic, first in rows.values_list("entity_id", "topic").annotate(first=Min("start")):
        by_start[floor(unix(first), DAY)].append(Group(entity_id, topic).key)
    for start, keys in by_start.items():
        history.forget_baselines(keys, start)


def late_groups(scope: history.Scope, progress: RuleProgress) -> dict[Group, int]:
    """Groups of which a decided minute has changed since the rule looked last, and the first of those minutes."""
    until = unix(progress.evaluated_until)
    first = max(until - LONGEST, unix(progress.begun_at))
    rows = Bucket.objects.filter(
        seconds=Bucket.MINUTE,
        topic=scope.topic,
        revision__gt=progress.revision,
        start__gte=moment(first),
        start__lt=moment(until),
    )
    found = rows.values_list("entity_id").annotate(first=Min("start"))
    groups = {Group(entity_id, scope.topic): unix(at) for entity_id, at in found}
    return {group: at for group, at in groups.items() if group in scope}


def reconsider(rule: AlertRule, late: Mapping[Group, int], until: int) -> list[Finding]:
    """Where the minutes up to `until`, decided once more with what has come in, would have ended otherwise."""
    if not late:
        return []
    spec, groups, start = history.rule_spec(rule), sorted(late), min(late.values())
    scope, begin = history.Scope.of_groups(groups), start - history.reach(spec)
    series = history.stored_series(scope, begin, until, MINUTE).part(groups)
    everything = history.everything_between(begin, until)
    observations = history.observed(spec, series, everything, start, until, live=True)
    states = {i: state_at(rule, group, start) for i, group in enumerate(groups)}
    transitions, _ = evaluate(observations, states)
    fired = first_alerts(rule, groups, start, until)
    findings = []
    for i, group in enumerate(groups):
        at = next((each.at for each in transitions.get(i, ()) if each.after == FIRING), None)
        alert = fired.get(group)
        if at != (unix(alert.fired_at) if alert else None):
            findings.append(Finding(group, at, alert))
    return findings


def state_at(rule: AlertRule, group: Group, at: int) -> State:
    """The state that a group was in after the minute `at`, by the ledger."""
    lines = Line.objects.filter(
        rule=rule, rule_version=rule.version, group_key=group.key, by="", after__in=STATES, at__lte=moment(at)
    )
    put_back = Line.objects.filter(rule=rule, after="put_back").order_by("id").last()
    if put_back is not None:  # what was decided ahead of the clock does not stand
        lines = lines.exclude(at__gt=put_back.at, id__lt=put_back.pk)
    last = lines.order_by("at", "id").last()
    if last is None or last.after == INACTIVE:
        return State()
    if last.after == RESOLVED:
        return State(INACTIVE, unix(last.at), unix(last.at) + rule.cool_down_seconds)
    return State(last.after, unix(last.at))


def first_alerts(rule: AlertRule, groups: Sequence[Group], start: int, until: int) -> dict[Group, Alert]:
    """The first alert of each group that fired in (start, until]."""
    alerts = Alert.objects.filter(
        rule=rule,
        rule_version=rule.version,
        group_key__in=[group.key for group in groups],
        fired_at__gt=moment(start),
        fired_at__lte=moment(until),
    )
    return {Group.from_key(alert.group_key): alert for alert in alerts.order_by("-fired_at")}


def write_findings(rule: AlertRule, findings: Sequence[Finding]) -> None:
    """Into the ledger, and beside the alerts."""
    ledger.append(
        ledger.line(
            rule,
            finding.at if finding.at is not None else unix(finding.alert.fired_at) if finding.alert else 0,
            "",
            "late",
            group=finding.group,
            alert=finding.alert,
            note=words(finding.at, unix(finding.alert.fired_at) if finding.alert else None),
        )
        for finding in findings
    )
    for finding in findings:
        if finding.alert is not None:
            note(finding.alert, finding.at)


def note(alert: Alert, at: int | None) -> None:
    """`at`: when the alert would have fired; None: not at all."""
    alert.late = {
        "fired_at": moment(at).isoformat() if at is not None else None,
        "noted_at": timezone.now().isoformat(),
        "words": words(at, unix(alert.fired_at)),
    }
    alert.save(update_fields=["late"])


def words(would: int | None, did: int | None) -> str:
    reason = "with the stories that came late"
    if would is None:
        return f"would not have fired {reason}"
    if did is None:
        return f"would have fired {reason}"
    minutes, side = abs(did - would) // MINUTE, "earlier" if would < did else "later"
    return f"would have fired {minutes} minute{'' if minutes == 1 else 's'} {side} {reason}"


def note_missed_firing(rule: AlertRule, group: Group, alert: Alert) -> None:
    """A new alert that late stories would have fired before: say so."""
    reach = rule.window_seconds + rule.for_seconds
    lines = Line.objects.filter(
        rule=rule, rule_version=rule.version, group_key=group.key, after="late", alert=None, at__lt=alert.fired_at
    )
    missed = lines.filter(at__gte=moment(unix(alert.started_at) - reach)).order_by("at").first()
    if missed is not None:
        note(alert, unix(missed.at))
