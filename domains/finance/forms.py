"""What people fill in: an acknowledgement, a silence, a rule. Each error stands at its field and names the limit."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.utils import timezone

from domains.finance.alerting import services
from domains.finance.alerting.rules import ABOVE, BELOW, MEAN_SENTIMENT, NEGATIVE_SHARE, SURGE, VOLUME
from domains.finance.models import Alert, AlertRule, Entity, WatchList
from domains.finance.pages.choices import topics
from domains.finance.pages.selection import find_entity, topic_words

SPANS = {"1h": ("1 hour", 1), "4h": ("4 hours", 4), "1d": ("1 day", 24), "3d": ("3 days", 72), "7d": ("1 week", 168)}
UNTIL_RESOLVED = "resolved"
LONGEST = timedelta(days=90)
MINUTE = 60  # seconds
METRICS = [
    (SURGE, "Surge of stories"),
    (VOLUME, "Number of stories"),
    (NEGATIVE_SHARE, "Negative share"),
    (MEAN_SENTIMENT, "Mean sentiment"),
]
SCOPES = [
    (AlertRule.Scope.EACH_ENTITY, "each entity by itself"),
    (AlertRule.Scope.ENTITY, "one entity"),
    (AlertRule.Scope.WATCH_LIST, "each entity of a watch list"),
    (AlertRule.Scope.EVERYTHING, "all stories together"),
]
COMPARISONS = [(ABOVE, "at or above"), (BELOW, "at or below")]
DECIDE = {  # the fields on which it depends when a rule fires
    "metric", "scope", "entity", "watch_list", "topic", "window", "comparison", "threshold", "clear_threshold",
    "lasting", "cool_down", "min_stories", "__all__",
}  # fmt: skip


class PageForm(forms.Form):
    """A form whose fields look as those of every page do."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            if not isinstance(field.widget, (forms.RadioSelect, forms.CheckboxInput)):
                field.widget.attrs.setdefault("class", "field")


class AcknowledgeForm(PageForm):
    span = forms.ChoiceField(
        label="For how long",
        choices=[(UNTIL_RESOLVED, "Until it resolves"), *((name, label) for name, (label, _) in SPANS.items())],
        initial="4h",
        widget=forms.RadioSelect,
    )
    note = forms.CharField(
        label="Note", required=False, max_length=500, help_text="What you do about it, for whoever looks next."
    )

    @property
    def until(self) -> datetime | None:
        """None: until it resolves."""
        return None if self.cleaned_data["span"] == UNTIL_RESOLVED else after(self.cleaned_data["span"])


