"""A record of copies to other GPUs in every command: where it counts, and where it must not."""

import json
from pathlib import Path
from typing import Final

import msgspec
import pytest

from bench import load_results
from bench.devices.base import Device
from bench.devices.nvidia.peer import MEMCPY_PEER
from bench.errors import InvalidRequest
from bench.records.record import read_lines
from bench.report import pytest_benchmark
from bench.report.plots import trace_choice, trace_data
from bench.workloads import gemm, p2p
from tests.command import chipbench
from tests.support import header, write_record

SMALL: Final = 1 << 16


class TestRecord:
    """What a record of copies to two peers is good for, and what not."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        cells = p2p.cells([5, 7], SMALL, library=MEMCPY_PEER)
        head = header(cells)
        device = Device(kind="gpu", name="NVIDIA H100 80GB HBM3", folder="h100", chip="h100-sxm5-80gb", index=2)
        return write_record(tmp_path, msgspec.structs.replace(head, device=device, backend="cuda"))

    def test_it_is_replayed_loaded_and_exported(self, path: Path) -> None:
        frame = load_results(path)
        assert [*frame["peer"]] == [5, 5, 7, 7]
        assert [*frame["ways"]] == [1, 2, 1, 2]
        assert [*frame["bytes_moved"]] == [4 * SMALL, 8 * SMALL] * 2
        assert {*frame["unit"]} == {"byte_per_s"}
        replayed = chipbench("run", "--backend", "replay", "--from", path, "--format", "json")
        assert [(one["peer"], one["ways"]) for one in json.loads(replayed.out)["measurements"]] == [
            (5, 1), (5, 2), (7, 1), (7, 2)
        ]  # fmt: skip

    def test_the_names_of_exported_benchmarks_are_each_of_one_cell(self, path: Path) -> None:
        names = [one["name"] for one in pytest_benchmark.document([read_lines(path)])["benchmarks"]]
        assert len({*names}) == 4
        assert any(name.endswith("memcpy_peer-with7]") for name in names)

    def test_no_projection_roofline_sweep_or_judgement_is_made_of_it(self, path: Path) -> None:
        projected = chipbench("project", "--from", path, "--to", "h20")
        assert projected.code == 4
        assert "it copies to another device, over a link" in projected.err
        for words in (("roofline", path), ("compare", path, "--sane")):
            refused = chipbench(*words)
            assert (refused.code, refused.out) == (4, "")
            assert "there is nothing in it but copies between GPUs" in refused.error
        swept = chipbench("plot", "sweep", path, "-o", path.with_name("no.svg"))
        assert (swept.code, "no product of a known size" in swept.err) == (4, True)

    def test_beside_products_it_is_in_nobody_s_way(self, path: Path) -> None:
        lines = read_lines(path)
        cells = gemm.cells(["bf16"], [gemm.square(4096)], library="cublaslt", l2="rotate")
        plan = msgspec.structs.replace(lines.header.plan, cells=(*cells, *lines.header.plan.cells))
        both = write_record(path.parents[1] / "both", msgspec.structs.replace(lines.header, plan=plan))
        assert chipbench("roofline", both).code == 0

    def test_it_is_compared_with_the_sheet(self, path: Path) -> None:
        compared = chipbench("compare", path, "h100")
        assert compared.code == 0, compared.err
        assert (
            "copies with a peer, both ways at once, are held against the published NVLink figure" in compared.text
        )

    def test_a_trace_of_it_says_what_was_copied(self, path: Path) -> None:
        lines = read_lines(path)
        chosen = trace_choice.chosen(lines.measurements, dtype=None, label="with 7")
        assert trace_data.picture_of(lines.header, chosen, None).title.startswith(
            "Peer copy of 262 kB arrays with 7"
        )
        with pytest.raises(InvalidRequest, match="fp32"):
            trace_choice.chosen(lines.measurements, dtype="fp32", label=None)
