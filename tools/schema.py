"""From a function's signature to the JSON Schema of its arguments and the validator that enforces it."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NotRequired, get_origin

from pydantic import ConfigDict, TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import PydanticSerializationError, core_schema, from_json, to_json
from typing_extensions import TypedDict

from ..errors import SchemaRefused
from .context import Context
from .validation import InvalidJson, StrictJson

_STRICT = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)
_MAPS = ("properties", "patternProperties", "$defs", "dependentSchemas")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLES = ("items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else")
_NO_DEFAULT = inspect.Parameter.empty


class _Generator(GenerateJsonSchema):
    """Pydantic's schemas, made exact where a decoder could otherwise write what the validator refuses."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        """Give a decimal one form, the number, with its digits as bounds."""
        bounds = {"le": "maximum", "ge": "minimum", "lt": "exclusiveMaximum", "gt": "exclusiveMinimum"}
        found = {bounds[key]: _number(schema[key]) for key in bounds if key in schema}  # type: ignore[literal-required]
        places, step = schema.get("decimal_places"), schema.get("multiple_of")
        if step is None and places is not None:
            step = Decimal(1).scaleb(-places)
        if step is not None:
            found["multipleOf"] = _number(step)
        if digits := schema.get("max_digits"):
            limit = 10 ** (digits - (places or 0))
            found.setdefault("exclusiveMaximum", limit)
            found.setdefault("exclusiveMinimum", -limit)
        return {"type": "number", **found}

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Say which keys are whole numbers: JSON writes them as strings."""
        found = super().dict_schema(schema)
        if schema.get("keys_schema", {}).get("type") == "int":
            found["propertyNames"] = {"pattern": "^-?[0-9]+$"}
        return found

    def encode_default(self, dft: Any) -> Any:
        """Write a decimal as the number that its schema describes."""
        return _number(dft) if isinstance(dft, Decimal) else super().encode_default(dft)


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a function takes.

    Attributes:
        schema: JSON Schema of the arguments that the model gives.
        validator: Reads them.
        context_parameter: Name of the parameter that receives the `Context`, or `None`.
    """

    schema: dict[str, Any]
    validator: StrictJson
    context_parameter: str | None


@dataclass(slots=True)
class _Reading:
    """A signature that is being read: what was found, and what is wrong with it."""

    problems: list[str]
    context_parameter: str | None = None
    types: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)


def read_parameters(function: Callable[..., Any], docs: Mapping[str, str], problems: list[str]) -> Parameters | None:
    """Return what a function takes from the model.

    Args:
        function: Any callable with a signature.
        docs: Description of each parameter.
        problems: Receives `parameters.NAME: message` for everything that is wrong.

    Returns:
        `None` when problems were found that leave no schema.
    """
    reading = _Reading(problems)
    found = len(problems)
    try:
        signature = inspect.signature(function, eval_str=True)
    except (NameError, AttributeError, TypeError, ValueError, SyntaxError) as exc:
        problems.append(f"parameters: the annotations cannot be read: {exc}")
        return None
    for parameter in signature.parameters.values():
        _read(parameter, reading)
    for name in docs:
        if name not in signature.parameters:
            problems.append(f"docstring.{name}: there is no such parameter")
    if len(problems) > found:
        return None
    return _build(reading, docs)


def strict_adapter(kind: Any) -> TypeAdapter[Any]:
    """Return a strict adapter of a type; models keep a configuration of their own and are read strictly all the same.

    Raises:
        PydanticUserError: Pydantic does not know the type.
    """
    try:
        return TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False))
    except PydanticUserError as exc:
        if exc.code != "type-adapter-config-unused":
            raise
        return TypeAdapter(kind)


def type_schema(adapter: TypeAdapter[Any]) -> dict[str, Any]:
    """Return the JSON Schema of a type, without the titles that pydantic makes up.

    Raises:
        PydanticUserError: The type has no JSON Schema.
    """
    schema = adapter.json_schema(schema_generator=_Generator)
    _drop_titles(schema)
    return schema


