"""Message classes of the image format and of the RPC protocol, made from the compiled descriptors.

Start-up decides the shape of this file. Importing protobuf the documented way takes 17-30 ms, generated code more; its
C extension alone takes 4. So the extension (`google._upb._message`, private) is used where it is there and works, and
the public API where not; and of the descriptors only the files that somebody asks for are read.
"""

from __future__ import annotations

import _collections_abc
import sys

from engine.errors import Bug

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_WELL_KNOWN = "google.protobuf.internal.well_known_types"
_HINTS = "opts.proto"


def descriptor_path() -> str:
    """Where the package build puts the FileDescriptorSet of `proto/`."""
    return __file__.rpartition("/images/")[0] + "/_built/descriptors.bin"


class Schema:
    """The message types of one FileDescriptorSet. Make one and pass it on: it holds descriptors, no other state.

    `path` defaults to `descriptor_path()`. Raises Bug when it is missing or damaged: then the package is not built.
    """

    __slots__ = ("_classes", "_files", "_make", "_pool", "_unknown_fields", "decode_error")

    def __init__(self, path: str | None = None) -> None:
        path = path or descriptor_path()
        try:
            with open(path, "rb") as f:
                self._files = dict(_split(f.read()))
        except (OSError, IndexError) as e:
            raise Bug(f"{path}: {e}; build the package: pip install -e .") from e
        # How crit shows a field is nobody else's business, and would cost all of descriptor.proto.
        self._files[_HINTS] = b"\n" + bytes([len(_HINTS)]) + _HINTS.encode()
        self._classes: dict[str, Any] = {}
        self._pool: Any
        self._make: Callable[[Any], Any]
        self._unknown_fields: Callable[[Any], Any]
        self._pool, self._make, self._unknown_fields = _fast_protobuf() or _documented_protobuf()
        from google.protobuf.message import DecodeError

        self.decode_error: type[Exception] = DecodeError

    def message(self, name: str) -> Any:
        """The class of the message `name` ("core_entry"). Raises Bug if there is none."""
        cls = self._classes.get(name)
        if cls is None:
            cls = self._make(self._find(self._pool.FindMessageTypeByName, name))
            self._classes[name] = cls
        return cls

    def many(self, name: str) -> Any:
        """The class of a message with any number of the messages `name`: its field `all`, number 1. Raises Bug."""
        wrapper = f"many_{name}"
        if wrapper not in self._classes:
            one = self.message(name).DESCRIPTOR
            # FieldDescriptorProto: name, number 1, repeated, of type message
            field = _field(1, b"all") + b"\x18\x01\x20\x03\x28\x0b" + _field(6, b"." + one.full_name.encode())
            definition = _field(1, wrapper.encode()) + _field(2, field)
            file = _field(1, f"{wrapper}.proto".encode()) + _field(3, one.file.name.encode()) + _field(4, definition)
            self._pool.AddSerializedFile(file)
        return self.message(wrapper)

    def enum(self, name: str) -> dict[str, int]:
        """The values of the enum `name` ("fd_types", "core_entry.march") by name. Raises Bug if there is none."""
        values = self._find(self._pool.FindEnumTypeByName, name).values_by_name
        return {key: value.number for key, value in values.items()}

    def enum_name(self, name: str, number: int) -> str:
        """The name of a value of the enum `name`, or its digits where it has none. Raises Bug for an unknown enum."""
        value = self._find(self._pool.FindEnumTypeByName, name).values_by_number.get(number)
        return str(number) if value is None else str(value.name)

    def unknown(self, message: Any) -> list[tuple[int, int, Any]]:
        """The fields of `message` itself that its type does not define: (number, wire type, data).

        A value that a (closed, proto2) enum does not define is among them too.
        """
        return [(f.field_number, f.wire_type, f.data) for f in self._unknown_fields(message)]

    def _find(self, lookup: Callable[[str], Any], name: str) -> Any:
        """What the pool knows as `name`, after feeding it the files that may define it."""
        try:
            return lookup(name)
        except KeyError:
            pass
        # A definition begins with its name: tag 1, length, bytes. So does a field of that name: then read one too many.
        outer = name.partition(".")[0].encode()
        definition = b"\n" + bytes([len(outer)]) + outer
        for file in [file for file, data in self._files.items() if definition in data]:
            self._feed(file)
            try:
                return lookup(name)
            except KeyError:
                continue
        raise Bug(f"the image descriptors define no {name}; build the package: pip install -e .")

    def _feed(self, file: str) -> None:
        """Add a file to the pool, after those that it imports."""
        data = self._files.pop(file, None)
        if data is None:
            return
        pos = 0
        while pos < len(data) and data[pos] in (0x0A, 0x1A):  # 1: its name, 3: an import; both before all else
            end = pos + 2 + data[pos + 1]
            if data[pos] == 0x1A:
                self._feed(data[pos + 2 : end].decode())
            pos = end
        self._pool.AddSerializedFile(data)


