"""What a projection says beside its numbers, so that nobody takes it for more than it is."""

from pathlib import Path

import pytest

from bench.analysis.times import Times, blended
from tests.command import chipbench
from tests.test_in_use_command import H20, TINY, explained, llm_record, measured, own_folder, tiny
from tests.test_project_command import at, copy, product, projected, saved

__all__ = ["own_folder"]  # a fixture that every test here uses


def said(source: str | Path, target: str = H20) -> str:
    answer = projected(source, target)
    assert answer.code == 0, answer.err
    return " ".join(answer.out.split())


def test_what_others_published_tells_too_little_for_a_narrow_range(tmp_path: Path) -> None:
    wide = "neither clock nor power"
    assert wide in said("published:h100")
    assert wide not in said(saved(tmp_path / "a"))


def test_between_architectures_efficiencies_need_not_be_alike(tmp_path: Path) -> None:
    path = saved(tmp_path / "a")
    assert "of two architectures (Hopper and Ampere)" in said(path, "a100")
    assert "two architectures" not in said(path)


def test_a_rate_above_its_own_sheet_is_to_be_explained_first(tmp_path: Path) -> None:
    above = "above the source's own published peak or bandwidth, which is to be explained first: "
    assert f"{above}copy 1.07 GB" in said(saved(tmp_path / "a", [at(5e12, copy()), at(6e14, product())]))
    assert f"{above}bf16 8192³" in said(saved(tmp_path / "b", [at(1.2e15, product())]))
    assert above not in said(saved(tmp_path / "c"))


def test_a_chip_of_unknown_power_has_no_power_limit_and_a_source_of_no_copy_no_bandwidth(tmp_path: Path) -> None:
    text = said(saved(tmp_path / "a", [at(6e14, product())]), "h20-141gb")
    assert "no board power of h20-141gb is published" in text
    assert "no bandwidth was measured, so memory counts by its sheet" in text
    plain = said(saved(tmp_path / "b"))
    assert "no board power" not in plain
    assert "no bandwidth was measured" not in plain


def test_a_cell_without_a_clock_is_as_vague_as_others(tmp_path: Path) -> None:
    vague = "of some cells no clock was recorded"
    assert vague in said(saved(tmp_path / "a", [at(6e14, product(), clock=None)]))
    assert vague not in said(saved(tmp_path / "b"))


def test_how_many_hold_the_weights_is_told(tmp_path: Path) -> None:
    text = " ".join(chipbench("explain", H20).out.split())
    assert "take 671 GB: 7 of h20-96gb, 9 of h100-sxm5-80gb, 5 of h200-sxm-141gb hold them" in text
    assert explained(H20)["deepseek-r1"]["chips"][0]["devices_for_weights"] == 7


def test_a_replay_of_a_model_that_is_not_here_shows_its_products_without_steps(tmp_path: Path) -> None:
    model = tiny(tmp_path / "mine")
    cells = [product("bf16", m, 1024, 1024) for m in (1, 8, 64, 256, 4096)]
    path = llm_record(tmp_path / "results", model=model, made=measured(cells))
    without = chipbench("run", "--backend", "replay", "--from", path)
    assert without.code == 0, without.err
    assert "no model 'tiny' here, so its steps are not shown" in without.err
    assert "decode 1" not in without.out
    there = chipbench("run", "--backend", "replay", "--from", path, "--specs-dir", tmp_path / "mine")
    assert "decode 1" in there.out


def test_a_model_of_one_s_own_in_place_of_a_shipped_one_is_said_once(tmp_path: Path) -> None:
    path = tmp_path / "own" / "models" / "deepseek-r1.toml"
    path.parent.mkdir(parents=True)
    path.write_text(TINY.replace('id = "tiny"', 'id = "deepseek-r1"'), encoding="utf-8")
    answer = chipbench("explain", H20, "--specs-dir", tmp_path / "own")
    assert answer.code == 0, answer.err
    assert answer.err.count("overrides: deepseek-r1") == 1


@pytest.mark.parametrize(("weight", "expected"), [(0.0, 2.0), (1.0, 8.0), (0.5, 4.0)])
def test_what_lies_between_two_times_holds_both_in_the_middle(weight: float, expected: float) -> None:
    first, second = Times(3.0, 2.0, 1.0), Times(12.0, 8.0, 7.0)
    between = blended(first, second, weight)
    assert between.expected == pytest.approx(expected)
    if weight == 0.5:
        assert (between.slow, between.fast) == pytest.approx((12.0, 1.0))
    else:
        assert between == pytest.approx(second if weight else first)
