"""The picture of one measurement: its blocks in time, what is held against them, what the title dares to say."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from bench.devices.base import Caveat, Origin, Telemetry
from bench.errors import InvalidRequest, RecordError
from bench.measure.measurement import Measurement, Samples, WarmUp
from bench.published.chips import Catalogue, Chip
from bench.published.source import shipped_specs
from bench.records.record import Header
from bench.report.plots.trace import drawn, render
from bench.report.plots.trace_choice import chosen
from bench.report.plots.trace_data import MOST_DOTS, TracePicture, picture_of
from bench.workloads import gemm, stream
from bench.workloads.base import Cell
from tests.command import Answer, chipbench
from tests.drawn import assert_apart_and_inside, words_of
from tests.support import DEVICE, FAILED, cell, header, measurement
from tests.test_compare_command import GPU, H20, saved

H100: Final = Catalogue([shipped_specs()]).resolve("h100").chip
SIMULATED: Final = Path(__file__).resolve().parent / "data" / "simulated-h100.jsonl"
FAST: Final = 2 * 8192**3 / 700e12  # seconds per call at 700 TFLOP/s
CAPPED: Final = Telemetry(readings=9, seconds=1.0, event_reasons={"sw_power_cap": 1.0})
QUIET: Final = (1, 1.001, 0.999, 1.0005, 0.9995, 1.0002, 0.9998, 1.0008)


def traced(
    factors: Sequence[float] = QUIET,
    of: Cell = GPU[0],
    *,
    first: float | None = None,
    **more: Any,  # noqa: ANN401 - of the measurement
) -> Measurement:
    """Return a measurement on a GPU whose calls take 1.57 ms × each factor, after two blocks of warm-up."""
    warm_up = WarmUp(
        cold=True, flat=True, calls=(1, 10), seconds_per_call=(1.1 * FAST, FAST), sm_clock_hz=(first, 1.5e9)
    )
    many = len(factors)
    samples = Samples(
        seconds_per_call=tuple(FAST * factor for factor in factors),
        sm_clock_hz=(1.5e9,) * many,
        power_w=(690.0,) * many,
        temperature_c=(55.0,) * many,
    )
    return msgspec.structs.replace(measurement(of), **{"samples": samples, "warm_up": warm_up, **more})


def head(origin: Origin = "measured", **settings: str) -> Header:
    plain = header(GPU, origin=origin)
    environment = msgspec.structs.replace(plain.environment, settings=settings)
    return msgspec.structs.replace(plain, environment=environment, device=msgspec.structs.replace(DEVICE, **H20))


def picture(one: Measurement, chip: Chip | None = H100, of: Header | None = None) -> TracePicture:
    return picture_of(of or head(power_limit_w="700.0"), one, chip)


def title(one: Measurement, chip: Chip | None = H100, of: Header | None = None) -> str:
    return picture(one, chip, of).title.replace("\N{NO-BREAK SPACE}", " ")


def notes(found: TracePicture) -> str:
    return " ".join(found.notes)


class TestTime:
    def test_blocks_stand_end_to_end_each_as_long_as_its_calls(self) -> None:
        found = picture(traced())
        assert found.sampled_from == pytest.approx(1.1 * FAST + 10 * FAST)
        assert found.seconds == pytest.approx(found.sampled_from + 100 * FAST * sum(QUIET))
        times = [dot.at for dot in found.panels[0].dots]
        assert times == sorted(times)
        assert times[:3] == pytest.approx([0.55 * FAST, 6.1 * FAST, 11.1 * FAST + 50 * FAST])
        assert [dot.sampled for dot in found.panels[0].dots] == [False] * 2 + [True] * 8

    def test_without_a_warm_up_the_samples_begin_at_once(self) -> None:
        found = picture(traced(warm_up=None))
        assert found.sampled_from == 0
        assert all(dot.sampled for dot in found.panels[0].dots)


class TestMany:
    def test_of_very_many_blocks_the_lowest_and_the_highest_are_drawn_in_their_order(self) -> None:
        factors = [1 + 0.01 * (index % 7) for index in range(20 * MOST_DOTS)]
        factors[777], factors[7777] = 0.5, 2.0
        found = picture(traced(factors))
        whole, kept = (
            [1 / factor for factor in factors],
            [dot.value for dot in found.panels[0].dots if dot.sampled],
        )
        assert len(kept) <= MOST_DOTS
        assert (max(kept) / min(kept)) == pytest.approx(max(whole) / min(whole))
        times = [dot.at for dot in found.panels[0].dots if dot.sampled]
        assert times == sorted(times)
        assert f"Of {20 * MOST_DOTS + 2:,} blocks the lowest and the highest of every 41 are drawn." in notes(
            found
        )

    def test_of_few_all_are(self) -> None:
        assert len(picture(traced()).panels[0].dots) == len(QUIET) + 2
        assert "the lowest and the highest" not in notes(picture(traced()))


class TestPanels:
    def test_what_the_device_told_has_a_panel_and_nothing_else_has(self) -> None:
        assert [(one.name, one.unit) for one in picture(traced()).panels] == [
            ("rate", "TFLOP/s"),
            ("clock", "GHz"),
            ("power", "W"),
            ("temperature", "°C"),
        ]
        found = picture_of(header((cell(512),)), measurement(cell(512)), None)
        assert [one.name for one in found.panels] == ["rate"]

    def test_the_median_and_its_interval_are_those_of_the_table(self) -> None:
        rates = picture(traced()).panels[0]
        assert rates.lines[0].value == pytest.approx(700, rel=1e-3)
        assert rates.band is not None
        assert rates.band[0] < rates.lines[0].value < rates.band[1]
        assert rates.lines[0].name == "median 699.9 TFLOP/s"

    def test_a_published_figure_far_from_the_blocks_is_told_in_words_and_squashes_nothing(self) -> None:
        peak = picture(traced()).panels[0].lines[1]
        assert (peak.drawn, peak.name) == (False, "published dense peak 989.4 TFLOP/s")
        assert peak.more == "the median is 70.7 % of it; off this axis"
        near = picture(traced([0.72, 1.0, 0.8, 0.9, 0.72, 0.75, 0.74])).panels[0]
        assert near.lines[1].drawn
        assert near.lines[1].value < near.high

    def test_the_power_limit_is_that_of_the_record_and_may_be_unknown(self) -> None:
        lines = picture(traced()).panels[2].lines
        assert (lines[1].value, lines[1].mark, lines[1].drawn) == (700, "limit", True)
        for unknown in (head(), *(head(power_limit_w=text) for text in ("?", "nan", "inf", "-1"))):
            assert [line.mark for line in picture(traced(), of=unknown).panels[2].lines] == ["median"]

    @pytest.mark.parametrize("factors", [QUIET, [1, 5, 1, 1, 3, 1, 1], [1.0] * 6])
    def test_every_sample_is_inside_its_axis(self, factors: Sequence[float]) -> None:
        for panel in picture(traced(factors)).panels:
            assert all(panel.low < dot.value < panel.high for dot in panel.dots if dot.sampled)
            assert panel.low >= 0

    def test_a_slow_first_block_becomes_an_arrow_and_a_note(self) -> None:
        slow = WarmUp(cold=True, flat=True, calls=(1, 10), seconds_per_call=(9 * FAST, FAST))
        found = picture(traced(warm_up=slow))
        rates = found.panels[0]
        assert [rates.beyond(dot) for dot in rates.dots] == [True] + [False] * 9
        assert "would squash the rest: 1 block of the warm-up." in notes(found)
        assert "would squash" not in notes(picture(traced()))

    def test_an_interval_that_leaves_the_axis_is_told(self) -> None:
        found = picture(traced([1, 1, 1, 1.2, 1.2, 1.2, 1.2]))
        assert "The interval goes on beyond the axis: from" in notes(found)

    def test_that_the_axes_are_cut_is_said(self) -> None:
        assert "do not begin at zero" in notes(picture(traced()))


class TestTitle:
    def test_a_power_limit_that_is_none_is_not_told_in_watts(self) -> None:
        capped = traced(first=1.9e9, telemetry=CAPPED)
        assert "its power limit brought its clock down" in title(capped, of=head(power_limit_w="nan"))

    def test_the_power_limit_is_blamed_only_where_the_sensors_do(self) -> None:
        capped = title(traced(first=1.98e9, telemetry=CAPPED))
        assert capped == (
            "BF16 8192³ on the NVIDIA H100 SXM5 80GB ran at 699.9 TFLOP/s ±0.11 %; its power limit of 700 W "
            "brought its clock down from 1.98 GHz to 1.50 GHz"
        )
        assert title(traced(first=1.98e9)).endswith("; its clock fell from 1.98 GHz to 1.50 GHz")
        assert title(traced(first=1.51e9, telemetry=CAPPED)).endswith("700 W held its clock at 1.50 GHz")
        assert title(traced(telemetry=CAPPED), of=head()).endswith("; its power limit held its clock at 1.50 GHz")

    def test_a_clock_that_hardly_moved_did_not_fall(self) -> None:
        assert title(traced(first=1.53e9)).endswith("; its clock was 1.50 GHz")

    def test_without_clock_and_chip_it_is_the_rate_alone(self) -> None:
        found = title(measurement(cell(512)), None, header((cell(512),)))
        assert found == "FP32 512³ on the A simulated device ran at 268.4 GFLOP/s ±24 %"

    def test_a_drift_is_one_if_the_intervals_of_the_thirds_are_apart(self) -> None:
        slower = [third * value for third in (1, 1.01, 1.02) for value in QUIET]
        assert "from the first third of its blocks to the last it fell by 2.0 %" in title(traced(slower))
        assert "from the first third of its blocks to the last it rose by 2.0 %" in title(traced(slower[::-1]))
        steadily = [value * (1 + 0.002 * index) for index, value in enumerate(QUIET * 6)]
        assert "from the first third of its blocks to the last it fell by 5.9 %" in title(traced(steadily))
        assert " without drift; " in title(traced(QUIET * 3))

    def test_blocks_that_cannot_tell_are_not_called_without_drift(self) -> None:
        assert "drift" not in title(traced())
        assert "drift" not in title(traced([1 + 0.4 * (index * 7 % 5) for index in range(40)]))

    def test_two_speeds_are_not_summed_up_by_their_median(self) -> None:
        found = title(traced([1.0, 1.2] * 10))
        assert "two speeds took turns, and the median stands for neither" in found

    def test_a_rate_of_the_host_is_not_called_the_device_s(self) -> None:
        assert "the host set this rate" in title(traced(warnings=(Caveat(code="launch_bound", values={}),)))

    def test_a_sustained_load_held_its_rate_for_its_time(self) -> None:
        sustained = msgspec.structs.replace(GPU[0], regime="sustained:15", data="zeros")
        found = title(traced(of=sustained))
        assert found.startswith("BF16 8192³ of zeros on the NVIDIA H100 SXM5 80GB held 699.9 TFLOP/s ±")
        assert " for 15 s; " in found

    def test_what_was_not_measured_says_so_in_title_note_and_mark(self) -> None:
        found = picture(traced(), of=head("simulated"))
        assert found.title.startswith("Simulated: BF16")
        assert found.notes[0].startswith("Simulated, 2026-01-02 03:04:05 UTC")
        assert b"sampled block, simulated" in render(found, ".svg")
        assert render(found, ".svg").count(b"measured here") == 0

    def test_the_alternative_text_counts_the_blocks_and_tells_the_finding(self) -> None:
        found = picture(traced())
        assert "in 4 panels above one another: rate in TFLOP/s, clock in GHz, power in W and" in found.alt
        assert "2 hollow marks are blocks of the warm-up, 8 filled ones sampled blocks" in found.alt
        assert title(traced()) in found.alt


def twins() -> list[Measurement]:
    eights = gemm.cells(["fp8"], [gemm.square(4096)], library="cublaslt", l2="rotate")
    small = msgspec.structs.replace(GPU[0], shape=gemm.square(512), regime="sustained:1")
    copy = stream.cells(["copy"], 1 << 20, library="kernel")
    both = [traced([9.0 + index] * 8, one) for index, one in enumerate((*copy, *eights))]
    return [traced(of=GPU[0]), traced(of=small), *both]


class TestChoice:
    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            ({}, "bf16 512³ (sustained:1)"),
            ({"dtype": "fp8"}, "fp8 fast 4096³"),
            ({"label": "8192"}, "bf16 8192³"),
            ({"label": "8192x8192x8192"}, "bf16 8192³"),
            ({"label": "FP8 4096"}, "fp8 4096³"),
            ({"label": "copy"}, "copy 4.19 MB"),
            ({"dtype": "bf16", "label": "cublaslt"}, "bf16 512³ (sustained:1)"),
        ],
    )
    def test_what_fits_and_was_sampled_longest_sustained_first(
        self, asked: Mapping[str, str], expected: str
    ) -> None:
        assert chosen(twins(), **{"dtype": None, "label": None, **asked}).cell.label == expected

    @pytest.mark.parametrize("asked", [{"dtype": "fp32"}, {"label": "819"}, {"label": ""}])
    def test_what_fits_nothing_is_an_error_that_lists_what_there_is(self, asked: Mapping[str, str]) -> None:
        with pytest.raises(InvalidRequest, match=r"it holds bf16 8192³ by cublaslt, .*copy 4.19 MB by kernel"):
            chosen(twins(), **{"dtype": None, "label": None, **asked})

    def test_what_failed_is_never_drawn(self) -> None:
        wrong = traced([9.0] * 8, cell(64), check=FAILED)
        assert chosen([wrong, traced()], dtype=None, label=None).cell == GPU[0]
        with pytest.raises(RecordError, match=r"fp32 64³ by numpy.matmul has no rate \(wrong result"):
            chosen([wrong], dtype=None, label=None)
        with pytest.raises(RecordError, match="holds no measurement yet"):
            chosen([], dtype="bf16", label=None)


@pytest.mark.slow
class TestDrawn:
    @pytest.mark.parametrize(
        "found",
        [
            picture(traced(first=1.98e9, telemetry=CAPPED)),
            picture(traced([1, 5, 1, 1, 3, 1, 1]), of=head("replayed")),
            picture_of(header((cell(512),)), measurement(cell(512)), None),
        ],
        ids=["capped", "noisy", "cpu"],
    )
    def test_no_two_texts_overlap_and_all_are_inside(self, found: TracePicture) -> None:
        words, figure = words_of(drawn, found)
        assert len(words) > 10
        assert_apart_and_inside(words, figure)

    def test_the_same_data_give_the_same_bytes(self) -> None:
        assert render(picture(traced()), ".svg") == render(picture(traced()), ".svg")


def plot(*args: str | Path) -> Answer:
    return chipbench("plot", "trace", *args)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestCommand:
    def test_a_record_of_any_age_gives_a_picture_of_its_chip(self, folder: Path) -> None:
        answer = plot(SIMULATED, "--dtype", "bf16", "--cell", "cublaslt", "-o", "out.svg")
        assert (answer.code, answer.out, answer.err) == (0, "", "saved out.svg\n")
        text = (folder / "out.svg").read_text(encoding="utf-8")
        assert "published boost clock 1.98 GHz" in text
        assert "power limit 700 W" in text
        assert plot(SIMULATED.with_name("schema-1.jsonl"), "-o", "old.svg").code == 0

    def test_latest_is_looked_for_in_the_results_folder(self, folder: Path) -> None:
        saved(folder / "mine", cells=GPU, device=H20)
        answer = plot("latest", "--results-dir", "mine", "-o", "out.svg")
        assert answer.code == 0, answer.err
        assert answer.err.startswith("latest is mine/")

    @pytest.mark.parametrize(
        ("args", "code", "said"),
        [
            (["none.jsonl", "-o", "out.svg"], 2, "'none.jsonl' is no record; give one record file, or latest"),
            ([".", "-o", "out.svg"], 2, "'.' is a folder; give one record file"),
            (
                [SIMULATED, "--cell", "7", "-o", "out.svg"],
                2,
                "fits --cell '7'; it holds fp64 8192³ by",
            ),
            ([__file__, "-o", "out.svg"], 4, "test_plot_trace.py"),
            (["latest", "-o", "out.svg"], 4, "chipbench run"),
            ([SIMULATED, "-o", "missing/out.svg"], 7, "missing/out.svg: "),
        ],
    )
    def test_bad_input_is_one_line_and_no_file(
        self, args: list[str | Path], code: int, said: str, folder: Path
    ) -> None:
        answer = plot(*args)
        assert answer.code == code
        assert said in answer.error
        assert not [*folder.iterdir()]
