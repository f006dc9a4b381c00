"""The HTTP API of finance, for programs of analysts. A key with the scope `read` is needed."""

from ninja import Router

from suite.events.auth import ApiKeyAuth

router = Router(auth=ApiKeyAuth("read"))
