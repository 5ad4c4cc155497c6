"""The classes from which tyro makes options, derived from dataclasses that know nothing of the command line."""

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from typing import Annotated, Any

import docstring_parser
import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

_UNSET_WORDS = ("auto", "none")  # accepted as values of options whose default is None
_DEFAULT_WORDS = {"None": "chosen automatically", "": "chosen automatically", "True": "on", "False": "off"}


@dataclass(frozen=True)
class Groups:
    """What the fields of a dataclass are, by their dotted names.

    Attributes:
        renamed: names of options that are not those of their fields, with hyphens; one that begins with -- is the whole
            option, without the name of its group.
        flat: groups whose name is left out of their options' names.
        fixed: fields that are no options.
        shown: the only fields that help shows; all if empty.
    """

    renamed: Mapping[str, str] = field(default_factory=dict)
    flat: frozenset[str] = frozenset()
    fixed: frozenset[str] = frozenset()
    shown: frozenset[str] = frozenset()


def option_type(
    cls: type, groups: Groups, *, prefix: str = "", options: str = "--", defaults: Mapping[str, Any] | None = None
) -> type:
    """A subclass of a dataclass whose fields carry what tyro needs to know.

    Its own checks (`__post_init__`) name the option in their errors, in place of the class and the field.

    Args:
        cls: the dataclass.
        groups: what its fields are.
        prefix: dotted name of the dataclass itself, with a dot at its end.
        options: the same as the beginning of an option.
        defaults: default values by name of the field, in place of the dataclass's own.
    """
    hints, descriptions = typing.get_type_hints(cls, include_extras=True), _descriptions(cls)
    own_names = {each.name: groups.renamed.get(prefix + each.name, _kebab(each.name)) for each in _fields(cls)}
    names = {name: own if own.startswith("--") else f"{options}{own}" for name, own in own_names.items()}
    made_fields: list[tuple[str, Any, Any]] = []
    for each in _fields(cls):
        path, hint = f"{prefix}{each.name}", hints[each.name]
        default = (defaults or {}).get(each.name, _default(each))
        marks: list[Any] = []
        if nested := _nested_class(hint):
            below = options if path in groups.flat else f"{names[each.name]}."
            hint = option_type(nested, groups, prefix=f"{path}.", options=below)
            default = copy_as(default, hint) if dataclasses.is_dataclass(default) else default
            # With its help, or tyro reads and parses the class's source file for it even where no help is printed.
            marks.append(tyro.conf.arg(name="" if path in groups.flat else None, help=descriptions.get(each.name)))
        else:
            called = own_names[each.name]
            prefixed = False if called.startswith("--") else None
            marks.append(
                tyro.conf.arg(
                    name=called.removeprefix("--"),
                    prefix_name=prefixed,
                    help=descriptions.get(each.name),
                    help_behavior_hint=_describe_default,
                )
            )
            if path in groups.fixed:
                marks += [tyro.conf.Fixed, tyro.conf.Suppress]
            elif groups.shown and path not in groups.shown:
                marks.append(tyro.conf.Suppress)
        plain, *own = typing.get_args(hint) if typing.get_origin(hint) is Annotated else (hint,)
        marked = functools.reduce(lambda kind, mark: Annotated[kind, mark], [*marks, *own], plain)
        made_fields.append((each.name, marked, _with_default(each, default)))

    def check(self: Any) -> None:
        inherited = getattr(cls, "__post_init__", None)
        if inherited is not None:
            try:
                inherited(self)
            except ValueError as error:
                raise ValueError(name_option(str(error), names)) from error

    namespace = {"__doc__": cls.__doc__, "__post_init__": check}
    return dataclasses.make_dataclass(cls.__name__, made_fields, bases=(cls,), frozen=True, namespace=namespace)


def copy_as(value: Any, cls: type) -> Any:
    """A dataclass and all nested ones as another class with the same fields."""
    hints, values = typing.get_type_hints(cls), {}
    for each in _fields(cls):
        values[each.name] = getattr(value, each.name)
        nested = _nested_class(hints[each.name])
        if nested and values[each.name] is not None:
            values[each.name] = copy_as(values[each.name], nested)
    return cls(**values)


