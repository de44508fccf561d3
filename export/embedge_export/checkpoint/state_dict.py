"""The pickle of a state dict, run by an interpreter that can do nothing else.

Pickles are programs, and Python's own unpickler imports and calls whatever they name. This one knows the operations
that ``torch.save`` writes for tensors; a name in the pickle is only ever compared with those that it knows, nothing is
called, and no object gets attributes. So the worst that a file can do is be refused.
"""

import pickletools
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

from embedge_export.checkpoint.stored import ITEM_SIZES, are_counts

_STORAGES = {
    "torch FloatStorage": "float32",
    "torch DoubleStorage": "float64",
    "torch HalfStorage": "float16",
    "torch BFloat16Storage": "bfloat16",
    "torch LongStorage": "int64",
    "torch IntStorage": "int32",
    "torch ShortStorage": "int16",
    "torch CharStorage": "int8",
    "torch ByteStorage": "uint8",
    "torch BoolStorage": "bool",
}
_DICT = "collections OrderedDict"
_PARAMETER = "torch._utils _rebuild_parameter"
_TENSOR = "torch._utils _rebuild_tensor_v2"
_KNOWN = {*_STORAGES, _DICT, _PARAMETER, _TENSOR}
_MARK = object()
_T = TypeVar("_T", list[object], dict[str, object])


@dataclass(frozen=True)
class Storage:
    """A stretch of numbers, found in the file by its ``key``. ``size`` is in bytes."""

    key: str
    dtype: str
    size: int


@dataclass(frozen=True)
class Tensor:
    """A view of a storage; ``offset`` and ``strides`` count numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True)
class _Name:
    """What stands for a class, function or type that a pickle names."""

    name: str


def tensors(stream: BinaryIO) -> dict[str, Tensor]:
    """Run the pickle that begins here, which must be that of a state dict; leave ``stream`` behind it.

    Raises:
        ValueError: it is damaged, or anything else.
    """
    value = run(stream)
    if not isinstance(value, dict):
        raise ValueError(f"it holds a {type(value).__name__} instead of a state dict")
    for name, tensor in value.items():
        if not isinstance(tensor, Tensor):
            raise ValueError(f"{name!r} in it is no tensor; save the encoder's own state dict")
    return value


def run(stream: BinaryIO) -> object:
    """As :func:`tensors`, of any value that the pickles in such a file have."""
    stack: list[object] = []
    memo: dict[object, object] = {}
    try:
        for operation, argument, _ in pickletools.genops(stream):
            if operation.name == "STOP":
                return stack.pop()
            _step(operation.name, argument, stack, memo)
    except (IndexError, KeyError) as exc:
        raise ValueError("its pickle is damaged") from exc
    raise ValueError("its pickle has no end")


def _step(operation: str, argument: object, stack: list[object], memo: dict[object, object]) -> None:
    match operation:
        case "PROTO":
            pass
        case "MARK":
            stack.append(_MARK)
        case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE" | "BINSTRING" | "SHORT_BINSTRING":
            stack.append(argument)
        case "NONE":
            stack.append(None)
        case "NEWTRUE" | "NEWFALSE":
            stack.append(operation == "NEWTRUE")
        case "EMPTY_TUPLE":
            stack.append(())
        case "EMPTY_LIST":
            stack.append([])
        case "EMPTY_DICT":
            stack.append({})
        case "TUPLE1" | "TUPLE2" | "TUPLE3":
            items = [stack.pop() for _ in range(int(operation[-1]))]
            stack.append(tuple(items[::-1]))
        case "TUPLE":
            stack.append(tuple(_since_mark(stack)))
        case "APPEND" | "APPENDS":
            items = [stack.pop()] if operation == "APPEND" else _since_mark(stack)
            _top(list, stack).extend(items)
        case "SETITEM" | "SETITEMS":
            items = [stack.pop(), stack.pop()][::-1] if operation == "SETITEM" else _since_mark(stack)
            _top(dict, stack).update(_named(items))
        case "BINPUT" | "LONG_BINPUT":
            memo[argument] = stack[-1]
        case "BINGET" | "LONG_BINGET":
            stack.append(memo[argument])
        case "GLOBAL":
            if argument not in _KNOWN:
                raise ValueError(f"its pickle names {argument!a}, which no state dict needs")
            stack.append(_Name(str(argument)))
        case "BINPERSID":
            stack.append(_storage(stack.pop()))
        case "REDUCE":
            arguments = stack.pop()
            stack.append(_call(stack.pop(), arguments))
        case "BUILD":  # attributes of the state dict, which are the versions of its modules
            stack.pop()
            _top(dict, stack)
        case _:
            raise ValueError(f"its pickle has the operation {operation}, which no state dict needs")


def _since_mark(stack: list[object]) -> list[object]:
    """Take what lies above the last mark, and the mark."""
    items = []
    while (item := stack.pop()) is not _MARK:
        items.append(item)
    return items[::-1]


def _top(kind: type[_T], stack: list[object]) -> _T:
    """The value on top, which stays there and must be of this type."""
    if not isinstance(stack[-1], kind):
        raise ValueError("its pickle is damaged")
    return stack[-1]


def _named(items: list[object]) -> dict[str, object]:
    """Names and values in turn as a dictionary."""
    found = {}
    for name, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(name, str):  # hashing others could go arbitrarily deep
            raise ValueError("its pickle has a dictionary whose keys are not names")
        found[name] = value
    return found


def _storage(reference: object) -> Storage:
    match reference:
        # Before 1.6 there is one more, None: it is not a part of another storage.
        case ("storage", _Name(kind), str(key), _, int(count), *rest) if (
            kind in _STORAGES and count >= 0 and rest in ([], [None])
        ):
            dtype = _STORAGES[kind]
            return Storage(key, dtype, count * ITEM_SIZES[dtype])
    raise ValueError("its pickle refers to something other than a storage of numbers")


def _call(function: object, arguments: object) -> object:
    """What ``function`` would return, for those that a state dict needs."""
    match function, arguments:
        case _Name(name), () if name == _DICT:
            return {}
        case _Name(name), (Tensor() as tensor, bool(), _) if name == _PARAMETER:
            return tensor
        case _Name(name), (Storage() as storage, *view) if name == _TENSOR:
            return _tensor(storage, view)
    raise ValueError("its pickle calls a function in a way that no state dict needs")


def _tensor(storage: Storage, view: list[object]) -> Tensor:
    match view:
        # The last three: whether it needs a gradient, its hooks, and flags that only complex numbers have.
        case [int(offset), tuple(shape), tuple(strides), bool(), _, *rest] if rest in ([], [None]):
            if are_counts((offset, *shape, *strides)) and len(shape) == len(strides):
                return Tensor(storage, offset, shape, strides)
    raise ValueError("its pickle has a tensor whose offset, shape or strides make no sense")
