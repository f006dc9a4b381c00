"""What the API of alerts and the one of rules share: parameters, answers to what cannot be done, and who writes.
Whoever may send news (scope `ingest`) may say what is worth an alert.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar

from django.http import HttpRequest, JsonResponse
from ninja import Path, Query
from pydantic import Field

from domains.finance.alerting.services import Invalid
from domains.finance.models import Alert, AlertRule, Silence
from domains.finance.news.selectors import NotFound
from suite.events.auth import ApiKeyAuth
from suite.problems import Problem, problem_responses

PLAIN = r"^[^\x00]*$"
writing = ApiKeyAuth("ingest")
Given = ParamSpec("Given")
Moment = TypeVar("Moment", datetime, datetime | None)
Number = Annotated[int, Path(ge=1, le=2**63 - 1)]
Symbol = Annotated[str, Query(max_length=60, pattern=PLAIN, description="an entity's symbol; empty: any")]
Topic = Annotated[str, Query(max_length=100, pattern=PLAIN, description="empty: any")]
Text = Annotated[str, Field(max_length=500, pattern=PLAIN)]
Name = Annotated[str, Field(max_length=150, pattern=PLAIN, description="who does it; default: the name of the key")]
READ = problem_responses(401, 403, 404, 422, 503)


def with_problems(
    view: Callable[Concatenate[HttpRequest, Given], dict[str, Any] | None],
) -> Callable[Concatenate[HttpRequest, Given], JsonResponse]:
    """What cannot be done is answered with 422 and its fields, what is missing with 404; the dictionaries are ours and
    of the declared shape."""

    @wraps(view)
    def answered(request: HttpRequest, *args: Given.args, **kwargs: Given.kwargs) -> JsonResponse:
        try:
            return JsonResponse(view(request, *args, **kwargs) or {})
        except Invalid as error:
            place = "query" if request.method == "GET" else "body"
            errors = [{"field": f"{place}.{field}", "reason": reason} for field, reason in error.errors.items()]
            raise Problem(422, "The request is not valid", str(error), errors=errors) from None
        except (NotFound, Alert.DoesNotExist, AlertRule.DoesNotExist, Silence.DoesNotExist) as error:
            raise Problem(404, "Not found", str(error)) from None

    # ninja would look for the names of the view's annotations here, not where the view is
    answered.__signature__ = inspect.signature(view, eval_str=True)  # type: ignore[attr-defined]
    return answered


def person(request: HttpRequest, given: str) -> str:
    return given or request.auth.name  # type: ignore[attr-defined]


def named(model: Any, field: str, **by: Any) -> Any:
    found = model.objects.filter(**by).first()
    if found is None:
        raise Invalid({field: "is not known"})
    return found


def aware(time: Moment) -> Moment:
    """Without an offset it is UTC."""
    return time.replace(tzinfo=UTC) if time is not None and time.tzinfo is None else time
