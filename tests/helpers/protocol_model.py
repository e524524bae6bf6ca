"""The commit protocol as a model: claim, plan, commit on the nodes, compact, resume; a checker that explores all of it.

Two writers run one after the other or at the same time. Between any two steps a writer may crash, or sleep for longer
than a claim lasts: the other one may take the claim over at any moment. A step is one request to the store. What runs
of `clipfake.scoring.job` and `clipfake.storage.compaction` do is a generator of steps here, replayed from its start.
Units are committed by processes of their own, on nodes that may be cut off: they live on when their run has crashed,
their steps come whenever they come, and one that was thought dead may make its file visible a second time.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

ITEMS = ("a", "b")


@dataclass(frozen=True)
class Rules:
    """The parts of the protocol that may be left out, to see that the checker finds what they are for."""

    check_before_plan: bool = True  # the claim is checked before plan.json is written
    check_before_clear: bool = True  # and before plans that look cut off are cleared
    join: bool = True  # open units are joined with what is committed, and with one another
    sources: bool = True  # readers ignore the files that a merged file names
    finish: bool = True  # an intent without its target is finished, not forgotten
    current: bool = True  # but not one whose sources were merged otherwise meanwhile, although they are still there


@dataclass(frozen=True)
class Store:
    """files : name -> (items, names of the files that they were merged from); intents : target -> sources"""

    claim: str = ""
    files: frozenset[tuple[str, tuple[str, ...], tuple[str, ...]]] = frozenset()
    lists: frozenset[tuple[str, str]] = frozenset()  # (run, item): a unit of one item
    plans: frozenset[str] = frozenset()  # runs whose plan.json is there
    intents: frozenset[tuple[str, tuple[str, ...]]] = frozenset()
    # Not in the store: units that processes on the nodes have in hand: (run, plan, item, whether others had them too).
    orders: frozenset[tuple[str, str, str, bool]] = frozenset()

    def names(self) -> set[str]:
        return {name for name, *_ in self.files}

    def put(self, name: str, items: tuple[str, ...], sources: tuple[str, ...] = ()) -> "Store":
        others = frozenset(file for file in self.files if file[0] != name)
        return replace(self, files=others | {(name, items, sources)})

    def hidden(self) -> set[str]:
        """The files that a merged file names."""
        return {name for _, _, sources in self.files for name in sources}

    def drop(self, name: str) -> "Store":
        return replace(self, files=frozenset(file for file in self.files if file[0] != name))

    def visible(self, rules: Rules) -> list[str]:
        """The items of the rows that our own readers see."""
        hidden = self.hidden() if rules.sources else set()
        hidden |= {name for target, sources in self.intents if target in self.names() for name in sources}
        return sorted(item for name, items, _ in self.files if name not in hidden for item in items)


WAIT = Store("wait")
# Yields the store after a step (None: only a look; WAIT: nothing can be done yet), gets it as it is then.
Steps = Generator[Store | None, Store, Any]


class LostError(Exception):
    """The claim is another run's."""


def check(run: str, store: Store) -> None:
    if store.claim != run:
        raise LostError


def merge(run: str, store: Store, target: str, sources: tuple[str, ...], rules: Rules) -> Steps:
    """As `_finish`: what is left of a merge."""
    check(run, store)
    if target not in store.names():
        current = store.names() - (store.hidden() if rules.current else set())
        if not current.issuperset(sources):
            yield replace(store, intents=store.intents - {(target, sources)})
            return
        read = {name: (items, inner) for name, items, inner in store.files if name in sources}
        store = yield None
        check(run, store)
        store = yield None  # it may sleep between this look and what follows
        items = tuple(item for name in sources for item in read[name][0])
        inner = tuple(sorted({*sources, *(one for name in sources for one in read[name][1])}))
        store = yield store.put(target, items, inner)
    check(run, store)
    for name in sources:
        store = yield store.drop(name)
    yield replace(store, intents=store.intents - {(target, sources)})


def finish(run: str, store: Store, rules: Rules) -> Steps:
    for target, sources in sorted(store.intents):
        if not rules.finish and target not in store.names():
            store = yield replace(store, intents=store.intents - {(target, sources)})
            continue
        yield from merge(run, store, target, sources, rules)
        store = yield None
    late = {name for _, _, sources in store.files for name in sources} & store.names() if rules.sources else set()
    if late:
        check(run, store)
        for name in sorted(late):
            store = yield store.drop(name)


def score(run: str, store: Store, rules: Rules, halves: bool = False) -> Steps:
    """As `run_job`: finish, take up, plan, commit.

    halves : the listing goes on for long: where nothing was left open, what is new makes several plans, each of which
        counts when those before it are worked off
    """
    store = yield replace(store, claim=run)
    yield from finish(run, store, rules)
    store = yield None
    done, todo = set(store.visible(rules)), []
    for plan, item in sorted(store.lists):
        known = f"{plan}-{item}" in store.names() or any(f"{plan}-{item}" in sources for *_, sources in store.files)
        taken = rules.join and (item in done or item in {one for _, one in todo})
        if plan in store.plans and not known and not taken:
            todo.append((plan, item))
    kept = frozenset(todo)
    planned = {item for _, item in todo}
    if rules.check_before_clear:
        check(run, store)
    store = yield replace(store, lists=kept, plans=frozenset(plan for plan, _ in kept))
    new = [(run, item) for item in ITEMS if item not in done | planned]  # of the look before: planning takes long
    if halves and not todo:
        for number, (_, item) in enumerate(new):
            half = [(f"{run}p{number}", item)]
            store = yield from publish(run, store, half, rules)
            store = yield from work(run, store, half)
    else:
        store = yield from publish(run, store, new, rules)
        store = yield from work(run, store, [*todo, *new])
    yield replace(store, claim="")


