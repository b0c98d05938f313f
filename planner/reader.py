"""Read a decision while it is still being written: each tool call as its closing brace arrives, and the answer's text.

The decision is `{"thought": ..., "calls": [...]}` or `{"thought": ..., "answer": ...}`; only the brackets, the
strings and the keys of the outermost object are followed, by jumping from one structural character to the next.
What lies between is left to `json.loads` and validation, which see every finished piece.
"""

import json
import re

_OPENING = re.compile(r"\{")
_OUTER = re.compile(r'["{}\[\]:,]')
_INNER = re.compile(r'["{}\[\]]')
_STRING = re.compile(r'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_COMPLETE = re.compile(
    r'(?:[^\\]|\\(?:[^u]|u(?:[0-9a-fA-F]{4}(?<![dD][89abAB]..)|[dD][89abAB][0-9a-fA-F]{2}(?=\\u[0-9a-fA-F]{4}|\\[^u]|[^\\]))))*',
    re.DOTALL,
)
