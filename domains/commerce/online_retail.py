"""The order lines of UCI Online Retail as events: items from what was sold, a purchase a line.

Lines are cleaned as a shop would clean them, and everything left out is counted by its reason:

- An invoice that starts with C is a cancellation: the customer did not want it, which is a `dismiss`.
- A line without a customer is kept; its invoice stands for a session without an account.
- Postage, charges, vouchers and manual entries are no items: their codes do not start with five digits.
- A negative quantity without a cancellation, and a line without a price, is stock-keeping.
- An item's title is the description it was sold under most often, so notes ("damages", "?") never win.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from suite.formats import LoadOptions, Problem, Record, Skipped, read_records

SOURCE = "online-retail"
CURRENCY = "GBP"
PRODUCT = re.compile(r"(\d{5}|DCGS)[0-9A-Z]{0,12}\Z")
COLUMNS = ("InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice")


@dataclass(frozen=True, slots=True)
class Line:
    """One order line that says what somebody bought, or gave back."""

    invoice: str
    code: str
    description: str
    quantity: float  # pieces, positive
    time: str  # ISO 8601, UTC
    price: float
    customer: str
    is_cancelled: bool


@dataclass(slots=True)
class Product:
    """What the lines of one code say of it."""

    titles: Counter[str]
    price: float
    first: str
    last: str


def read_lines(path: Path, options: LoadOptions) -> Iterator[Line | Problem | Skipped]:
    """Every line of the file, in order. Raises `suite.formats.FormatError`."""
    for record in read_records(path, options):
        yield record if isinstance(record, Problem) else read_line(*record)


def read_line(number: int, record: dict[str, Any]) -> Line | Problem | Skipped:
    missing = [name for name in COLUMNS if not isinstance(record.get(name), str)]
    if missing:
        return Problem(number, f"has no {', '.join(missing)}")
    try:
        quantity, price = float(record["Quantity"]), float(record["UnitPrice"])
        time = datetime.fromisoformat(record["InvoiceDate"]).isoformat() + "Z"
    except ValueError:
        return Problem(number, "has a Quantity, UnitPrice or InvoiceDate that cannot be read")
    invoice, code = record["InvoiceNo"].strip().upper(), record["StockCode"].strip().upper()
    is_cancelled = invoice.startswith("C")
    if not PRODUCT.match(code):
        return Skipped("postage, charge, voucher or manual entry: no item")
    if quantity <= 0 and not is_cancelled:
        return Skipped("stock-keeping: negative quantity without a cancellation")
    if not 0 < price < 1e6:  # false for NaN, too
        return Skipped("stock-keeping or given away: no price")
    description = " ".join(str(record.get("Description", "")).lstrip("* ").split())
    customer = str(record.get("CustomerID", "")).strip().removesuffix(".0")
    return Line(invoice, code, description, abs(quantity), time, price, customer, is_cancelled)


def read(path: Path, options: LoadOptions) -> Iterator[Record]:
    """The file's items, then an event for each of its lines. It is read twice: once for the items alone."""
    products = gather(path)
    for code, product in products.items():
        yield item_event(code, product, options.catalogue)
    occurrences: Counter[str] = Counter()
    invoice = ""
    for line in read_lines(path, options):
        if not isinstance(line, Line):
            yield line
            continue
        if line.invoice != invoice:
            invoice, occurrences = line.invoice, Counter()
        occurrences[line.code] += 1
        yield interaction_event(line, occurrences[line.code], options.catalogue)


def gather(path: Path) -> dict[str, Product]:
    products: dict[str, Product] = {}
    for line in read_lines(path, LoadOptions()):
        if isinstance(line, Line) and not line.is_cancelled:
            product = products.setdefault(line.code, Product(Counter(), line.price, line.time, line.time))
            product.price, product.last = line.price, line.time
            if any(character.isalpha() for character in line.description):
                product.titles[line.description] += 1
    return products


def item_event(code: str, product: Product, catalogue: str) -> Record:
    """The item as of its last sale in the file; its id holds what it says, so a later file may say otherwise."""
    data = {
        "catalogue": catalogue,
        "item_id": code,
        "title": title_of(product.titles) or f"Item {code}",
        "price": product.price,
        "currency": CURRENCY,
        "created_at": product.first,
    }
    digest = hashlib.blake2b(repr(sorted(data.items())).encode(), digest_size=8).hexdigest()
    return event(f"item {code} {digest}", "commerce.item.changed", product.last, data)


def title_of(titles: Counter[str]) -> str:
    """The most frequent description, of equals the longest. Capitals are for shelves, not for readers."""
    title = max(titles, key=lambda text: (titles[text], len(text), text), default="")
    return title.capitalize() if title.isupper() else title


def interaction_event(line: Line, occurrence: int, catalogue: str) -> Record:
    data: dict[str, Any] = {
        "catalogue": catalogue,
        "item_id": line.code,
        "kind": "dismiss" if line.is_cancelled else "purchase",
        "value": line.quantity,
        "timestamp": line.time,
    }
    data |= {"user_id": line.customer} if line.customer else {"session_id": line.invoice}
    name = f"{catalogue} {line.invoice} {line.code} {occurrence}"
    return event(name, "commerce.interaction.recorded", line.time, data)


def event(name: str, kind: str, time: str, data: dict[str, Any]) -> Record:
    return {"id": name, "source": SOURCE, "type": kind, "time": time, "data": data}
