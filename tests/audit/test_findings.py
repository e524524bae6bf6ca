"""The verdict of an audit: refused unless allowed, short for a detector's record, and said of data too few to judge."""

import pytest
from fact_tables import table

from clipfake.audit import facts
from clipfake.audit.facts import FEWEST
from clipfake.audit.findings import Audit, examine
from clipfake.errors import UsageError


def examined(rows: list[dict[str, object]]) -> Audit:
    data = table(rows)
    with facts.database(data, data.schema.names) as database:
        return examine("m", database, data.schema.names, 0)


def test_a_refusal_stops_unless_it_is_allowed():
    found = Audit({}, refusal="the encoding alone tells real from fake")
    with pytest.raises(UsageError, match="alone tells real from fake; make the classes alike, or give --allow-short"):
        found.check(allow_shortcuts=False)
    found.check(allow_shortcuts=True)
    Audit({}).check(allow_shortcuts=False)


def test_nothing_labelled_is_refused():
    with pytest.raises(UsageError, match="m holds no labelled items"):
        examined([{"label": None}])


def test_few_items_are_counted_and_not_judged():
    rows = [{"label": 1, "category": "face", "group_id": "scene"} for _ in range(FEWEST)]  # one unit alone
    rows += [{"label": 0, "category": "dog", "group_id": str(i)} for i in range(FEWEST)]
    rows += [{"label": i % 2, "category": "cat", "group_id": "scene"} for i in range(FEWEST)]
    found = examined(rows)
    assert found.found["items"] == {"reals": 1.5 * FEWEST, "fakes": 1.5 * FEWEST}
    assert found.found["judged"] == 3 * FEWEST
    assert found.found["shortcuts"] is None and found.refusal is None
    assert any("not judged: each class needs" in said for said in found.warnings)
    assert "2 of 3 categories are real or fake only, with 67% of the items: content tells these" in found.warnings
    assert found.described().keys() == {
        "items", "judged", "not_stored", "shortcuts", "names", "categories", "warnings", "refusal",
    }  # fmt: skip
