"""The web process: HTTP through Django, websockets through Channels."""

import os
import warnings

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "suite.settings")
# Static files are small and sent at once; the line is of no use to who starts the server.
warnings.filterwarnings("ignore", "StreamingHttpResponse must consume synchronous iterators")
http = get_asgi_application()  # before anything that imports models

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.urls import path  # noqa: E402

from suite.live.consumer import TopicConsumer  # noqa: E402

websocket = AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter([path("live/", TopicConsumer.as_asgi())])))
application = ProtocolTypeRouter({"http": http, "websocket": websocket})
