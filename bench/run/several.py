"""A run over several devices: which are there, what is measured on each, and the headers of their records."""

import re
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Final, NamedTuple

import msgspec

from bench.errors import BackendUnavailable, ChipbenchError, InvalidRequest, RecordError, one_line
from bench.records.record import SCHEMA, Header, Member, Process, check_header
from bench.records.store import lock_notes, now, record_path
from bench.run.engine import Answered, Ended, Engine, LeftOut
from bench.run.member import Answer, Failed, Job, Look, Resolve, Resolved, Seen, answer_of, encoded
from bench.run.planning import Wish
from bench.run.request import Request, as_chip, loaded
from bench.version import VERSION
from bench.workloads import PAIRS

# A device that is first touched, and every size tried out on a slow one, take a minute or so.
_ANSWER_S: Final = 10 * 60.0
_TICK_S: Final = 1.0
_SILENT: Final = f"it gave no answer within {_ANSWER_S:g} s"
_GPU: Final = "gpu"
_KEYED: Final = re.compile(r"[0-9a-f]{16}")
_LARGEST: Final = 1 << 60
_USAGE: Final = InvalidRequest.exit_code
NUMBERS: Final = count(1)  # of jobs; an engine may serve several runs, so they are not counted anew


class Found(NamedTuple):
    """A place, and the device that is there."""

    place: str
    seen: Seen

    @property
    def host(self) -> str:
        """What tells its machine."""
        return str(self.seen.device.host_key)


class Begun(NamedTuple):
    """A record to be made, and where."""

    place: str
    header: Header


