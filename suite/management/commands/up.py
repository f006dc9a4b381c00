"""Everything in one process: web server, Celery worker and beat. What `make run` starts.

Killing it at any moment loses no accepted event: work is rows, and the next start takes it up again.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import shutil
import signal
import socket
import sys
import threading
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import IO, Any

import uvicorn
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, connection
from django.urls import reverse

from suite import jobs
from suite.domain import DOMAINS_FOLDER, domains
from suite.embedded import EmbeddedWorkers
from suite.events.handling import is_outstanding
from suite.events.leases import release_leases
from suite.events.loading import Load
from suite.events.models import Event
from suite.formats import LoadOptions
from suite.management.plain import PlainCommand
from suite.releases import selectors as releases

FREE_BYTES = 200 * 2**20  # that the state folder's disk must have
STOP_SECONDS = 5.0  # for running work to finish; what does not is taken up at the next start
DEMO_LOGIN = "operator"  # name and password; only ever made on a loopback address


class Command(PlainCommand):
    help = "Run everything in one process: pages, API, worker and beat.\n\nExample:\n  manage.py up --port 8080"

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
        parser.add_argument("--port", default=os.environ.get("PORT") or "8000", help="default: $PORT, else 8000")
        parser.add_argument("--no-sample", action="store_true", help="neither sample data nor the demo log-in")

    def handle(self, *args: Any, **options: Any) -> None:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # the encoder's threads share the cores with the pages
        port = port_number(options["port"])
        lock = lock_state()
        listener = listen(options["host"], port)
        name = "localhost" if is_loopback(options["host"]) else options["host"]
        address = f"http://{name}:{listener.getsockname()[1]}"
        note_address(lock, address)
        wants_demo = not options["no_sample"]
        try:
            self.say("Preparing the database")
            call_command("migrate", interactive=False, verbosity=0)
            has_login = self.prepare_login(wants_demo, is_loopback(options["host"]))
            settings.IS_DEMO = settings.IS_DEMO or has_login
            jobs.release_leases()  # of a process that was killed here
            if settings.IS_EMBEDDED:
                release_leases()  # of events; this process is the only worker
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used: {str(error).splitlines()[0]}") from error
        self.serve(listener, address, wants_demo, has_login)

    def prepare_login(self, wants_demo: bool, is_local: bool) -> bool:
        """Make the demo log-in where nobody can log in yet; True where it exists. Never on a public address."""
        users = get_user_model()
        demo = users.objects.filter(username=DEMO_LOGIN).first()
        if demo is not None and demo.check_password(DEMO_LOGIN):
            if not is_local:
                raise CommandError(
                    f"The demo log-in {DEMO_LOGIN} exists, and this address can be reached by others. "
                    f"Change its password first: manage.py changepassword {DEMO_LOGIN}"
                )
            return True
        if not wants_demo or not is_local or users.objects.exists():
            return False
        users.objects.create_superuser(DEMO_LOGIN, password=DEMO_LOGIN)
        return True

    def serve(self, listener: socket.socket, address: str, wants_demo: bool, has_login: bool) -> None:
        settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
        server = uvicorn.Server(
            uvicorn.Config(
                "suite.asgi:application",
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                timeout_graceful_shutdown=2,
            )
        )
        workers = EmbeddedWorkers()
        workers.start()
        threading.Thread(
            target=self.prepare, args=(server, address, wants_demo, has_login), name="prepare", daemon=True
        ).start()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)  # uvicorn handles the first, and raises it again when it is done
        server.run(sockets=[listener])
        self.say("Stopping")
        if not workers.stop(STOP_SECONDS):
            self.say("Work in progress was left; the next start takes it up again")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # threads of libraries must not hold up the end

    def prepare(self, server: uvicorn.Server, address: str, wants_demo: bool, has_login: bool) -> None:
        """What a first start needs and pages need not wait for: the release of the encoder, and sample data."""
        try:
            while not server.started:
                time.sleep(0.05)
            self.say(f"Pages are at {address}")
            if wants_demo and self.load_samples():
                self.wait_for_handlers()
            if releases.active() is None:
                self.say("Making the first release of the encoder")
                call_command("release", verbosity=0)
        except Exception as error:  # whatever is missing, the pages go on and say so
            self.stderr.write(f"The first start is not complete: {type(error).__name__}: {error}")
        finally:
            connection.close()
        self.say_ready(address, has_login)

    def load_samples(self) -> bool:
        """Load every domain's sample into an empty database, or go on where a killed start stopped; True if any."""
        loaded = False
        for domain in domains().values():
            loader = domain.declared("loaders", "LOADERS").get("sample")
            if loader is None:
                continue
            folder = DOMAINS_FOLDER / domain.label / "sample"
            load = Load(f"{domain.label}.sample", loader, [folder], LoadOptions(), self.stderr.write)
            load.progress()
            is_empty = not Event.objects.filter(type__startswith=f"{domain.label}.").exists()
            if is_empty or load.resumed_at:
                self.say(f"Loading the sample data of {domain.title}")
                load.run()
                loaded = True
        return loaded

    def wait_for_handlers(self, seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while is_outstanding() and time.monotonic() < deadline:
            time.sleep(0.2)

    def say_ready(self, address: str, has_login: bool) -> None:
        lines = ["", f"Suite is ready: {address}"]
        if has_login:
            lines.append(f"Log in at {address}/admin/ as {DEMO_LOGIN}, password {DEMO_LOGIN}")
        homes = [reverse(domain.home) for domain in domains().values() if domain.home and domain.part("urls")]
        page = address + (homes[0] if homes else "/")
        lines.append(f"Next: open {page}, click something, and watch the list beside it. Ctrl-C stops.")
        self.say("\n".join(lines))

    def say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()


def lock_state() -> IO[str]:
    """Hold the state folder: one `up` at a time. The lock ends with the process, however it ends."""
    folder: Path = settings.STATE_DIR
    try:
        free = shutil.disk_usage(folder).free
        lock = (folder / "up.lock").open("a+")
    except OSError as error:
        raise CommandError(f"The folder {folder} cannot be written ({error.strerror}); set SUITE_STATE.") from error
    if free < FREE_BYTES:
        raise CommandError(f"The disk of {folder} has {free >> 20} MiB free; Suite needs {FREE_BYTES >> 20} MiB.")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        lock.seek(0)
        holder = lock.read().strip() or "another process"
        raise CommandError(f"Suite already runs on {folder} ({holder}); stop it, or set SUITE_STATE.") from error
    return lock


def note_address(lock: IO[str], address: str) -> None:
    lock.truncate(0)
    lock.write(f"process {os.getpid()}, {address}\n")
    lock.flush()


def port_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65_536):
        raise CommandError(f"PORT={text!r} is not a port: use a whole number from 1 to 65535, or 0 for any free one.")
    return int(text)


def listen(host: str, port: int) -> socket.socket:
    """A bound socket, made first, so that a taken port is known before anything is prepared."""
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(target)
        listener.listen(2048)  # an early visitor waits instead of being turned away
    except OSError as error:
        mend = "choose another: PORT=8001 make run" if error.errno == errno.EADDRINUSE else "choose another address"
        raise CommandError(f"{host}:{port} cannot be used ({error.strerror}); {mend}") from error
    listener.set_inheritable(True)
    return listener


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
