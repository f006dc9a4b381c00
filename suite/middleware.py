"""What Django's chain of middleware needs from us."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed

from suite.problems import Problem


def in_one_thread(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Passes requests on. Being synchronous and innermost, it keeps the whole chain synchronous: one change of thread
    for a request instead of two for each middleware, which halves the cost of a small request under ASGI."""

    def middleware(request: HttpRequest) -> HttpResponse:
        return get_response(request)

    return middleware


def method_problems(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Tells of a method that the API does not take as it tells of any other problem."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if not isinstance(response, HttpResponseNotAllowed) or not request.path.startswith("/api/"):
            return response
        problem = Problem(405, "This method is not taken here", f"Use {response['Allow']}.").response()
        problem["Allow"] = response["Allow"]
        return problem

    return middleware
