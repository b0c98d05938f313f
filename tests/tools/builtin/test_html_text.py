"""HTML to text: readable lines, and linear time on pages made to be slow."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.tools.builtin.html_text import html_to_text

PAGE = """<!doctype html><html><head><title>Ants &amp; bees</title><style>p {}</style>
<script>if (a<b) { document.write("<p>no</p>") }</script></head>
<body><!-- <p>hidden</p> --><h1>Head</h1><p>One <b>two</b><br>three &lt;b&gt; 1 < 2</p>
<ul><li>first<li>second</li></ul><table><tr><td>1<td>2</tr></table></body></html>"""


def test_a_page_becomes_its_readable_text() -> None:
    assert html_to_text(PAGE) == "Ants & bees\n\nHead\n\nOne two\nthree <b> 1 < 2\n\n- first\n- second\n\n1 2"


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("", ""),
        ("plain", "plain"),
        ("a <b", "a"),
        ("a <!-- b", "a"),
        ("a<script>b", "a"),
        ("a<SCRIPT>b</Script>c", "ac"),
        ("<![CDATA[x]]>y", "y"),
        ("1 << 2", "1 << 2"),
        ("&nbsp;a&#98;&zz;", "ab&zz;"),
        ("&#" + "9" * 5_000 + ";", "&#" + "9" * 5_000 + ";"),
    ],
    ids=lambda text: text[:12],
)
def test_odd_markup_still_gives_text(page: str, text: str) -> None:
    assert html_to_text(page) == text


HOSTILE = ("<!--", "<a ", "<!", "</", "&", "<a b='", "<?", "<![", "<script>", "<script></script", "<", "<li>", "&#1")


@pytest.mark.parametrize("unit", HOSTILE)
def test_a_hostile_megabyte_takes_linear_time(unit: str) -> None:
    """`html.parser` needs 14 s for 40 kB of the second one in Python 3.11.7."""
    start = time.process_time()
    assert len(html_to_text(unit * (2**20 // len(unit)))) <= 2**20
    assert time.process_time() - start < 5


@given(st.text(alphabet="<>/!-&;ab \n'\"", max_size=60) | st.text(max_size=60))
def test_any_text_is_reduced(page: str) -> None:
    text = html_to_text(page)
    assert text == text.strip()
