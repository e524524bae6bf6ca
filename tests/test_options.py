"""Options are stated once, at fields of dataclasses: their checks, names, and what refuses those that do nothing."""

from dataclasses import dataclass, field

import pytest

from clipfake.errors import UsageError
from clipfake.options import above, at_least, between, check, flag_of, num_cpus, one_of, option, refuse_idle, typed


@dataclass(frozen=True)
class Inner:
    size: int = option(4, "Size.", flag="--how-large", check=above(0), inputs=("corpus",))
    table: dict[str, str] = option({}, "Columns.", inputs=("corpus", "manifest"))  # noqa: RUF009


@dataclass(frozen=True)
class Outer:
    kind: str = option("a", "Kind.", check=one_of("a", "b"))
    inner: Inner = field(default_factory=Inner)
    internal: int = 7
    num_cpus: int | None = num_cpus()

    def __post_init__(self) -> None:
        check(self)


@pytest.mark.parametrize(
    ("rule", "good", "bad", "says"),
    [
        (at_least(1), 1, 0, "must be at least 1"),
        (above(0), 0.1, 0, "must be above 0"),
        (between(0, 1), 1, 1.5, "must lie between 0 and 1"),
        (between(1, 4096), 4096, float("nan"), "must lie between 1 and 4,096"),
        (one_of("x", "y"), "y", "z", "must be one of x, y"),
    ],
)
def test_checks(rule, good, bad, says):
    assert rule(good) is None
    assert rule(bad) == says


def test_the_first_wrong_option_is_named_as_on_the_command_line():
    with pytest.raises(UsageError, match=r"^--kind must be one of a, b, not 'c'$"):
        Outer(kind="c")
    with pytest.raises(UsageError, match=r"^--num-cpus must be at least 1, not 0$"):
        Outer(num_cpus=0)
    assert flag_of(Inner.__dataclass_fields__["size"]) == "--how-large"
    assert Inner().table == {} and Inner().table is not Inner().table


def test_an_option_that_does_nothing_is_refused_also_with_its_default_if_it_was_typed():
    refuse_idle(Outer(), "embeddings", "embeddings")
    with pytest.raises(UsageError, match=r"^--how-large does nothing for embeddings: leave it out$"):
        refuse_idle(Outer(inner=Inner(size=5)), "embeddings", "embeddings")
    before = typed.set(frozenset({"--how-large", "--kind"}))
    try:
        with pytest.raises(UsageError, match=r"^--encoder, --how-large do nothing for embeddings: leave them out$"):
            refuse_idle(Outer(), "embeddings", "embeddings", ["--encoder"])
        refuse_idle(Outer(), "corpus", "a corpus")
    finally:
        typed.reset(before)
