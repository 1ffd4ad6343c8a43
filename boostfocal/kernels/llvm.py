"""Python that writes LLVM code: functions of `Lane`s and `View`s are run once, and what they do is recorded.

A loop's body runs once, too: ``for i in function.lanes(n)`` records a loop around it. What changes from one turn to the
next is kept in a `View`, since a Python name has the value of the one turn that was recorded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from llvmlite import binding, ir

from .arrays import Type

FLOAT, DOUBLE, INT, LONG = ir.FloatType(), ir.DoubleType(), ir.IntType(32), ir.IntType(64)
TYPES = {"float32": FLOAT, "float64": DOUBLE, "int32": INT, "int64": LONG}

INTERLEAVED = 4  # hides the time until a result is there
ITSELF = "itself"

FAST = ("contract", "nsz")  # multiplication and addition may be fused, and zeros have no sign; all else is as written


class Lane:
    """A number that the recorded code computes: of a loop over lanes, one of several that LLVM computes at once."""

    __array_ufunc__ = None  # NumPy's scalars leave operators to us
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, builder: ir.IRBuilder, value: Any) -> None:
        self.builder, self.value = builder, value

    def __bool__(self) -> bool:
        raise TypeError("a Lane is true or false when the code runs, not when it is written: use `where`")

    @property
    def is_real(self) -> bool:
        return self.value.type in (FLOAT, DOUBLE)

    def constant(self, number: Any) -> Any:
        """A number, or a Lane of our type, as a value of LLVM."""
        if isinstance(number, Lane):
            return number.value
        return ir.Constant(self.value.type, float(number) if self.is_real else int(number))

    def make(self, instruction: str, *operands: Any, **options: Any) -> Lane:
        return Lane(self.builder, getattr(self.builder, instruction)(*operands, **options))

    def call(self, name: str) -> Lane:
        """One of LLVM's own functions of a number."""
        function = self.builder.module.declare_intrinsic(name, [self.value.type])
        return self.make("call", function, [self.value], fastmath=FAST)

    def _binary(self, real: str, whole: str, left: Any, right: Any) -> Lane:
        operands = self.constant(left), self.constant(right)
        return self.make(real, *operands, flags=FAST) if self.is_real else self.make(whole, *operands)

    def _compare(self, operator: str, other: Any) -> Lane:
        operands = operator, self.value, self.constant(other)
        return self.make("fcmp_ordered", *operands, flags=FAST) if self.is_real else self.make("icmp_signed", *operands)

    def __add__(self, other: Any) -> Lane:
        return self._binary("fadd", "add", self, other)

    def __radd__(self, other: Any) -> Lane:
        return self._binary("fadd", "add", other, self)

    def __sub__(self, other: Any) -> Lane:
        return self._binary("fsub", "sub", self, other)

    def __rsub__(self, other: Any) -> Lane:
        return self._binary("fsub", "sub", other, self)

    def __mul__(self, other: Any) -> Lane:
        return self._binary("fmul", "mul", self, other)

    def __rmul__(self, other: Any) -> Lane:
        return self._binary("fmul", "mul", other, self)

    def __truediv__(self, other: Any) -> Lane:
        return self._binary("fdiv", "", self, other)

    def __rtruediv__(self, other: Any) -> Lane:
        return self._binary("fdiv", "", other, self)

    def __and__(self, other: Any) -> Lane:
        return self._binary("", "and_", self, other)

    def __or__(self, other: Any) -> Lane:
        return self._binary("", "or_", self, other)

    def __lshift__(self, other: Any) -> Lane:
        return self._binary("", "shl", self, other)

    def __rshift__(self, other: Any) -> Lane:
        return self._binary("", "ashr", self, other)

    def __neg__(self) -> Lane:
        return self.make("fneg", self.value, flags=FAST)

    def __abs__(self) -> Lane:
        return self.call("llvm.fabs")

    def __invert__(self) -> Lane:
        return self.make("not_", self.value)

    def __lt__(self, other: Any) -> Lane:
        return self._compare("<", other)

    def __le__(self, other: Any) -> Lane:
        return self._compare("<=", other)

    def __gt__(self, other: Any) -> Lane:
        return self._compare(">", other)

    def __ge__(self, other: Any) -> Lane:
        return self._compare(">=", other)

    def __eq__(self, other: Any) -> Lane:  # type: ignore[override]
        return self._compare("==", other)


