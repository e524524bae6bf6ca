"""All that this package uses of Ray 2.60's private parts: each function says why the public ones do not do."""

from collections.abc import Callable
from typing import Any


def map_blocks(dataset: Any, actor: Callable[..., Any], **options: Any) -> Any:
    """`dataset.map_batches` of whole blocks, which the public method refuses for actors with a GPU."""
    return dataset.map_batches_internal(actor, batch_size=None, batch_format="pyarrow", **options)


def refuses_token(address: str, timeout_s: float) -> bool:
    """Whether the head at `address` answers that it asks for another token: `ray.init` tries for minutes, silently.

    Raises grpc.RpcError for every other answer.
    """
    import grpc
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated.gcs_service_pb2 import CheckAliveRequest  # type: ignore[attr-defined]  # made at run time
    from ray.core.generated.gcs_service_pb2_grpc import NodeInfoGcsServiceStub

    try:
        with init_grpc_channel(address) as channel:
            NodeInfoGcsServiceStub(channel).CheckAlive(CheckAliveRequest(), timeout=timeout_s)
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAUTHENTICATED:
            return True
        raise
    return False


def token_mode() -> bool:
    """Whether this process sends a token to Ray, and asks for one where it starts a Ray of its own."""
    from ray._private.authentication.authentication_utils import is_token_auth_enabled

    return is_token_auth_enabled()


def has_token() -> bool:
    """Whether this process finds a token, in the environment or in a file. There is no public way to ask."""
    from ray._raylet import AuthenticationTokenLoader  # type: ignore[attr-defined]

    return bool(AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True))


def session_folder() -> str:
    """The folder of the connected session, on each of its nodes: Ray spills to its disk."""
    import ray

    return str(ray._private.worker.global_worker.node.get_session_dir_path())  # type: ignore[union-attr]


def free_resources() -> dict[str, dict[str, float]]:
    """Node id -> what no actor and no task holds. The public function gives the sum over all nodes."""
    from ray._private.state import available_resources_per_node

    return available_resources_per_node()