def publish(run: str, store: Store, units: list[tuple[str, str]], rules: Rules) -> Steps:
    """As `publish_plan`: item lists, a count of them and a check, plan.json."""
    if units:
        store = yield replace(store, lists=store.lists | frozenset(units))
        if rules.check_before_plan:
            if not store.lists.issuperset(units):
                raise LostError
            check(run, store)
        store = yield None
        store = yield replace(store, plans=store.plans | {plan for plan, _ in units})
    return store


def work(run: str, store: Store, units: list[tuple[str, str]]) -> Steps:
    """As `UnitRunner`: an order for each unit, and at last the plans go."""
    for plan, item in units:
        check(run, store)  # a committer does that, too, and may sleep after it
        store = yield replace(store, orders=store.orders | {(run, plan, item, False)})
        while (run, plan, item, False) in store.orders:
            store = yield WAIT
        if (plan, item) in store.lists:
            raise LostError
    check(run, store)
    store = yield replace(store, plans=store.plans - {plan for plan, _ in units})
    return store


def on_the_nodes(store: Store, twins: bool = False) -> list[Store]:
    """As `commit_unit`: the stores after each step that a process with an order may do next.

    twins : another process may have had the order, be thought dead, and wake
    """
    stores = []
    for order in store.orders:
        run, plan, item, late = order
        left = replace(store, orders=store.orders - {order})
        written = left.put(f"{plan}-{item}", (item,))
        if not late:
            both = replace(written, orders=written.orders | {(run, plan, item, True)}) if twins else written
            # It forgets the unit, too; as late as it likes after its last check, whoever has the claim by then.
            stores.append(replace(both, lists=both.lists - {(plan, item)}))
        stores.append(written)  # or it dies before
    return stores


def compact(run: str, store: Store, rules: Rules) -> Steps:
    """As `compact`, of all files together."""
    store = yield replace(store, claim=run)
    yield from finish(run, store, rules)
    store = yield None
    sources = tuple(sorted(store.names()))
    if not store.plans and len(sources) > 1:
        store = yield replace(store, intents=store.intents | {(f"{run}-merged", sources)})
        yield from merge(run, store, f"{run}-merged", sources, rules)
        store = yield None
    yield replace(store, claim="")


KINDS = {"score": score, "halves": partial(score, halves=True), "compact": compact}


@dataclass(frozen=True)
class Writer:
    """One writer: which run it is at, of which kind, and the stores that its steps have seen so far."""

    number: int = 0
    kind: str = ""
    seen: tuple[Store, ...] = ()


@dataclass
class Found:
    states: int = 0
    faults: list[tuple[str, Store, tuple[str, ...]]] = field(default_factory=list)


def step(name: str, writer: Writer, store: Store, rules: Rules) -> tuple[Writer, Store] | None:
    """The writer's next step on the store, None where it has to wait; a writer whose run is over has none of a kind."""
    seen = (*writer.seen, store)
    over = Writer(writer.number + 1)
    try:
        run = KINDS[writer.kind](f"{name}{writer.number}", seen[0], rules)
        after = next(run)
        for later in seen[1:]:
            after = run.send(later)
    except (LostError, StopIteration):
        return over, store
    if after == WAIT:
        return None
    return replace(writer, seen=seen), store if after is None else after


def settled(store: Store, rules: Rules) -> Store:
    """The store after one more run that nothing disturbs, and after what then still wakes on the nodes."""
    writer, late = Writer(kind="score"), store.orders
    store = replace(store, orders=frozenset())
    while writer.number == 0:
        if (stepped := step("last", writer, store, rules)) is not None:
            writer, store = stepped
        else:
            store = on_the_nodes(store)[0]
    store = replace(store, orders=late)
    while after := on_the_nodes(store):
        store = after[0]
    return store


def explore(
    rules: Rules,
    runs: Mapping[str, int],
    *,
    twins: bool = False,
    kinds: Sequence[str] = ("score", "compact"),
    at_most: int = 2_000_000,
) -> Found:
    """All states that two writers reach. A fault: an item twice, one that was there and is gone, one never scored.

    runs : how many runs each of the writers, A and B, may begin
    twins : as for `on_the_nodes`
    kinds : what a run may be, of KINDS
    """
    first = (Store(), Writer(), Writer(), frozenset())
    todo, known, found = [first], {first}, Found()
    checked: set[Store] = set()
    while todo and found.states < at_most:
        store, one, other, ever = todo.pop()
        found.states += 1
        rows = store.visible(rules)
        if len(set(rows)) < len(rows) or not ever <= set(rows):
            found.faults.append(("doubled" if len(set(rows)) < len(rows) else "lost", store, tuple(sorted(ever))))
            return found
        if store not in checked:  # whenever all stop here, the next run makes it whole
            checked.add(store)
            if (end := settled(store, rules).visible(rules)) != list(ITEMS):
                found.faults.append(("not whole", store, tuple(end)))
                return found
        ever = ever | frozenset(rows)
        for name, writer in (("A", one), ("B", other)):
            nexts = []
            if writer.kind:
                nexts = [step(name, writer, store, rules), (Writer(writer.number + 1), store)]  # it goes on, or crashes
            elif writer.number < runs[name]:
                nexts = [step(name, replace(writer, kind=kind), store, rules) for kind in kinds]
            nexts += [(writer, after) for after in on_the_nodes(store, twins)] if name == "A" else []
            for changed, after in filter(None, nexts):
                state = (after, changed, other, ever) if name == "A" else (after, one, changed, ever)
                if state not in known:
                    known.add(state)
                    todo.append(state)
    return found