def refusals(schema: Mapping[str, Any], what: str) -> Iterator[str]:
    """Yield `place: message` when a schema cannot be enforced while decoding."""
    from ..inference.constraints.check import check_schema

    try:
        check_schema(schema, what)
    except SchemaRefused as exc:
        yield f"{exc.path}: {exc.problem}"


def _read(parameter: inspect.Parameter, reading: _Reading) -> None:
    name, annotation = parameter.name, parameter.annotation
    where = f"parameters.{name}"
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        reading.problems.append(f"{where}: * and ** parameters have no schema; name each argument")
    elif parameter.kind is parameter.POSITIONAL_ONLY:
        reading.problems.append(f"{where}: arguments are given by name, so it cannot be positional-only")
    elif annotation is parameter.empty:
        hint = "; make a tool of the bound method instead" if name in ("self", "cls") else ""
        reading.problems.append(f"{where}: has no type annotation{hint}")
    elif annotation is Context or get_origin(annotation) is Context:
        if reading.context_parameter:
            reading.problems.append(f"{where}: {reading.context_parameter!r} receives the context already")
        reading.context_parameter = name
    else:
        _read_argument(where, parameter, reading)


def _read_argument(where: str, parameter: inspect.Parameter, reading: _Reading) -> None:
    try:
        adapter = strict_adapter(parameter.annotation)
        type_schema(adapter)
    except (PydanticUserError, PydanticSchemaGenerationError) as exc:
        reading.problems.append(f"{where}: {_first_sentence(exc)}")
        return
    except Exception as exc:  # a type's own hooks may raise anything
        reading.problems.append(f"{where}: its type has no schema: {type(exc).__name__}: {exc}")
        return
    reading.types[parameter.name] = parameter.annotation
    if parameter.default is not _NO_DEFAULT:
        _read_default(where, parameter, adapter, reading)


def _read_default(where: str, parameter: inspect.Parameter, adapter: TypeAdapter[Any], reading: _Reading) -> None:
    default = parameter.default
    if isinstance(default, FieldInfo):
        reading.problems.append(f"{where}: write Annotated[TYPE, Field(...)] = DEFAULT instead of = Field(...)")
        return
    try:
        text = str(default) if isinstance(default, Decimal) else to_json(default, inf_nan_mode="constants").decode()
        StrictJson(adapter).parse(text)
        reading.defaults[parameter.name] = from_json(text)
    except PydanticSerializationError:
        reading.problems.append(f"{where}: the default, a {type(default).__name__}, is not JSON")
    except InvalidJson as exc:
        reading.problems.append(f"{where}: the default does not have the parameter's type: {exc}")


def _build(reading: _Reading, docs: Mapping[str, str]) -> Parameters:
    fields = {name: NotRequired[kind] if name in reading.defaults else kind for name, kind in reading.types.items()}
    arguments = TypedDict("Arguments", fields)  # type: ignore[misc]
    arguments.__pydantic_config__ = _STRICT  # type: ignore[attr-defined]
    adapter: TypeAdapter[Any] = TypeAdapter(arguments)
    schema = type_schema(adapter)
    for name, properties in schema.get("properties", {}).items():
        if description := docs.get(name):
            properties.setdefault("description", description)
        if name in reading.defaults:
            properties["default"] = reading.defaults[name]
    schema.setdefault("properties", {})
    return Parameters(schema, StrictJson(adapter), reading.context_parameter)


def _drop_titles(schema: Any) -> None:
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("title"), str):
        del schema["title"]
    for key in _MAPS:
        for each in schema.get(key, {}).values():
            _drop_titles(each)
    for key in _LISTS:
        for each in schema.get(key, ()):
            _drop_titles(each)
    for key in _SINGLES:
        _drop_titles(schema.get(key))


def _number(value: Decimal | float) -> int | float:
    return int(value) if value == int(value) else float(value)


def _first_sentence(error: Exception) -> str:
    return str(error).split("\n", 1)[0].split(". ", 1)[0]
