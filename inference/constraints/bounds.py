"""The decoding relative of a JSON Schema: a bounded normal form, every value of which the full schema accepts.

References are written out, everything has an end, properties come in one order, and only these forms are left:
`const`/`enum`, `anyOf`, null, boolean, integer (minimum, maximum, multipleOf), number (the same, `multipleOf` a power
of ten), string (minLength, maxLength, pattern, format), array (items, prefixItems, minItems, maxItems), and objects
with fixed properties or with free keys (propertyNames, minProperties, maxProperties). What the form cannot say is
refused with its place, so that nothing is promised that the decoder does not keep.
"""

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, cast

from ...errors import SchemaRefused
from .literals import fits, kind_of, may_overlap
from .merging import Place, Raw, flatten, options_of
from .numeric import bounded_integer, bounded_number
from .refusal import Endless, Unenforceable
from .strings import bounded_string

DEFAULT_ITEMS = 8
"""Items of an array, or entries of a free object, without a bound of its own; halved at each level inside another."""

MAX_ITEMS = 100
MAX_NODES = 4000
"""Parts of a schema after its references are written out."""

_REFUSED = {
    "not": "name what is allowed instead, with enum or anyOf",
    "if": "use anyOf with one option per case",
    "then": "use anyOf with one option per case",
    "else": "use anyOf with one option per case",
    "dependentRequired": "use anyOf with one option per combination",
    "dependentSchemas": "use anyOf with one option per combination",
    "dependencies": "use anyOf with one option per combination",
    "unevaluatedProperties": "use additionalProperties: false in each object",
    "unevaluatedItems": "use prefixItems with maxItems",
    "contains": "use items, or prefixItems for places that differ",
    "minContains": "use minItems",
    "maxContains": "use maxItems",
    "uniqueItems": "use a list, and drop duplicates in the tool",
    "$dynamicRef": "use $ref",
    "$recursiveRef": "use $ref",
}

_MAY_BE_FALSE = ("uniqueItems", "unevaluatedProperties", "unevaluatedItems")


