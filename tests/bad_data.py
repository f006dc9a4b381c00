"""What must not be taken by support and finance: events with one wrong field, and requests."""

from __future__ import annotations

from typing import Any

MESSAGE = ("support.message.received", {"conversation_id": "bad", "message_id": "m", "text": "Where is it?"})
ANSWER = ("support.answer.changed", {"answer_id": "bad", "text": "It is on its way."})
TAKEN = ("support.suggestion.accepted", {"suggestion_id": "none"})
STATE = ("support.conversation.changed", {"conversation_id": "bad", "state": "solved"})
ARTICLE = (
    "finance.article.published",
    {"article_id": "bad", "title": "Nothing happened", "published_at": "2026-01-01T12:00:00Z"},
)
LEANING = ("finance.sentiment.labelled", {"text": "Northwind Bank thrives", "label": "positive"})
ACKNOWLEDGED = ("finance.alert.acknowledged", {"alert_id": 1})
LONG = "x" * 100_000

WRONG_DATA: dict[str, tuple[tuple[str, dict[str, Any]], dict[str, Any], str]] = {
    "an empty message": (MESSAGE, {"text": ""}, "data.text"),
    "a message of white space": (MESSAGE, {"text": " \n\t"}, "data.text"),
    "a message of 100 KB": (MESSAGE, {"text": LONG}, "data.text"),
    "a message that is a number": (MESSAGE, {"text": 7}, "data.text"),
    "a message with NUL": (MESSAGE, {"text": "a\0b"}, "data.text"),
    "a message of nobody": (MESSAGE, {"author": "robot"}, "data.author"),
    "a message whose author is a list": (MESSAGE, {"author": ["customer"]}, "data.author"),
    "a message without a conversation": (MESSAGE, {"conversation_id": None}, "data.conversation_id"),
    "a message with a long conversation": (MESSAGE, {"conversation_id": LONG}, "data.conversation_id"),
    "a message from yesterday": (MESSAGE, {"sent_at": "yesterday"}, "data.sent_at"),
    "a customer that is a text": (MESSAGE, {"customer": "Ada"}, "data.customer"),
    "a customer with a list": (MESSAGE, {"customer": {"orders": [1, 2]}}, "data.customer.orders"),
    "a customer with 1,000 facts": (MESSAGE, {"customer": {str(n): n for n in range(1_000)}}, "data.customer"),
    "a customer with a long fact": (MESSAGE, {"customer": {"name": LONG}}, "data.customer.name"),
    "an empty answer": (ANSWER, {"text": ""}, "data.text"),
    "an answer of 100 KB": (ANSWER, {"text": LONG}, "data.text"),
    "an answer without an id": (ANSWER, {"answer_id": ""}, "data.answer_id"),
    "an answer with a title that is an object": (ANSWER, {"title": {}}, "data.title"),
    "a suggestion that nobody made": (TAKEN, {}, "data.suggestion_id"),
    "a suggestion that is a number": (TAKEN, {"suggestion_id": 1}, "data.suggestion_id"),
    "a state that there is not": (STATE, {"state": "lost"}, "data.state"),
    "a state that is an object": (STATE, {"state": {"a": 1}}, "data.state"),
    "an article without a title": (ARTICLE, {"title": ""}, "data.title"),
    "an article whose title is markup": (ARTICLE, {"title": "<script>alert(1)</script><p> </p>"}, "data.title"),
    "an article of 100 KB": (ARTICLE, {"body": LONG}, "data.body"),
    "an article with NUL": (ARTICLE, {"title": "a\0b"}, "data.title"),
    "an article of no time": (ARTICLE, {"published_at": None}, "data.published_at"),
    "an article of tomorrow": (ARTICLE, {"published_at": 4_000_000_000}, "data.published_at"),
    "an article of true": (ARTICLE, {"published_at": True}, "data.published_at"),
    "an article at a script": (ARTICLE, {"url": "javascript:alert(1)"}, "data.url"),
    "an article in no language": (ARTICLE, {"language": "???"}, "data.language"),
    "an article that is a list": (ARTICLE, {"article_id": ["a"]}, "data.article_id"),
    "a leaning that there is not": (LEANING, {"label": "gloomy"}, "data.label"),
    "a leaning of a name that is not there": (LEANING, {"entity": "Halden"}, "data.entity"),
    "an alert that there is not": (ACKNOWLEDGED, {"alert_id": 10**30}, "data.alert_id"),
    "an alert that is a list": (ACKNOWLEDGED, {"alert_id": [1]}, "data.alert_id"),
}

