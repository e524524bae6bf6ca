"""Plans on disk: what is open, what is gone, who may go on with them."""

import json

import pytest

from clipfake.errors import ClaimLostError, UsageError
from clipfake.scoring.plan import Planner
from clipfake.storage.compaction import compact
from clipfake.storage.ledger import Ledger
from clipfake.storage.units import Plan, close_unit, open_plans

READ = {"fetch": {"bytes_column": "picture"}, "limits": {"max_pixels": 7}}


def planned(ledger: Ledger, listing, run_id: str = "run", **kwargs) -> Plan:
    return Planner(ledger, []).write(run_id, listing.to_reader(), "images", 4, 2, **kwargs)


def about(ledger: Ledger, **changed: object) -> None:
    """plan.json with other facts; "gone" takes one out."""
    facts = json.loads(ledger.store.read_bytes("_plan/run/plan.json")) | changed
    facts = {name: value for name, value in facts.items() if value != "gone"}
    ledger.store.write_bytes("_plan/run/plan.json", json.dumps(facts).encode())


def test_a_plan_keeps_how_its_items_are_read(ledger, items):
    planned(ledger, items(["a"]), read=READ)
    (plan,) = open_plans(ledger)
    assert plan.read == READ
    assert plan.lost == ()


def test_a_plan_of_version_0_1_0_is_open_and_says_nothing_of_reading(ledger, items):
    first = planned(ledger, items([str(i) for i in range(8)]), read=READ)
    about(ledger, format="gone", read="gone", version="gone", new_units="gone")
    close_unit(ledger.store, first.units[0])
    (plan,) = open_plans(ledger)
    assert (plan.read, plan.units, plan.lost) == (None, first.units[1:], ())


def test_a_plan_of_a_newer_version_is_refused_in_one_line(ledger, items):
    planned(ledger, items(["a"]))
    about(ledger, format=3, version="9.1")
    with pytest.raises(UsageError, match=r"^file://.*_plan/run was made by clipfake 9\.1, which is newer: use that"):
        open_plans(ledger)


def test_a_claim_that_was_lost_while_planning_leaves_no_plan(ledger, items):
    def lost() -> None:
        raise ClaimLostError("lost")

    with pytest.raises(ClaimLostError):
        planned(ledger, items(["a"]), check=lost)
    assert open_plans(ledger, clear=False) == []
    assert not ledger.store.exists("_plan/run/plan.json")


def test_item_lists_that_another_run_cleared_while_this_one_slept_are_missed(ledger, items, monkeypatch):
    """It takes a plan without plan.json for a dead run's."""
    real = ledger.store.__class__.list

    def cleared(self, name=""):
        if name == "_plan/run":
            self.delete("_plan/run/000001.items")
        return real(self, name)

    monkeypatch.setattr(ledger.store.__class__, "list", cleared)
    with pytest.raises(ClaimLostError, match="1 of this run's 3 units were deleted"):
        planned(ledger, items([str(i) for i in range(10)]))
    assert not ledger.store.exists("_plan/run/plan.json")


def test_units_that_are_gone_without_a_trace_are_told_from_those_that_are_done(ledger, items, report_rows):
    listing = items([str(i) for i in range(16)])
    plan = planned(ledger, listing)
    for number in (0, 1):  # done, and merged meanwhile
        ledger.commit(plan.units[number].name, report_rows(listing.slice(4 * number, 4)))
        close_unit(ledger.store, plan.units[number])
    assert open_plans(ledger)[0].lost == ()
    folders = ledger.store.folders("_plan")
    plans = {name: ledger.store.read_bytes(f"_plan/run/{name}") for name in ("plan.json", "000002.items")}
    ledger.store.delete_tree("_plan")
    compact(ledger.store.uri)
    for name, data in plans.items():
        ledger.store.write_bytes(f"_plan/{folders[0]}/{name}", data)
    (left,) = open_plans(ledger)
    assert [unit.number for unit in left.units] == [2]
    assert left.lost == (3,)


def test_a_run_that_lost_its_claim_clears_no_plan_that_is_being_made(ledger, items):
    def lost() -> None:
        raise ClaimLostError("lost")

    planned(ledger, items(["a"]))
    ledger.store.delete("_plan/run/plan.json")
    with pytest.raises(ClaimLostError):
        open_plans(ledger, check=lost)
    assert ledger.store.exists("_plan/run/000000.items")
