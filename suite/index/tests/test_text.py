"""The tokens that both engines index."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from suite.index.text import document_tokens, query_tokens, tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Café's running-shoes, ÜBER!", ["the", "cafe", "s", "run", "shoe", "uber"]),
        ("ｆｕｌｌ width ﬁne", ["full", "width", "fine"]),
        ("净利润增长 12%", ["净利", "利润", "净利润", "增长", "12"]),
        ("iPhone手机壳", ["iphon", "手机", "壳"]),
        ("カタカナ", ["カタ", "タカ", "カナ"]),
        ("a\0b \ud800", ["a", "b"]),
        ("🙂 ... \t\n", []),
        ("x" * 500 + " y", ["y"]),
        ("", []),
    ],
)
def test_tokens(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


def test_a_title_counts_twice_and_a_query_word_once() -> None:
    assert document_tokens("Red shoe", "of leather") == "red shoe red shoe of leather"
    assert query_tokens("red Red shoes REDS blue", limit=2) == ["red", "shoe"]


def test_threads_share_the_analyzer() -> None:
    texts = [f"running shoes number {i} 净利润" for i in range(2_000)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(tokens, texts)) == [tokens(text) for text in texts]
