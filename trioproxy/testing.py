"""For the tests of your own stages, and of ours: `drive` items through stages, `check_stage` against the contract."""

import copy
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Union, get_args, get_origin

import msgspec

from trioproxy.stage import Exchange, Stage

__all__ = ["check_stage", "drive"]

EXCHANGE = Exchange(id="test")


def drive(stages: Iterable[Stage[Any, Any]], items: Sequence[Any], *, exchange: Exchange = EXCHANGE) -> list[Any]:
    """What comes out of `stages`, in order, when `items` go in as one batch. No trio needed; stages are used up."""
    batch = list(items)
    for stage in stages:
        opened = list(stage.open(exchange))
        fed = stage.feed_all(batch)
        batch = [*opened, *fed, *stage.close()]
    return batch


def check_stage(
    make: Callable[[], Stage[Any, Any]], items: Sequence[Any] | None = None, *, exchange: Exchange = EXCHANGE
) -> None:
    """Raise AssertionError if a stage breaks the contract in `Stage`'s docstring on these items.

    `make` gives a fresh stage (its class will do, if every option has a default). Without `items`, hypothesis invents
    items of the types the stage takes and does not take. Checked: chunking is invisible (for stages that take bytes),
    batching is invisible, what the stage does not take flows past and keeps its own order, items are not changed in
    place. A `run` of the stage's own is not exercised.
    """
    if items is not None:
        _check(make, list(items), exchange)
        return
    try:
        from hypothesis import given, settings  # noqa: PLC0415  # only here: trioproxy itself runs without it
        from hypothesis import strategies as st  # noqa: PLC0415  # as above
    except ModuleNotFoundError as exc:
        raise ModuleNotFoundError("check_stage invents items with hypothesis: install it, or give items") from exc

    known: dict[type, Any] = {}
    taken = [_strategy(st, cls, known) for cls in make().takes]
    passed = [st.builds(_Stranger, st.integers(0, 9))]
    some = st.lists(st.one_of(*taken, *passed), max_size=12)

    @settings(max_examples=50, deadline=None, database=None, report_multiple_bugs=False)
    @given(some)
    def run(drawn: list[Any]) -> None:
        _check(make, drawn, exchange)

    run()


class _Stranger(msgspec.Struct, frozen=True):
    """An item no stage takes."""

    number: int


def _check(make: Callable[[], Stage[Any, Any]], items: list[Any], exchange: Exchange) -> None:
    takes = make().takes
    given = copy.deepcopy(items)  # each run gets items of its own, so that one that changes them cannot hide it
    before = [repr(item) for item in given]
    whole = drive([make()], given, exchange=exchange)
    assert [repr(item) for item in given] == before, "an item was changed in place"
    strangers = [item for item in given if not isinstance(item, takes)]
    flowed = [item for item in whole if any(item is stranger for stranger in strangers)]
    assert flowed == strangers, f"what it does not take did not flow past: {strangers!r} became {flowed!r}"
    singly = _in_batches(make(), [[item] for item in copy.deepcopy(items)], exchange)
    assert _same(singly, whole), f"batching shows: {items!r} gives {whole!r}, one by one {singly!r}"
    if bytes in takes:
        cut = [piece for item in items for piece in (_bytes(item) if isinstance(item, bytes) else [item])]
        chunked = _in_batches(make(), [[piece] for piece in copy.deepcopy(cut)], exchange)
        assert _same(chunked, whole), f"chunking shows: {items!r} gives {whole!r}, cut up {chunked!r}"


def _same(mine: list[Any], theirs: list[Any]) -> bool:
    return _joined(mine) == _joined(theirs)


def _in_batches(stage: Stage[Any, Any], batches: list[list[Any]], exchange: Exchange) -> list[Any]:
    out = list(stage.open(exchange))
    for batch in batches:
        out += stage.feed_all(list(batch))
    return [*out, *stage.close()]


def _bytes(chunk: bytes) -> list[bytes]:
    return [chunk[index : index + 1] for index in range(len(chunk))]


def _joined(items: list[Any]) -> list[Any]:
    """Neighbouring bytes are one: how they are cut is nobody's business."""
    joined: list[Any] = []
    for item in items:
        if isinstance(item, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += item
        elif item != b"":
            joined.append(item)
    return joined


def _strategy(st: Any, kind: Any, known: dict[type, Any]) -> Any:
    """Any value of a type: for a family of items, of any of its members. `st` is hypothesis's strategies module.

    `known` are the strategies of the structs met so far: items may hold items of their own type.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        # What holds nothing of its own first: that is what hypothesis falls back to when an item grows too deep.
        arguments = tuple(sorted(arguments, key=lambda each: each is not types.NoneType))
        return st.one_of(*(_strategy(st, each, known) for each in arguments))
    if origin is tuple:
        return st.lists(_strategy(st, arguments[0], known), max_size=3).map(tuple)
    if origin is dict:
        return st.just({})  # the fields of a wire object nobody knows
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        concrete = [member for member in (kind, *_descendants(kind)) if not member.__subclasses__()]
        for cls in concrete:
            if cls not in known:
                known[cls] = st.deferred(lambda cls=cls: _build(st, cls, known))
        return st.one_of(*(known[cls] for cls in concrete))
    return st.from_type(kind)


def _build(st: Any, cls: type[msgspec.Struct], known: dict[type, Any]) -> Any:
    fields = {field.name: _strategy(st, field.type, known) for field in msgspec.structs.fields(cls)}
    return st.builds(cls, **fields)


def _descendants(cls: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    return [each for child in cls.__subclasses__() for each in (child, *_descendants(child))]
