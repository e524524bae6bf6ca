"""The options that several commands take, and how a command's options are made from its dataclasses of options."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, cast, get_args, get_origin, get_type_hints

import typer

from clipfake.options import NUM_CPUS, Stated, flag_of, stated, typed

Out = Annotated[str, typer.Option(help="Folder or URI (s3://..., gs://...) to write to.", show_default=False)]
DetectorName = Annotated[
    str | None,
    typer.Option(
        help="A detector's name, path or URI; by default the one that OUT was scored with, else the package's newest.",
        show_default=False,
    ),
]
ENCODER = "clip-b16, the place of a packed file, timm/NAME, or of open_clip's: ARCH/TAG, ARCH/untrained, ARCH/PATH."
EncoderName = Annotated[str, typer.Option(help=ENCODER)]
MovedEncoder = Annotated[
    str | None, typer.Option("--encoder", help="The encoder, ARCH/PATH or a packed file's place, if it has moved.")
]
NumCpus = Annotated[int | None, typer.Option(help=NUM_CPUS)]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Prevalence = Annotated[
    float | None,
    typer.Option(help="Share of fakes where the detector will be used; prints the precision to expect there."),
]

_KEYWORD = inspect.Parameter.KEYWORD_ONLY


class Without:
    """Said of a dataclass of options: the command takes all of its options but these, which keep their defaults."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)

    def takes(self, name: str) -> bool:
        """Whether the command takes the option of that field."""
        return name not in self.names


class Only(Without):
    """Said of a dataclass of options: the command takes none of its options but these."""

    def takes(self, name: str) -> bool:
        """Whether the command takes the option of that field."""
        return name in self.names


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command as Typer takes it: a parameter that is a dataclass of options becomes one parameter an option.

    A dataclass with a class method `of_given` is made by that, from what the user gave.
    """
    parameters = {"context": inspect.Parameter("context", _KEYWORD, annotation=typer.Context)}
    made: dict[str, tuple[type, set[str]]] = {}  # parameter -> its dataclass and the options that the command takes
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        kind, choice = _dataclass_of(parameter.annotation)
        if kind is None:
            parameters[name] = parameter.replace(kind=_KEYWORD)
            continue
        taken = {_name(one): _parameter(one, *rest) for one, *rest in _options(kind) if choice.takes(one.name)}
        made[name] = kind, set(taken)
        parameters |= taken

    @wraps(command)
    def run(context: typer.Context, **given: Any) -> None:
        before = typed.set(frozenset(f"--{name.replace('_', '-')}" for name in given if _is_typed(context, name)))
        try:
            chosen = {
                name: _make(kind, {option: given[option] for option in options if given[option] is not None})
                for name, (kind, options) in made.items()
            }
            of_dataclasses = set().union(*(options for _, options in made.values()))
            command(**{name: value for name, value in given.items() if name not in of_dataclasses}, **chosen)
        finally:
            typed.reset(before)

    run.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    run.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
    return run


def _dataclass_of(annotation: Any) -> tuple[type | None, Without]:
    """The dataclass of options that a parameter is, and which of its options the command takes."""
    kind, *rest = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    choice = next((one for one in rest if isinstance(one, Without)), Without())
    if not is_dataclass(kind):
        return None, choice
    if unknown := choice.names - {one.name for one, _, _ in _options(kind)}:
        raise TypeError(f"{kind} has no option {', '.join(sorted(unknown))}")
    return cast(type, kind), choice


def _options(kind: Any) -> Iterator[tuple[Field[Any], Stated, Any]]:
    """The options of a dataclass and of the dataclasses in it: field, what it states, type."""
    hints = get_type_hints(kind)
    for one in fields(kind):
        if is_dataclass(hints[one.name]):
            yield from _options(hints[one.name])
        elif found := stated(one):
            yield one, found, hints[one.name]


def _name(one: Field[Any]) -> str:
    """The option's name as a parameter."""
    return flag_of(one).removeprefix("--").replace("-", "_")


def _parameter(one: Field[Any], found: Stated, hint: Any) -> inspect.Parameter:
    """The parameter that Typer makes the option from."""
    default: Any = one.default if one.default is not MISSING else inspect.Parameter.empty
    given = found.given_as or hint
    shown = ",".join(map(str, default)) if given is str and isinstance(default, tuple) and default else True
    if get_origin(given) is tuple:
        given = list[str]
    if found.unset or found.given_as or get_origin(given) is list:
        default, given = None, given | None
    flags = [found.flag] if found.flag else []
    annotation: Any = Annotated[given, typer.Option(*flags, help=found.help, show_default=shown)]
    return inspect.Parameter(_name(one), _KEYWORD, default=default, annotation=annotation)


def _make(kind: Any, given: dict[str, Any]) -> Any:
    """The dataclass from its options' values as the command line gives them; what is not given keeps its default."""
    values = {one.name: _value(found, given[_name(one)]) for one, found, _ in _options(kind) if _name(one) in given}
    return kind.of_given(**values) if hasattr(kind, "of_given") else _filled(kind, given)


def _filled(kind: Any, given: dict[str, Any]) -> Any:
    hints, values = get_type_hints(kind), {}
    for one in fields(kind):
        found = stated(one)
        if is_dataclass(hints[one.name]):
            values[one.name] = _filled(hints[one.name], given)
        elif found and _name(one) in given:
            values[one.name] = _value(found, given[_name(one)])
    return kind(**values)


def _value(found: Stated, value: Any) -> Any:
    if found.parse:
        return found.parse(value)
    return tuple(value) if isinstance(value, list) else value


def _is_typed(context: typer.Context, name: str) -> bool:
    """Whether the user gave the option, be it with its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP")
