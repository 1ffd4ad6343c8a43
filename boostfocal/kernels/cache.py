"""Kernels are compiled once for all processes: their object code is kept on disk, and loaded without Numba.

Numba takes a second or more to compile a kernel; LLVM's linker, in llvmlite, loads the result in a millisecond or two.
"""

import ctypes
import os
import stat
import struct
import sys
from contextlib import suppress
from functools import cache, reduce
from hashlib import blake2b
from importlib import import_module
from importlib.metadata import version
from itertools import count
from pathlib import Path
from tempfile import mkstemp
from threading import RLock
from time import time
from typing import Any

import numpy as np

SUFFIX, UNFINISHED = ".kernel", ".unfinished"
LIMIT = 64 * 2**20  # bytes on disk, more than a thousand kernels: those that were not used for longest are removed
DAY = 86_400.0  # seconds: how exactly a file shows when it was used, and when an unfinished one is given up

HARMLESS = {"NUMBA_CACHE_DIR", "NUMBA_ENABLE_CUDASIM", "NUMBA_NUM_THREADS"}  # Numba's other settings may change code

C_LIBRARY = {"sqrtf"}  # what every process has; what else a kernel calls may be Numba's own

# Types of arguments: of scalars and of arrays' elements, and arrays' axes, in the order in which they lie in memory
SIZES = {"int64": 8, "float32": 4, "float64": 8}
AXES = {"": 0, "[::1]": 1, "[:, ::1]": 2, "[::1, :]": -2}

Code = tuple[str, bytes, bytes]
"""The name of a function, the object file that it is in, and that of the entry by which it is called."""


class Kernel:
    """A compiled loop over arrays, loaded or compiled when it is first called. It does not hold Python's lock.

    Parameters
    ----------
    module : str
        Its function `build` makes what Numba compiles. It is imported only if there is something to compile.
    variant : tuple
        The arguments of `build`: text, numbers, None, or tuples of them.
    signature : tuple of str
        The types of the kernel's arguments in Numba's notation, as in `SIZES` and `AXES`; it returns nothing.
    """

    def __init__(self, module: str, variant: tuple[Any, ...], signature: tuple[str, ...]) -> None:
        self.module, self.variant, self.signature = module, variant, signature
        names = [one.partition("[") for one in signature]
        self._types = [(np.dtype(name), AXES[bracket + axes]) for name, bracket, axes in names]
        slots = ["q" * (1 + abs(axes)) if axes else "d" if dtype.kind == "f" else "q" for dtype, axes in self._types]
        self._pack = struct.Struct("=q" + "".join(slots)).pack
        self._entry: Any = None
        self._address = 0  # of the function
        self._engine: Any = None  # owns the code of both

    def __call__(self, *arguments: Any) -> None:
        if self._entry is None:
            self.load()
        values: list[Any] = [self._address]
        for (dtype, axes), value in zip(self._types, arguments, strict=True):
            if not axes:
                values.append(value)
                continue
            if value.dtype != dtype or value.ndim != abs(axes):
                raise TypeError(f"{self.module} takes {self.signature}, got {value.dtype} of {value.ndim} axes")
            values.append(_addressof(_memory(value if axes > 0 else value.T)))
            values += value.shape
        if self._entry(self._pack(*values)):
            raise RuntimeError(f"{self.module} failed: {self.variant}")

    def load(self) -> None:
        """Make the kernel ready to be called: from its file, or by compiling it."""
        with _lock:
            if self._entry is None:
                self._link(*self._code())

    def _code(self) -> Code:
        folder = _folder()
        if folder is None or not SOURCES:
            return self._compile()[0]
        depends = (SOURCES, _machine(), _settings(), self.module, self.variant, self.signature)
        path = folder / (_digest(repr(depends).encode()).hex() + SUFFIX)
        found = _read(path)
        if found is not None:
            return found
        code, complete = self._compile()
        if complete and _sources() == SOURCES:
            _write(path, code)
        return code

    def _compile(self) -> tuple[Code, bool]:
        """The code, and whether it runs where Numba is not loaded: a missing function would end the process."""
        function = import_module(f".{self.module}", __package__).build(*self.variant)
        function.compile(f"void({', '.join(self.signature)})")
        (result,) = function.overloads.values()
        _, _, (code, bitcode) = result.library.serialize_using_object_code()
        llvm, target = _linker()
        entry = target.create_target_machine(opt=1, jit=True).emit_object(llvm.parse_assembly(self._entry_code()))
        called = [one.name for one in llvm.parse_bitcode(bitcode).functions if one.is_declaration]
        known = all(name.startswith("llvm.") or name in C_LIBRARY for name in called)
        return (result.fndesc.llvm_func_name, code, entry), known

    def _entry_code(self) -> str:
        """A function that calls the one whose address is first in an array, with the rest as Numba passes arguments.

        Those are where to put a result and an exception, then scalars and the fields of arrays' structures.
        """
        from llvmlite import ir

        byte, integer = ir.IntType(8).as_pointer(), ir.IntType(64)
        module = ir.Module()
        function = ir.Function(module, ir.FunctionType(ir.IntType(32), [integer.as_pointer()]), "entry")
        builder = ir.IRBuilder(function.append_basic_block())
        slots = (builder.load(builder.gep(function.args[0], [integer(place)])) for place in count())
        address, null, ignored = next(slots), byte(None), builder.alloca(byte, 2)
        passed = [builder.bitcast(ignored, byte), builder.bitcast(builder.gep(ignored, [integer(1)]), byte)]
        for dtype, axes in self._types:
            value = next(slots)
            if not axes and dtype.kind == "f":
                value = builder.fptrunc(builder.bitcast(value, ir.DoubleType()), ir.FloatType())
            if not axes:
                passed.append(value)
                continue
            shape = [next(slots) for _ in range(abs(axes))]
            strides, total = [], integer(SIZES[dtype.name])
            for extent in shape[:: -1 if axes > 0 else 1]:
                strides.append(total)
                total = builder.mul(total, extent)
            size, pointer = reduce(builder.mul, shape), builder.inttoptr(value, byte)
            passed += [null, null, size, integer(SIZES[dtype.name]), pointer, *shape]
            passed += strides[:: -1 if axes > 0 else 1]
        called = ir.FunctionType(ir.IntType(32), [value.type for value in passed])
        builder.ret(builder.call(builder.inttoptr(address, called.as_pointer()), passed))
        return str(module)

    def _link(self, name: str, code: bytes, entry: bytes) -> None:
        llvm, target = _linker()
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target.create_target_machine())
        for part in (code, entry):
            engine.add_object_file(llvm.ObjectFileRef.from_data(part))
        engine.finalize_object()
        self._engine, self._address = engine, engine.get_function_address(name)
        self._entry = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_char_p)(engine.get_function_address("entry"))


