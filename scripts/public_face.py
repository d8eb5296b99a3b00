"""Print the public face of the library: every public name, and the signature of everything that can be called.

The output is committed as ``tests/house/public_face.txt`` and compared by a test, so that a change of the face is
seen in review. It is the same on every Python version: annotations are shown as they are written.
"""

from __future__ import annotations

import enum
import inspect
import sys
import types
from collections.abc import Iterator, Mapping
from typing import ForwardRef, Generic, get_args, get_origin

import mediagit_storage


def annotation(value: object) -> str:
    """An annotation as its source spells it."""
    if isinstance(value, str):
        return value
    if isinstance(value, ForwardRef):
        return value.__forward_arg__
    return getattr(value, "__name__", repr(value)) if isinstance(value, type) else repr(value).replace("typing.", "")


def default(value: object) -> str:
    """A default value that is plain data; of anything else (``os.environ``, a clock) only what kind it is."""
    if isinstance(value, types.FunctionType | type):
        return value.__name__
    return repr(value) if _is_plain(value) else f"<{type(value).__name__}>"


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | frozenset):
        return all(_is_plain(each) for each in value)
    return value is None or isinstance(value, bool | int | float | str | bytes | enum.Enum)


def variables_of(kind: type) -> dict[str, str]:
    """What the type variables of its generic bases stand for in a class: ``{"C": "S3Config"}``."""
    aliases = [alias for base in kind.__mro__ for alias in vars(base).get("__orig_bases__", ())]
    return {
        variable.__name__: annotation(argument)
        for alias in aliases
        if get_origin(alias) not in (None, Generic)
        for variable, argument in zip(get_origin(alias).__parameters__, get_args(alias), strict=True)
    }


def signature(function: object, variables: Mapping[str, str] = types.MappingProxyType({})) -> str:
    """``(a: int, *, b: str = 'x') -> None``, or ``(...)`` where Python cannot tell."""
    try:
        found = inspect.signature(function)  # type: ignore[arg-type]  # what cannot be called is caught here
    except (TypeError, ValueError):
        return "(...)"
    parts: list[str] = []
    kind: object = None
    for parameter in found.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and kind not in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL):
            parts.append("*")
        kind = parameter.kind
        star = "*" if kind is parameter.VAR_POSITIONAL else "**" if kind is parameter.VAR_KEYWORD else ""
        text = star + parameter.name
        if parameter.annotation is not parameter.empty:
            shown = annotation(parameter.annotation)
            text += f": {variables.get(shown, shown)}"
        if parameter.default is not parameter.empty:
            text += f" = {default(parameter.default)}"
        parts.append(text)
    result = found.return_annotation
    arrow = "" if result is found.empty else f" -> {annotation(result)}"
    return f"({', '.join(parts)}){arrow}"


def members(kind: type) -> Iterator[str]:
    """The public methods and properties that a class of this library has, inherited ones included."""
    variables = variables_of(kind)
    for name in sorted(dir(kind)):
        value = inspect.getattr_static(kind, name)
        if name.startswith("_") or _owner(kind, name).__module__.partition(".")[0] != "mediagit_storage":
            continue
        if isinstance(value, property):
            shown = annotation(inspect.signature(value.fget).return_annotation) if value.fget else "?"
            yield f"  {name}: {variables.get(shown, shown)}"
        elif isinstance(value, classmethod | staticmethod):
            yield f"  {type(value).__name__} {name}{signature(getattr(kind, name), variables)}"
        elif inspect.isfunction(value):
            yield f"  {name}{signature(value, variables)}"


def _owner(kind: type, name: str) -> type:
    return next(base for base in kind.__mro__ if name in vars(base))


def face() -> Iterator[str]:
    """Every line of the page."""
    for name in sorted(mediagit_storage.__all__):
        value = getattr(mediagit_storage, name)
        if isinstance(value, enum.EnumType):
            shown = (f"{label}={member.value!r}" for label, member in value.__members__.items())
            yield f"enum {name}: {', '.join(shown)}"
        elif isinstance(value, type):
            bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
            yield f"class {name}({bases}){'' if issubclass(value, BaseException) else ' ' + signature(value)}"
            if not issubclass(value, BaseException):
                yield from members(value)
        elif callable(value):
            yield f"def {name}{signature(value)}"
        elif not isinstance(value, types.ModuleType):
            yield f"{name}: {type(value).__name__}"


if __name__ == "__main__":
    sys.stdout.write("".join(f"{line}\n" for line in face()))