def bounded(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the decoding relative of a full schema.

    Raises:
        SchemaRefused: It cannot be enforced; `path` is the place inside it.
    """
    return cast(dict[str, Any], json.loads(bounded_text(json.dumps(schema, ensure_ascii=False))))


@lru_cache(maxsize=1024)
def bounded_text(schema: str) -> str:
    """Return what `bounded` returns, from JSON text to JSON text; cached.

    Raises:
        SchemaRefused: It cannot be enforced.
    """
    root = json.loads(schema)
    try:
        return json.dumps(Bounder(root).visit(root, Place("#"), 0), ensure_ascii=False, separators=(",", ":"))
    except Unenforceable as exc:
        raise SchemaRefused("value", exc.path, exc.problem) from exc
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as exc:
        raise SchemaRefused("value", "#", f"not a JSON Schema: {type(exc).__name__}: {exc}") from exc


class Bounder:
    """Walks one schema; counts what it writes so that references cannot multiply without end."""

    def __init__(self, root: Raw) -> None:
        self._root = root
        self._nodes = 0

    def visit(self, schema: Any, place: Place, arrays: int) -> dict[str, Any]:
        """Return the bounded form of the schema at a place; `arrays` counts the arrays around it."""
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise Unenforceable(place.path, f"the schema grows beyond {MAX_NODES} parts; nest fewer definitions")
        flat, place = flatten(self._root, schema, place)
        for keyword, advice in _REFUSED.items():
            if keyword in flat and not (flat[keyword] is False and keyword in _MAY_BE_FALSE):
                raise Unenforceable(place.at(keyword).path, f"{keyword} cannot be enforced; {advice}")
        if (union := options_of(flat)) is not None:
            keyword, options = union
            return self._union(options, place.at(keyword), arrays, exclusive=keyword == "oneOf")
        if "const" in flat or "enum" in flat:
            return _literals(flat, place)
        kinds = _kinds(flat, place, arrays)
        if len(kinds) > 1:
            return self._options([({**flat, "type": kind}, place) for kind in kinds], arrays)
        return self._typed(kinds[0], flat, place, arrays)

    def _typed(self, kind: str, flat: Raw, place: Place, arrays: int) -> dict[str, Any]:
        if kind in ("null", "boolean"):
            return {"type": kind}
        if kind == "object":
            return self._object(flat, place, arrays)
        if kind == "array":
            return self._array(flat, place, arrays)
        return _SCALARS[kind](flat, place.path)

    def _union(self, options: list[Any], place: Place, arrays: int, *, exclusive: bool) -> dict[str, Any]:
        if not options:
            raise Unenforceable(place.path, "an empty union allows nothing")
        if exclusive:
            flats = [flatten(self._root, each, place.at(at))[0] for at, each in enumerate(options)]
            for at, each in enumerate(flats):
                if any(may_overlap(self._root, other, each) for other in flats[:at]):
                    problem = "overlaps with an earlier option; use anyOf, or a const property to tell them apart"
                    raise Unenforceable(place.at(at).path, problem)
        return self._options([(option, place.at(at)) for at, option in enumerate(options)], arrays)

    def _options(self, options: list[tuple[Any, Place]], arrays: int) -> dict[str, Any]:
        """Bound every option; one that recurses, or whose pattern cannot be enforced, gives way to the others."""
        kept: list[dict[str, Any]] = []
        refused: Unenforceable | None = None
        for option, place in options:
            try:
                one = self.visit(option, place, arrays)
            except Unenforceable as exc:
                if not (exc.optional or isinstance(exc, Endless)):
                    raise
                refused = refused or exc
                continue
            kept += [each for each in one.get("anyOf", [one]) if each not in kept]
        if not kept:
            assert refused is not None
            raise refused
        return kept[0] if len(kept) == 1 else {"anyOf": kept}

    def _array(self, flat: Raw, place: Place, arrays: int) -> dict[str, Any]:
        open_ended = "prefixItems" not in flat and "unevaluatedItems" not in flat
        head, rest = flat.get("prefixItems", []), flat.get("items", open_ended)
        if isinstance(rest, list):
            head, rest = rest, flat.get("additionalItems", False)
        least = flat.get("minItems", 0)
        most = flat.get("maxItems", max(least, len(head), DEFAULT_ITEMS >> arrays))
        most = min(most, max(MAX_ITEMS, least))
        first = [self.visit(sub, place.at("prefixItems", at), arrays + 1) for at, sub in enumerate(head[:most])]
        items: Any = False
        endless: Endless | None = None
        if rest is not False and most > len(first):
            try:
                items = self.visit(rest, place.at("items"), arrays + 1)
            except Endless as exc:
                endless = exc
        most = min(most, len(first)) if items is False else most
        if least > most and endless:
            raise endless
        if least > min(most, MAX_ITEMS):
            problem = f"at least {least} items are asked for, but at most {min(most, MAX_ITEMS)} can be decoded"
            raise Unenforceable(place.at("minItems").path, problem)
        prefix = {"prefixItems": first} if first else {}
        return {"type": "array", **prefix, "items": items, "minItems": least, "maxItems": most}

    def _object(self, flat: Raw, place: Place, arrays: int) -> dict[str, Any]:
        names = flat.get("propertyNames")
        patterns = flat.get("patternProperties") or {}
        declared = flat.get("properties") or {}
        required = list(dict.fromkeys(flat.get("required", ())))
        extra = flat.get("additionalProperties", "unevaluatedProperties" not in flat)
        if "properties" in flat or required or (extra is False and not patterns):
            if patterns or names not in (None, True):
                keyword = "patternProperties" if patterns else "propertyNames"
                problem = f"{keyword} beside properties cannot be enforced; list all properties"
                raise Unenforceable(place.at(keyword).path, problem)
            wanted = {**declared, **{key: extra for key in required if key not in declared}}
            return self._record(flat, wanted, set(required), place, arrays)
        if names is not None and (keys := self._key_names(names, place)) is not None:
            return self._record(flat, dict.fromkeys(keys, extra), set(), place, arrays)
        return self._table(flat, names, patterns, place, arrays)

    def _record(
        self, flat: Raw, wanted: dict[str, Any], required: set[str], place: Place, arrays: int
    ) -> dict[str, Any]:
        properties: dict[str, Any] = {}
        for key, sub in wanted.items():
            try:
                properties[key] = self.visit(sub, place.at("properties", key), arrays)
            except Unenforceable as exc:
                if key in required or not (isinstance(exc, Endless) or sub is False):
                    raise
        least, most = flat.get("minProperties", 0), flat.get("maxProperties", len(properties))
        for key in properties:
            if len(required) < least:
                required.add(key)
        if least > len(properties) or len(required) > most:
            raise Unenforceable(place.path, f"no object has {least} to {most} properties and all required ones")
        spare = most - len(required)
        optional = [key for key in properties if key not in required][:spare]
        kept = {key: sub for key, sub in properties.items() if key in required or key in optional}
        return {
            "type": "object",
            "properties": kept,
            "required": [key for key in kept if key in required],
            "additionalProperties": False,
        }

    def _key_names(self, names: Any, place: Place) -> list[str] | None:
        """Return the keys that `propertyNames` lists, or `None` when it describes them."""
        keys = self.visit({"type": "string", "allOf": [names]}, place.at("propertyNames"), 0)
        listed = keys.get("enum", [keys["const"]] if "const" in keys else None)
        return cast(list[str] | None, listed)

    def _table(self, flat: Raw, names: Any, patterns: Raw, place: Place, arrays: int) -> dict[str, Any]:
        value = flat.get("additionalProperties", True)
        key: Any = {"minLength": 1, "maxLength": 40} if names is None else names
        if patterns:
            if len(patterns) > 1 or names is not None:
                raise Unenforceable(place.at("patternProperties").path, "only one pattern of keys can be enforced")
            ((pattern, value),) = patterns.items()
            key = {"pattern": pattern}
        least, given = flat.get("minProperties", 0), flat.get("maxProperties")
        if least > 1:
            problem = "free keys may repeat, so only 0 or 1 can be enforced; use an array of objects"
            raise Unenforceable(place.at("minProperties").path, problem)
        most = min(MAX_ITEMS, max(1, DEFAULT_ITEMS >> arrays) if given is None else given)
        keys = self.visit({"type": "string", "allOf": [key]}, place.at("propertyNames"), 0)
        if "anyOf" in keys:
            raise Unenforceable(place.at("propertyNames").path, "alternatives of key names cannot be enforced")
        try:
            values = self.visit(value, place.at("additionalProperties"), arrays + 1)
        except Endless:
            if least:
                raise
            values, most = {"type": "null"}, 0
        return {
            "type": "object",
            "propertyNames": keys,
            "additionalProperties": values,
            "minProperties": least,
            "maxProperties": most,
        }


_SCALARS: dict[str, Callable[[Raw, str], dict[str, Any]]] = {
    "integer": bounded_integer,
    "number": bounded_number,
    "string": bounded_string,
}
_TYPES = ("string", "integer", "number", "boolean", "null", "array", "object")
_HINTS = {
    "object": ("properties", "required", "additionalProperties", "patternProperties", "propertyNames"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "string": ("pattern", "minLength", "maxLength", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}


def _kinds(flat: Raw, place: Place, arrays: int) -> list[str]:
    """Return the types a schema allows; without `type`, those its other keywords speak of, else any.

    A value of any type inside an array or a free object is a scalar.
    """
    if (given := flat.get("type")) is None:
        hinted = [kind for kind, keywords in _HINTS.items() if any(keyword in flat for keyword in keywords)]
        return hinted or ["string", "number", "boolean", "null", *([] if arrays else ["array", "object"])]
    kinds = [given] if isinstance(given, str) else list(dict.fromkeys(given))
    for kind in kinds:
        if kind not in _TYPES:
            raise Unenforceable(place.at("type").path, f"{kind!r} is not a JSON type")
    if not kinds:
        raise Unenforceable(place.at("type").path, "no type is allowed here", optional=True)
    return [kind for kind in kinds if not (kind == "integer" and "number" in kinds)]


def _literals(flat: Raw, place: Place) -> dict[str, Any]:
    """Return the fixed values that satisfy what stands beside them."""
    keyword = "const" if "const" in flat else "enum"
    values = [flat["const"]] if keyword == "const" else flat["enum"]
    for value in values:
        if beside := [
            name for name in _HINTS.get(kind_of(value), ()) if name in flat and isinstance(value, dict | list)
        ]:
            raise Unenforceable(
                place.at(keyword).path, f"{beside[0]} beside a fixed {kind_of(value)} cannot be enforced"
            )
    kept = {json.dumps(value): value for value in values if fits(value, flat)}
    if not kept:
        raise Unenforceable(place.at(keyword).path, f"the {keyword} allows no value", optional=bool(values))
    return {"enum": list(kept.values())} if len(kept) > 1 else {"const": next(iter(kept.values()))}
