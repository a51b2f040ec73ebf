"""The way to a Dask cluster: a scheduler's address or file, with TLS or without, or one that is started here."""

import asyncio
import json
import logging
import pkgutil
import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final, NamedTuple

from bench.errors import BackendUnavailable, InvalidRequest, one_line
from bench.records import disk
from bench.run.fleet.engine import ANSWER_S, POLL_S, WHERE, DaskEngine, answering

if TYPE_CHECKING:
    from distributed import Client, LocalCluster, Security

_CLOSE_S: Final = 5.0
_GRACE_S: Final = 1.0  # for the time-out of a connection to tell more than that it ended
_ADDRESS: Final = re.compile(r"(tcp|tls)://(\[[\da-fA-F:.%]+\]|[\w.-]+):\d{1,5}", re.ASCII)
_PIP: Final = "pip install -e '.[cluster]'"


class Tls(NamedTuple):
    """The files of a client that speaks TLS: the authority's certificate, its own, and its key."""

    ca: Path
    cert: Path
    key: Path


class Cluster(NamedTuple):
    """Which cluster: the `address` of its scheduler (or a scheduler file), or `local` workers to be started here.

    The first job waits up to `wait_s` seconds until there are so many `workers`.
    """

    address: str = ""
    local: int = 0
    workers: int = 1
    wait_s: float = 30.0
    tls: Tls | None = None


@contextmanager
def connected(cluster: Cluster) -> Iterator[DaskEngine]:
    """Give the engine of a cluster, once enough of its workers are there.

    Raises BackendUnavailable if `distributed` is not installed, no scheduler answers or workers are lacking, and
    InvalidRequest for an address that is none, or TLS that is asked for on one side only.
    """
    try:
        import distributed  # noqa: F401, PLC0415 - an extra
    except ImportError as error:
        message = f"this needs Dask's package distributed, which is not installed: {_PIP}"
        raise BackendUnavailable(message) from error
    for name in ("distributed", "distributed.client"):  # Dask gives this one a level of its own
        logging.getLogger(name).setLevel(logging.CRITICAL)
    with ExitStack() as stack:
        client = _client(cluster, stack)
        stack.callback(_closed, client)
        _wait_for_workers(client, cluster)
        engine = DaskEngine(client)
        engine.settle()
        yield engine


def _closed(client: "Client") -> None:
    """Close a client, whose scheduler may be gone."""
    with suppress(Exception):
        client.close(timeout=_CLOSE_S)
    client.status = "closed"  # so that it does not try again as it is deleted


def _client(cluster: Cluster, stack: ExitStack) -> "Client":
    from distributed import Client  # noqa: PLC0415 - an extra

    if cluster.local:
        return Client(_local(cluster.local, stack), set_as_default=False)
    address = _address(cluster)
    security = _security(cluster.tls)
    kind = _kind_of(address, security)
    if kind != "Scheduler":
        message = f"what answers at {address} is no Dask scheduler but a {kind}; give the scheduler's address"
        raise BackendUnavailable(message)
    with _reaching(address):
        client = Client(address, security=security, timeout=ANSWER_S, set_as_default=False)
    _check_scheduler(client, address)
    return client


@contextmanager
def _reaching(address: str) -> Iterator[None]:
    """Turn what Dask raises where nobody answers into BackendUnavailable."""
    try:
        yield
    except (OSError, RuntimeError) as error:
        said = one_line(error) or "what accepts the connection says nothing"
        message = (
            f"no Dask scheduler answers at {address} within {ANSWER_S:g} s ({said}); check the address, the "
            "network, and whether it wants TLS"
        )
        raise BackendUnavailable(message) from error


