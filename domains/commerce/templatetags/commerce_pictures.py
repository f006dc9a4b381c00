"""A drawn tile for an item: the glyph and colour of its category, and a ground that tells items of one category apart.

Drawn on the server from the item's category and id alone, so no item needs a file, and it looks the same everywhere.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from hashlib import blake2s
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe

register = template.Library()
WIDTH, HEIGHT = 96, 72  # user units of a tile
NO_GLYPH = "tag"

# (symbol in glyphs.svg, hue in degrees, beginnings of words that call for it). Of several the last one in the category
# wins, so that "Games > Chess" is a pawn.
GLYPHS: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("bike", 190, ("cycl", r"bikes?\b", "bicycl", "骑行", "自行车")),
    ("drop", 210, ("bath", "soap", "towel", "洗护", "浴")),
    ("headphones", 310, ("headphone", "speaker", "耳机", "音响")),
    ("knife", 10, ("kni[fv]e", "刀")),
    ("brush", 330, ("paint", "brush", "绘画", "书法")),
    ("mountain", 150, ("hik", "mountain", "on foot", "wild", "徒步", "登山")),
    ("candle", 55, ("candle", "蜡烛")),
    ("spade", 110, ("garden > tool", "园艺工具")),
    ("needle", 350, ("sewing", "needle", "缝纫", "刺绣")),
    ("pawn", 265, ("chess", "棋")),
    ("die", 265, ("game", "puzzle", "游戏", "桌游")),
    ("cup", 45, ("coffee", "espresso", "咖啡")),
    ("teapot", 140, (r"teas?\b", "茶")),
    ("yarn", 345, ("knit", "yarn", "wool", "craft", "编织", "毛线", "手工")),
    ("pencil", 225, ("stationer", "desk", "office", "pens", "paper", "文具")),
    ("sprout", 125, ("seed", "garden", "plant", "园艺", "植物", "种子")),
    ("pot", 25, ("kitchen", "cook", "厨")),
    ("loaf", 70, ("bak", "bread", "烘焙")),
    ("tent", 165, ("camp", "outdoor", "tent", "户外", "露营")),
    ("blocks", 200, ("toy", "wooden", "kid", "玩具")),
    ("book", 300, ("book", "novel", "图书", "书籍")),
    ("film", 250, ("film", "movie", "video", "电影")),
    ("note", 320, ("music", "audio", "instrument", "音乐", "乐器")),
    ("page", 215, ("article", "news", "blog", "文章", "新闻")),
    ("chart", 155, ("fund", "stock", "bond", "finance", "基金", "股票")),
    ("shirt", 285, ("cloth", "shirt", "wear", "fashion", "服装", "服饰")),
    ("lamp", 85, ("lamp", "lighting", "string light", "home", "house", "家居", "灯")),
    ("ball", 100, ("sport", "fitness", "ball", "运动", "健身")),
    ("paw", 60, ("pets", "dogs", "cats", "宠物")),
    ("screen", 240, ("electr", "phone", "computer", "gadget", "数码", "电子")),
    ("apple", 15, (r"foods?\b", "snack", "grocer", "食品", "零食")),
)
STEMS = tuple(
    (re.compile("|".join(rf"\b{word}" if word.isascii() else word for word in words), re.IGNORECASE), hue, name)
    for name, hue, words in GLYPHS
)


@register.simple_tag
def picture(item: dict[str, Any]) -> SafeString:
    """The tile of an item (`category`, `item_id`, `title`). Decoration: the title beside it says what it is."""
    return drawn(str(item.get("category", "")), str(item["item_id"]), str(item.get("title", "")))


@lru_cache(maxsize=4_096)
def drawn(category: str, key: str, title: str) -> SafeString:
    seed = blake2s(key.encode("utf-8", "replace"), digest_size=8).digest()
    hue, glyph = glyph_of(category) or glyph_of(title) or (hue_of(category or key[:1]), NO_GLYPH)
    return format_html(
        '<svg class="picture" viewBox="0 0 96 72" preserveAspectRatio="xMidYMid slice" aria-hidden="true" '
        'style="--hue:{}"><rect class="ground" width="96" height="72"/>{}'
        '<use class="glyph" href="{}#{}" x="27" y="15" width="42" height="42"/></svg>',
        (hue + seed[0] % 25 - 12) % 360,
        mark_safe(ground(seed)),  # noqa: S308  numbers only
        static("commerce/glyphs.svg"),
        glyph,
    )


def glyph_of(words: str) -> tuple[int, str] | None:
    """(hue, symbol) of the most special category named in the words."""
    found = [(match.start(), hue, name) for stem, hue, name in STEMS for match in stem.finditer(words)]
    return max(found)[1:] if found else None


def hue_of(words: str) -> int:
    return blake2s(words.encode("utf-8", "replace"), digest_size=1).digest()[0] * 360 // 256


def ground(seed: bytes) -> str:
    """A quiet ground of rings, hills, stripes or rays, placed by the seed."""
    a, b, c = seed[1] / 255, seed[2] / 255, seed[3] / 255
    kind = seed[4] % 4
    if kind == 1:
        return hills(34 + 20 * a, 20 + 30 * b, 8 * c)
    if kind == 0:
        centre = f'cx="{WIDTH * a:.0f}" cy="{HEIGHT * b:.0f}"'
        drawing = "".join(f'<circle {centre} r="{radius + 8 * c:.0f}"/>' for radius in (16, 34, 52))
    elif kind == 2:
        step, lean = 12 + 8 * a, -30 + 60 * b
        drawing = "".join(f'<path d="M{-30 + step * n:.0f} 0l{lean:.0f} 72"/>' for n in range(int(156 / step)))
    else:
        turns = [c + math.tau * n / 11 for n in range(11)]
        start = f"M{WIDTH * a:.0f} {HEIGHT * b:.0f}"
        drawing = "".join(f'<path d="{start}l{130 * math.cos(x):.0f} {130 * math.sin(x):.0f}"/>' for x in turns)
    return f'<g class="lines">{drawing}</g>'


def hills(top: float, bend: float, drop: float) -> str:
    back = f"M0 {top:.0f}Q{bend:.0f} {top - 24:.0f} 50 {top:.0f}T96 {top - drop:.0f}V72H0z"
    front = f"M0 {top + 14:.0f}Q{bend + 20:.0f} {top - 4:.0f} 70 {top + 12:.0f}T96 {top + 10:.0f}V72H0z"
    return f'<path class="wash" d="{back}"/><path class="wash" d="{front}"/>'
