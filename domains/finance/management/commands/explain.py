"""An alert, decided once more from what is stored: `manage.py explain alert 12`."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from domains.finance.alerting.explain import Explanation, explain
from domains.finance.alerting.series import moment
from domains.finance.models import Alert
from suite.management.plain import PlainCommand


class Command(PlainCommand):
    help = (
        "Replay an alert from its stored minutes and figures to its decision, beside the figures as they are now and\n"
        "everything that the ledger holds of it. Exit status 1 where the decision is another one.\n\n"
        "Examples:\n  manage.py explain alert 12\n  manage.py explain alert 12 --json"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("what", choices=["alert"], help="what to explain")
        parser.add_argument("id", type=int, help="its number, as pages and notifications show it")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        alert = Alert.objects.filter(pk=options["id"]).select_related("entity").first()
        if alert is None:
            raise CommandError(f"There is no alert {options['id']}.")
        explanation = explain(alert)
        if options["json"]:
            self.stdout.write(json.dumps(explanation.as_json(), ensure_ascii=False))
        else:
            self.print_words(explanation)
        if not explanation.is_same:
            raise CommandError("The stored minutes lead to another decision than the one that was made.")

    def print_words(self, found: Explanation) -> None:
        alert, spec = found.alert, found.spec
        about = " ".join(filter(None, (alert.entity.symbol if alert.entity else "", alert.topic))) or "all stories"
        self.stdout.write(f"Alert {alert.pk}: {alert.rule_name} (version {alert.rule_version}), {about}")
        self.stdout.write(f"  {alert.why}")
        self.stdout.write(f"  pending {alert.started_at:%Y-%m-%d %H:%M} UTC, fired {alert.fired_at:%Y-%m-%d %H:%M} UTC")
        side = "at or above" if spec.comparison == "above" else "at or below"
        rule = f"{spec.metric} {side} {spec.threshold:g} in {spec.window} s, for {spec.for_seconds} s"
        self.stdout.write(f"\nThe rule: {rule},")
        self.stdout.write(f"  clear {spec.clear:g}, at least {spec.min_stories} stories, rest {spec.cool_down} s")
        self.stdout.write("\nThe minutes that decided (UTC, value, enough stories, stream silent):")
        for at, value, is_enough, is_silent in alert.seen:
            figure = "none" if value is None else f"{value:g}"
            self.stdout.write(f"  {moment(at):%H:%M}  {figure:>8}  {yes(is_enough):>3}  {yes(is_silent):>3}")
        self.stdout.write("\nDecided once more:")
        for each in found.decided:
            self.stdout.write(f"  {moment(each.at):%H:%M}  {each.before} to {each.after}")
        self.stdout.write(f"  the same decision: {yes(found.is_same)}; metric from the stored figures: {found.value}")
        self.stdout.write(f"\nFigures      then {figures(alert.figures)}\n              now {figures(found.now)}")
        if found.missing:
            self.stdout.write(f"  no longer counted: stories {', '.join(map(str, found.missing))}")
        if alert.late:
            self.stdout.write(f"  {alert.late['words']}")
        self.stdout.write(f"\nStories counted (scores of release {alert.release or 'unknown'}):")
        for story in found.evidence["stories"]:
            self.stdout.write(f"  {story['published_at'][11:16]}  {story['negative']:.2f} negative  {story['title']}")
        self.stdout.write("\nThe ledger:")
        for line in found.evidence["timeline"]:
            who = f" by {line['by']}" if line["by"] else ""
            note = f": {line['note']}" if line["note"] else ""
            self.stdout.write(f"  {line['at'][:16].replace('T', ' ')}  {line['after']}{who}{note}")


def yes(value: bool) -> str:
    return "yes" if value else "no"


def figures(of: dict[str, Any]) -> str:
    names = [name for name in ("value", "stories", "expected", "negative") if of.get(name) is not None]
    return ", ".join(f"{name} {of[name]:.4g}" for name in names)