class View:
    """An array in the recorded code, or a part of one; extents and strides, in elements, are numbers or Lanes."""

    def __init__(self, builder: ir.IRBuilder, pointer: Any, shape: tuple[Any, ...], strides: tuple[Any, ...]) -> None:
        self.builder, self.pointer, self.shape, self.strides = builder, pointer, shape, strides

    @property
    def size(self) -> Any:
        (size,) = self.shape
        return size

    @property
    def by_column(self) -> bool:
        """Whether its first axis is contiguous."""
        return isinstance(self.strides[0], int) and self.strides[0] == 1

    @property
    def kind(self) -> Any:
        return self.pointer.type.pointee

    def at(self, *index: Any) -> Any:
        """Pointer to an element, or to where the rest of the axes begins."""
        pointer = self.pointer
        for number, stride in zip(index, self.strides, strict=False):
            offset = as_long(self.builder, number)
            if isinstance(stride, Lane) or stride != 1:
                offset = self.builder.mul(offset, as_long(self.builder, stride), flags=("nsw",))
            pointer = self.builder.gep(pointer, [offset], inbounds=True)
        return pointer

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return View(self.builder, self.at(index.start), (index.stop - index.start, *self.shape[1:]), self.strides)
        index = index if isinstance(index, tuple) else (index,)
        if len(index) < len(self.shape):
            return View(self.builder, self.at(*index), self.shape[len(index) :], self.strides[len(index) :])
        return Lane(self.builder, self.builder.load(self.at(*index)))

    def __setitem__(self, index: Any, number: Any) -> None:
        pointer = self.at(*(index if isinstance(index, tuple) else (index,)))
        if isinstance(number, Lane):
            value = as_real(number, self.kind).value if number.is_real else number.value
        else:
            value = ir.Constant(self.kind, float(number) if self.kind in (FLOAT, DOUBLE) else int(number))
        self.builder.store(value, pointer)


def as_long(builder: ir.IRBuilder, number: Any) -> Any:
    if not isinstance(number, Lane):
        return ir.Constant(LONG, int(number))
    return number.value if number.value.type == LONG else builder.sext(number.value, LONG)


def as_real(number: Lane, kind: Any) -> Lane:
    if number.value.type == kind:
        return number
    return number.make("fpext" if kind == DOUBLE else "fptrunc", number.value, kind)


