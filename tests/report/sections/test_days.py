"""A day is a day in UTC."""


def test_a_day_is_a_day_in_utc(summarised, row):
    found = summarised([row("a", 0), row("b", 1), row("c", 2, status="missing")])
    assert [(day["day"], day["n"], day["errors"]) for day in found["days"]] == [
        ("2026-11-01", 1, 0),
        ("2026-11-02", 2, 1),
    ]
