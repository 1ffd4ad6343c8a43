"""Kernels are compiled once for all processes: their object code is kept on disk.

Without llvmlite, whose LLVM compiles and links them, they run on NumPy.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from threading import RLock
from time import time
from typing import Any
from warnings import warn

import numpy as np

from .arrays import Type

SUFFIX, UNFINISHED = ".kernel", ".unfinished"
LIMIT = 64 * 2**20  # bytes on disk, some thousand kernels: those that were not used for longest are removed
DAY = 86_400.0  # seconds: how exactly a file shows when it was used, and when an unfinished one is given up


class Kernel:
    """A compiled loop over arrays, loaded or compiled when it is first called. It does not hold Python's lock.

    Parameters
    ----------
    module : str
        Its function `build` makes what is compiled. It is called only if there is something to compile.
    variant : tuple
        The arguments of `build`: text, numbers, None, or tuples of them.
    signature : tuple of str
        The types of the kernel's arguments, as `Type.parse` takes them; it returns nothing.
    """

    def __init__(self, module: str, variant: tuple[Any, ...], signature: tuple[str, ...]) -> None:
        self.module, self.variant, self.signature = module, variant, signature
        self._types = [Type.parse(one) for one in signature]
        self._call: Any = None
        self._engine: Any = None  # owns the code
        self.is_interpreted = False

    def __call__(self, *arguments: Any) -> None:
        if self._call is None:
            self.load()
        self._call(*arguments)

    def load(self) -> None:
        """Make the kernel ready to be called: from its file, by compiling it, or, without a compiler, on NumPy."""
        if self._call is not None:
            return
        with _lock:
            if self._call is not None:
                return
            try:
                llvm = _llvm()
            except (ImportError, OSError) as error:
                _warn_of_numpy(str(error))
                self.is_interpreted, self._call = True, self._on_numpy()
            else:
                self._call = self._caller(self._link(llvm, self._code()))

    def _code(self) -> bytes:
        folder = _folder()
        if folder is None or not SOURCES:
            return self._compile()
        depends = (SOURCES, _machine(), self.module, self.variant, self.signature)
        path = folder / (_digest(repr(depends).encode()).hex() + SUFFIX)
        code = _read(path)
        if code is None:
            code = self._compile()
            if _sources() == SOURCES:
                _write(path, code)
        return code

    def _build(self) -> Any:
        return import_module(f".{self.module}", __package__).build(*self.variant)

    def _compile(self) -> bytes:
        from .llvm import compiled, record
        from .simd import Simd

        return compiled(record(self._build(), self._types, Simd))

    def _on_numpy(self) -> Any:
        from .ufuncs import interpreted

        return interpreted(self._build())

    def _link(self, llvm: Any, code: bytes) -> Any:
        target = llvm.Target.from_triple(llvm.get_process_triple())
        engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target.create_target_machine())
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        self._engine = engine
        return ctypes.CFUNCTYPE(None, ctypes.c_char_p)(engine.get_function_address("entry"))

    def _caller(self, entry: Any) -> Any:
        """A function that checks the arguments and packs them for the entry.

        It is written out for these types, since it takes as long as some thousand rows.
        """
        names, tests, values, slots = [], [], [], []
        for number, one in enumerate(self._types):
            name = f"a{number}"
            names.append(name)
            if one.extents is None:
                values.append(name)
                slots.append("d" if one.name == "float32" else "q")
                continue
            extents = [f"{name}.shape[{axis}]" for axis in range(len(one.extents))]
            tests += [f"{name}.dtype == {one.name}", f"{name}.ndim == {len(extents)}"]
            values.append(f"address(memory({name}{'.T' if one.by_column else ''}))")
            slots.append("q")
            for extent, constant in zip(extents, one.extents, strict=True):
                if constant is None:
                    values.append(extent)
                    slots.append("q")
                else:
                    tests.append(f"{extent} == {constant}")
        text = f"""def call({", ".join(names)}):
            if not ({" and ".join(tests)}):
                refuse({", ".join(names)})
            entry(pack({", ".join(values)}))"""
        space = {name: np.dtype(name) for name in ("int64", "float32", "float64")} | {
            "address": ctypes.addressof, "memory": _memory, "entry": entry, "refuse": self._refuse,
            "pack": struct.Struct("=" + "".join(slots)).pack,
        }  # fmt: skip
        exec(text, space)
        return space["call"]

    def _refuse(self, *arguments: Any) -> None:
        shown = [f"{one.dtype}{list(one.shape)}" for one in arguments if isinstance(one, np.ndarray)]
        raise TypeError(f"{self.module} takes {', '.join(self.signature)}, got {', '.join(shown)}")


_memory = (ctypes.c_char * 0).from_buffer  # raises TypeError unless the array is writable, and contiguous by rows


@cache
def _warn_of_numpy(reason: str) -> None:
    warn(
        f"boostfocal computes on NumPy, some 25 times as slow, since its compiler cannot be imported: {reason}; "
        "pip install llvmlite",
        RuntimeWarning,
        stacklevel=2,
    )


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
def _llvm() -> Any:
    """llvmlite, for the CPU of this machine."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding


