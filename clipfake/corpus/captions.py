"""The text of an item, from its manifest row, and the words in it that would give the label away."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from clipfake.errors import UsageError

COLUMNS: Final = ("caption", "category")
MAX_GENERATORS: Final = 10_000

# Besides the manifest's own generators. A phrase is words in a row, whatever stands between them.
GIVEAWAYS: Final = (
    *("ai", "artificial intelligence", "computer generated", "aigc", "synthetic", "synthesized", "synthesised"),
    *("fake", "fakes", "faked", "deepfake", "deepfakes", "generated", "gan", "gans", "biggan", "cyclegan", "progan"),
    *("stargan", "stylegan", "stylegan2", "stylegan3", "diffusion", "ddpm", "sdxl", "midjourney", "dalle", "dall e"),
)
_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)*")  # "j'ai" is one word, and none of "ai"


@dataclass(frozen=True)
class TextTemplate:
    """How an item's text is made of its manifest row: `{caption}`, or `a photo of a {category}`."""

    template: str

    def __post_init__(self) -> None:
        how = "give caption, category, or a template such as 'a photo of a {category}'"
        try:
            parts = [(name, spec, turn) for _, name, spec, turn in Formatter().parse(self.template) if name is not None]
        except ValueError as error:
            raise UsageError(f"the text template {self.template!r} cannot be read ({error}); {how}") from None
        if not parts:
            raise UsageError(f"the text {self.template!r} names no column: all items would have the same text; {how}")
        for name, spec, turn in parts:
            if name not in COLUMNS or spec or turn:
                raise UsageError(f"the text template {self.template!r} may not use {{{name}}}; {how}")

    @classmethod
    def parse(cls, text: str) -> "TextTemplate":
        """A template, or the name of a column alone. Raises UsageError."""
        return cls(f"{{{text}}}" if text in COLUMNS else text)

    @property
    def columns(self) -> tuple[str, ...]:
        """The manifest columns that it uses."""
        return tuple(dict.fromkeys(name for _, name, _, _ in Formatter().parse(self.template) if name))

    def fill(self, columns: Mapping[str, Sequence[str | None]]) -> list[str | None]:
        """The items' texts; None where a column is null or blank."""
        rows = zip(*(columns[name] for name in self.columns), strict=True)
        return [
            self.template.format(**dict(zip(self.columns, row, strict=True)))
            if all(value and value.strip() for value in row)
            else None
            for row in rows
        ]


class Giveaways:
    """The words that no text may have: GIVEAWAYS, and the names of generators as they are learned.

    allowed : words that may stand all the same, such as those of a generator named `palette`
    """

    def __init__(self, allowed: Collection[str] = ()) -> None:
        self._allowed = {_words(word) for word in allowed}
        self._phrases = {_words(phrase) for phrase in GIVEAWAYS} - self._allowed
        self._longest = max(map(len, self._phrases), default=0)
        self._generators: set[str] = set()

    def learn(self, generators: Collection[str]) -> bool:
        """Takes names of generators; whether a new one was among them.

        Raises UsageError beyond MAX_GENERATORS: then the column does not hold generators' names.
        """
        new = set(generators) - self._generators
        self._generators |= new
        if len(self._generators) > MAX_GENERATORS:
            raise UsageError(f"the column generator has more than {MAX_GENERATORS} names: --text cannot be checked")
        for name in new:
            words = _words(name)
            forms = {words, ("".join(words),)} - self._allowed
            self._phrases |= {form for form in forms if len("".join(form)) > 1 and not "".join(form).isdigit()}
        self._longest = max(map(len, self._phrases), default=0)
        return bool(new)

    def found(self, text: str) -> str | None:
        """The first word or phrase of `text`, as it stands there in lower case, that gives the label away."""
        words = _words(text)
        for start in range(len(words)):
            for end in range(start + 1, min(start + self._longest, len(words)) + 1):
                if words[start:end] in self._phrases:
                    return " ".join(words[start:end])
        return None


def checked(
    listing: Callable[[], pa.RecordBatchReader], template: TextTemplate, allowed: Collection[str] = ()
) -> pa.RecordBatchReader:
    """The listing, with every text in it checked before it ends: reading on raises UsageError, naming item and word.

    listing : lists the items anew each time. It is read a second time where names of generators come after the first
        batch, so that every text is held against every name; nothing is kept but the names.

    Names of generators are those of fake and of unlabelled items: the `generator` of a real one is where it is from.
    """
    reader, giveaways = listing(), Giveaways(allowed)

    def batches() -> Iterator[pa.RecordBatch]:
        late = False
        for number, batch in enumerate(reader):
            late |= giveaways.learn(_generators(batch)) and number > 0
            _check(batch, template, giveaways)
            yield batch
        if late:
            for batch in listing():
                _check(batch, template, giveaways)

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


def _generators(batch: pa.RecordBatch) -> list[str]:
    made = pc.fill_null(pc.not_equal(batch["label"], 0), True)
    return [name for name in pc.unique(batch["generator"].filter(made)).to_pylist() if name]


def _check(batch: pa.RecordBatch, template: TextTemplate, giveaways: Giveaways) -> None:
    for column in template.columns:
        for value in pc.unique(batch[column]).to_pylist():
            if value and (word := giveaways.found(value)):
                item = batch["item_id"][pc.index(batch[column], value).as_py()].as_py()
                raise UsageError(
                    f"the {column} of {item} has {word!r}, which can give the label away; take it out of the "
                    f"{column}s, or give --allow-word {word!r} where it is harmless"
                )


def _words(text: str) -> tuple[str, ...]:
    plain = text.lower().replace("a.i.", "ai").replace("’", "'")
    return tuple(word.removesuffix("'s") for word in _WORD.findall(plain))
