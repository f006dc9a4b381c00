"""Take events from RabbitMQ until stopped: `manage.py consume`."""

from __future__ import annotations

import signal
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils.module_loading import import_string


class Command(BaseCommand):
    help = (
        "Take events from RabbitMQ (exchange suite.events, routing key = event type) until stopped. "
        "Example: SUITE_BROKER_URL=amqp://user:password@host:5672/ manage.py consume"
    )

    def handle(self, *args: Any, **options: Any) -> None:
        if settings.IS_EMBEDDED:
            raise CommandError("no RabbitMQ is set: start with SUITE_BROKER_URL=amqp://user:password@host:5672/")
        consumer = import_string("workers.consumer.EventConsumer")()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: consumer.stop())
        consumer.run()
