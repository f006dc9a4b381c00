"""The channel layer of one process: Channels' in-memory layer, made safe for senders in other threads.

The embedded worker runs beside the web server, in a thread with an event loop of its own. asyncio queues belong to one
loop, so a message is put into its queue by the loop that reads it; otherwise the reader would sleep on until something
else woke it. A full queue drops the message, as every layer may: the heartbeat repairs a lost doorbell.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from channels.layers import InMemoryChannelLayer


class ProcessLayer(InMemoryChannelLayer):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._loops: dict[str, asyncio.AbstractEventLoop] = {}  # of the reader of each channel

    async def group_add(self, group: str, channel: str) -> None:
        self._loops[channel] = asyncio.get_running_loop()
        await super().group_add(group, channel)

    async def group_discard(self, group: str, channel: str) -> None:
        await super().group_discard(group, channel)
        if not any(channel in channels for channels in list(self.groups.values())):
            self._loops.pop(channel, None)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        for channel in list(self.groups.get(group, ())):
            loop = self._loops.get(channel)
            try:
                if loop is not None:
                    loop.call_soon_threadsafe(self._put, channel, dict(message))
            except RuntimeError:  # that loop is closed, and its reader gone with it
                self._loops.pop(channel, None)

    def _put(self, channel: str, message: dict[str, Any]) -> None:
        queue = self.channels.setdefault(channel, asyncio.Queue(maxsize=self.get_capacity(channel)))
        if not queue.full():
            queue.put_nowait((time.time() + self.expiry, message))
