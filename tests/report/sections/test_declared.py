"""What files declare stands beside the verdict."""


def test_what_is_declared_stands_beside_the_verdict(summarised, row):
    rows = [row(f"{i}", decision=3.0 * (i < 2), declared="c2pa: x" if i < 5 else None) for i in range(9)]
    found = summarised(rows)["declared"]
    assert found["total"]["n"] == 5
    assert [(one["declared"], one["fake"], one["real"]) for one in found["rows"]] == [("c2pa: x", 2, 3)]
    assert sorted(item["uri"][-1] for item in found["items"]) == ["2", "3", "4"]