class SilenceForm(PageForm):
    """Which alerts, how long, and why. The alert it begins from gives what can be matched."""

    what = forms.ChoiceField(label="What to silence", widget=forms.RadioSelect)
    span = forms.ChoiceField(
        label="For how long",
        choices=[*((name, label) for name, (label, _) in SPANS.items()), ("until", "Until …")],
        initial="4h",
        widget=forms.RadioSelect,
    )
    until_time = forms.DateTimeField(
        label="End", required=False, widget=forms.DateTimeInput(attrs={"type": "datetime-local"}), help_text="UTC"
    )
    reason = forms.CharField(
        label="Why",
        max_length=500,
        widget=forms.TextInput(attrs={"autofocus": True}),
        help_text="It stands beside every alert that this silences.",
    )

    def __init__(self, alert: Alert, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.alert = alert
        self.fields["what"].choices = self.matchers()  # type: ignore[attr-defined]
        self.fields["what"].initial = self.matchers()[0][0]

    def matchers(self) -> list[tuple[str, str]]:
        alert, found = self.alert, []
        symbol = alert.entity.symbol if alert.entity else ""
        if alert.rule_id and symbol:
            found.append(("both", f"“{alert.rule_name}” for {symbol}"))
        if alert.rule_id:
            found.append(("rule", f"every alert of “{alert.rule_name}”"))
        if symbol:
            found.append(("entity", f"every alert for {symbol}"))
        if alert.topic:
            found.append(("topic", f"every alert for the topic {alert.topic.replace('_', ' ')}"))
        return found or [("severity", f"every alert of severity {alert.severity}")]

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if values.get("span") == "until":
            until = values.get("until_time")
            if until is None and "until_time" not in self.errors:
                self.add_error("until_time", "Say when it ends.")
            elif until is not None and not timezone.now() < until <= timezone.now() + LONGEST:
                self.add_error("until_time", f"The end must be in the future, at most {LONGEST.days} days away.")
        return values

    @property
    def until(self) -> datetime:
        if self.cleaned_data["span"] == "until":
            return self.cleaned_data["until_time"]
        return after(self.cleaned_data["span"])

    @property
    def matched(self) -> dict[str, Any]:
        """The silence's matchers, as `alerting.services.silence` takes them."""
        chosen, alert = self.cleaned_data["what"], self.alert
        return {
            "rule": alert.rule if chosen in ("both", "rule") else None,
            "entity": alert.entity if chosen in ("both", "entity") else None,
            "topic": alert.topic if chosen == "topic" else "",
            "severity": alert.severity if chosen == "severity" else "",
        }


def after(span: str) -> datetime:
    return timezone.now() + timedelta(hours=SPANS[span][1])


class RuleForm(PageForm):
    """An alert rule as people think of it: spans in minutes, an entity by its symbol. What is wrong is said by the
    model; here it is only brought to its field. `rule` is the one that is changed, or new; once valid, as asked."""

    name = forms.CharField(label="Name", max_length=120)
    is_enabled = forms.BooleanField(label="Watch with this rule", required=False, initial=True)
    metric = forms.ChoiceField(label="What is measured", choices=METRICS, widget=forms.RadioSelect)
    scope = forms.ChoiceField(label="Of whom", choices=SCOPES)
    entity = forms.CharField(
        label="Entity", required=False, max_length=200, widget=forms.TextInput(attrs={"list": "entities"})
    )
    watch_list = forms.ModelChoiceField(WatchList.objects.order_by("name"), label="Watch list", required=False)
    topic = forms.ChoiceField(label="Topic", required=False)
    window = forms.IntegerField(label="Within")
    comparison = forms.ChoiceField(label="Fires when it is", choices=COMPARISONS, widget=forms.RadioSelect)
    threshold = forms.FloatField(label="Threshold")
    clear_threshold = forms.FloatField(
        label="Resolves at",
        required=False,
        help_text="Apart from the threshold an alert does not flap. Empty: the same.",
    )
    lasting = forms.IntegerField(label="For at least", help_text="So long beyond the threshold before it fires.")
    cool_down = forms.IntegerField(label="Then rests for", help_text="No new alert so long after one resolved.")
    min_stories = forms.IntegerField(label="With at least", min_value=0, help_text="Fewer stories decide nothing.")
    severity = forms.ChoiceField(label="Severity", choices=AlertRule.Severity, widget=forms.RadioSelect)

    SPANS = {"window": "window_seconds", "lasting": "for_seconds", "cool_down": "cool_down_seconds"}

    def __init__(self, data: Any, rule: AlertRule) -> None:
        self.rule = rule
        names = [name for name in self.base_fields if name not in self.SPANS]
        initial = {name: getattr(rule, name) for name in names}
        initial |= {name: getattr(rule, seconds) // MINUTE for name, seconds in self.SPANS.items()}
        super().__init__(data, initial=initial | {"entity": rule.entity.symbol if rule.entity else ""})
        known = dict.fromkeys([*topics(), *([rule.topic] if rule.topic else [])])
        self.fields["topic"].choices = [("", "any topic"), *((one, topic_words(one)) for one in known)]  # type: ignore[attr-defined]
        for name, seconds in self.SPANS.items():
            low, high = AlertRule.SPANS[seconds]
            limits = MinValueValidator(low // MINUTE), MaxValueValidator(high // MINUTE)
            self.fields[name].validators += limits
            self.fields[name].widget.attrs |= {"min": low // MINUTE, "max": high // MINUTE}

    @property
    def stored(self) -> dict[str, Any]:
        """The fields as `alerting.services` takes them."""
        values = self.cleaned_data
        names = [name for name in self.fields if name not in self.SPANS]
        spans = {seconds: values[name] * MINUTE for name, seconds in self.SPANS.items()}
        return {name: values.get(name) for name in names} | spans

    def clean_entity(self) -> Entity | None:
        text = self.cleaned_data["entity"]
        entity = find_entity(text) if text else None
        if text and entity is None and self.data.get("scope") == AlertRule.Scope.ENTITY:
            raise forms.ValidationError("No entity has this symbol or name.")
        return entity

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        if not self.errors.keys() & DECIDE:
            nameless = {} if values.get("name") else {"name": uuid4().hex}
            try:
                self.rule = services.rule_of(self.stored | nameless, self.rule)
            except services.Invalid as invalid:
                fields = {seconds: name for name, seconds in self.SPANS.items()}
                for field, reason in invalid.errors.items():
                    name = fields.get(field, field)
                    self.add_error(name if name in self.fields else None, reason[:1].upper() + reason[1:])
        return values

    @property
    def can_be_tested(self) -> bool:
        """Whether what decides is right, whatever is wrong with the name."""
        return not self.is_bound or self.is_valid() or not self.errors.keys() & DECIDE

    @property
    def to_mend(self) -> list[str]:
        """What keeps the rule from being tested, in words."""
        labels = {name: f"{field.label}: " for name, field in self.fields.items()}
        return [
            labels.get(name, "") + " ".join(map(str, errors)) for name, errors in self.errors.items() if name in DECIDE
        ]
