"""The picture of copies between GPUs: what it holds, how it is drawn, and `chipbench plot links` as typed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import Rectangle

from bench.analysis.links import links_of
from bench.devices.base import Device
from bench.errors import RecordError
from bench.records.record import Record
from bench.report.plots.layout import MOST_TITLE
from bench.report.plots.links import drawn
from bench.report.plots.links_data import LinksPicture, picture_of
from bench.workloads import p2p
from tests.command import chipbench
from tests.contrast import contrast, luminance
from tests.drawn import assert_apart_and_inside, words_of
from tests.support import header, write_record
from tests.test_links import H100, HOST, copied, copy, fleet, one_way, record

SPREAD: Final = (0, 60e9, 120e9, 180e9, 240e9, 300e9, 360e9, 420e9, 470e9)


def picture(records: Sequence[Record]) -> LinksPicture:
    return picture_of(links_of(fleet(records)))


def both(count: int = 3) -> list[Record]:
    return [
        record(i, [copied(copy(j, ways), 380e9 * ways) for j in range(count) if j != i for ways in (1, 2)])
        for i in range(count)
    ]


class TestData:
    def test_a_panel_has_every_rate_in_its_place_and_its_shade_by_the_sheet(self) -> None:
        (panel,) = picture(one_way(3, p2_0=225e9)).panels
        assert (panel.title, panel.rows, panel.columns) == (
            "One way, against half of 900 GB/s published",
            [0, 1, 2],
            (0, 1, 2),
        )
        found = {(field.row, field.column): (field.text, field.framed) for field in panel.fields}
        assert found[2, 0] == ("225", True)
        assert found[0, 2] == ("390", False)
        assert len(found) == 6
        assert next(field.shade for field in panel.fields if field.framed) == pytest.approx(0.5)

    def test_the_title_names_the_slowest_and_what_the_fastest_reach_and_who_measured(self) -> None:
        title = picture(one_way(4, p3_1=200e9)).title.replace("\N{NO-BREAK SPACE}", " ")
        slowest = "Copies between 4 GPUs, measured here: slowest one way 3 to 1 at 200 GB/s"
        assert title == f"{slowest}; the fastest reach 86.7 % of the published NVLink figure"
        simulated = [
            one._replace(header=msgspec.structs.replace(one.header, origin="simulated")) for one in both()
        ]
        assert ", simulated: slowest one way " in picture(simulated).title

    def test_of_several_machines_each_has_its_panels_and_is_named(self) -> None:
        records = [record(i, [copied(copy(1 - i), 1e9 * (2 + i))], host=host) for i in (0, 1) for host in "AB"]
        found = picture(records)
        assert [panel.title for panel in found.panels] == [
            f"One way, against half of 900 GB/s published, machine {host}" for host in "AB"
        ]
        assert "between 4 GPUs of 2 machines" in found.title
        assert "0 to 1 of machine A" in found.title

    def test_without_a_sheet_shades_are_by_the_fastest_of_the_panel(self) -> None:
        found = picture([record(0, [copied(copy(1), 10e9), copied(copy(2), 20e9)], chip=None)])
        assert found.scale.title == "of the fastest of its panel"
        assert [field.shade for field in found.panels[0].fields] == [pytest.approx(0.5), pytest.approx(1.0)]
        assert any("shades are by the fastest" in note for note in found.notes)

    def test_a_rate_above_the_sheet_makes_the_scale_longer(self) -> None:
        found = picture(one_way(2, rate=675e9))
        assert found.scale.high == pytest.approx(1.5, rel=1e-3)
        assert found.scale.ticks[-1] <= found.scale.high
        assert max(field.shade for field in found.panels[0].fields) == pytest.approx(1.0)

    def test_copies_through_the_host_and_what_is_left_out_are_told_in_words(self) -> None:
        measured = [copied(copy(1), 20e9, codes=["no_peer_access"]), copied(copy(2), 1e9, failed=True)]
        found = picture([record(0, measured)])
        assert [field.under for field in found.panels[0].fields] == ["host"]
        text = " ".join(found.notes)
        assert "'host': through the host's memory" in text
        assert "Left out, as they failed or did not pass their check: 1 copy." in text

    def test_where_all_went_through_the_host_there_is_no_share_of_a_link(self) -> None:
        found = picture(
            [record(0, [copied(copy(peer), 2e10 * peer, codes=["no_peer_access"]) for peer in (1, 2)])]
        )
        assert found.scale.title == "of the fastest of its panel"
        assert [field.shade for field in found.panels[0].fields] == [pytest.approx(0.5), pytest.approx(1.0)]
        assert found.panels[0].title == "One way"
        assert "published" not in found.title
        assert any(note.startswith("None of these copies went over a link: shades are by") for note in found.notes)

    def test_without_any_sheet_none_is_said_to_be_published(self) -> None:
        unknown = picture([record(0, [copied(copy(1), 1e9)], chip=None)])
        assert any(note.startswith("No NVLink figure of these devices is published") for note in unknown.notes)
        mixed = picture([record(i, [copied(copy(1 - i), 1e9)], chip=chip) for i, chip in enumerate((None, H100))])
        assert any(note.startswith("Not all of these devices have") for note in mixed.notes)

    def test_what_has_no_rate_is_counted_by_direction(self) -> None:
        notes = picture([record(2, [copied(copy(peer), 1e9) for peer in (3, 4)])]).notes
        assert any("4 of 6 directions have no rate" in note for note in notes)

    def test_what_is_published_is_said_to_be_of_both_ways(self) -> None:
        assert any("is the total of both ways" in note for note in picture(both()).notes)

    def test_of_very_many_machines_some_are_drawn_and_the_others_counted(self) -> None:
        records = [record(0, [copied(copy(1), 1e9)], host=f"machine{number}") for number in range(14)]
        found = picture(records)
        assert len(found.panels) == 12
        assert "Not drawn: 2 more panels; name the records of fewer machines." in found.notes
        assert len(found.title) <= MOST_TITLE

    def test_without_a_copy_it_says_how_to_measure_one(self) -> None:
        with pytest.raises(RecordError, match="'chipbench run --workload p2p' measures them"):
            picture([])
        with pytest.raises(RecordError, match="did not pass their check: 1 copy"):
            picture([record(0, [copied(copy(1), 1e9, failed=True)])])


@pytest.mark.slow
class TestDrawn:
    @pytest.mark.parametrize(("count", "senders"), [(8, 1), (9, 1)])
    def test_words_are_apart_and_inside(self, count: int, senders: int) -> None:
        words, figure = words_of(drawn, picture(both(count)[:senders]))
        assert_apart_and_inside(words, figure)
        assert sum(text in {"380", "760"} for text, _ in words) == 2 * senders * (count - 1)

    def test_every_rate_can_be_read_on_its_shade_and_grey_tells_the_order(self) -> None:
        measured = [copied(copy(peer), rate) for peer, rate in enumerate(SPREAD) if rate]
        found = picture([record(0, measured)])
        _, figure = words_of(drawn, found)
        axes = figure.axes[-1]
        words = {text.get_text(): to_rgb(text.get_color()) for text in axes.texts}
        boxes = {
            (round(box.get_x()), round(box.get_y())): to_rgb(box.get_facecolor())
            for box in axes.patches
            if isinstance(box, Rectangle) and box.get_fill()
        }
        grounds = [boxes[field.column, field.row] for field in found.panels[0].fields]
        for field, ground in zip(found.panels[0].fields, grounds, strict=True):
            assert contrast(words[field.text], ground) > 4.5, field.text
        greys = [luminance(ground) for ground in grounds]
        assert greys == sorted(greys, reverse=True)


class TestCommand:
    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        for index in range(2):
            cells = p2p.cells([1 - index], p2p.ELEMENTS, library="memcpy_peer")
            head = header(cells, ident=f"{index:08x}")
            device = Device(kind="gpu", name="a GPU", folder="gpus", index=index, host_key=HOST, key=f"{index}")
            write_record(Path("own"), msgspec.structs.replace(head, device=device))
        return Path("own")

    def test_a_folder_becomes_a_file_and_nothing_is_overwritten(self, folder: Path) -> None:
        answer = chipbench("plot", "links", folder, folder, "-o", "out.svg")
        assert (answer.code, answer.out, answer.err) == (0, "", "saved out.svg\n")
        assert "both ways at once" in Path("out.svg").read_text("utf-8").replace("\N{NO-BREAK SPACE}", " ")
        assert chipbench("plot", "links", folder, "-o", "out.svg").code == 7

    def test_the_latest_record_is_one_device_s(self, folder: Path) -> None:
        answer = chipbench("plot", "links", "latest", "--results-dir", folder, "-o", "out.svg")
        assert answer.code == 0, answer.err
        assert "latest is own/gpus/" in answer.err

    def test_records_without_such_copies_are_one_clear_line(self, folder: Path) -> None:
        write_record(Path("products"), header())
        answer = chipbench("plot", "links", "products", "-o", "out.svg")
        assert answer.code == 4
        assert "'chipbench run --workload p2p' measures them" in answer.error
        assert not Path("out.svg").exists()
        assert folder.exists()

    def test_a_damaged_record_stops_it_unless_it_is_to_be_left_out(self, folder: Path) -> None:
        (folder / "gpus" / "20260102T030405Z-ffffffff.jsonl").write_text("nonsense\n", "utf-8")
        answer = chipbench("plot", "links", folder, "-o", "out.svg")
        assert answer.code == 4
        assert "1 record of own cannot be read; --skip-bad uses the rest" in answer.last_error
        assert chipbench("plot", "links", folder, "--skip-bad", "-o", "out.svg").code == 0

    def test_a_name_that_is_nothing_is_refused(self, folder: Path) -> None:
        assert folder.exists()
        for name in ("nowhere", "h20"):
            answer = chipbench("plot", "links", name, "-o", "out.svg")
            assert answer.code == 2
            assert f"{name!r} is no record or folder; give a record file, a folder of records or l" in answer.error
