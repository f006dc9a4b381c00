"""The live evaluation: every enabled rule is taken from the minute where it stopped to the last whole minute.

What a rule concludes is written in one transaction, which begins by moving the rule's progress on from where it was: of
two evaluators one has an effect, and whoever is killed has none. A restart goes on where the rows say that it stopped,
with all that is pending; minutes that were missed are decided one by one, as if nobody had been away.

A clock that jumps ahead finds minutes without stories, in which nothing fires; one that is put back finds minutes that
are decided already, waits, and after more than `PATIENCE` takes back what it decided ahead of the clock.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from django.db import transaction
from django.db.models import Max

from domains.finance.alerting import history, late, ledger
from domains.finance.alerting.rules import (
    FIRING,
    NO_DATA,
    PENDING,
    RESOLVED,
    Observations,
    State,
    Transition,
    evaluate,
)
from domains.finance.alerting.series import DAY, MINUTE, Group, floor, moment, unix
from domains.finance.models import Alert, AlertRule, Revision, RuleProgress, RuleState
from domains.finance.models import Transition as Line

log = logging.getLogger(__name__)
DELAY = 5  # seconds that a minute stays open for stories which are on their way
AT_ONCE = 6 * 3_600  # seconds of minutes in one transaction, where there is much to catch up
LONGEST = 7 * DAY  # seconds that are caught up with; what was missed before that stays undecided
PUT_BACK = "the clock was put back"
PATIENCE = 300  # seconds that a clock may lie behind the decided minutes before they are given up


@dataclass(frozen=True, slots=True)
class Run:
    """One evaluation of all rules: up to where, and what it has read. The number of the newest change is read before
    any bucket: what changes from then on is looked at the next time."""

    clock: Callable[[], float]
    horizon: int
    revision: int
    minutes: history.Minutes


@dataclass(frozen=True, slots=True)
class Decision:
    """What one rule makes of the minutes (start, end]."""

    observations: Observations
    groups: tuple[Group, ...]
    transitions: Mapping[int, Sequence[Transition]]  # by position in `groups`
    states: Mapping[int, State]
    before: Mapping[Group, RuleState]
    findings: Sequence[late.Finding] = ()  # of minutes that were decided before


def evaluate_rules(now: float | None = None) -> None:
    """Bring every enabled rule up to the last whole minute, or to the one before `now` in Unix seconds."""
    evaluate_by(time.time if now is None else lambda: now)


def evaluate_by(clock: Callable[[], float]) -> None:
    """The same by a clock. What a rule raises is stored with it, and the others go on."""
    horizon = horizon_of(clock)
    rules = AlertRule.objects.filter(is_enabled=True).select_related("progress", "watch_list")
    rules = rules.order_by(
        "-window_seconds", "id"
    )  # the widest meets the most groups, and fits their baselines at once
    due = [rule for rule in rules if is_due(rule, horizon)]
    if due:
        seen = RuleProgress.objects.aggregate(seen=Max("revision"))["seen"]
        late.forget_stale_baselines(seen or 0, floor(horizon, DAY))
    run = Run(clock, horizon, newest_revision(), minutes_of(due, horizon))
    for rule in due:
        try:
            bring_up_to(rule, run)
        except (ValueError, ArithmeticError, LookupError) as error:
            log.exception("rule %s could not be evaluated", rule.pk)
            RuleProgress.objects.filter(rule=rule).update(last_error=f"{type(error).__name__}: {error}"[:500])
    end_without_rule(horizon)


def horizon_of(clock: Callable[[], float]) -> int:
    """The end of the last minute that is over, in Unix seconds."""
    return floor(int(clock()) - DELAY, MINUTE)


def is_due(rule: AlertRule, horizon: int) -> bool:
    progress = getattr(rule, "progress", None)
    if progress is None or progress.version != rule.version:
        return True
    until = unix(progress.evaluated_until)
    return until < horizon or until > horizon + PATIENCE


def minutes_of(rules: Sequence[AlertRule], horizon: int) -> history.Minutes:
    """What rules that are nearly up to date want, together."""
    begin = min(
        (
            unix(rule.progress.evaluated_until) - history.reach(history.rule_spec(rule))
            for rule in rules
            if getattr(rule, "progress", None) and unix(rule.progress.evaluated_until) >= horizon - AT_ONCE
        ),
        default=horizon,
    )
    return history.Minutes(begin, horizon)


def bring_up_to(rule: AlertRule, run: Run) -> None:
    horizon, revision = run.horizon, run.revision
    progress = getattr(rule, "progress", None)
    if progress is None:
        begin(rule, horizon, revision)
        return
    if progress.version != rule.version:
        begin_again(rule, progress, horizon, revision)
        return
    until = unix(progress.evaluated_until)
    if until > horizon + PATIENCE:
        put_back(rule, progress, horizon_of(run.clock))  # looked at again: this run may have stood still since
        return
    findings = late.reconsider(rule, late.late_groups(history.scope_of(rule), progress), until)
    start = max(until, horizon - LONGEST)
    while start < horizon:
        end = min(start + AT_ONCE, horizon)
        decision = replace(decide(rule, start, end, run.minutes), findings=findings)
        if not conclude(rule, progress, decision, end, revision):
            return  # another evaluator was here
        start, findings = end, []


def newest_revision() -> int:
    return Revision.objects.aggregate(number=Max("number"))["number"] or 0


def begin(rule: AlertRule, at: int, revision: int) -> None:
    """A new rule decides from now on; what was before is for the back-test."""
    start = {"begun_at": moment(at), "evaluated_until": moment(at)}
    RuleProgress.objects.get_or_create(rule=rule, defaults={"version": rule.version, "revision": revision, **start})


@transaction.atomic
def begin_again(rule: AlertRule, progress: RuleProgress, horizon: int, revision: int) -> None:
    """The rule says something else now: what it raised before ends, and it decides from now on."""
    at = max(horizon, unix(progress.evaluated_until))
    anew = {"version": rule.version, "begun_at": moment(at), "revision": revision}
    if not moved(progress, at, silent_since=None, last_error="", **anew):
        return
    RuleState.objects.filter(rule=rule).delete()
    ledger.end_alerts(Alert.objects.filter(rule=rule, state=Alert.FIRING), at, "the rule was changed")


@transaction.atomic
def put_back(rule: AlertRule, progress: RuleProgress, at: int) -> None:
    """The clock was put back: go on from it, with the states that the ledger knows of then. What was decided of a time
    that has not been is undone, and nobody is told of that."""
    if unix(progress.evaluated_until) <= at + PATIENCE or not moved(progress, at, silent_since=None):
        return
    ahead = Line.objects.filter(rule=rule, rule_version=rule.version, by="", at__gt=moment(at)).exclude(group_key="")
    for key in ahead.values_list("group_key", flat=True).distinct():
        state = late.state_at(rule, Group.from_key(key), at)
        RuleState.objects.filter(rule=rule, group_key=key).delete()
        if state.name == FIRING or state.rests_until:  # what was pending begins its wait again
            rests_until = moment(state.rests_until) if state.rests_until else None
            RuleState.objects.create(
                rule=rule, group_key=key, name=state.name, since=moment(state.since), rests_until=rests_until
            )
    alerts = Alert.objects.filter(rule=rule, rule_version=rule.version)
    alerts.filter(fired_at__lte=moment(at), resolved_at__gt=moment(at)).update(state=Alert.FIRING, resolved_at=None)
    ledger.end_alerts(alerts.filter(fired_at__gt=moment(at), state=Alert.FIRING), at, PUT_BACK)
    ledger.write(rule, at, "", "put_back", PUT_BACK)


def moved(progress: RuleProgress, to: int, **more: object) -> bool:
    """Move a rule's progress on, in the caller's transaction; False where another evaluator did so before."""
    ours = RuleProgress.objects.filter(
        rule_id=progress.rule_id, evaluated_until=progress.evaluated_until, version=progress.version
    )
    if not ours.update(evaluated_until=moment(to), **more):
        return False
    progress.evaluated_until = moment(to)
    return True


def decide(rule: AlertRule, start: int, end: int, minutes: history.Minutes) -> Decision:
    """Decide on the rows; writes nothing but baselines."""
    spec, scope = history.rule_spec(rule), history.scope_of(rule)
    before = {Group.from_key(state.group_key): state for state in RuleState.objects.filter(rule=rule)}
    known = [group for group in before if group in scope]
    begin = start - history.reach(spec)
    series = minutes.series(scope, begin, end, also=known)
    everything = minutes.series(history.EVERYTHING_SCOPE, begin, end)
    observations = history.observed(spec, series, everything, start, end, live=True)
    position = {group: i for i, group in enumerate(series.groups)}
    states = {position[group]: as_state(before[group]) for group in known}
    transitions, after = evaluate(observations, states)
    return Decision(observations, series.groups, transitions, after, before)


def as_state(row: RuleState) -> State:
    return State(row.name, unix(row.since), unix(row.rests_until) if row.rests_until else 0)


@transaction.atomic
def conclude(rule: AlertRule, progress: RuleProgress, decision: Decision, end: int, revision: int) -> bool:
    """Write what was decided; False, and nothing written, where another evaluator was faster."""
    silent_since = silence_begins(progress, decision.observations)
    since = moment(silent_since) if silent_since else None
    if not moved(progress, end, revision=revision, silent_since=since, last_error=""):
        return False
    note_silence(rule, progress, silent_since, end)
    late.write_findings(rule, decision.findings)
    write_states(rule, decision)
    ledger.tell(*write_transitions(rule, decision))
    left = [group.key for group in decision.before if group not in decision.groups]
    if left:
        alerts = Alert.objects.filter(rule=rule, state=Alert.FIRING, group_key__in=left)
        ledger.end_alerts(alerts, end, "the rule does not look at it any more")
    return True


def silence_begins(progress: RuleProgress, observations: Observations) -> int | None:
    """Since when the stream is silent, as of the last minute; None where it is not."""
    silent = observations.is_silent
    if not len(silent) or not silent[-1]:
        return None
    if silent.all() and progress.silent_since:
        return unix(progress.silent_since)
    heard = (~silent).nonzero()[0]
    return int(observations.ends[heard[-1] + 1 if len(heard) else 0])


def note_silence(rule: AlertRule, progress: RuleProgress, silent_since: int | None, end: int) -> None:
    was_silent = progress.silent_since is not None
    if silent_since and not was_silent:
        ledger.write(rule, silent_since, "data", NO_DATA, "the whole stream is silent")
    elif was_silent and not silent_since:
        ledger.write(rule, end, NO_DATA, "data", "stories come in again")
    progress.silent_since = moment(silent_since) if silent_since else None


def write_states(rule: AlertRule, decision: Decision) -> None:
    """The groups that are not plainly inactive, as they are now; a row each, and none for the others."""
    observations = decision.observations
    rows = []
    for i, state in decision.states.items():
        group = decision.groups[i]
        known = decision.before.get(group)
        seen: list[list[object]] = []
        if state.name == PENDING:  # kept until it fires, so that the alert can show every minute that decided
            is_older = known is not None and known.name == PENDING and unix(known.since) == state.since
            first = 0 if is_older else int((state.since - observations.ends[0]) // MINUTE)
            seen = (list(known.seen) if known and is_older else []) + observations.seen(
                i, first, len(observations.ends) - 1
            )
        rows.append(
            RuleState(
                rule=rule,
                group_key=group.key,
                name=state.name,
                since=moment(state.since),
                rests_until=moment(state.rests_until) if state.rests_until else None,
                seen=seen,
            )
        )
    kept = {row.group_key for row in rows}
    gone = [row.pk for group, row in decision.before.items() if group.key not in kept]
    RuleState.objects.filter(pk__in=gone).delete()
    RuleState.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["rule", "group_key"],
        update_fields=["name", "since", "rests_until", "seen"],
    )


def write_transitions(rule: AlertRule, decision: Decision) -> tuple[list[Alert], list[Alert]]:
    """The ledger and the alerts; returns those that fired and those that resolved, as they are now."""
    fired: list[Alert] = []
    resolved: list[Alert] = []
    lines = []
    for i, found in decision.transitions.items():
        group = decision.groups[i]
        alert: Alert | None = None
        known = decision.before.get(group)
        started, rested = (unix(known.since), known.rests_until) if known else (0, None)
        for each in found:
            step = int((each.at - decision.observations.ends[0]) // MINUTE)
            figures = decision.observations.figures(i, step)
            if each.after == PENDING:
                started = each.at
            elif each.after == FIRING:
                started = started if each.before == PENDING else each.at
                seen = decided_minutes(decision, i, started, step)
                alert, is_new = ledger.open_alert(rule, group, started, each.at, figures, seen, rested)
                if is_new:
                    late.note_missed_firing(rule, group, alert)
                    fired.append(alert)
            elif each.after == RESOLVED:
                alert = alert or Alert.objects.filter(rule=rule, group_key=group.key, state=Alert.FIRING).first()
                if alert is not None:
                    ledger.close_alert(alert, each.at)
                    resolved.append(alert)
                rested = moment(each.at + rule.cool_down_seconds)
            lines.append(ledger.line(rule, each.at, each.before, each.after, group=group, alert=alert, figures=figures))
    ledger.append(lines)
    return fired, resolved


def decided_minutes(decision: Decision, i: int, started: int, step: int) -> list[list[object]]:
    """Every minute from the one in which the group became pending to the one in which it fired."""
    first = int((started - decision.observations.ends[0]) // MINUTE)
    known = decision.before.get(decision.groups[i])
    earlier = list(known.seen) if known is not None and first < 0 else []
    return earlier + decision.observations.seen(i, max(first, 0), step)


def end_without_rule(at: int) -> None:
    """Alerts of rules that were switched off or deleted end; a rule that is switched on again begins anew."""
    orphans = Alert.objects.filter(state=Alert.FIRING, rule=None)
    if orphans.exists():
        with transaction.atomic():
            ledger.end_alerts(orphans, at, "the rule was deleted")
    for progress in RuleProgress.objects.filter(rule__is_enabled=False).select_related("rule"):
        with transaction.atomic():
            if RuleProgress.objects.filter(pk=progress.pk, rule__is_enabled=False).delete()[0]:
                RuleState.objects.filter(rule=progress.rule).delete()
                alerts = Alert.objects.filter(rule=progress.rule, state=Alert.FIRING)
                ledger.end_alerts(alerts, at, "the rule was switched off")
