"""The first page: what is here, and where to go next."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from suite.domain import domains


def home(request: HttpRequest) -> HttpResponse:
    return render(request, "home.html", {"domains": domains().values()})