class Function:
    """A function that is being recorded: its loops, and what several threads share."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.builder = builder

    def lane(self, value: Any) -> Lane:
        return Lane(self.builder, value)

    def variable(self, kind: Any, initial: int) -> View:
        """One number that the body of a loop may change."""
        with self.builder.goto_entry_block():
            pointer = self.builder.alloca(kind)
        self.builder.store(ir.Constant(kind, initial), pointer)
        return View(self.builder, pointer, (1,), (1,))

    def loop(self, stop: Any, start: Any = 0, step: int = 1, note: Any = None) -> Iterator[Lane]:
        """From `start` to `stop`."""
        builder = self.builder
        first, last = as_long(builder, start), as_long(builder, stop)
        before, body, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.cbranch(builder.icmp_signed("<", first, last), body, after)
        builder.position_at_end(body)
        i = builder.phi(LONG)
        i.add_incoming(first, before)
        yield self.lane(i)
        following = builder.add(i, ir.Constant(LONG, step), flags=("nsw",))
        i.add_incoming(following, builder.block)
        again = builder.cbranch(builder.icmp_signed("<", following, last), body, after)
        if note is not None:
            again.set_metadata("llvm.loop", note)
        builder.position_at_end(after)

    def lanes(self, stop: Any) -> Iterator[Lane]:
        """From 0 to `stop`, in any order: LLVM computes several at once, and `INTERLEAVED` times as many by turns."""
        module = self.builder.module
        count = module.add_metadata([ir.MetaDataString(module, "llvm.loop.interleave.count"), INT(INTERLEAVED)])
        return self.loop(stop, note=module.add_metadata([ir.MetaDataString(module, ITSELF), count]))

    def parts(self, start: Any, stop: Any, step: int) -> Iterator[tuple[Lane, Lane]]:
        """Parts from `start` to `stop`, of `step` but for the last: where each begins and ends."""
        for begin in self.loop(stop, start, step):
            yield begin, self.least(begin + step, stop)

    def least(self, a: Any, b: Any) -> Lane:
        a, b = as_long(self.builder, a), as_long(self.builder, b)
        return self.lane(self.builder.select(self.builder.icmp_signed("<", a, b), a, b))

    def fetch_add(self, array: View, place: int, number: Any) -> Lane:
        """Add to a number in one atomic step, and return its value before."""
        return self.lane(self.builder.atomic_rmw("add", array.at(place), as_long(self.builder, number), "seq_cst"))

    def while_less(self, take: Callable[[], Lane], stop: Any) -> Iterator[Lane]:
        """The numbers that `take` gives, as long as they are less than `stop`."""
        builder = self.builder
        first, before = take(), builder.block
        body, after = builder.append_basic_block(), builder.append_basic_block()
        builder.cbranch((first < stop).value, body, after)
        builder.position_at_end(body)
        number = builder.phi(LONG)
        number.add_incoming(first.value, before)
        yield self.lane(number)
        following = take()
        number.add_incoming(following.value, builder.block)
        builder.cbranch((following < stop).value, body, after)
        builder.position_at_end(after)


def record(body: Callable[..., None], types: Sequence[Type], function: type[Function]) -> ir.Module:
    """A module with `body` as a function of arguments of such types.

    Another function, "entry", calls it. Its one argument points to numbers of 64 bits: scalars, and for each array its
    address and those of its extents that are not constant. Arrays overlap only if none of them is written.
    """
    module = ir.Module()
    module.triple = binding.get_process_triple()
    slots = [part for one in types for part in _parts(one)]
    inner = ir.Function(module, ir.FunctionType(ir.VoidType(), slots), "kernel")
    inner.linkage = "internal"
    for argument in inner.args:
        if isinstance(argument.type, ir.PointerType):
            argument.add_attribute("noalias")
    builder = ir.IRBuilder(inner.append_basic_block())
    given = iter(inner.args)
    body(function(builder), *[_argument(builder, one, given) for one in types])
    builder.ret_void()

    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [LONG.as_pointer()]), "entry")
    builder = ir.IRBuilder(entry.append_basic_block())
    values = []
    for place, kind in enumerate(slots):
        value = builder.load(builder.gep(entry.args[0], [ir.Constant(LONG, place)]))
        if isinstance(kind, ir.PointerType):
            value = builder.inttoptr(value, kind)
        elif kind == FLOAT:
            value = builder.fptrunc(builder.bitcast(value, DOUBLE), FLOAT)
        values.append(value)
    builder.call(inner, values)
    builder.ret_void()
    return module


def _parts(one: Type) -> list[Any]:
    if one.extents is None:
        return [TYPES[one.name]]
    return [TYPES[one.name].as_pointer(), *(LONG for extent in one.extents if extent is None)]


def _argument(builder: ir.IRBuilder, one: Type, given: Iterator[Any]) -> Any:
    pointer = next(given)
    if one.extents is None:
        return Lane(builder, pointer)
    shape = [Lane(builder, next(given)) if extent is None else extent for extent in one.extents]
    strides: list[Any] = []
    total: Any = 1
    for extent in shape if one.by_column else shape[::-1]:
        strides.append(total)
        total = extent * total
    return View(builder, pointer, tuple(shape), tuple(strides if one.by_column else strides[::-1]))


def compiled(module: ir.Module) -> bytes:
    """The object file of a module, for the CPU of this machine."""
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    target = binding.Target.from_triple(module.triple)
    try:
        features = binding.get_host_cpu_features().flatten()
    except RuntimeError:  # LLVM does not know this CPU's
        features = ""
    machine = target.create_target_machine(
        cpu=binding.get_host_cpu_name(), features=features, opt=3, jit=True, codemodel="jitdefault",
        reloc="static" if module.triple.startswith(("x86", "i386", "i686")) else "default",
    )  # fmt: skip
    # LLVM's note about a loop has itself as its first part, which llvmlite cannot write
    text = re.sub(rf'^(!\d+) = !{{ !"{ITSELF}"', r"\1 = distinct !{ \1", str(module), flags=re.MULTILINE)
    parsed = binding.parse_assembly(text)
    parsed.data_layout = str(machine.target_data)
    parsed.verify()
    options = binding.create_pipeline_tuning_options(speed_level=3)
    options.loop_vectorization = options.slp_vectorization = options.loop_interleaving = options.loop_unrolling = True
    builder = binding.create_pass_builder(machine, options)
    builder.getModulePassManager().run(parsed, builder)
    return bytes(machine.emit_object(parsed))
