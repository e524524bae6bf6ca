"""The facts are of the file and its base name, never of its folder; samples are bounded, balanced and the same."""

import pytest
from fact_tables import NEW, OLD, table
from hypothesis import given, settings
from hypothesis import strategies as st

from clipfake.audit import facts


def items(rows, fields=NEW) -> list[dict[str, object]]:
    data = table(rows, fields)
    with facts.database(data, data.schema.names) as database:
        return database.sql("SELECT * FROM items ORDER BY item_id").to_arrow_table().to_pylist()


def test_facts_of_a_file():
    (row,) = items([{"uri": "s3://b/fake.d/sd_01.tar.JPG", "declared": "software: x", "jpeg_quality": 90}])
    assert row["extension"] == "jpg" and row["stem"] == "sd_01.tar" and row["declared"] == "software: x"
    assert row["aspect"] == 2 and row["bytes_per_pixel"] == 0.25 and row["jpeg_quality"] == 90


@pytest.mark.parametrize(
    ("uri", "member", "stem", "extension"),
    [
        ("file:///fake/photo", None, "photo", ""),
        ("file:///fake/a.tar", "fake/x/0001.png", "0001", "png"),
        ("file:///fake/%20a%27.jpeg", None, "%20a%27", "jpeg"),
        ("file:///fake.png/", None, "", ""),
    ],
)
def test_names_are_base_names(uri, member, stem, extension):
    (row,) = items([{"uri": uri, "member": member}])
    assert (row["stem"], row["extension"]) == (stem, extension)


def test_only_labelled_readable_images_count():
    rows = [{}, {"label": None}, {"status": "corrupt"}, {"view": 1}]
    assert [row["item_id"] for row in items(rows)] == ["i0"]


def test_columns_that_some_rows_are_older_than_do_not_tell():
    old = table([{}], OLD)
    with facts.database(old, old.schema.names) as database:
        assert facts.lacking(database, old.schema.names) == ["metadata", "declared", "jpeg_quality", "jpeg_tables"]
        assert database.sql("SELECT jpeg_quality FROM items").fetchall() == [(None,)]
    mixed = table([{"metadata": None}, {"label": 1, "metadata": "exif", "jpeg_quality": 90}])
    with facts.database(mixed, mixed.schema.names) as database:
        assert "jpeg_quality" in facts.lacking(database, mixed.schema.names)
        assert database.sql("SELECT DISTINCT metadata, jpeg_quality FROM items").fetchall() == [(None, None)]
    new = table([{}, {"label": 1}])
    with facts.database(new, new.schema.names) as database:
        assert facts.lacking(database, new.schema.names) == []


def test_tables_by_class_written_out():
    rows = [
        {"label": n % 2, "format": "png" if n % 2 else "jpeg", "width": 100 + n, "generator": "g"} for n in range(10)
    ]
    data = table(rows)
    with facts.database(data, data.schema.names) as database:
        found = facts.by_class(database)
        (generator,) = facts.by_generator(database)
    assert found["format"] == [{"value": "jpeg", "reals": 5, "fakes": 0}, {"value": "png", "reals": 0, "fakes": 5}]
    assert found["width"]["reals"][0] == 100 and found["width"]["fakes"][-1] == 109
    assert (generator["reals"], generator["fakes"]) == (5, 5)


def test_one_sided_categories():
    rows = [{"category": "dress"}] * 20 + [{"category": "cat", "label": n % 2} for n in range(40)]
    rows += [{"category": "few", "label": 1}] * 19 + [{"category": None}] * 30
    data = table(rows)
    with facts.database(data, data.schema.names) as database:
        found = facts.one_sided_categories(database)
    assert found["largest"] == [{"category": "dress", "class": "real", "items": 20}]
    assert (found["categories"], found["items"], found["one_sided"], found["one_sided_items"]) == (3, 79, 1, 20)


counts = st.dictionaries(st.tuples(st.integers(0, 1), st.sampled_from("abcdef")), st.integers(1, 1000), min_size=1)


@settings(deadline=None)
@given(counts, st.integers(1, 3000))
def test_a_sample_is_as_level_as_there_are_items(counts, size):
    share = facts.shares(counts, size)
    taken = {key: share[key] * n for key, n in counts.items()}
    assert all(0 < share[key] <= 1 + 1e-9 for key in counts)
    assert sum(taken.values()) == pytest.approx(min(size, sum(counts.values())))
    for label in (0, 1):  # who is not taken whole has as much as anyone of its class
        mine = {key: n for key, n in taken.items() if key[0] == label}
        for key, n in mine.items():
            assert share[key] >= 1 - 1e-9 or n == pytest.approx(max(mine.values()))


def test_a_sample_is_the_same_every_time_and_about_as_large_as_asked():
    rows = [{"item_id": f"x{n}", "label": int(n % 10 == 0), "generator": None if n % 2 else "g"} for n in range(20_000)]
    data = table(rows)
    with facts.database(data, data.schema.names) as database:
        one, two = (facts.sampled(database, "items", 3000)["item_id"].to_pylist() for _ in range(2))
        whole = facts.sampled(database, "items", 20_000)
    assert one == two == sorted(one) and abs(len(one) - 3000) < 200
    assert whole.num_rows == 20_000
    fakes = sum(int(name[1:]) % 10 == 0 for name in one)
    assert abs(fakes - 1500) < 150
