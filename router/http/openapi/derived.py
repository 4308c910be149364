"""JSON schemas derived from dataclasses, so that the description of an answer is made of what the answer is made of.

They are exact: every field is required and no other is allowed. The description is the class's docstring.
"""

import inspect
from dataclasses import is_dataclass
from enum import StrEnum
from types import NoneType, UnionType
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

Schema = dict[str, Any]

_PLAIN: Final[dict[Any, str]] = {str: "string", bool: "boolean", int: "integer", float: "number", NoneType: "null"}


def reference(name: str) -> Schema:
    """The schema of this name among the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(description: str, properties: Schema) -> Schema:
    """An object of exactly these properties."""
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def derived(cls: type, **others: Schema) -> Schema:
    """The schema of a dataclass in the form of `asdict`; `others` replace or add properties."""
    fields = {name: schema_of(kind) for name, kind in get_type_hints(cls).items()}
    return record(" ".join((inspect.getdoc(cls) or "").split()), fields | others)


def schema_of(kind: Any) -> Schema:
    """The schema of a field's type; of a dataclass a reference by its name. Raises TypeError for unknown types."""
    origin, args = get_origin(kind), get_args(kind)
    found: Schema
    if kind in _PLAIN:
        found = {"type": _PLAIN[kind]}
    elif is_dataclass(kind) and isinstance(kind, type):
        found = reference(kind.__name__)
    elif isinstance(kind, type) and issubclass(kind, StrEnum):
        found = {"type": "string", "enum": [str(member) for member in kind]}
    elif origin is Literal:
        found = {"type": "string", "enum": list(args)}
    elif origin is UnionType and all(arg in _PLAIN for arg in args):
        found = {"type": [_PLAIN[arg] for arg in args]}
    elif origin is UnionType:
        found = {"anyOf": [schema_of(arg) for arg in args]}
    elif origin in {list, tuple}:
        found = {"type": "array", "items": schema_of(args[0])}
    elif origin is dict:
        found = {"type": "object", "additionalProperties": schema_of(args[1])}
    else:
        raise TypeError(f"no schema is known for the type {kind!r}")
    return found