_memory = (ctypes.c_char * 0).from_buffer  # raises TypeError unless the array is writable, and contiguous by rows
_addressof = ctypes.addressof

_lock = RLock()


def _unlock() -> None:
    global _lock
    _lock = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)  # the lock may be held by a thread that the child does not have


# --- what code depends on ------------------------------------------------------------------------


def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=32).digest()


def _sources() -> bytes:
    """A digest of the text that kernels are compiled from; empty if it is not there."""
    try:
        texts = [(path.name, path.read_bytes()) for path in sorted(Path(__file__).parent.glob("*.py"))]
    except OSError:
        return b""
    return _digest(repr(texts).encode()) if texts else b""


SOURCES = _sources()  # of the text as it was imported: if it has changed when a kernel is compiled, nothing is kept


@cache
def _linker() -> tuple[Any, Any]:
    """llvmlite, and the target that this process runs on."""
    from llvmlite import binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm, llvm.Target.from_triple(llvm.get_process_triple())


@cache
def _machine() -> tuple[str, ...]:
    """The compiler and the CPU."""
    llvm, target = _linker()
    python = ".".join(map(str, sys.version_info[:2]))
    versions = python, np.__version__, version("numba"), version("llvmlite")
    return *versions, target.triple, llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def _settings() -> list[tuple[str, str]]:
    return sorted(
        (name, value) for name, value in os.environ.items() if name.startswith("NUMBA_") and name not in HARMLESS
    )


# --- files ---------------------------------------------------------------------------------------


def _folder() -> Path | None:
    """Where kernels are kept: the folder that BOOSTFOCAL_CACHE_DIR names, none if it is empty, or the user's cache."""
    named = os.environ.get("BOOSTFOCAL_CACHE_DIR")
    if named is not None:
        return Path(named).absolute() if named else None
    try:
        from platformdirs import user_cache_path
    except ImportError:
        return None
    return Path(user_cache_path("boostfocal", appauthor=False))


def _is_ours(found: os.stat_result) -> bool:
    """Whether nobody but this user (and the superuser) can have written a file or what is in a folder."""
    if not hasattr(os, "geteuid"):
        return True  # on Windows the user's folders are guarded by lists of access, which are inherited
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _read(path: Path) -> Code | None:
    """What `_write` has kept, if it is whole."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read() if _is_ours(status) and _is_ours(path.parent.stat()) else b""
    except OSError:
        return None
    digest, rest = content[:32], content[32:]
    if digest != _digest(path.name.encode() + rest):
        return None
    if time() - status.st_mtime > DAY:
        with suppress(OSError):
            os.utime(path)
    name, size, code = rest.split(b"\n", 2)
    return name.decode(), code[: int(size)], code[int(size) :]


def _write(path: Path, code: Code) -> None:
    """Keep what `_read` returns, for the user alone; other processes see the whole file or none. It may fail."""
    name, function, entry = code
    rest = b"\n".join([name.encode(), str(len(function)).encode(), function + entry])
    unfinished = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_ours(path.parent.stat()):
            descriptor, unfinished = mkstemp(UNFINISHED, dir=path.parent)  # which only the user can open
            with open(descriptor, "wb") as file:
                file.write(_digest(path.name.encode() + rest) + rest)
            os.replace(unfinished, path)
            _remove_old(path.parent)
    except OSError:
        if unfinished is not None:
            with suppress(OSError):
                os.remove(unfinished)


def _remove_old(folder: Path) -> None:
    """Keep within the limit, and remove what writers that were killed have left."""
    with os.scandir(folder) as entries:
        ours = [entry for entry in entries if entry.name.endswith((SUFFIX, UNFINISHED))]
    found = []
    for entry in ours:
        with suppress(OSError):  # another process has removed it
            status = entry.stat()
            found.append((status.st_mtime, status.st_size, entry.path))
    total, now = 0, time()
    for used, size, path in sorted(found, reverse=True):
        total += size
        if total > LIMIT or (path.endswith(UNFINISHED) and now - used > DAY):
            with suppress(OSError):
                os.remove(path)
