"""The heads that support wants of a release: does a text answer a question, and what is a message about.

The first text of a pair is the question, masked; the second an answer's title and text, or a reply.
"""

from __future__ import annotations

from domains.support.training_data import NO, YES, intent_examples, relevance_examples
from suite.releases.heads import HeadDeclaration

HEADS = {
    "relevance": HeadDeclaration(
        name="relevance", kind="pair", labels=(NO, YES), primary_metric="auroc", examples=relevance_examples
    ),
    "intent": HeadDeclaration(
        name="intent", kind="classification", labels=(), primary_metric="macro_f1", examples=intent_examples
    ),
}
