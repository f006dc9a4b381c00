"""What a domain says of a head it wants: `heads.py: HEADS = {name: HeadDeclaration(...)}`. Plain data, no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

LabelledText = tuple[str | tuple[str, str], str]  # (text, label), or for a pair head ((text, other), label)


@dataclass(frozen=True, slots=True)
class Examples:
    """What a head is fitted on, and what it is calibrated and measured on; the domain sees to it that no text of one
    stands in the other."""

    train: Sequence[LabelledText] = field(default_factory=tuple)
    validation: Sequence[LabelledText] = field(default_factory=tuple)
    origins: Sequence[
        int
    ] = ()  # of few examples, those of `train` first: alike where they tell of the same; see fit_head


@dataclass(frozen=True, slots=True)
class HeadDeclaration:
    """One head of a release. `examples()` is a function of the domain's `training_data.py`."""

    name: str
    kind: str  # "classification" of a text, or "pair": do two texts belong together
    labels: tuple[str, ...]  # the class order, e.g. ("no", "yes") of a pair head; () = those of its examples, sorted
    primary_metric: str  # accuracy, macro_f1, weighted_f1, auroc or ece
    examples: Callable[[], Examples]
