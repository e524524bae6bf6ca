"""Connecting to Ray without a wall of its log: the cluster RAY_ADDRESS names, else one of our own on this machine."""

import contextlib
import logging
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from clipfake.errors import ClipfakeError, first_line
from clipfake.onray.private import refuses_token, token_mode

log = logging.getLogger(__name__)

Connection = Callable[[], Callable[[], None]]  # waits for a Ray session; gives what replaces it by a new one

REACHED_WITHIN_S = 20.0
STARTS = 3  # of a Ray on this machine
in_use = threading.Lock()  # held by threads beside the main one while they ask Ray for something: no session ends then
_begun: Connection | None = None  # the session that a block around this one has begun

HOW_TO_TOKEN = "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file with the cluster's token, or RAY_AUTH_TOKEN"

NATIVE_LINE = re.compile(rb"\[\d{4}-\d\d-\d\d [\d:,.]+ [A-Z] \d+ \d+\] ")


@contextlib.contextmanager
def connected(num_cpus: int | None = None) -> Iterator[None]:
    """A Ray session for the duration of the block.

    Inside a job (`ray job submit`) or with RAY_ADDRESS set it joins that cluster and leaves it running; else it
    starts Ray on this machine, with `num_cpus` CPUs where given, and stops it at the end. A session that is
    already open in this process is used as it is, and never replaced: it is somebody else's.
    """
    with connecting(num_cpus) as connection:
        connection()
        yield


@contextlib.contextmanager
def connecting(num_cpus: int | None = None) -> Iterator[Connection]:
    """The same while the block does something else: gives a function that waits for the session.

    Ray takes 5 s to start, most of them spent waiting for processes of its own. What fails is raised by the function.
    It gives one that replaces the session by a new one, which ends all that the old one had on the cluster, actors that
    hang included, which Ray Data leaves alone.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray 2.60 warns at each start where it is unset
    import ray
    import ray.data

    global _begun
    outer = _begun
    if outer is not None or ray.is_initialized():
        yield lambda: _joined(outer)
        return

    def connect() -> None:
        quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        address = os.environ.get("RAY_ADDRESS")
        try:
            if address:
                _check_reachable(address)
                ray.init(address=address, **quiet)
            else:
                _start_here(num_cpus=num_cpus, include_dashboard=False, **quiet)
        except ray.exceptions.AuthenticationError as error:
            raise ClipfakeError(f"RAY_AUTH_MODE=token, and no token is found here: {HOW_TO_TOKEN}") from error
        except ConnectionError as error:
            if not address:
                raise
            raise _unreachable(address, error) from error
        _quiet_ray_data()

    def reconnect() -> None:
        with in_use:
            ray.shutdown()
            connect()

    exit_on_sigterm()
    with _without_native_log(), ThreadPoolExecutor(1, thread_name_prefix="clipfake-ray") as thread:
        connection = thread.submit(connect)

        def session() -> Callable[[], None]:
            connection.result()
            return reconnect

        _begun = session
        try:
            yield session
        finally:
            _begun = None
            if connection.exception() is None:  # which waits for it
                with in_use:
                    ray.shutdown()


def at_hand() -> bool:
    """Whether there is a Ray already: a session in this process, or a cluster that is named."""
    ray: Any = sys.modules.get("ray")
    return _begun is not None or bool(os.environ.get("RAY_ADDRESS")) or (ray is not None and ray.is_initialized())


def exit_on_sigterm() -> None:
    """From now on SIGTERM is an exception, as Ray makes it: what is open is closed, claims are given back."""
    if threading.current_thread() is threading.main_thread():  # no other may set it
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(number))


def _joined(outer: Connection | None) -> Callable[[], None]:
    """What replaces a session of somebody else's, once it is there: nothing does."""
    if outer is not None:
        outer()
    return lambda: None


def _start_here(**options: Any) -> None:
    """A Ray of our own. Ray 2.60 gives it 30 s to come up, which it may not manage on a machine that does much else."""
    import ray

    for start in range(1, STARTS + 1):
        try:
            ray.init(address="local", **options)
            return
        except Exception as error:  # Ray has no class for this one
            if "timed out during startup" not in str(error):
                raise
            if start == STARTS:
                raise ClipfakeError(
                    f"Ray did not come up on this machine in {STARTS} tries of 30 s: it is overloaded; try again later"
                ) from error
            log.warning("Ray did not come up within 30 s on this busy machine; it is started again")


