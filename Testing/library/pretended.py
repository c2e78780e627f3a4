"""A device that computes on the CPU and is as strict as a GPU.

Inside `pretending("cuda")` tensors made there or sent there hold CPU memory, but say that they are
elsewhere, and what would fail on such a device fails: operands on two devices, `.numpy()`, a
generator of another device, float64 on "mps". What makes the processor wait for the device is
counted. Operations are recorded, so that a test can ask which ones a device must have.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Self
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

ATEN = torch.ops.aten
# They read or write a tensor elsewhere; all others want their operands in one place.
_CROSSING = {ATEN.copy_.default, ATEN._to_copy.default, ATEN.lift_fresh.default}
# Indices may stay on the CPU, from where they are copied.
_INDEXING = {
    ATEN.index.Tensor,
    ATEN.index_put_.default,
    ATEN.index_put.default,
    ATEN._index_put_impl_.default,
}
# The processor waits for them: it needs the values, or how many there are.
_WAITING = {
    ATEN._local_scalar_dense.default,
    ATEN.nonzero.default,
    ATEN.equal.default,
    ATEN.masked_select.default,
    ATEN.unique_dim.default,
    ATEN._unique2.default,
}


_PLENTY = 1 << 40
# What is asked of drivers.
_DRIVER = (
    (torch.cuda, "_lazy_init", None),
    (torch.cuda, "is_bf16_supported", True),
    (torch.cuda, "mem_get_info", (_PLENTY, _PLENTY)),
    (torch.cuda, "memory_reserved", 0),
    (torch.cuda, "memory_allocated", 0),
    (torch.cuda, "empty_cache", None),
    (torch.mps, "recommended_max_memory", _PLENTY),
    (torch.mps, "driver_allocated_memory", 0),
    (torch.mps, "current_allocated_memory", 0),
    (torch.mps, "empty_cache", None),
)


class DeviceTensor(torch.Tensor):
    """A tensor on the pretended device; `held` are its values, on the CPU."""

    held: torch.Tensor
    place: torch.device

    @staticmethod
    def __new__(cls, held: torch.Tensor, place: torch.device) -> Self:
        # C++ takes it for a meta tensor: autograd knows that device, and nothing can be read.
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device="meta",
            requires_grad=held.requires_grad,
        )
        made.held, made.place = held, place
        return made

    @property
    def device(self) -> torch.device:
        return self.place

    is_cpu = property(lambda _: False)
    is_meta = property(lambda _: False)
    is_cuda = property(lambda self: self.place.type == "cuda")
    is_mps = property(lambda self: self.place.type == "mps")

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"DeviceTensor({self.place}, {self.held})"

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def item(self) -> Any:
        return ATEN._local_scalar_dense.default(self)

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} on a pretended device, outside of `pretending`.")


class Pretence(TorchDispatchMode):
    """Runs operations on what tensors hold, once they are found to be allowed.

    Attributes:
        waits: How often the processor had to wait for the device, by operation.
        operations: How often each operation ran on the device.
    """

    def __init__(self, device: str) -> None:
        super().__init__()
        self.place = torch.device(device, 0) if device == "cuda" else torch.device(device)
        self.waits: Counter[str] = Counter()
        self.operations: Counter[str] = Counter()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # the compiler takes seconds to load, and nothing is compiled here

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = list(_tensors((args, kwargs)))
        there = any(isinstance(t, DeviceTensor) for t in tensors)
        asked = kwargs.get("device")
        target = there if asked is None else self._is_there(asked, there=there)
        self._check(func, args, tensors, kwargs, target=target, there=there)
        if asked is not None:
            kwargs["device"] = torch.device("cpu")
        if func is ATEN._to_copy.default:
            if there and not target:
                self.waits["to the CPU"] += 1
            elif target and not there and not kwargs.get("non_blocking"):
                self.waits["from the CPU"] += 1
            kwargs.pop("non_blocking", None)
        held_args, held_kwargs = _mapped(_held, (args, kwargs))
        result = func(*held_args, **held_kwargs)
        if there or target:
            self.operations[str(func)] += 1
        # Tensors changed in place keep their wrapper.
        wrappers = {id(_held(tensor)): tensor for tensor in tensors}

        def told(value: Any) -> Any:
            if id(value) in wrappers:
                return wrappers[id(value)]
            return self._wrapped(value) if target and isinstance(value, torch.Tensor) else value

        return _mapped(told, result)

    def _is_there(self, device: torch.device, *, there: bool) -> bool:
        # C++ speaks of the meta device where it means that of its operands.
        return torch.device(device).type == self.place.type or (device.type == "meta" and there)

    def _wrapped(self, value: torch.Tensor) -> DeviceTensor:
        if self.place.type == "mps" and value.dtype in {torch.float64, torch.complex128}:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype")
        return DeviceTensor(value, self.place)

    def _check(self, func, args, tensors, kwargs, *, target: bool, there: bool) -> None:
        generator = kwargs.get("generator")
        if target and generator is not None:
            raise RuntimeError(f"Expected a {self.place.type} generator but found a CPU one")
        if there and func in _WAITING:
            self.waits[str(func)] += 1
        if there and func in _INDEXING:
            if not isinstance(args[0], DeviceTensor):
                raise RuntimeError(f"{func}: indices on {self.place} into a tensor on the CPU")
            indices = [index for index in args[1] if index is not None]
            # How many are chosen is asked of a mask; what lies on the CPU is sent, and waited for.
            for index in indices:
                if index.dtype in {torch.bool, torch.uint8} or not isinstance(index, DeviceTensor):
                    self.waits[f"{func}, by a mask or from the CPU"] += 1
            tensors = [t for t in tensors if all(t is not index for index in indices)]
        if not there or func in _CROSSING:
            return
        for tensor in tensors:
            # A number is as good as a tensor of none, in arithmetic.
            lone = tensor.ndim == 0 and (torch.Tag.pointwise in func.tags or func in _INDEXING)
            if not isinstance(tensor, DeviceTensor) and not lone:
                raise RuntimeError(
                    f"Expected all tensors to be on the same device, but found at least two "
                    f"devices, {self.place} and cpu! ({func})"
                )


class _Sending(TorchFunctionMode):
    """Sends what C++ would make of numbers on the device itself, or would ask a driver about."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is torch.Tensor.pin_memory:
            return args[0]
        if func is torch.Tensor.new_tensor:
            kwargs = {"dtype": args[0].dtype, "device": args[0].device} | kwargs
            func, args = torch.tensor, args[1:]
        if func in {torch.tensor, torch.as_tensor} and kwargs.get("device") is not None:
            return func(*args, **kwargs | {"device": None}).to(_numbered(kwargs["device"]))
        if func is torch.Tensor.to:
            if len(args) > 1 and isinstance(args[1], torch.Tensor):
                args = (args[0], args[1].device, args[1].dtype, *args[2:])
            args, kwargs = _mapped(_numbered, (args, kwargs))
        if func in {torch.Tensor.__getitem__, torch.Tensor.__setitem__}:
            args = (args[0], _listed(args[1]), *args[2:])
        if func == torch.Tensor.data.__set__ and isinstance(args[0], DeviceTensor):
            args[0].held = args[1].held
        return func(*args, **kwargs)


def _numbered(value: Any) -> Any:
    if isinstance(value, str | torch.device) and torch.device(value).type != "cpu":
        return torch.device(torch.device(value).type, 0)
    return value


def _listed(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(_listed(part) for part in index)
    return torch.tensor(index) if isinstance(index, list) else index


def _mapped(rule: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)([_mapped(rule, part) for part in value])
    if isinstance(value, dict):
        return {name: _mapped(rule, part) for name, part in value.items()}
    return rule(value)


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))


def _held(value: Any) -> Any:
    return value.held if isinstance(value, DeviceTensor) else value


@contextlib.contextmanager
def pretending(device: str) -> Iterator[Pretence]:
    """Have a device, "cuda" or "mps", that this machine lacks."""
    with contextlib.ExitStack() as stack:
        for module, name, found in _DRIVER:
            stack.enter_context(mock.patch.object(module, name, return_value=found))
        stack.enter_context(_Sending())
        yield stack.enter_context(Pretence(device))
