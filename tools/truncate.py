"""Cut a result to the tokens that the model may spend on it."""

CHARS_PER_TOKEN = 4
"""Characters of English per token; other scripts are estimated by their bytes."""

TAIL_SHARE = 8
"""One part in so many is shown of the end: errors and totals often stand there."""


def fit(text: str, max_tokens: int, artifact: str = "ID") -> tuple[str, bool]:
    """Return what the model is shown of a result, and whether something was left out.

    Args:
        text: The full result.
        max_tokens: Room for it, the note about what is left out not counted.
        artifact: Id under which the full result can be read.
    """
    if len(text) <= max_tokens:
        return text, False
    room = max_tokens * CHARS_PER_TOKEN
    if not text.isascii():
        room = room * len(text) // len(text.encode(errors="replace"))
    if len(text) <= room:
        return text, False
    tail = room // TAIL_SHARE
    head = room - tail
    note = (
        f"[characters 0-{head} and the last {tail} of {len(text)} are shown; "
        f'read_artifact("{artifact}", offset={head}) returns more]'
    )
    return f"{text[:head]}\n{note}\n{text[len(text) - tail :]}", True