@functools.cache
def _descriptions(cls: type) -> dict[str, str]:
    """What the docstrings of a dataclass and its bases say about the fields."""
    # tyro's own way reads and parses the source files of all classes, which takes half a second.
    docstrings = [base.__doc__ or "" for base in reversed(cls.__mro__) if dataclasses.is_dataclass(base)]
    params = [param for text in docstrings for param in docstring_parser.parse(text).params]
    return {param.arg_name: re.sub(r"(?<!\n)\n(?!\n)", " ", param.description or "") for param in params}


def _fields(cls: Any) -> tuple[dataclasses.Field, ...]:
    return dataclasses.fields(cls)


def _default(of: dataclasses.Field) -> Any:
    return of.default if of.default_factory is MISSING else of.default_factory()


def _with_default(of: dataclasses.Field, default: Any) -> Any:
    kwargs: dict[str, Any] = {"kw_only": of.kw_only}
    if default is not MISSING:  # by a factory: instances of dataclasses are refused as defaults
        kwargs["default_factory"] = lambda: default
    return field(**kwargs)


def _nested_class(hint: Any) -> type | None:
    """The dataclass of a field of type C, C | None or Annotated[C, ...]; None for other fields."""
    if typing.get_origin(hint) is Annotated:
        return _nested_class(typing.get_args(hint)[0])
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    return next((kind for kind in kinds if isinstance(kind, type) and dataclasses.is_dataclass(kind)), None)


def _kebab(name: str) -> str:
    return name.replace("_", "-")


def _describe_default(default: str) -> str:
    return f"(default: {_DEFAULT_WORDS.get(default, default)})"


def name_option(message: str, options: Mapping[str, str]) -> str:
    """An error `field must ...` or `Class: field must ...` as `--field must ...`; other errors as they are.

    Args:
        message: the error.
        options: options by the name of their field.
    """
    match = re.fullmatch(r"(?:[A-Z]\w*: )?(\w+)( .*)", message, flags=re.DOTALL)
    return f"{options[match[1]]}{match[2]}" if match and match[1] in options else message


REGISTRY = ConstructorRegistry()


@REGISTRY.primitive_rule
def _optional_rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """`X | None` is read as X, with `auto` and `none` for None."""
    kinds = typing.get_args(info.type)
    if info.type_origin not in (types.UnionType, typing.Union) or len(kinds) != 2 or type(None) not in kinds:
        return None
    kind = kinds[0] if kinds[1] is type(None) else kinds[1]
    spec = ConstructorRegistry.get_primitive_spec(PrimitiveTypeInfo.make(kind, info.markers))
    if not isinstance(spec, PrimitiveConstructorSpec):
        return None
    choices = ("auto", *spec.choices) if spec.choices else None

    def read(words: list[str]) -> Any:
        is_unset = len(words) == 1 and words[0].lower() in _UNSET_WORDS
        return None if is_unset else spec.instance_from_str(words)

    return PrimitiveConstructorSpec(
        nargs=spec.nargs,
        metavar="{" + ",".join(choices) + "}" if choices else spec.metavar,
        instance_from_str=read,
        is_instance=lambda value: value is None or spec.is_instance(value),
        str_from_instance=lambda value: (
            ["auto" if choices else "None"] if value is None else spec.str_from_instance(value)
        ),
        choices=choices,
    )


@REGISTRY.primitive_rule
def _number_rule(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec | None:
    """Numbers, with errors in plain words."""
    kind: Any = info.type
    if kind not in (int, float):
        return None

    def read(words: list[str]) -> Any:
        try:
            return kind(words[0])
        except ValueError:
            raise ValueError(f"must be a {'whole ' * (kind is int)}number, got {words[0]!r}") from None

    return PrimitiveConstructorSpec(
        nargs=1,
        metavar=kind.__name__.upper(),
        instance_from_str=read,
        is_instance=lambda value: isinstance(value, (int, kind)),
        str_from_instance=lambda value: [str(value)],
    )