class Arranged(NamedTuple):
    """Everything that is to be measured, in order, and what is not; `notes` are for who asked."""

    begun: tuple[Begun, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


def arrange(
    engine: Engine, request: Request, key: bytes, *, indices: Mapping[str, int | None], together: bool
) -> Arranged:
    """Return what is to be measured at the engine's places, one record a device and process.

    `indices` gives the GPU of a place; None, or a place that it does not have, stands for the first that is seen
    there. GPUs of one machine are measured one after the other, or with `together` all at once, which their cells
    then say; so do those of CPUs that are measured by several processes of one machine. All devices of a kind get
    the plan of the first of them, but for copies between GPUs, which are each one's own.

    Raises InvalidRequest or BackendUnavailable, with the first reason, if nothing is left to measure.
    """
    look = {place: indices.get(place) for place in engine.places()}
    found, left_out = survey(engine, request, key, look)
    left_out = [*engine.left_out.values(), *left_out]
    found, refused = _alone(found)
    left_out += refused
    devices = [one._replace(seen=_named(one.seen, request)) for one in found]
    chosen = request.wish.workload == PAIRS and any(index is not None for index in look.values())
    wishes = {one.place: _among(request.wish, one, devices) if chosen else request.wish for one in devices}
    plans, refused = _plans(engine, devices, wishes)
    left_out += refused
    begun = _headers([one for one in devices if one.place in plans], plans, request, together=together)
    headers = []
    for one in begun:
        why = _unsound(one.header)
        if why is None:
            headers.append(one)
        else:
            left_out.append(LeftOut(one.place, why))
    if not headers:
        raise nothing_left(left_out)
    texts = [*(one.seen.note for one in devices), *(note for plan in plans.values() for note in plan.notes)]
    texts += lock_notes(request.results)
    return Arranged(tuple(headers), tuple(left_out), tuple(text for text in dict.fromkeys(texts) if text))


def nothing_left(left_out: Sequence[LeftOut]) -> ChipbenchError:
    """Return the error of a run for which there is no place."""
    if not left_out:
        return BackendUnavailable("there is nothing to measure on")
    first = left_out[0]
    more = f" (and {len(left_out) - 1} more)" if len(left_out) > 1 else ""
    error = InvalidRequest if all(one.code == _USAGE for one in left_out) else BackendUnavailable
    return error(f"{first.place}: {first.why}{more}")


def survey(
    engine: Engine, request: Request, key: bytes, indices: Mapping[str, int | None]
) -> tuple[list[Found], list[LeftOut]]:
    """Return which device is at each place; a place is left out that has none, or says what cannot be."""
    looks: dict[str, Job] = {
        place: Look(backend=request.backend, key=key.decode(), index=index, identify=request.identify)
        for place, index in indices.items()
    }
    found: list[Found] = []
    left_out: list[LeftOut] = []
    for place, answer in ask(engine, looks).items():
        if not isinstance(answer, Seen):
            left_out.append(_unanswered(place, answer))
        elif answer.tool != VERSION:
            left_out.append(LeftOut(place, other_version(answer.tool)))
        elif (why := _unbelievable(answer, request)) is not None:
            left_out.append(LeftOut(place, why))
        else:
            found.append(Found(place, answer))
    return found, left_out


def _unbelievable(seen: Seen, request: Request) -> str | None:
    """Return what in an answer cannot be true of a device, or names more than may be recorded; None if all can."""
    device = seen.device
    keyed = [bool(_KEYED.fullmatch(key or "")) for key in (device.key, device.host_key)]
    numbers = (device.memory_bytes, device.sm_count, device.l2_bytes, device.index)
    sound = all(keyed) and device.kind in {"cpu", _GPU} and seen.origin == "measured"
    if not sound or (device.host is not None) > request.identify:
        return "what it says of its device is not what chipbench says of one"
    if any(number is not None and not 0 <= number < _LARGEST for number in numbers):
        return "what it says of its device has numbers that no device has"
    return None


def _unsound(header: Header) -> str | None:
    """Return why a header could not be read again, or its record would lie elsewhere; None if all is well."""
    try:
        check_header(Path(header.id), header)
        record_path(Path(), header)
    except RecordError as error:
        return f"no record can be made of what it says: {one_line(error)}"
    return None


def _alone(found: list[Found]) -> tuple[list[Found], list[LeftOut]]:
    """Return the devices without those that are there twice, or are not what is measured elsewhere."""
    left_out: list[LeftOut] = []
    for check in (_without_gpu, _doubled):
        refused = dict(check(found))
        left_out += [LeftOut(place, why) for place, why in refused.items()]
        found = [one for one in found if one.place not in refused]
    return found, left_out


def other_version(there: str) -> str:
    """Return why a place with another version of chipbench is left out."""
    return f"it has chipbench {there}, and this is {VERSION}; install the same version on both"


def _without_gpu(found: Sequence[Found]) -> Iterator[tuple[str, str]]:
    """Yield where only a CPU could be measured, if there are GPUs elsewhere: who asks for both means the GPUs."""
    if len({one.seen.device.kind for one in found}) > 1:
        for one in found:
            if one.seen.device.kind != _GPU:
                yield one.place, f"it has no GPU to measure, as others have ({one.seen.note})"


def _doubled(found: Sequence[Found]) -> Iterator[tuple[str, str]]:
    """Yield where a GPU is that another place has already; of a CPU several processes may have their share."""
    places: dict[str, str] = {}
    for one in found:
        first = places.setdefault(str(one.seen.device.key), one.place)
        if first != one.place and one.seen.device.kind == _GPU:
            advice = "give each worker its own (CUDA_VISIBLE_DEVICES), or measure one machine with --gpu all"
            yield one.place, f"it is on the GPU that {first} is on, too; {advice}"


def ask(engine: Engine, jobs: Mapping[str, Job]) -> dict[str, Answer | str]:
    """Return each place's answer, or why there is none; all are asked at the same time."""
    numbers = {next(NUMBERS): place for place in jobs}
    for number, place in numbers.items():
        engine.start(place, number, encoded(jobs[place]))
    answers: dict[str, Answer | str] = {}
    waiting = {*numbers}
    heard = monotonic()
    while waiting and monotonic() - heard < _ANSWER_S:
        message = engine.next(_TICK_S)
        if message is None or message.number not in numbers:
            continue
        heard = monotonic()
        place = numbers[message.number]
        if isinstance(message, Answered):
            answers[place] = answer_of(message.line) or "it sent what is no answer; is it another program's?"
        if isinstance(message, Ended):
            waiting.discard(message.number)
            answers.setdefault(place, message.error or "it gave no answer")
    for number in waiting:
        engine.stop(number)
        answers.setdefault(numbers[number], _SILENT)
    return {place: answers[place] for place in jobs}


def _unanswered(place: str, answer: Answer | str) -> LeftOut:
    match answer:
        case Failed():
            return LeftOut(place, answer.text, answer.code)
        case str():
            return LeftOut(place, answer)
        case _:
            return LeftOut(place, "it answered another question")


def _named(seen: Seen, request: Request) -> Seen:
    return msgspec.structs.replace(seen, device=as_chip(seen.device, request.chips))


def _among(wish: Wish, one: Found, devices: Sequence[Found]) -> Wish:
    """Return the wish for copies from this GPU to the others of its machine that were chosen."""
    others = [other.seen.device.index for other in devices if other.host == one.host and other is not one]
    return wish._replace(peers=[index for index in others if index is not None])


def _plans(
    engine: Engine, devices: Sequence[Found], wishes: Mapping[str, Wish]
) -> tuple[dict[str, Resolved], list[LeftOut]]:
    """Return the plan of each place; the first place of each kind that answers settles it for all."""
    kinds: dict[object, list[Found]] = {}
    for one in devices:
        own = one.place if wishes[one.place].workload == PAIRS else None
        kinds.setdefault((one.seen.backend, one.seen.device.folder, own), []).append(one)
    plans: dict[str, Resolved] = {}
    left_out: list[LeftOut] = []
    while kinds:
        firsts = {kind: some[0] for kind, some in kinds.items()}
        jobs: dict[str, Job] = {
            one.place: Resolve(backend=one.seen.backend, wish=wishes[one.place], index=one.seen.device.index)
            for one in firsts.values()
        }
        answers = ask(engine, jobs)
        for kind, one in firsts.items():
            answer = answers[one.place]
            if isinstance(answer, Resolved):
                plans |= {other.place: answer for other in kinds.pop(kind)}
            elif isinstance(answer, Failed):  # what is refused with a reason, the others of the kind refuse, too
                left_out += [_unanswered(other.place, answer) for other in kinds.pop(kind)]
            else:
                left_out.append(_unanswered(one.place, answer))
                kinds[kind] = kinds[kind][1:]
        kinds = {kind: some for kind, some in kinds.items() if some}
    return plans, left_out


def _headers(
    devices: Sequence[Found], plans: Mapping[str, Resolved], request: Request, *, together: bool
) -> Iterator[Begun]:
    fleet, sharing = secrets.token_hex(4), Counter(one.host for one in devices)
    for index, one in enumerate(devices):
        at_once = sharing[one.host] if together or one.seen.device.kind != _GPU else 1
        group = secrets.token_hex(4)
        for process in range(request.processes):
            yield Begun(
                one.place,
                Header(
                    schema=SCHEMA,
                    id=secrets.token_hex(6),  # of thousands of records, no two by chance
                    tool=VERSION,
                    origin=one.seen.origin,
                    started=now(),
                    backend=one.seen.backend,
                    device=one.seen.device,
                    environment=one.seen.environment,
                    policy=plans[one.place].policy,
                    plan=loaded(plans[one.place].plan, "together" if at_once > 1 else "alone"),
                    warnings=one.seen.caveats,
                    process=Process(index=process, of=request.processes, group=group)
                    if request.processes > 1
                    else None,
                    member=Member(fleet=fleet, index=index, of=len(devices), at_once=at_once),
                ),
            )