@cache
def _machine() -> tuple[str, ...]:
    """What code depends on besides its text: the compiler and the CPU."""
    from importlib.metadata import version  # these two modules take longer to import than this package

    llvm = _llvm()
    try:
        features = llvm.get_host_cpu_features().flatten()
    except RuntimeError:
        features = ""
    return version("llvmlite"), llvm.get_process_triple(), llvm.get_host_cpu_name(), features


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


def writable_folder() -> Path:
    """Where kernels are kept, made if need be."""
    folder = _folder()
    if folder is None:
        raise OSError("BOOSTFOCAL_CACHE_DIR must name a folder for compiled kernels to be kept, got an empty name")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _unfinished(folder):
            pass
    except OSError as error:
        raise OSError(f"BOOSTFOCAL_CACHE_DIR must name a folder that can be written, got {folder}: {error}") from error
    if not _is_ours(folder.stat()):
        raise OSError(f"BOOSTFOCAL_CACHE_DIR must name a folder that this user alone can write, got {folder}")
    return folder


def require_compiler() -> None:
    try:
        _llvm()
    except (ImportError, OSError) as error:
        raise ImportError(f"compiling needs llvmlite: pip install llvmlite ({error})") from error


def _is_ours(found: os.stat_result) -> bool:
    """Whether nobody but this user (and the superuser) can have written a file or what is in a folder."""
    if not hasattr(os, "geteuid"):
        return True  # on Windows the user's folders have access control lists, which are inherited
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _read(path: Path) -> bytes | None:
    """The code that `_write` has kept, if it is whole."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read() if _is_ours(status) and _is_ours(path.parent.stat()) else b""
    except OSError:
        return None
    digest, code = content[:32], content[32:]
    if digest != _digest(path.name.encode() + code):
        return None
    if time() - status.st_mtime > DAY:
        with suppress(OSError):
            os.utime(path)
    return code


def _write(path: Path, code: bytes) -> None:
    """Keep what `_read` returns, for the user alone; other processes see the whole file or none. It may fail."""
    with suppress(OSError):
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_ours(path.parent.stat()):
            with _unfinished(path.parent) as unfinished:
                unfinished.write_bytes(_digest(path.name.encode() + code) + code)
                os.replace(unfinished, path)
            _remove_old(path.parent)


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """A new file that only the user can open; it is removed if it is still there in the end."""
    from tempfile import mkstemp

    descriptor, name = mkstemp(UNFINISHED, dir=folder)
    try:
        os.close(descriptor)
        yield Path(name)
    finally:
        with suppress(OSError):
            os.remove(name)


def _remove_old(folder: Path) -> None:
    """Keep within the limit, and remove files that killed writers have left."""
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
