"""What a user can say of a layout."""

import pytest

from clipfake.corpus.layouts import LAYOUTS
from clipfake.corpus.layouts.base import LayoutOptions, _columns
from clipfake.errors import UsageError


def test_columns_are_pairs() -> None:
    assert _columns(["label=target", "path=a=b"]) == {"label": "target", "path": "a=b"}
    for wrong in ("label", "label="):
        with pytest.raises(UsageError, match="--columns label=target"):
            _columns([wrong])


def test_every_layout_has_a_name_and_a_help_and_takes_options_that_exist() -> None:
    for name, layout in LAYOUTS.items():
        assert layout.name == name and layout.help
        assert layout.options <= set(LayoutOptions.__dataclass_fields__)
