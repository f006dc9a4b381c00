"""Which way a text leans: the calibrated probabilities of a score, as pages show them."""

from __future__ import annotations

from dataclasses import dataclass

from domains.finance.models import Mention, Score

TONES = {"negative": "negative", "neutral": "", "positive": "positive"}
MILD = 0.05  # of sentiment, from -1 to 1: what is nearer to nothing has no colour


@dataclass(frozen=True, slots=True)
class Lean:
    negative: float
    neutral: float
    positive: float

    @property
    def label(self) -> str:
        """The likeliest of the three."""
        return max(TONES, key=lambda name: getattr(self, name))

    @property
    def probability(self) -> float:
        return max(self.negative, self.neutral, self.positive)

    @property
    def sentiment(self) -> float:
        """From -1 to 1."""
        return self.positive - self.negative

    @property
    def tone(self) -> str:
        return TONES[self.label]

    @property
    def sentiment_tone(self) -> str:
        return tone(self.sentiment)


def lean_of(mention: Mention) -> Lean:
    return Lean(mention.negative, mention.neutral, mention.positive)


def lean_of_score(score: Score) -> Lean:
    return Lean(score.p_negative, score.p_neutral, score.p_positive)


def tone(sentiment: float | None) -> str:
    """`negative`, `positive`, or nothing for what leans hardly anywhere."""
    if sentiment is None or abs(sentiment) < MILD:
        return ""
    return "positive" if sentiment > 0 else "negative"
