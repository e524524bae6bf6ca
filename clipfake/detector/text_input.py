"""What text a detector reads beside the image, so that it is given the same when it scores."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clipfake.errors import UsageError


@dataclass(frozen=True)
class TextInput:
    """The embedding of `template`, filled for each item from its manifest row.

    tower_sha256 : of the text tower's weights; dim : of the text embedding. The footer entry `clipfake.text` of
    stored embeddings holds the same three.
    """

    template: str
    tower_sha256: str
    dim: int

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TextInput":
        """Raises LookupError, TypeError or ValueError for what is no such description."""
        return cls(str(values["template"]), str(values["tower_sha256"]), int(values["dim"]))

    @classmethod
    def from_footer(cls, footer: Mapping[str, str]) -> "TextInput | None":
        """What text stored embeddings are of; None where their footer says nothing of text."""
        if "text" not in footer:
            return None
        try:
            return cls.from_dict(json.loads(footer["text"]))
        except (LookupError, TypeError, ValueError) as error:
            raise UsageError(f"the footer's clipfake.text is no description of text ({error}): embed again") from None

    def check(self, found: "TextInput | None") -> None:
        """Raises UsageError where `found`, the text of what is to be scored, is not this one."""
        if found == self:
            return
        if found is None:
            but = "there is none here"
        elif found.template != self.template:
            but = f"here it is {found.template!r}"
        else:
            but = "here another text tower embedded it"
        raise UsageError(
            f"the detector reads images with the text {self.template!r} and {but}: use `clipfake embed` with that "
            "--text and score the embeddings, or score with --image-only"
        )