def _kind_of(address: str, security: "Security | None") -> str:
    """Return what kind of Dask's servers is there. Before a client asks: that one would wait for ever for others.

    Raises BackendUnavailable if none answers in time.
    """
    from distributed.core import rpc  # noqa: PLC0415 - an extra

    async def identity() -> dict[str, object]:
        secrets = security.get_connection_args("client") if security is not None else {}
        async with rpc(address, timeout=ANSWER_S, connection_args=secrets) as server:
            told: dict[str, object] = await server.identity()
            return told

    with _reaching(address):
        told = asyncio.run(asyncio.wait_for(identity(), ANSWER_S + _GRACE_S))
    return one_line(told.get("type", "server of another kind"))


def _check_scheduler(client: "Client", address: str) -> None:
    """Raise BackendUnavailable for a scheduler that cannot pass on jobs, as it lacks this program."""
    try:
        with answering(client):
            client.run_on_scheduler(pkgutil.resolve_name, WHERE)
    except (ImportError, AttributeError) as error:
        _closed(client)
        message = (
            f"the scheduler at {address} has no chipbench ({one_line(error)}); install it where the scheduler "
            "runs, too, or start that where it is"
        )
        raise BackendUnavailable(message) from error


def _local(workers: int, stack: ExitStack) -> "LocalCluster":
    from distributed import LocalCluster  # noqa: PLC0415 - an extra

    try:
        with _ctrl_c_held_back():
            local = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                silence_logs=logging.CRITICAL,
            )
    except (OSError, RuntimeError) as error:
        message = f"no Dask workers can be started here ({one_line(error.__cause__ or error)}); see --gpu all"
        raise BackendUnavailable(message) from error
    stack.enter_context(closing(local))
    return local


@contextmanager
def _ctrl_c_held_back() -> Iterator[None]:
    """Hold Ctrl-C back from threads and processes that are begun meanwhile, for good: it is answered here."""
    resource_tracker.ensure_running()  # else the first start of a process does that, and lets signals through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _address(cluster: Cluster) -> str:
    """Return the scheduler's address, which a file may hold. Raises InvalidRequest if it does not fit TLS."""
    address = cluster.address.strip()
    if address.endswith(".json"):
        try:
            address = str(json.loads(Path(address).read_text(encoding="utf-8"))["address"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            message = f"{cluster.address}: is no scheduler file ({one_line(error)}); 'dask scheduler' writes one"
            raise InvalidRequest(message) from error
    if "://" not in address:
        address = f"tcp://{address}"
    if not _ADDRESS.fullmatch(address):
        message = f"{cluster.address!r} is no address of a scheduler; give tcp://HOST:PORT or tls://HOST:PORT"
        raise InvalidRequest(message)
    secure = address.startswith("tls://")
    if secure != (cluster.tls is not None):
        lacking = "--tls-ca, --tls-cert and --tls-key" if secure else "an address that begins with tls://"
        message = f"{address}: TLS needs {lacking}, too"
        raise InvalidRequest(message)
    return address


def _security(tls: Tls | None) -> "Security | None":
    if tls is None:
        return None
    from distributed import Security  # noqa: PLC0415 - an extra

    for file in tls:
        if not disk.is_file(file):
            message = f"{file}: no such file; --tls-ca, --tls-cert and --tls-key each name one (PEM)"
            raise InvalidRequest(message)
    return Security(
        tls_ca_file=str(tls.ca),
        tls_client_cert=str(tls.cert),
        tls_client_key=str(tls.key),
        require_encryption=True,
    )


def _wait_for_workers(client: "Client", cluster: Cluster) -> None:
    wanted = cluster.local or cluster.workers
    until = monotonic() + cluster.wait_s
    while True:
        with answering(client):
            there = len(client.nthreads())
        if there >= wanted:
            return
        if monotonic() > until:
            break
        sleep(POLL_S)
    where = cluster.address or "the local cluster"
    have = f"{there} of {wanted} workers are" if there else "no worker is"
    message = f"{have} at {where} after {cluster.wait_s:g} s; start workers with 'dask worker', or wait for longer"
    raise BackendUnavailable(message)
