"""On which devices `run` measures: one GPU, several of this machine, or the workers of a cluster."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from bench.cli.parameters import ALL, GpuIndex, Seconds
from bench.errors import BackendUnavailable, InvalidRequest
from bench.workloads import PAIRS

if TYPE_CHECKING:
    from bench.run.engine import Engine
    from bench.run.fleet.connecting import Cluster

_F = TypeVar("_F", bound=Callable[..., Any])
_TLS: Final = ("tls_ca", "tls_cert", "tls_key")
_FILE: Final = click.Path(path_type=Path)


def where_options(function: _F) -> _F:
    """Give a command the options that choose devices."""
    for option in (
        click.option("--tls-key", type=_FILE, metavar="PEM", help="The key of --tls-cert."),
        click.option("--tls-cert", type=_FILE, metavar="PEM", help="This client's certificate, for tls://."),
        click.option("--tls-ca", type=_FILE, metavar="PEM", help="The authority's certificate, for tls://."),
        click.option(
            "--wait",
            type=Seconds(least=0.0),
            default=30.0,
            show_default=True,
            metavar="SECONDS",
            help="How long to wait for --workers, and for a lost device to come back.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(1, 1_000_000),
            default=1,
            show_default=True,
            help="Begin when the cluster has so many workers.",
        ),
        click.option(
            "--local-cluster",
            type=click.IntRange(1, 999),
            metavar="N",
            help="Start N Dask workers on this machine, and measure on those.",
        ),
        click.option(
            "--scheduler",
            metavar="ADDRESS",
            help="Measure on the workers of a Dask cluster: tcp://HOST:PORT, tls://HOST:PORT or a scheduler file.",
        ),
        click.option(
            "--together",
            is_flag=True,
            help="Measure the GPUs of a machine all at once, not one after the other, and record it as that.",
        ),
        click.option(
            "--gpu",
            multiple=True,
            type=GpuIndex(),
            metavar="N|all",
            help="A GPU, as 'chipbench devices' counts, or all of this machine; repeatable.",
        ),
    ):
        function = option(function)
    return function


class Where:
    """The devices that the options choose. Raises click.UsageError if they contradict each other."""

    def __init__(self, options: Mapping[str, Any], given: set[str]) -> None:
        self._options = options
        self._gpus: tuple[str, ...] = tuple(dict.fromkeys(options["gpu"]))
        self.on_cluster = options["scheduler"] is not None or options["local_cluster"] is not None
        self.together: bool = options["together"]
        self._check(given)

    def _check(self, given: set[str]) -> None:
        for is_so, message in (*self._contradictions(), *self._idle(given)):
            if is_so:
                raise click.UsageError(message)

    def _contradictions(self) -> Iterator[tuple[bool, str]]:
        options = self._options
        backend, tls = options["backend"], [name for name in _TLS if options[name] is not None]
        chosen = [flag for flag in ("gpu", "scheduler", "local_cluster") if options[flag] not in {None, ()}]
        names = " and ".join(f"--{flag.replace('_', '-')}" for flag in chosen)
        yield len(chosen) > 1, f"{names} contradict each other; choose GPUs of this machine or a cluster"
        yield ALL in self._gpus and len(self._gpus) > 1, f"--gpu {ALL} takes every GPU; leave the other --gpu out"
        no_gpu = backend in {"cpu", "replay"}
        yield bool(self._gpus) and no_gpu, f"--gpu chooses GPUs, and backend {backend} measures none"
        replayed = "a replay takes place here; leave --scheduler and --local-cluster out"
        yield self.on_cluster and backend == "replay", replayed
        yield 0 < len(tls) < len(_TLS), "--tls-ca, --tls-cert and --tls-key go together"
        pairs = "workload p2p measures one pair of GPUs at a time; leave --together out"
        yield self.together and options["workload"] == PAIRS, pairs

    def _idle(self, given: set[str]) -> Iterator[tuple[bool, str]]:
        """Yield what is given and has nothing to act on."""
        of_cluster = bool(given & {"workers", *_TLS})
        yield of_cluster and self._options["scheduler"] is None, "--workers and --tls-… go with --scheduler"
        several = self.on_cluster or ALL in self._gpus or len(self._gpus) > 1
        yield self.together and not (several or "resume" in given), "--together is for a cluster, or several GPUs"
        yield "wait" in given and not (several or "resume" in given), "--wait is for a cluster, or several GPUs"

    @property
    def index(self) -> int | None:
        """The one GPU that is chosen, None if none or several are."""
        return int(self._gpus[0]) if len(self._gpus) == 1 and self._gpus[0] != ALL else None

    @property
    def several(self) -> bool:
        """Whether a run is over several devices, each in a process and with a record of its own."""
        # Copies between GPUs take every one of them if none is named.
        pairs = self._options["workload"] == PAIRS and self._options["backend"] != "cpu" and not self._gpus
        return self.on_cluster or (bool(self._gpus) and self.index is None) or (pairs and len(_visible()) > 1)

    @contextmanager
    def engine(self, spare: Sequence[str] = ()) -> "Iterator[tuple[Engine, dict[str, int | None]]]":
        """Give what carries the jobs, and the GPU of each of its places; `spare` are the places without GPUs."""
        if self.on_cluster:
            from bench.run.fleet.connecting import connected  # noqa: PLC0415 - only where asked for

            with connected(self._cluster()) as dask:
                yield dask, {}
            return
        from bench.run.local import LocalEngine  # noqa: PLC0415 - only where asked for

        indices = [] if spare else self._indices()
        places: dict[str, int | None] = {f"gpu {index}": index for index in indices} or dict.fromkeys(spare)
        local = LocalEngine(list(places))
        try:
            yield local, places
        finally:
            local.close()

    def _indices(self) -> list[int]:
        """Return the GPUs that are chosen. Raises InvalidRequest for one that is not here."""
        found = _visible()
        if not found:
            message = "no GPU here that CUDA programs see; 'chipbench devices' says what is"
            raise BackendUnavailable(message)
        chosen = [int(gpu) for gpu in self._gpus if gpu != ALL]
        for index in chosen:
            if index not in found:
                there = ", ".join(map(str, found))
                message = f"no GPU {index} here that CUDA programs see; there are: {there}"
                raise InvalidRequest(message)
        return chosen or found

    def _cluster(self) -> "Cluster":
        from bench.run.fleet.connecting import Cluster, Tls  # noqa: PLC0415 - only where asked for

        options = self._options
        return Cluster(
            address=options["scheduler"] or "",
            local=options["local_cluster"] or 0,
            workers=options["workers"],
            wait_s=options["wait"],
            tls=Tls(*(options[name] for name in _TLS)) if options["tls_ca"] is not None else None,
        )


def _visible() -> list[int]:
    from bench.devices.nvidia.inventory import inventory, visible  # noqa: PLC0415 - `--help` must not load it

    return visible(inventory())
