"""The HTTP API of finance, for programs of analysts. A key with the scope `read` is needed."""

from ninja import Router

from domains.finance.api.alerts import router as alerts
from domains.finance.api.news import router as news
from domains.finance.api.rules import router as rules
from suite.events.auth import ApiKeyAuth

router = Router(auth=ApiKeyAuth("read"))
router.add_router("", news)
router.add_router("", alerts)
router.add_router("", rules)
