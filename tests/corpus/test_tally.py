"""What a listing skipped."""

import pytest

from clipfake.corpus.tally import CUT_CONTAINER, UNREADABLE_FOLDER, Tally


def test_counts_by_kind_and_what_may_be_lost(caplog: pytest.LogCaptureFixture) -> None:
    tally = Tally()
    for _ in range(3):
        tally.skip(UNREADABLE_FOLDER, "file:///a%20b")
        tally.skip("FIFO", "file:///c")
    tally.warn(CUT_CONTAINER, "file:///0.tar", "the shard breaks off")
    assert tally.skipped == {UNREADABLE_FOLDER: 3, "FIFO": 3} and tally.warnings == {CUT_CONTAINER: 1}
    assert tally.lost == 4
    assert len(caplog.records) == 3 and "/a b" in caplog.text  # the first of each kind
    tally.clear()
    assert not tally.skipped and not tally.warnings and not tally.lost


def test_one_is_added_to_another_which_logs_the_first_of_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr("clipfake.corpus.tally.log.warning", lambda said, *about: logged.append(said % about))
    whole = Tally()
    for _ in range(2):
        part = Tally(quiet=True)
        part.skip("FIFO", "file:///c")
        part.warn(CUT_CONTAINER, "file:///0.tar", "the shard breaks off")
        assert len(logged) == len(whole.skipped + whole.warnings)
        whole.add(part)
    assert whole.skipped == {"FIFO": 2} and whole.warnings == {CUT_CONTAINER: 2}
    assert [line.partition(";")[0] for line in logged] == [
        "skipped (FIFO): 'file:///c'",
        f"{CUT_CONTAINER}: 'file:///0.tar': the shard breaks off",
    ]
