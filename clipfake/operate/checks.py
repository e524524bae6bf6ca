"""What `clipfake doctor` thinks of each fact: ok, a warning, or what would fail and what is to be done about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from clipfake.english import counted
from clipfake.errors import UsageError
from clipfake.onray.autoscaling import with_nodes_to_come
from clipfake.onray.nodes import Node
from clipfake.operate.node_facts import EncoderFacts
from clipfake.scoring.placement import Placement, plan_placement
from clipfake.storage import uri as uris

OK, WARN, FAIL = "ok", "warn", "fail"
ITEMS = 1 << 40  # plan as for a corpus without end
CLOCK_WARN_S, CLOCK_FAIL_S = 5.0, 900.0  # object stores refuse requests that are signed a quarter of an hour off
DISK_FULL, DISK_FREE = 0.95, 10 << 30  # Ray 2.60 spills nothing more to a disk that is 95 % full
PLANNED_MB = 40  # of temporary files for a million listed items (docs/benchmarks.md)
ALONE = ("clipfake", "python", "ray")  # versions that must be equal; others only warn


@dataclass(frozen=True)
class Finding:
    """One line: what was checked where ("" for the cluster), ok, warn or fail, and what was found or is to be done."""

    check: str
    node: str
    state: str
    said: str


def check_auth(mode: str, has_token: bool, address: str | None) -> Finding:
    """Whether Ray asks for a token, and whether this process has one."""
    if mode == "token" and not has_token and address:
        return Finding("auth", "", FAIL, "RAY_AUTH_MODE=token and no token: set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH")
    if mode == "token":
        return Finding(
            "auth", "", OK, "a token is asked for" + ("" if has_token else "; Ray makes one on this machine")
        )
    return Finding(
        "auth", "", WARN, "no token is asked for: who reaches the dashboard or a port of Ray runs code there"
    )


def check_placement(
    nodes: list[Node], free: list[Node], scale_to: int | None = None, encoders_per_gpu: int = 1, on_gpus: bool = False
) -> tuple[Placement | None, Finding]:
    """The placement for the cluster, and whether it finds room on what is `free` of the nodes and on those to come."""
    if scale_to is not None and not any(node.cpus for node in nodes):
        return None, Finding(
            "layout", "", WARN, "no node has a CPU yet: an autoscaler must bring a first one, to plan by"
        )
    coming = with_nodes_to_come(nodes, scale_to)[len(nodes) :] if scale_to is not None else []
    try:
        placement = plan_placement([*nodes, *coming], ITEMS, encoders_per_gpu=encoders_per_gpu, on_gpus=on_gpus)
    except UsageError as error:
        return None, Finding("layout", "", FAIL, str(error))
    said = f"{counted(len(coming), 'node')} to be brought by an autoscaler; " if coming else ""
    said += (
        f"{counted(placement.encoders, 'encoder')} on {placement.device} (of {counted(placement.encoder_cpus, 'CPU')}, "
        f"{counted(placement.encoder_gpus, 'GPU')}), {counted(placement.preparers, 'preparer')} of "
        f"{counted(placement.preparer_cpus, 'CPU')}"
    )
    if homeless := unplaced(placement, [*free, *coming]):
        return placement, Finding(
            "layout", "", FAIL,
            f"{said}: {homeless} of these actors find no room and would wait, since other jobs hold CPUs or GPUs",
        )  # fmt: skip
    return placement, Finding("layout", "", OK, said)


def unplaced(placement: Placement, free: list[Node]) -> int:
    """How many of the placement's actors find no node with room, each put on the first that has it, GPUs first."""
    wanted = [(placement.encoder_cpus, placement.encoder_gpus)] * placement.encoders
    wanted += [(placement.preparer_cpus, 0.0)] * placement.preparers
    left, homeless = [[node.cpus, node.gpus] for node in free], 0
    for cpus, gpus in sorted(wanted, key=lambda one: (-one[1], -one[0])):
        for room in left:
            if room[0] >= cpus - 1e-6 and room[1] >= gpus - 1e-6:
                room[0], room[1] = room[0] - cpus, room[1] - gpus
                break
        else:
            homeless += 1
    return homeless


