"""Reduce an HTML page to its text in one pass over it.

A scanner of our own, because the standard library's `html.parser` takes quadratic time on hostile input in the
Python releases that we support (40 kB of `<a ` cost 14 s in 3.11.7) and raises on `<![`.
"""

import html
import re
from contextlib import suppress

_NAME = re.compile(r"</?([a-zA-Z][a-zA-Z0-9]*)")
_SILENT = {
    name: re.compile(f"</{name}", re.IGNORECASE)
    for name in ("iframe", "noscript", "script", "style", "svg", "template", "textarea")
}
_BLOCKS = (
    "address article aside blockquote body dd div dl dt fieldset figure footer form h1 h2 h3 h4 h5 h6 header hr main "
    "nav ol p pre section table title tr ul"
)
_BREAKS = dict.fromkeys(re.findall(r"\w+", _BLOCKS), "\n\n") | {
    "br": "\n",
    "li": "\n- ",
    "option": "\n",
    "td": " ",
    "th": " ",
}


def html_to_text(page: str) -> str:
    """Return the readable text: tags and scripts gone, blocks on lines of their own, entities resolved."""
    parts: list[str] = []
    position = 0
    while (start := page.find("<", position)) >= 0:
        parts.append(page[position:start])
        following = page[start + 1 : start + 2]
        if page.startswith("<!--", start):
            end = page.find("-->", start + 4)
            position = end + 3
        elif following.isalpha() or following in ("/", "!", "?"):
            end = page.find(">", start)
            position = end + 1
        else:
            parts.append("<")
            end = position = start + 1
        if end < 0:  # never closed: nothing readable can follow
            return _tidy(parts)
        if match := _NAME.match(page, start):
            parts.append(_break(match))
            position = _skip(page, match, position)
    parts.append(page[position:])
    return _tidy(parts)


def _break(match: re.Match[str]) -> str:
    text = _BREAKS.get(match[1].lower(), "")
    return "\n" if match[0].startswith("</") and text.startswith("\n-") else text


def _skip(page: str, match: re.Match[str], position: int) -> int:
    """Return where the page goes on: behind the content of a script, style and the like."""
    close = _SILENT.get(match[1].lower())
    if close is None or match[0].startswith("</"):
        return position
    found = close.search(page, position)
    return found.start() if found else len(page)


def _tidy(parts: list[str]) -> str:
    text = "".join(parts)
    with suppress(ValueError):  # a numeric entity of thousands of digits
        text = html.unescape(text)
    lines = (" ".join(line.split()) for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(line for line in lines if line != "-")).strip()
