"""Examples made of others. Headlines that say one thing of one name and another of the next are rare, and judged well
only by who looks at the name; so they are made of two headlines that say different things."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from suite.marking import beside, name_in, without_mark

Labelled = tuple[str, str]  # (text, label)
BETWEEN = ("; ", ", ", ": ", " - ")
TRIES = 20  # of texts to put beside one


def put_together(
    examples: Sequence[Labelled], sizes: Sequence[int], limit: int, share: float, dice: np.random.Generator
) -> list[Labelled]:
    """New examples: of this share of those in which a name is marked, each with a text of another label, without its
    marks, before or after it. It says nothing of the name, so the label stays.

    `sizes` are the texts' lengths in tokens; two texts together have at most `limit`. Where none of a few texts drawn
    fits, there is no new example.
    """
    labels = np.array([label for _, label in examples], dtype=object)
    others = {label: np.flatnonzero(labels != label) for label in set(labels)}
    made = []
    for place, (text, label) in enumerate(examples):
        name = name_in(text)
        if not name or not len(others[label]) or dice.random() >= share:
            continue
        for drawn in dice.choice(others[label], TRIES):
            other = without_mark(examples[drawn][0])
            if sizes[place] + sizes[drawn] <= limit and name not in other and other != without_mark(text):
                made.append((beside(text, other, BETWEEN[dice.integers(len(BETWEEN))], bool(dice.integers(2))), label))
                break
    return made
