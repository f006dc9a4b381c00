"""Masking what identifies a person: payment cards, bank accounts, e-mail addresses, telephone and identity numbers.

Whatever is stored for learning, searching or publishing goes through `mask` first. A number is only taken for what its
check digits say it is, so that order numbers, prices and dates stay readable. A telephone number has no check digits:
it must be written as telephone numbers are, and not follow a word such as "order".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import phonenumbers
from phonenumbers import Leniency, PhoneNumberMatcher
from stdnum import iban, luhn
from stdnum.cn import ric
from stdnum.es import nie, nif
from stdnum.fr import nir
from stdnum.it import codicefiscale
from stdnum.us import ssn

CARD, IBAN, EMAIL, PHONE, IDENTITY = "card", "iban", "email", "phone", "id"
FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}  # ！-～ to their ASCII forms, one for one
PHONE_REGIONS = ("US", "GB", "DE", "FR")  # whose national ways of writing are known; any number with + is
PHONE_DIGITS = 7
LONGEST_MATCHED = 2_000  # characters looked through for telephones at once
MOBILE_CN = re.compile(r"(?<!\d)(?:\+?86[- ]?)?1[3-9]\d([- ]?)\d{4}\1\d{4}(?!\d)")
LANDLINE_CN = re.compile(r"(?<!\d)0\d{2,3}[- ]\d{7,8}(?!\d)")
EMAIL_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")
NUMBER_NAME = re.compile(  # what stands before a number that is no telephone
    r"(?:order|invoice|ticket|tracking|reference|ref|receipt|article|item|model|serial|sku|no|nr|number|#|"
    r"订单|单号|运单|快递|发票|编号|型号|货号)\W{0,4}(?:is|number|no|nr|id|号|为|是)?\W{0,4}$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Found:
    """A place in a text that identifies somebody: `text[start:end]` is a `kind`."""

    start: int
    end: int
    kind: str


def mask(text: str) -> str:
    """The text with `[card]`, `[iban]`, `[email]`, `[phone]` or `[id]` instead of what identifies somebody."""
    parts, end = [], 0
    for found in find(text):
        parts += [text[end : found.start], f"[{found.kind}]"]
        end = found.end
    return "".join([*parts, text[end:]])


def find(text: str) -> list[Found]:
    """Every such place in order; of two that overlap the kind that is more certain."""
    plain = text.translate(FULL_WIDTH)
    taken: list[Found] = []
    for finder in (emails, accounts, identities, cards, phones):
        taken += [one for one in finder(plain) if not any(overlap(one, other) for other in taken)]
    return sorted(taken, key=lambda found: found.start)


MASK = re.compile(r"\[(?:card|iban|email|phone|id)\]")


def without_masks(text: str) -> str:
    """A masked text without the masks: what is looked for, as they say nothing of what is asked."""
    return " ".join(MASK.sub(" ", text).split())


def overlap(one: Found, other: Found) -> bool:
    return one.start < other.end and other.start < one.end


def emails(text: str) -> Iterator[Found]:
    if "@" in text:
        yield from (Found(*match.span(), EMAIL) for match in EMAIL_ADDRESS.finditer(text))


ACCOUNT = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}(?![A-Za-z0-9])")
SHORTEST_ACCOUNT = 15


def accounts(text: str) -> Iterator[Found]:
    """Numbers with the check digits of ISO 13616; words that follow one are given back."""
    for match in ACCOUNT.finditer(text):
        number = match.group()
        while len(number) >= SHORTEST_ACCOUNT:
            if iban.is_valid(number):
                yield Found(match.start(), match.start() + len(number), IBAN)
                break
            number = number[: max(number.rfind(" "), number.rfind("-"), 0)]


def alone(pattern: str) -> re.Pattern[str]:
    """Not within a longer number or word; Chinese may stand right beside it."""
    return re.compile(f"(?<![A-Za-z0-9])(?:{pattern})(?![A-Za-z0-9])")


IDENTITIES: tuple[tuple[re.Pattern[str], Callable[[str], bool]], ...] = (
    (re.compile(r"(?<!\d)\d{6}[- ]?\d{8}[- ]?\d{3}[\dXx](?![\dA-Za-z])"), ric.is_valid),  # Chinese resident
    (re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])"), ssn.is_valid),  # US social security
    (alone(r"(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z]{2} ?\d\d ?\d\d ?\d\d ?[A-D]"), bool),  # UK insurance
    (
        re.compile(r"(?<!\d)[12] ?\d\d ?\d\d ?\d[\dAB] ?\d{3} ?\d{3} ?\d\d(?!\d)"),
        nir.is_valid,
    ),  # French social security
    (alone(r"[A-Za-z]{6}\d\d[A-Za-z]\d\d[A-Za-z]\d{3}[A-Za-z]"), codicefiscale.is_valid),  # Italian
    (alone(r"\d{8}-?[A-Za-z]"), nif.is_valid),  # Spanish
    (alone(r"[XYZxyz]-?\d{7}-?[A-Za-z]"), nie.is_valid),
)


def identities(text: str) -> Iterator[Found]:
    for pattern, is_valid in IDENTITIES:
        for match in pattern.finditer(text):
            if is_valid(match.group().replace(" ", "")):
                yield Found(*match.span(), IDENTITY)


CARD_NUMBER = re.compile(r"(?<![\d.,-])[2-6]\d{3}(?:[ .\u00a0-]?\d){9,15}(?![\d])")
CARD_SEPARATORS, SHORTEST_CARD = " .\u00a0-", 13


def cards(text: str) -> Iterator[Found]:
    """13 to 19 digits with the check digit of ISO/IEC 7812, in groups or not, that begin as cards do; what follows one,
    when it expires say, is given back."""
    for match in CARD_NUMBER.finditer(text):
        number = match.group()
        while len(digits := re.sub(r"\D", "", number)) >= SHORTEST_CARD:
            if len(set(digits)) > 1 and luhn.is_valid(digits):
                yield Found(match.start(), match.start() + len(number), CARD)
                break
            number = number[: max(0, *map(number.rfind, CARD_SEPARATORS))]


def phones(text: str) -> Iterator[Found]:
    if sum(character.isdigit() for character in text) < PHONE_DIGITS:
        return
    for start in range(0, len(text), LONGEST_MATCHED):
        part = text[start : start + LONGEST_MATCHED]
        for match_start, match_end in sorted(set(phone_spans(part))):
            if part[match_start] == "(" and ")" not in part[match_start:match_end]:
                match_start += 1  # a bracket of the sentence
            if part[match_start] == "+" or not NUMBER_NAME.search(part[:match_start]):
                yield Found(start + match_start, start + match_end, PHONE)


def phone_spans(text: str) -> Iterator[tuple[int, int]]:
    """(start, end) of what is written as a telephone number: with its country, in a region's groups, or Chinese."""
    for pattern in (MOBILE_CN, LANDLINE_CN):
        yield from (match.span() for match in pattern.finditer(text))
    for match in PhoneNumberMatcher(text, None, Leniency.VALID):
        yield match.start, match.end
    for region in PHONE_REGIONS:
        for match in PhoneNumberMatcher(text, region, Leniency.STRICT_GROUPING):
            if re.search(r"[ ()/.-]", match.raw_string) and is_phone(match.number):
                yield match.start, match.end


def is_phone(number: phonenumbers.PhoneNumber) -> bool:
    return phonenumbers.is_valid_number(number)