def text(value: str | bytes) -> str:
    """A string field as a str, like os.fsdecode: protobuf hands out bytes where it (a path, say) is not UTF-8."""
    return value if isinstance(value, str) else value.decode("utf-8", "surrogateescape")


def set_text(message: Any, field: str, value: str | bytes) -> None:
    """Set a string field (or append to a repeated one) to a str of os.fsdecode, or to bytes.

    Protobuf refuses to have anything assigned that is not UTF-8; in the image such a path is a string like any other.
    """
    data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogateescape")
    wire = bytearray()
    for word in (message.DESCRIPTOR.fields_by_name[field].number << 3 | 2, len(data)):
        while word > 127:
            wire.append(word & 127 | 128)
            word >>= 7
        wire.append(word)
    message.MergeFromString(bytes(wire) + data)


def _field(number: int, data: bytes) -> bytes:
    """A field of less than 128 bytes."""
    return bytes((number << 3 | 2, len(data))) + data


class _Stubs:
    """For a while an import finds these modules, but for those that are loaded."""

    __slots__ = ("_modules",)

    def __init__(self, modules: dict[str, Any]) -> None:
        self._modules = {name: module for name, module in modules.items() if name not in sys.modules}

    def __enter__(self) -> None:
        sys.modules.update(self._modules)

    def __exit__(self, *_: object) -> None:
        for name in self._modules:
            del sys.modules[name]


def _named(name: str, fields: Iterable[str]) -> type:
    """As much of a namedtuple as an unknown field takes."""
    own: dict[str, Any] = {"__slots__": (), "__new__": lambda cls, *its: tuple.__new__(cls, its)}
    for i, field in enumerate(fields):
        own[field] = property(_Nth(i))
    return type(name, (tuple,), own)


class _Nth:
    __slots__ = ("_i",)

    def __init__(self, i: int) -> None:
        self._i = i

    def __call__(self, its: Any) -> object:
        return its[self._i]


def _fast_protobuf() -> tuple[Any, Callable[[Any], Any], Callable[[Any], Any]] | None:
    """A descriptor pool, what makes a class of a descriptor and what lists a message's unknown fields, all of them C.

    None if this protobuf is another than expected.

    The C extension wants the mix-in classes of Timestamp, Struct and their like before it makes its first class, and
    for them imports a module that pulls in datetime, re and typing (12 ms). None of them is in an image: it is shown
    an empty table instead, unless the program has loaded the real one. The same goes for `collections` (2 ms), of which
    the extension wants one namedtuple, and what the interpreter has loaded already.
    """
    module: Any = type(sys)
    mixins, package = module(_WELL_KNOWN), module("collections")
    mixins.WKTBASES = {}
    package.namedtuple = _named
    try:
        with _Stubs({"collections": package, "collections.abc": _collections_abc}):
            from google._upb import _message
            from google.protobuf.message import Message
    except Exception:  # as below
        return None

    def make(descriptor: Any) -> Any:
        with _Stubs({_WELL_KNOWN: mixins}):
            return _message.MessageMeta(descriptor.name, (Message,), {"DESCRIPTOR": descriptor, "__module__": None})

    try:
        pool = _message.DescriptorPool()
        # One class, to see that this protobuf is like the one that this was written with.
        pool.AddSerializedFile(b'\n\x05probe"\x07\n\x05probe')
        make(pool.FindMessageTypeByName("probe"))().SerializeToString()
    except Exception:  # a private module may differ in any way, and the public API below does the same, later
        return None
    return pool, make, _message.UnknownFieldSet


def _documented_protobuf() -> tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]:
    """The same three by the public API."""
    from google.protobuf import descriptor_pool, message_factory, unknown_fields

    return descriptor_pool.DescriptorPool(), message_factory.GetMessageClass, unknown_fields.UnknownFieldSet


def _split(data: bytes) -> list[tuple[str, bytes]]:
    """The files of a FileDescriptorSet, by name, still serialised. (The set: field 1, by length, for each file.)"""
    files, pos = [], 0
    while pos < len(data):
        size = shift = 0
        while True:
            pos += 1
            size |= (data[pos] & 127) << shift
            shift += 7
            if data[pos] < 128:
                break
        file = data[pos + 1 : pos + 1 + size]
        if len(file) != size:
            raise IndexError("cut short")
        files.append((file[2 : 2 + file[1]].decode(), file))
        pos += 1 + size
    return files
