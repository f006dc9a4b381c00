"""Errors of the API as problem+json (RFC 9457): what is wrong, where, and how to mend it. Never a traceback."""

from __future__ import annotations

import json
from http import HTTPStatus
from itertools import groupby
from typing import Any

from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

RETRIED = {429, 503}  # statuses that come with Retry-After


class Problem(Exception):
    """An answer other than success. `retry_after` is in seconds and sets the header of that name."""

    def __init__(
        self, status: int, title: str, detail: str = "", *, retry_after: int | None = None, **more: Any
    ) -> None:
        super().__init__(title)
        self.status, self.title, self.detail, self.retry_after, self.more = status, title, detail, retry_after, more

    def response(self) -> HttpResponse:
        body = {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail, **self.more}
        response = HttpResponse(json.dumps(body), status=self.status, content_type="application/problem+json")
        if self.retry_after is not None:
            response["Retry-After"] = str(self.retry_after)
        return response


PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what to do about it"},
        "errors": {"type": "array", "items": {"type": "object"}, "description": "by field, where fields are at fault"},
    },
}


def problem_responses(*statuses: int) -> dict[str, Any]:
    """The `responses` of an operation's `openapi_extra`: these statuses, each with a problem+json body."""
    content = {"application/problem+json": {"schema": PROBLEM_SCHEMA}}
    retry = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
    return {
        "responses": {
            status: {"description": HTTPStatus(status).phrase, "content": content}
            | ({"headers": retry} if status in RETRIED else {})
            for status in statuses
        }
    }


def install_problem_handlers(api: NinjaAPI) -> None:
    @api.exception_handler(Problem)
    def problem(request: HttpRequest, error: Problem) -> HttpResponse:
        return error.response()

    @api.exception_handler(ValidationError)
    def validation(request: HttpRequest, error: ValidationError) -> HttpResponse:
        errors = [
            {"field": ".".join(str(part) for part, _ in groupby(item["loc"])), "reason": item["msg"]}
            for item in error.errors
        ]  # a body whose parameter is called body is named once
        return Problem(422, "The request is not valid", errors[0]["reason"] if errors else "", errors=errors).response()

    @api.exception_handler(AuthenticationError)
    def authentication(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
        response = Problem(401, "A valid API key is needed", "Send it as 'Authorization: Bearer KEY'.").response()
        response["WWW-Authenticate"] = "Bearer"
        return response

    @api.exception_handler(HttpError)
    def http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
        return Problem(error.status_code, str(error)).response()

    @api.exception_handler(Http404)
    def not_found(request: HttpRequest, error: Http404) -> HttpResponse:
        return Problem(404, "Not found", str(error)).response()

    @api.exception_handler(DatabaseError)
    @api.exception_handler(InterfaceError)
    def database(request: HttpRequest, error: Exception) -> HttpResponse:
        return Problem(503, "The database cannot take this now", "Send it again later.", retry_after=2).response()