def _check_reachable(address: str) -> None:
    """Ray itself waits for minutes, silently, for a cluster that is not there."""
    host, colon, port = address.rpartition(":")
    if not colon or "://" in address or not port.isdigit():  # "auto", or a client's address: Ray says at once
        return
    try:
        socket.create_connection((host, int(port)), timeout=REACHED_WITHIN_S).close()
    except OSError as error:
        raise _unreachable(address, error) from error
    _check_token(address)


def _check_token(address: str) -> None:
    """Where the cluster refuses our token Ray tries for long, and says then that no cluster is there."""
    import grpc

    try:
        refused = refuses_token(address, REACHED_WITHIN_S)
    except grpc.RpcError:
        log.debug("the head was asked whether it lives", exc_info=True)  # whatever it is, ray.init says it
        return
    if refused:
        here = "refuses the token that is set here" if token_mode() else "asks for a token, and none is sent from here"
        raise ClipfakeError(f"the Ray cluster at RAY_ADDRESS={address} {here}: {HOW_TO_TOKEN}")


def _unreachable(address: str, error: Exception) -> ClipfakeError:
    return ClipfakeError(
        f"no Ray cluster answers at RAY_ADDRESS={address} ({first_line(error)}); start it with `ray start "
        "--head`, or unset RAY_ADDRESS to run on this machine alone"
    )


@contextlib.contextmanager
def _without_native_log() -> Iterator[None]:
    """Takes the lines that Ray's C++ side writes into this process' stderr out of it; `--verbose` shows them.

    It writes notes about its own inner life there (severity E among them), past all of Python's logging.
    """
    real, (reading, writing) = os.dup(2), os.pipe()

    def copy() -> None:
        with open(reading, "rb") as lines:
            for line in lines:
                if NATIVE_LINE.match(line):
                    log.debug("ray: %s", line.decode(errors="replace").rstrip())
                else:
                    os.write(real, line)

    sys.stderr.flush()
    os.dup2(writing, 2)
    os.close(writing)
    copier = threading.Thread(target=copy, name="clipfake-stderr", daemon=True)
    copier.start()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(real, 2)
        copier.join(timeout=1)  # a child that outlives us may hold the pipe open


def _quiet_ray_data() -> None:
    """No progress bars and no INFO lines of Ray Data on the console; its log files in Ray's session keep all."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for name in ("ray.data", "ray.train", "ray.tune", "ray"):
        logger = logging.getLogger(name)
        for handler in logger.handlers:
            console = isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler)
            if console and handler not in logging.root.handlers:  # which are the program's own
                handler.setLevel(logging.ERROR)


@contextlib.contextmanager
def failures_told(message: str) -> Iterator[None]:
    """What Ray raises in the block, as a ClipfakeError: `message`, with the cause in the place of {}.

    A ClipfakeError of a task or an actor's method comes through as it was raised there.
    """
    from ray.exceptions import RayError, RayTaskError

    try:
        yield
    except RayError as error:
        log.debug("the cluster's report", exc_info=True)
        if isinstance(error, RayTaskError) and isinstance(error.cause, ClipfakeError):
            raise error.cause from None
        raise ClipfakeError(message.format(root_cause(error))) from error


def giving_way() -> tuple[type[BaseException], ...]:
    """What Ray raises where the cluster gave way: not where our own code raised on it."""
    from ray import exceptions
    from ray.data.exceptions import ExecutionTimeoutError

    return (
        ExecutionTimeoutError,
        exceptions.ActorDiedError,
        exceptions.ActorUnavailableError,
        exceptions.NodeDiedError,
        exceptions.ObjectLostError,
        exceptions.OutOfMemoryError,
        exceptions.WorkerCrashedError,
    )


def root_cause(error: BaseException) -> str:
    """The one line that names what went wrong first, out of the many that Ray reports for an error on a worker."""
    named = re.search(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception)): (.+)$", str(error), re.MULTILINE)
    return f"{named[1]}: {named[2]}" if named else f"{type(error).__name__}: {first_line(error)}"
