"""Cut a result to the tokens that the model may spend on it."""


def fit(text: str, max_tokens: int, artifact: str = "ID") -> tuple[str, bool]:
    """Return what the model is shown of a result, and whether something was left out.

    Args:
        text: The full result.
        max_tokens: Room for it; about four characters of English per token, fewer of other scripts.
        artifact: Id under which the full result can be read.
    """
    raise NotImplementedError