def check_versions(node: str, there: Mapping[str, str], here: Mapping[str, str]) -> Finding:
    """Whether a node runs what the driver runs."""
    other = [f"{name} {there.get(name)} (here {here[name]})" for name in here if there.get(name) != here[name]]
    if not other:
        return Finding("versions", node, OK, f"clipfake {here['clipfake']}, ray {here['ray']}, as here")
    fatal = any(there.get(name) != here[name] for name in ALONE)
    return Finding("versions", node, FAIL if fatal else WARN, f"{', '.join(other)}: give all nodes one image")


def check_clock(node: str, clock: float, asked: float, heard: float) -> Finding:
    """A node that answered between `asked` and `heard` has a clock between them, or one that is off."""
    off = max(asked - clock, clock - heard, 0.0)
    state = FAIL if off > CLOCK_FAIL_S else WARN if off > CLOCK_WARN_S else OK
    return Finding(
        "clock", node, state, "agrees" if state == OK else f"{off:.0f} s off: run a time service on all nodes"
    )


def check_disk(node: str, free: int, total: int) -> Finding:
    """The disk that Ray spills to."""
    said = f"{free / 1e9:.0f} of {total / 1e9:.0f} GB free"
    if free < (1 - DISK_FULL) * total:
        return Finding("disk", node, FAIL, f"{said}: above {DISK_FULL:.0%} Ray spills nothing and runs stop")
    return Finding("disk", node, WARN if free < DISK_FREE else OK, said)


def check_temporary(folder: str, free: int) -> Finding:
    """Where this process puts what exceeds its memory while it plans, reads reports and audits."""
    room = f"{free / 1e9:.0f} GB free in {folder}: planning takes {PLANNED_MB} MB for a million items"
    return Finding("temporary", "", WARN if free < DISK_FREE else OK, f"{room}; TMPDIR names another folder")


def check_shm(node: str, shm: int, object_store: int) -> Finding:
    """/dev/shm must hold Ray's object store, else that lies on the disk."""
    said = f"{shm / 1e9:.1f} GB for an object store of {object_store / 1e9:.1f} GB"
    if shm < object_store:
        return Finding("/dev/shm", node, WARN, f"{said}: the rest is on disk and slow; mount more (docker --shm-size)")
    return Finding("/dev/shm", node, OK, said)


def check_storage(node: str, read: str, written: str) -> Finding:
    """Whether a node reads in --out what the driver wrote there."""
    if read == written:
        return Finding("storage", node, OK, "reads what the driver wrote")
    return Finding("storage", node, FAIL, f"--out is not shared by this node: {read[:150]}")


def check_source(node: str, source: str, problem: str | None) -> Finding:
    """Whether a node sees the source."""
    if problem is None:
        return Finding("source", node, OK, "is there")
    return Finding("source", node, FAIL, f"{uris.shown(source)} cannot be read there: {problem[:150]}")


def check_encoder(node: str, facts: EncoderFacts, device: str) -> Finding:
    """Whether a node has the weights, gives the detector's test card, and sees the GPU that Ray says it has."""
    if facts.problem is not None:
        return Finding("encoder", node, FAIL, facts.problem)
    if facts.device != device:
        return Finding("encoder", node, FAIL, f"Ray counts a GPU there and torch sees none ({facts.device})")
    speed = f"{facts.images_per_second:,.0f} images/s an encoder"
    return Finding("encoder", node, OK, f"weights in {facts.weights_s:.1f} s, test card holds, {speed} on {device}")


def expected_speed(placement: Placement, nodes: Sequence[EncoderFacts], last: float | None) -> Finding:
    """Images per second to expect, and what will hold the others up; beside what the last run did, if there was one."""
    before = "" if last is None else f"{last:,.0f} images/s in the last measured run into --out; "
    if not nodes:
        return Finding("speed", "", OK if before else WARN, f"{before}not measured: no node could encode")
    children = (placement.preparers or placement.encoders) * placement.decoders
    encode = placement.encoders * sum(one.images_per_second for one in nodes) / len(nodes)
    decode = children * sum(one.decoded_per_second for one in nodes) / len(nodes)
    # Beside GPUs the cores decode while those encode; else they do it in turns.
    total = min(encode, decode) if placement.preparers else encode * decode / (encode + decode)
    limit = "the encoders" if encode < decode else "decoding"
    return Finding(
        "speed", "", OK,
        f"{before}at most {total:,.0f} images/s of 400 x 533 pixels (encoders: {placement.encoders}, {encode:,.0f}; "
        f"decoding processes: {children}, {decode:,.0f}): {limit} will be the limit, if reading is not",
    )  # fmt: skip
