"""What of two sides' surroundings blocks a comparison, and what is only shown, whoever of them is the first."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.context import SETTINGS, Context, Difference, context_of, differences
from bench.devices.base import Caveat
from bench.devices.environment import FLAGGED_VARIABLES
from bench.measure.policy import Policy, fitted
from bench.records.record import Header
from tests.support import header

H100: Final = {"kind": "gpu", "name": "NVIDIA H100 80GB HBM3", "chip": "h100-sxm5-80gb"}
H20: Final = {"kind": "gpu", "name": "NVIDIA H20", "chip": "h20-96gb"}
STATES: Final = ("busy", "gpu_processes", "hot", "pcie")
# Settings that each product has a default of, the warning that says it is not at it, and two values.
OF_PRODUCT: Final = {
    "power_limit_w": ("power_limit", "700.0", "500.0"),
    "application_clock_hz": ("application_clocks", "1.98e9", "1.2e9"),
    "ecc": ("ecc_off", "true", "false"),
}
OF_MACHINE: Final = ("blas_threads", "blas_architecture", "cores")

# Every variable that a record keeps: whether a difference in it blocks, and why.
BLOCKS: Final = {
    "CUBLAS_EMULATE_SINGLE_PRECISION": (True, "other arithmetic"),
    "CUBLAS_EMULATE_DOUBLE_PRECISION": (True, "other arithmetic"),
    "CUBLAS_EMULATION_STRATEGY": (True, "other arithmetic"),
    "CUBLAS_FIXEDPOINT_EMULATION_MANTISSA_BIT_COUNT": (True, "other arithmetic"),
    "CUBLAS_WORKSPACE_CONFIG": (True, "less memory leaves fewer algorithms"),
    "CUBLASLT_HEURISTICS_LUT_FILE": (True, "other algorithms"),
    "CUDA_INJECTION64_PATH": (True, "a profiler in every call"),
    "CUDA_LAUNCH_BLOCKING": (True, "the host waits for every call"),
    "CUDA_MPS_ACTIVE_THREAD_PERCENTAGE": (True, "a part of the chip"),
    "CUDA_VISIBLE_DEVICES": (False, "chooses the device, which is recorded"),
    "CUPY_ACCELERATORS": (True, "other kernels"),
    "CUPY_TF32": (True, "other arithmetic"),
    "NVIDIA_TF32_OVERRIDE": (True, "other arithmetic"),
    "BLIS_NUM_THREADS": (False, "shows in blas_threads"),
    "MKL_NUM_THREADS": (False, "shows in blas_threads"),
    "OMP_NUM_THREADS": (False, "shows in blas_threads"),
    "OPENBLAS_CORETYPE": (False, "shows in blas_architecture"),
    "OPENBLAS_L2_SIZE": (True, "other tiles, and shows in no setting"),
    "OPENBLAS_NUM_THREADS": (False, "shows in blas_threads"),
    "VECLIB_MAXIMUM_THREADS": (False, "shows in blas_threads"),
}


def surrounded(
    *,
    settings: Mapping[str, str] = {},
    versions: Mapping[str, str] = {},
    flagged: Mapping[str, str] = {},
    codes: Sequence[str] = (),
    device: Mapping[str, Any] = H100,
    **fields: Any,  # noqa: ANN401 - of the header
) -> Context:
    """Return the surroundings of a record with these, and with nothing else that bears on it."""
    plain = header()
    environment = msgspec.structs.replace(
        plain.environment, settings={**settings}, versions={**versions}, flagged={**flagged}
    )
    made: Header = msgspec.structs.replace(
        plain,
        environment=environment,
        device=msgspec.structs.replace(plain.device, **device),
        warnings=tuple(Caveat(code=code) for code in codes),
        **fields,
    )
    return context_of(made)


def blocking(found: Sequence[Difference]) -> list[str]:
    return [one.name for one in found if one.blocking]


def swapped(found: Sequence[Difference]) -> set[Difference]:
    return {one._replace(a=one.b, b=one.a) for one in found}


values = st.sampled_from(("1", "2", "700.0"))
contexts = st.builds(
    surrounded,
    settings=st.dictionaries(st.sampled_from((*SETTINGS, "unheard_of")), values),
    versions=st.dictionaries(st.sampled_from(("driver", "cublaslt", "numpy")), values),
    flagged=st.dictionaries(st.sampled_from(FLAGGED_VARIABLES), values, max_size=4),
    codes=st.lists(st.sampled_from((*STATES, *(one[0] for one in OF_PRODUCT.values()))), max_size=3),
    device=st.sampled_from((H100, H20, {"name": "A processor"})),
    tool=st.sampled_from(("0.2.0", "0.3.0")),
    origin=st.sampled_from(("measured", "simulated")),
    policy=st.sampled_from((Policy(), Policy(seed=1))),
)


class TestOfAnySides:
    @given(a=st.lists(contexts, min_size=1, max_size=3), b=st.lists(contexts, min_size=1, max_size=3))
    def test_who_is_first_does_not_matter(self, a: list[Context], b: list[Context]) -> None:
        assert {*differences(b, a)} == swapped(differences(a, b))

    @given(a=contexts, counts=st.tuples(st.integers(1, 3), st.integers(1, 3)))
    def test_between_equals_there_is_none(self, a: Context, counts: tuple[int, int]) -> None:
        assert differences([a] * counts[0], [a] * counts[1]) == []

    @given(a=contexts, b=contexts)
    def test_what_blocks_is_told_first_and_each_thing_once(self, a: Context, b: Context) -> None:
        found = differences([a], [b])
        assert [one.blocking for one in found] == sorted((one.blocking for one in found), reverse=True)
        assert len({one.name for one in found}) == len(found)
        assert all(one.a != one.b for one in found)

    @given(a=contexts, b=contexts, data=st.data())
    def test_what_is_allowed_is_shown_and_blocks_no_longer(
        self, a: Context, b: Context, data: st.DataObject
    ) -> None:
        found = differences([a], [b])
        allowed = data.draw(st.sets(st.sampled_from([one.name for one in found] or ["ecc"])))
        eased = differences([a], [b], allowed=allowed)
        assert {one[:3] for one in eased} == {one[:3] for one in found}
        assert {*blocking(eased)} == {*blocking(found)} - (allowed - {"origin"})

    @given(a=contexts, b=contexts, count=st.integers(1, 4))
    def test_how_many_records_alike_there_are_does_not_matter(self, a: Context, b: Context, count: int) -> None:
        assert differences([a] * count, [b]) == differences([a], [b])


class TestSettings:
    @pytest.mark.parametrize("name", SETTINGS)
    def test_each_blocks_on_one_product(self, name: str) -> None:
        a, b = surrounded(settings={name: "1"}), surrounded(settings={name: "2"})
        assert differences([a], [b]) == [Difference(name, "1", "2", blocking=True)]
        assert differences([a], [surrounded()]) == [Difference(name, "1", "not set", blocking=True)]

    def test_another_is_shown_and_blocks_nothing(self) -> None:
        a, b = surrounded(settings={"unheard_of": "1"}), surrounded(settings={"unheard_of": "2"})
        assert differences([a], [b]) == [Difference("unheard_of", "1", "2", blocking=False)]
        assert differences([a], [surrounded()]) == [Difference("unheard_of", "1", "not set", blocking=False)]
        assert differences([surrounded()], [a]) == [Difference("unheard_of", "not set", "1", blocking=False)]
        assert differences([a], [a]) == []

    @pytest.mark.parametrize("name", SETTINGS)
    def test_a_side_that_mixes_two_is_not_comparable_whatever_the_other_is(self, name: str) -> None:
        mixed = [surrounded(settings={name: value}) for value in ("1", "2", "1")]
        assert differences(mixed, mixed) == [Difference(name, "1 or 2", "1 or 2", blocking=True)]
        assert differences(mixed, mixed[:1]) == [Difference(name, "1 or 2", "1", blocking=True)]
        assert differences(mixed[:1], mixed) == [Difference(name, "1", "1 or 2", blocking=True)]

    @pytest.mark.parametrize("name", SETTINGS)
    def test_it_is_allowed_by_its_name_alone(self, name: str) -> None:
        a, b = [surrounded(settings={name: "1"})], [surrounded(settings={name: "2"})]
        assert differences(a, b, allowed=[name]) == [Difference(name, "1", "2", blocking=False)]
        assert blocking(differences(a, b, allowed=[other for other in SETTINGS if other != name])) == [name]
        both = [surrounded(settings=dict.fromkeys(SETTINGS, value)) for value in "12"]
        left = blocking(differences(both[:1], both[1:], allowed=[name]))
        assert sorted(left) == sorted(other for other in SETTINGS if other != name)


class TestTwoProducts:
    @pytest.mark.parametrize("name", OF_PRODUCT)
    def test_each_at_its_default_is_alike(self, name: str) -> None:
        _, a, b = OF_PRODUCT[name]
        default = surrounded(settings={name: a})
        for other in ({name: b}, {}):
            found = differences([default], [surrounded(settings=other, device=H20)])
            assert [one.name for one in found] == ["product"]
            assert not blocking(found)

    @pytest.mark.parametrize("name", OF_PRODUCT)
    def test_one_that_is_not_blocks_and_is_told_by_its_value(self, name: str) -> None:
        state, a, b = OF_PRODUCT[name]
        default = surrounded(settings={name: a})
        changed = surrounded(settings={name: b}, codes=[state], device=H20)
        assert differences([default], [changed])[0] == Difference(name, "default", b, blocking=True)
        assert differences([changed], [default])[0] == Difference(name, b, "default", blocking=True)
        assert not blocking(differences([default], [changed], allowed=[name]))

    @pytest.mark.parametrize("name", OF_PRODUCT)
    def test_on_one_product_the_value_counts_and_not_the_default(self, name: str) -> None:
        state, a, b = OF_PRODUCT[name]
        changed = surrounded(settings={name: b}, codes=[state])
        assert blocking(differences([surrounded(settings={name: a})], [changed])) == [name]
        assert differences([changed], [surrounded(settings={name: b})]) == []

    def test_one_product_in_two_states_against_another_mixes_them(self) -> None:
        side = [surrounded(), surrounded(settings={"power_limit_w": "500.0"}, codes=["power_limit"])]
        (first, *_) = differences(side, [surrounded(device=H20)])
        assert first == Difference("power_limit_w", "default or 500.0", "default", blocking=True)

    @pytest.mark.parametrize("name", OF_MACHINE)
    def test_threads_and_cores_of_two_are_their_own(self, name: str) -> None:
        other = surrounded(settings={name: "64"}, device={"name": "Another processor", "chip": None})
        here = surrounded(settings={name: "2"}, device={"name": "A processor", "chip": None})
        found = differences([here], [other])
        assert {one.name for one in found} == {"product", name}
        assert not blocking(found)

    def test_a_part_of_a_chip_is_none_of_a_whole_one_s_rates(self) -> None:
        part = surrounded(settings={"mig": "true"}, codes=["mig"], device=H20)
        assert blocking(differences([surrounded(settings={"mig": "false"})], [part])) == ["mig"]

    def test_a_product_is_the_chip_or_else_the_name(self) -> None:
        renamed = surrounded(device={**H100, "name": "NVIDIA H100 (renamed)"})
        assert differences([surrounded()], [renamed]) == []
        bare = surrounded(device={"name": "Some card"})
        assert differences([surrounded()], [bare]) == [
            Difference("product", "h100-sxm5-80gb", "Some card", blocking=False)
        ]


class TestVariables:
    def test_every_one_that_is_recorded_is_decided_on(self) -> None:
        assert sorted(BLOCKS) == sorted(FLAGGED_VARIABLES)

    @pytest.mark.parametrize("name", FLAGGED_VARIABLES)
    def test_it_blocks_if_it_changes_what_runs(self, name: str) -> None:
        a, b = surrounded(flagged={name: "1"}), surrounded(flagged={name: "2"})
        expected, _ = BLOCKS[name]
        assert differences([a], [b]) == [Difference(name, "1", "2", expected)]
        assert differences([surrounded()], [b]) == [Difference(name, "not set", "2", expected)]
        assert differences([a, b], [a, b]) == [Difference(name, "1 or 2", "1 or 2", expected)]

    def test_one_never_heard_of_blocks(self) -> None:
        assert blocking(differences([surrounded(flagged={"OF_LATER": "1"})], [surrounded()])) == ["OF_LATER"]

    def test_between_two_products_it_blocks_too(self) -> None:
        tf32 = surrounded(flagged={"NVIDIA_TF32_OVERRIDE": "0"}, device=H20)
        assert blocking(differences([surrounded()], [tf32])) == ["NVIDIA_TF32_OVERRIDE"]


class TestShown:
    @pytest.mark.parametrize("name", ["driver", "cublaslt", "numpy", "blas"])
    def test_versions(self, name: str) -> None:
        a, b = surrounded(versions={name: "1.0"}), surrounded(versions={name: "2.0"})
        assert differences([a], [b]) == [Difference(name, "1.0", "2.0", blocking=False)]
        assert differences([surrounded()], [b]) == [Difference(name, "not set", "2.0", blocking=False)]

    def test_this_tool_s_own(self) -> None:
        found = differences([surrounded(tool="0.2.0")], [surrounded(tool="0.3.0")])
        assert found == [Difference("chipbench", "0.2.0", "0.3.0", blocking=False)]

    @pytest.mark.parametrize("state", STATES)
    def test_states_of_the_machine(self, state: str) -> None:
        found = differences([surrounded(codes=[state])], [surrounded()])
        assert found == [Difference(state, "yes", "no", blocking=False)]

    def test_how_it_was_measured_but_not_for_how_long(self) -> None:
        assert differences([surrounded(policy=fitted(2, 30.0))], [surrounded(policy=fitted(14, 30.0))]) == []
        for field in ({"seed": 1}, {"block_s": 0.2}, {"flat": 0.01}, {"warm_up_least_s": 2.0}):
            found = differences([surrounded(policy=Policy(**field))], [surrounded(policy=Policy())])
            assert [(one.name, one.blocking) for one in found] == [("policy", False)]

    def test_two_units_of_one_product(self) -> None:
        found = differences([surrounded(device={**H100, "key": "aa"})], [surrounded(device={**H100, "key": "bb"})])
        assert found == [Difference("unit", "aa", "bb", blocking=False)]
        assert differences([surrounded(device={**H100, "key": None})], [surrounded()])[0].a == "unknown"

    def test_what_was_simulated_blocks_beside_what_was_not(self) -> None:
        simulated, replayed = surrounded(origin="simulated"), surrounded(origin="replayed")
        for a, b in ((simulated, surrounded()), (replayed, simulated)):
            assert blocking(differences([a], [b])) == ["origin"]
            assert blocking(differences([a], [b], allowed=["origin"])) == ["origin"], "nothing allows that"
        assert differences([replayed], [surrounded()]) == []


class Counting(dict[str, str]):
    """A dictionary that counts how often it is asked."""

    asked = 0

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - as dict has it
        Counting.asked += 1
        return super().get(key, default)


def test_the_work_grows_as_the_number_of_records_does(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(records: int) -> int:
        monkeypatch.setattr(Counting, "asked", 0)
        plain = surrounded()
        side = [
            plain._replace(
                settings=Counting({"power_limit_w": "700.0"}),
                variables=Counting(dict.fromkeys(FLAGGED_VARIABLES, "1")),
                others=Counting({"driver": "1.0"}),
            )
        ] * records
        assert differences(side, side) == []
        return Counting.asked

    assert asked(1000) == 10 * asked(100) > 0
