"""Exact decimal arithmetic on one expression, by an own tokenizer and precedence parser; nothing is ever evaluated.

The parser is Pratt's (Top Down Operator Precedence, 1973). Every number lives in a decimal context of 50 digits
and bounded exponents, so neither `9**9**9` nor a million parentheses costs time or memory.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import (
    ROUND_CEILING,
    ROUND_FLOOR,
    ROUND_HALF_UP,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
    Underflow,
)

from ...errors import ToolError
from ..decorator import tool
from .numerals import EXACT_DIGITS, WIDE, write_decimal

MAX_LENGTH = 1_000
MAX_DEPTH = 50
MAX_EXPONENT = 10_000
ACCEPTED = "numbers, + - * / // % **, parentheses, percentages such as `15% of 80`, and "

_PI = Decimal("3.1415926535897932384626433832795028841971693993751")
_E = Decimal("2.7182818284590452353602874713526624977572470937000")
_CONSTANTS = {"pi": _PI, "π": _PI, "e": _E}
_WORDS = {"x": "*", "times": "*", "plus": "+", "minus": "-", "mod": "mod", "of": "of", "over": "/"}
_SYMBOLS = {"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "^": "**"}
_POWERS = {"+": 10, "-": 10, "*": 20, "/": 20, "//": 20, "%": 20, "mod": 20, "of": 20, "**": 40}
_UNARY_POWER = 30
_TOKEN = re.compile(
    r"\s*(?:(?P<grouped>[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]*)?(?![0-9]))"
    r"|(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<word>divided\s+by|multiplied\s+by|[a-zA-Zπ]+)|(?P<symbol>\*\*|//|[-+*/%^(),×·÷−–]))"
)
_WHOLE = re.compile(r"\s*(?P<number>[0-9]+)")


@tool(effect="read", timeout_s=5)
def calculate(expression: str) -> str:
    """Work out an arithmetic expression exactly.

    Args:
        expression: For example `17 * 23`, `(2 + 3) / 4`, `15% of 80` or `sqrt(2)`.
    """
    if len(expression) > MAX_LENGTH:
        raise ToolError(f"the expression has {len(expression):,} characters; at most {MAX_LENGTH:,} are accepted")
    context = WIDE.copy()
    context.clear_flags()
    context.traps[Underflow] = True
    try:
        value = _Parser(_tokens(expression), context).parse()
    except DivisionByZero:
        raise ToolError("division by zero") from None
    except (Overflow, Underflow, InvalidOperation):
        raise ToolError("a value is too large, too small, or has too many digits to be computed") from None
    return write_decimal(value, exact=not context.flags[Inexact])


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


def _tokens(expression: str) -> list[_Token]:
    text = expression.strip().rstrip("=? ")
    tokens: list[_Token] = []
    calls: list[bool] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            rest = text[position:].strip()
            raise ToolError(f"cannot read {rest[:20]!r}; accepted are {_accepted()}")
        if match["grouped"] and any(calls):
            match = _WHOLE.match(text, position) or match  # there, commas part the arguments
        token = _token(match)
        if token.text == "(":
            calls.append(bool(tokens) and tokens[-1].kind == "function")
        elif token.text == ")" and calls:
            calls.pop()
        tokens.append(token)
        position = match.end()
    return tokens


def _token(match: re.Match[str]) -> _Token:
    kind, text = match.lastgroup or "", match[match.lastgroup or 0]
    if kind in ("number", "grouped"):
        return _Token("number", text.replace(",", ""))
    if kind == "symbol":
        return _Token("symbol", _SYMBOLS.get(text, text))
    word = " ".join(text.lower().split())
    if word in ("divided by", "multiplied by"):
        return _Token("symbol", "/" if word == "divided by" else "*")
    if word in _WORDS:
        return _Token("symbol", _WORDS[word])
    if word in _CONSTANTS:
        return _Token("constant", word)
    if word in _FUNCTIONS:
        return _Token("function", word)
    raise ToolError(f"unknown word {text[:30]!r}; accepted are {_accepted()}")


_END = _Token("end", "the end")


class _Parser:
    """Reads tokens and computes as it goes; `depth` bounds the recursion."""

    def __init__(self, tokens: list[_Token], context: Context) -> None:
        self.tokens = tokens
        self.context = context
        self.position = 0
        self.depth = 0
        self.bare_percent = False  # the operand just read was `n%`, with nothing applied to it

    def parse(self) -> Decimal:
        if not self.tokens:
            raise ToolError(f"the expression is empty; accepted are {_accepted()}")
        value = self._expression(0)
        if self._next is not _END:
            raise ToolError(f"unexpected {self._next.text[:30]!r} after {self._before()!r}; an operator is missing")
        return value

    @property
    def _next(self) -> _Token:
        return self.tokens[self.position] if self.position < len(self.tokens) else _END

    def _before(self) -> str:
        return " ".join(token.text for token in self.tokens[max(0, self.position - 3) : self.position])[:40]

    def _take(self) -> _Token:
        token = self._next
        self.position += 1
        return token

    def _expect(self, text: str) -> None:
        if self._take().text != text:
            self.position -= 1
            raise ToolError(f"expected {text!r} after {self._before()!r}, found {self._next.text[:30]!r}")

    def _expression(self, floor: int) -> Decimal:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ToolError(f"the expression is nested deeper than {MAX_DEPTH} levels")
        left = self._operand()
        while (power := _POWERS.get(self._next.text, -1)) > floor:
            operator = self._take().text
            left_percent, self.bare_percent = self.bare_percent, False
            right = self._expression(power - 1 if operator == "**" else power)
            if operator in "+-" and self.bare_percent and not left_percent:
                raise ToolError(
                    f"`a {operator} b%` is ambiguous; write `a {operator} b% of a`, or `a {operator} 0.01*b`"
                )
            left = _OPERATORS[operator](left, right, self.context)
            self.bare_percent = False
        self.depth -= 1
        return left

    def _operand(self) -> Decimal:
        token = self._take()
        if token.kind == "symbol" and token.text in "+-":
            value = self._expression(_UNARY_POWER)
            return self.context.minus(value) if token.text == "-" else value
        if token.kind == "number":
            value = self.context.create_decimal(token.text)
        elif token.kind == "constant":
            self.context.flags[Inexact] = True
            value = _CONSTANTS[token.text]
        elif token.kind == "function":
            value = _call(token.text, list(self._arguments(token.text)), self.context)
        elif token.text == "(":
            value = self._expression(0)
            self._expect(")")
        else:
            self.position -= 1
            where = f"after {self._before()!r}" if self.position else "at the start"
            raise ToolError(f"expected a number {where}, found {token.text[:30]!r}")
        self.bare_percent = False
        return self._percentages(value)

    def _arguments(self, name: str) -> Iterator[Decimal]:
        self._expect("(")
        while self._next.text != ")":
            yield self._expression(0)
            if self._next.text != ")":
                self._expect(",")
        self._take()

    def _percentages(self, value: Decimal) -> Decimal:
        """Apply a `%` that is no remainder: the next token cannot begin an operand."""
        while self._next.text == "%":
            following = self.tokens[self.position + 1] if self.position + 1 < len(self.tokens) else _END
            if following.kind in ("number", "constant", "function") or following.text == "(":
                break
            self._take()
            value = self.context.divide(value, Decimal(100))
            self.bare_percent = True
        return value


def _divide_floor(left: Decimal, right: Decimal, context: Context) -> Decimal:
    if not right:
        raise DivisionByZero
    quotient = context.divide_int(left, right)
    rest = context.remainder(left, right)
    return context.subtract(quotient, Decimal(1)) if rest and (rest < 0) != (right < 0) else quotient


def _modulo(left: Decimal, right: Decimal, context: Context) -> Decimal:
    if not right:
        raise DivisionByZero
    rest = context.remainder(left, right)
    return context.add(rest, right) if rest and (rest < 0) != (right < 0) else rest


def _power(base: Decimal, exponent: Decimal, context: Context) -> Decimal:
    if abs(exponent) > MAX_EXPONENT:
        raise ToolError(f"the exponent is too large: at most {MAX_EXPONENT:,} is accepted")
    if not base and exponent <= 0:
        raise ToolError("0 can only be raised to a positive power")
    if base < 0 and exponent != exponent.to_integral_value():
        raise ToolError("a negative number can only be raised to a whole power")
    return context.power(base, exponent)


_OPERATORS: dict[str, Callable[[Decimal, Decimal, Context], Decimal]] = {
    "+": lambda left, right, context: context.add(left, right),
    "-": lambda left, right, context: context.subtract(left, right),
    "*": lambda left, right, context: context.multiply(left, right),
    "of": lambda left, right, context: context.multiply(left, right),
    "/": lambda left, right, context: context.divide(left, right) if right else _divide_floor(left, right, context),
    "//": _divide_floor,
    "%": _modulo,
    "mod": _modulo,
    "**": _power,
}


def _call(name: str, arguments: list[Decimal], context: Context) -> Decimal:
    fewest, most, function = _FUNCTIONS[name]
    if not fewest <= len(arguments) <= most:
        accepted = "1" if most == 1 else f"{fewest} to {most}"
        raise ToolError(f"{name} takes {accepted} numbers, not {len(arguments)}")
    return function(arguments, context)


def _square_root(arguments: list[Decimal], context: Context) -> Decimal:
    if arguments[0] < 0:
        raise ToolError("sqrt needs a number that is not negative")
    return context.sqrt(arguments[0])


def _round(arguments: list[Decimal], context: Context, rounding: str = ROUND_HALF_UP) -> Decimal:
    """Round half away from zero, as people do; the second argument is the number of decimals."""
    places = arguments[1] if len(arguments) == 2 else Decimal(0)
    if places != places.to_integral_value() or abs(places) > EXACT_DIGITS:
        raise ToolError(f"round takes whole decimals from -{EXACT_DIGITS} to {EXACT_DIGITS}")
    # A value without such decimals stays as it is; quantize would need digits that it does not have.
    exponent = arguments[0].as_tuple().exponent
    if not isinstance(exponent, int) or exponent >= -int(places):
        return arguments[0]
    return arguments[0].quantize(Decimal(1).scaleb(-int(places)), rounding=rounding, context=WIDE)


_FUNCTIONS: dict[str, tuple[int, int, Callable[[list[Decimal], Context], Decimal]]] = {
    "abs": (1, 1, lambda arguments, _: arguments[0].copy_abs()),
    "ceil": (1, 1, lambda arguments, context: _round(arguments, context, ROUND_CEILING)),
    "floor": (1, 1, lambda arguments, context: _round(arguments, context, ROUND_FLOOR)),
    "max": (1, 100, lambda arguments, _: max(arguments)),
    "min": (1, 100, lambda arguments, _: min(arguments)),
    "round": (1, 2, _round),
    "sqrt": (1, 1, _square_root),
}


def _accepted() -> str:
    return ACCEPTED + ", ".join((*sorted(_FUNCTIONS), "pi"))
