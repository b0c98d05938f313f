"""Why a schema cannot be enforced, while it is being read; `bounds` and `check` turn it into `SchemaRefused`."""


class Unenforceable(ValueError):
    """Some part of a schema cannot be enforced.

    Attributes:
        path: The place inside the schema, such as `#/properties/city/pattern`.
        problem: What is wrong there and what to write instead.
        optional: An alternative of a union may be left out for this reason, as long as another one remains.
    """

    def __init__(self, path: str, problem: str, *, optional: bool = False) -> None:
        super().__init__(f"{path}: {problem}")
        self.path, self.problem, self.optional = path, problem, optional


class Endless(Unenforceable):
    """A recursive reference has been followed as often as the decoder ever does; whoever can do without stops here."""


def child(path: str, *keys: str | int) -> str:
    """Return the place below a place, written as a JSON pointer (RFC 6901)."""
    return "/".join((path, *(str(key).replace("~", "~0").replace("/", "~1") for key in keys)))
