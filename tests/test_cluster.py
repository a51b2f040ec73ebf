"""A Dask cluster on this machine, of real processes: what is finished is kept, whoever dies."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed.security import Security

from bench.errors import BackendUnavailable, InvalidRequest
from bench.run.fleet import connecting
from bench.run.fleet.connecting import Tls, connected
from bench.version import VERSION
from tests.cluster_lab import SIZES, SMALL, Client, Cluster, end_all, is_whole, until

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def no_client_outlives_its_test() -> Iterator[None]:
    yield
    end_all()


def client(cluster: Cluster, *arguments: str, workers: int = 1) -> Client:
    where = ("--scheduler", cluster.address, "--workers", str(workers))
    return Client(cluster.folder / "results", *SMALL, *where, *arguments)


def test_every_worker_makes_a_record_cell_by_cell_and_those_of_one_machine_are_together(cluster: Cluster) -> None:
    cluster.worker()
    cluster.worker()
    run = client(cluster, *SIZES, "--format", "json", workers=2)
    run.has(1)
    assert all(one.footer is None for one in run.records()), "a cell is saved before its record is whole"
    out, _ = run.ends(0)
    assert json.loads(out)
    records = run.records()
    assert [is_whole(one) for one in records] == [True, True]
    assert {one.header.plan.cells[0].load for one in records} == {"together"}
    assert len({one.header.member.fleet for one in records if one.header.member}) == 1
    assert len({one.header.device.key for one in records}) == 1
    text = "".join(path.read_text() for path in run.results.rglob("*.jsonl"))
    assert "127.0.0.1" not in text, "an address is no part of a record"


def test_a_worker_that_is_killed_goes_on_when_its_nanny_has_restarted_it(cluster: Cluster) -> None:
    cluster.worker()
    cluster.worker()
    run = client(cluster, *SIZES, workers=2)
    run.has(1)
    (worker,) = cluster.measuring()[:1][0].parents()[:1]
    worker.kill()
    run.ends(0)
    records = run.records()
    assert [is_whole(one) for one in records] == [True, True]
    assert sum(one.resumed for one in records) == 1


def test_one_that_stays_away_is_marked_and_resumed_when_its_machine_is_back(cluster: Cluster) -> None:
    lonely = cluster.worker("--no-nanny")
    run = client(cluster, *SIZES, "--wait", "3")
    run.has(1)
    before = sum(len(one.measurements) for one in run.records())
    lonely.kill()
    _, err = run.ends(5)
    assert "not complete: tcp://127.0.0.1:" in err
    assert "its worker is gone" in err
    (record,) = run.results.rglob("*.jsonl")
    finished = run.records()[0].measurements
    assert before <= len(finished) < 3
    assert f"next   chipbench run --resume {record} --scheduler {cluster.address}" in err
    cluster.worker("--no-nanny")
    again = Client(run.results, "--resume", str(record), "--scheduler", cluster.address)
    again.ends(0)
    (lines,) = again.records()
    assert is_whole(lines)
    assert lines.measurements[: len(finished)] == finished


def test_workers_of_another_version_or_without_chipbench_are_named_and_the_others_measure(
    cluster: Cluster,
) -> None:
    for name, version in (("old", 'VERSION = "0.1.0"\n'), ("none", None)):
        package = cluster.folder / name / "bench"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        if version is not None:
            (package / "version.py").write_text(version)
        cluster.worker(path=package.parent)
    cluster.worker()
    run = client(cluster, "--size", "64", workers=3)
    _, err = run.ends(5)
    assert f"it has chipbench 0.1.0, and this is {VERSION}; install the same version on both" in err
    assert "it has no chipbench (" in err
    assert [is_whole(one) for one in run.records()] == [True]
    assert err.splitlines()[-1] == "chipbench: left out: 2 of the places, as said above"


def test_when_the_client_is_killed_nothing_goes_on_and_everything_can(cluster: Cluster) -> None:
    cluster.worker()
    cluster.worker()
    run = client(cluster, *SIZES, workers=2)
    run.has(2)
    run.kill()
    until(lambda: not cluster.measuring(), "measuring goes on for nobody")
    finished = sum(len(one.measurements) for one in run.records())
    assert 2 <= finished < 6
    record = min(run.results.rglob("*.jsonl"))
    again = Client(run.results, "--resume", str(record), "--scheduler", cluster.address, "--workers", "2")
    again.ends(0)
    assert [is_whole(one) for one in again.records()] == [True, True]
    assert len(again.records()) == 2


def test_when_the_scheduler_is_killed_what_is_finished_is_kept(cluster: Cluster) -> None:
    cluster.worker()
    run = client(cluster, *SIZES)
    run.has(1)
    cluster.scheduler.kill()
    _, err = run.ends(5)
    assert "the Dask scheduler does not answer any more" in err.splitlines()[-1]
    assert "distributed" not in err, "Dask's own lines are for those who know it"
    (lines,) = run.records()
    assert lines.footer is None
    assert len(lines.measurements) >= 1


def test_a_scheduler_that_the_client_has_given_up_is_said_in_one_line(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "ANSWER_S", 3.0)
    cluster.worker()
    with connected(connecting.Cluster(address=cluster.address)) as engine:
        (place,) = engine.places()
        cluster.scheduler.kill()
        until(lambda: engine._client.status == "closed", "the client does not give up")
        with pytest.raises(BackendUnavailable, match="the Dask scheduler does not answer any more"):
            engine.places()
        with pytest.raises(BackendUnavailable, match="the Dask scheduler does not answer any more"):
            engine.start(place, 1, b"job\n")
        engine.close()


def test_a_local_cluster_needs_nothing_started(tmp_path: Path) -> None:
    run = Client(tmp_path / "results", *SMALL, "--size", "64", "--local-cluster", "2")
    out, err = run.ends(0)
    assert out.startswith("Fleet of ")
    assert [is_whole(one) for one in run.records()] == [True, True]
    assert "distributed" not in err
    until(lambda: not run.left(), "a process is left")  # Python's resource tracker ends after its parent


class TestTls:
    @pytest.fixture
    def pems(self, tmp_path: Path) -> dict[str, Path]:
        """Two authorities' self-made certificates and keys."""
        made: dict[str, Path] = {}
        for who in ("ours", "theirs"):
            security = Security.temporary()
            for name in ("tls_ca_file", "tls_client_cert", "tls_client_key"):
                made[f"{who} {name}"] = path = tmp_path / f"{who}-{name}.pem"
                path.write_text(getattr(security, name))
        return made

    def options(self, pems: dict[str, Path], who: str, *, dask: bool = False) -> list[str]:
        names = {"ca": "tls_ca_file", "cert": "tls_client_cert", "key": "tls_client_key"}
        suffix = {"ca": "-file"} if dask else {}
        return [
            part
            for name, file in names.items()
            for part in (f"--tls-{name}{suffix.get(name, '')}", str(pems[f"{who} {file}"]))
        ]

    def test_certificates_of_one_authority_meet_and_others_do_not(
        self, tmp_path: Path, pems: dict[str, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        cluster = Cluster(tmp_path, security=self.options(pems, "ours", dask=True))
        try:
            cluster.worker()
            assert cluster.address.startswith("tls://")
            run = Client(
                tmp_path / "results", *SMALL, "--size", "64", "--scheduler", cluster.address,
                *self.options(pems, "ours"),
            )  # fmt: skip
            run.ends(0)
            assert [is_whole(one) for one in run.records()] == [True]
            monkeypatch.setattr(connecting, "ANSWER_S", 3.0)
            files = [pems[f"theirs {name}"] for name in ("tls_ca_file", "tls_client_cert", "tls_client_key")]
            with pytest.raises(BackendUnavailable, match=r"no Dask scheduler answers at tls://.*wants TLS"):
                connected(connecting.Cluster(address=cluster.address, tls=Tls(*files))).__enter__()
            plain = cluster.address.replace("tls://", "tcp://")
            with pytest.raises(BackendUnavailable, match="no Dask scheduler answers at tcp://"):
                connected(connecting.Cluster(address=plain)).__enter__()
        finally:
            cluster.close()

    def test_a_certificate_that_is_no_file_is_said(self, tmp_path: Path) -> None:
        files = Tls(tmp_path / "ca", tmp_path / "cert", tmp_path / "key")
        with pytest.raises(InvalidRequest, match="ca: no such file"):
            connected(connecting.Cluster(address="tls://127.0.0.1:1", tls=files)).__enter__()


def test_a_scheduler_without_workers_is_waited_for_and_named(cluster: Cluster) -> None:
    run = client(cluster, "--wait", "1")
    _, err = run.ends(5)
    assert err.splitlines()[-1].startswith(f"chipbench: no worker is at {cluster.address} after 1 s")
    cluster.worker()
    run = client(cluster, "--wait", "4", workers=2)
    _, err = run.ends(5)
    assert f"1 of 2 workers are at {cluster.address} after 4 s" in err
    assert not [*run.results.rglob("*.jsonl")]


def test_no_scheduler_is_said_in_one_line_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "ANSWER_S", 1.0)
    started = time.monotonic()
    with pytest.raises(BackendUnavailable, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1 within 1 s"):
        connected(connecting.Cluster(address="127.0.0.1:1")).__enter__()
    assert time.monotonic() - started < 20