# method, address below /api/, body, status, the field at fault
ASKED: dict[str, tuple[str, str, Any, int, str]] = {
    "an empty first message": ("POST", "support/conversations", {"text": ""}, 422, "body.text"),
    "a blank first message": ("POST", "support/conversations", {"text": " "}, 422, "body.text"),
    "a first message of 100 KB": ("POST", "support/conversations", {"text": LONG}, 422, "body.text"),
    "a first message with NUL": ("POST", "support/conversations", {"text": "a\0b"}, 422, "body.text"),
    "a first message that is a list": ("POST", "support/conversations", {"text": ["a"]}, 422, "body.text"),
    "a customer with an object": (
        "POST", "support/conversations", {"text": "a", "customer": {"a": {}}}, 422, "body.customer.a"
    ),
    "a message to nobody": ("POST", "support/conversations/none/messages", {"text": "a"}, 404, ""),
    "suggestions for nobody": ("GET", "support/conversations/none/suggestions", None, 404, ""),
    "a conversation that there is not": ("GET", "support/conversations/none", None, 404, ""),
    "a conversation with NUL": ("GET", "support/conversations/a%00b", None, 422, "path.conversation_id"),
    "no question": ("POST", "support/suggest", {}, 422, "body.text"),
    "a question of 100 KB": ("POST", "support/suggest", {"text": LONG}, 422, "body.text"),
    "many suggestions": ("POST", "support/suggest", {"text": "a", "k": 1_000}, 422, "body.k"),
    "answers without a number": ("GET", "support/answers?limit=many", None, 422, "query.limit"),
    "a story that there is not": ("GET", "finance/stories/9000000000", None, 404, ""),
    "a story that is a word": ("GET", "finance/stories/first", None, 422, "path.story_id"),
    "stories after nothing": ("GET", "finance/stories?after=here", None, 422, "query.after"),
    "stories of yesterday": ("GET", "finance/stories?since=yesterday", None, 422, "query.since"),
    "an article that there is not": ("GET", "finance/articles/none", None, 404, ""),
    "buckets of seven seconds": ("GET", "finance/series?seconds=7", None, 422, "query.seconds"),
    "buckets of the year 1": ("GET", "finance/series?since=0001-01-01", None, 422, "query.since"),
    "an expectation of nobody": ("GET", "finance/expected?entity=NOBODY", None, 422, "query.entity"),
    "an alert of zero": ("GET", "finance/alerts/0", None, 422, "path.alert_id"),
    "an alert that is not there": ("POST", "finance/alerts/900/acknowledge", {}, 404, ""),
    "a rule without a name": ("POST", "finance/rules", {}, 422, "body.name"),
    "a rule of a wrong metric": ("POST", "finance/rules", {"name": "a", "metric": "mood"}, 422, "body.metric"),
    "a rule of half a minute": (
        "POST", "finance/rules", {"name": "a", "window_seconds": 330}, 422, "body.window_seconds"
    ),
    "a rule for nobody": (
        "POST", "finance/rules", {"name": "a", "scope": "entity", "entity": "NOBODY"}, 422, "body.entity"
    ),
    "a rule with NUL": ("POST", "finance/rules", {"name": "a\0b"}, 422, "body.name"),
    "a back-test of a century": ("POST", "finance/rules/backtest", {"days": 36_500}, 422, "body.days"),
    "a silence without an end": ("POST", "finance/silences", {"reason": "a"}, 422, "body.until"),
    "a silence of a body that is a list": ("POST", "finance/silences", [], 422, "body.until"),
}  # fmt: skip
