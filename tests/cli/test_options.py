"""The options of a command are made from its dataclasses, and reach it as such."""

from dataclasses import dataclass, field
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from clipfake.cli.options import Only, Without, with_options
from clipfake.errors import UsageError
from clipfake.options import option, refuse_idle


def halved(text: str) -> tuple[int, ...]:
    return tuple(int(part) // 2 for part in text.split(","))


@dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...] = option((4, 6), "Sizes.", given_as=str, parse=halved)
    words: tuple[str, ...] = option((), "A word.", flag="--word", inputs=("corpus",))
    deep: bool = option(True, "Deep.", flag="--deep/--shallow", inputs=("corpus",))


@dataclass(frozen=True)
class Outer:
    rate: float = option(0.5, "Rate.")
    hidden: int = 3
    inner: Inner = field(default_factory=Inner)


@dataclass(frozen=True)
class Filled:
    given: dict[str, Any]

    @classmethod
    def of_given(cls, **given: Any) -> "Filled":
        return cls(given)


@dataclass(frozen=True)
class OfPreset(Filled):
    given: dict[str, Any] = field(default_factory=dict)
    epochs: int = option(9, "Epochs.", unset=True)
    seed: int = option(0, "Seed.")


def run(command: Any, *arguments: str) -> Any:
    app = typer.Typer(rich_markup_mode=None)
    app.command()(with_options(command))
    return CliRunner().invoke(app, arguments)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), Outer()),
        (("--rate", "0.25", "--word", "a", "--word", "b"), Outer(0.25, inner=Inner(words=("a", "b")))),
        (("--sizes", "8,10", "--shallow"), Outer(inner=Inner((4, 5), deep=False))),
    ],
)
def test_a_dataclass_is_made_of_its_options(arguments, expected):
    seen = []

    def command(place: str, options: Outer) -> None:
        seen.append((place, options))

    done = run(command, "x", *arguments)
    assert done.exit_code == 0, done.output
    assert seen == [("x", expected)]


def test_help_is_stated_once_and_fields_without_a_statement_are_no_options():
    def command(options: Outer) -> None: ...

    text = run(command, "--help").output
    for part in ("Rate.  [default: 0.5]", "(4,6)", "--deep / --shallow", "--word"):
        assert part in text
    assert "hidden" not in text


@pytest.mark.parametrize(
    ("choice", "taken"), [(Without("sizes", "deep"), {"rate", "word"}), (Only("sizes", "rate"), {"rate", "sizes"})]
)
def test_a_command_may_take_some_of_the_options(choice, taken):
    def command(options: Outer) -> None: ...

    command.__annotations__["options"] = Annotated[Outer, choice]
    assert set(with_options(command).__signature__.parameters) == taken | {"context"}  # type: ignore[attr-defined]


def test_names_of_options_that_are_none_are_noticed():
    def command(options: Annotated[Outer, Without("size")]) -> None: ...

    with pytest.raises(TypeError, match="no option size"):
        with_options(command)


def test_a_preset_fills_what_is_not_given():
    seen = []

    def command(options: OfPreset) -> None:
        seen.append(options.given)

    assert run(command).exit_code == run(command, "--epochs", "4", "--seed", "2").exit_code == 0
    assert seen == [{"seed": 0}, {"epochs": 4, "seed": 2}]


def test_an_option_that_is_typed_with_its_default_is_known_to_be_typed():
    def command(options: Outer) -> None:
        refuse_idle(options, "embeddings", "embeddings")

    assert run(command).exit_code == 0
    refused = run(command, "--deep")
    assert isinstance(refused.exception, UsageError)
    assert str(refused.exception) == "--deep does nothing for embeddings: leave it out"
