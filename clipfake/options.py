"""How an option is stated: once, at a field of a frozen dataclass, with its default, help, check and inputs.

Library code makes such a dataclass itself; clipfake.cli.options makes the options of a command from its fields.
"""

from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from functools import partial
from typing import Any

from clipfake.errors import UsageError

Check = Callable[[Any], str | None]  # a value -> what is wrong with it ("must be at least 1"), or None

# The options that the user typed, by their names on the command line; empty where library code is called.
typed: ContextVar[frozenset[str]] = ContextVar("typed", default=frozenset())


@dataclass(frozen=True)
class Stated:
    """What a field says of its option.

    flag : its name on the command line, by default `--` and the field's name
    inputs : the kinds of input ("corpus", "manifest", "embeddings") for which it does something; none named: for all
    given_as, parse : the type of what the command line gives, and what makes the field's value of it
    unset : whether the command line gives None for what the user left out, to be filled in by a preset
    """

    help: str
    flag: str | None = None
    check: Check | None = None
    inputs: tuple[str, ...] = ()
    given_as: Any = None
    parse: Callable[[Any], Any] | None = None
    unset: bool = False


def option(default: Any, help: str, **more: Any) -> Any:
    """A field of a dataclass that is an option; `...` is the default of one that must be given.

    more : further fields of `Stated`
    """
    metadata = {"option": Stated(help, **more)}
    if default is ...:
        return field(metadata=metadata)
    if isinstance(default, dict):
        return field(default_factory=dict, metadata=metadata)
    return field(default=default, metadata=metadata)


def stated(one: Field[Any]) -> Stated | None:
    """What the field says of its option; None for a field that is none."""
    return one.metadata.get("option")


def flag_of(one: Field[Any]) -> str:
    """The option's name on the command line; of `--views/--no-views`, the first."""
    found = stated(one)
    return found.flag.partition("/")[0] if found and found.flag else f"--{one.name.replace('_', '-')}"


def default_of(one: Field[Any]) -> Any:
    """The default of a field that is an option."""
    return one.default_factory() if one.default_factory is not MISSING else one.default


def check(options: Any) -> None:
    """Raises UsageError for the first option of the dataclass whose value does not pass its check; None passes."""
    for one in fields(options):
        found, value = stated(one), getattr(options, one.name)
        if found and found.check and value is not None and (problem := found.check(value)):
            raise UsageError(f"{flag_of(one)} {problem}, not {value!r}")


def refuse_idle(options: Any, kind: str, what: str, also: Sequence[str] = ()) -> None:
    """Raises UsageError where an option was given that does nothing for inputs of that kind.

    options : a dataclass, whose fields may be such dataclasses again; what : the input, for the message
    also : names of further options that were given and do nothing
    """
    idle = [*also] + [flag_of(one) for one, value in _options(options) if _is_idle(one, value, kind)]
    if idle:
        verb = "does" if len(idle) == 1 else "do"
        raise UsageError(f"{', '.join(idle)} {verb} nothing for {what}: leave {'it' if len(idle) == 1 else 'them'} out")


def _is_idle(one: Field[Any], value: Any, kind: str) -> bool:
    found = stated(one)
    if found is None or not found.inputs or kind in found.inputs:
        return False
    return value != default_of(one) or flag_of(one) in typed.get()


def _options(options: Any) -> Iterator[tuple[Field[Any], Any]]:
    for one in fields(options):
        value = getattr(options, one.name)
        if is_dataclass(value):
            yield from _options(value)
        elif stated(one):
            yield one, value


def at_least(least: float) -> Check:
    """A check: the number is not smaller."""
    return lambda value: None if value >= least else f"must be at least {least:g}"


def above(limit: float) -> Check:
    """A check: the number is larger."""
    return lambda value: None if value > limit else f"must be above {limit:g}"


def between(least: float, most: float) -> Check:
    """A check: the number lies within these bounds, which are included."""
    return lambda value: None if least <= value <= most else f"must lie between {least:,g} and {most:,g}"


def one_of(*choices: str) -> Check:
    """A check: the text is one of these."""
    return lambda value: None if value in choices else f"must be one of {', '.join(choices)}"


NUM_CPUS = "CPUs to use where no cluster is named by RAY_ADDRESS."
num_cpus = partial(option, None, NUM_CPUS, check=at_least(1))
