"""The heads that finance wants of a release: how a text, or a name marked in it, leans; and what a text is about."""

from __future__ import annotations

from domains.finance.training_data import sentiment_examples, topic_examples
from suite.releases.heads import HeadDeclaration

HEADS = {
    "sentiment": HeadDeclaration(
        "sentiment", "classification", ("negative", "neutral", "positive"), "macro_f1", sentiment_examples
    ),
    "topic": HeadDeclaration("topic", "classification", (), "macro_f1", topic_examples),
}
