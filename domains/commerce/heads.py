"""The head that commerce wants of a release: does this person want this item, as a calibrated probability.

The first text says what the person looked at last (`training_data.profile_text`), the second is the item's.
"""

from __future__ import annotations

from domains.commerce.sample.examples import interest_examples
from suite.releases.heads import HeadDeclaration

HEADS = {
    "interest": HeadDeclaration(
        name="interest", kind="pair", labels=("no", "yes"), primary_metric="auroc", examples=interest_examples
    )
}
