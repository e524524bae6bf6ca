"""What the label of a table's row says, however its writer spells 0 and 1."""

from clipfake.corpus.layouts.base import FAKE, REAL

_WORDS = {"real": REAL, "fake": FAKE, "false": REAL, "true": FAKE}


def label_of_number(text: str, *, any_integer: bool = True) -> int:
    """0, 0.0 and false are real; 1, 1.0 and true fake. Raises ValueError for all else.

    any_integer : other integers are fake too, as ArtiFact numbers its generators
    """
    word = text.strip().lower()
    if word in ("false", "true"):
        return _WORDS[word]
    number = float(word)
    if not number.is_integer() or (number not in (0, 1) and not any_integer):
        raise ValueError(text)
    return REAL if number == 0 else FAKE


def label_of(text: str, *, any_integer: bool = True) -> int | None:
    """As `label_of_number`; also real and fake, in any case. Empty and "nan" (pandas' missing one) are none."""
    word = text.strip().lower()
    if word in ("", "nan"):
        return None
    return _WORDS[word] if word in _WORDS else label_of_number(word, any_integer=any_integer)
