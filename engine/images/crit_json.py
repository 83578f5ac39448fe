"""Images as JSON and back, in the shape of the public crit; nothing that is in an image gets lost on the way."""

from __future__ import annotations

import base64
import binascii

from engine.errors import BadImage, EngineError
from engine.images import crit_names as names
from engine.images import wire
from engine.images.schema import Schema, descriptor_path, set_text, text
from engine.images.table import COMMON, IMAGES, OWN, RAW, SERVICE, Image, by_magic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DISPLAY = 50017  # the number of the option in opts.proto
_BOOL, _STRING, _MESSAGE, _BYTES, _ENUM = 8, 9, 11, 12, 14  # FieldDescriptorProto.Type


class BadInput(EngineError):
    """The JSON does not describe an image. The message begins with the place in it: entries[0].reg.name."""


class Codec:
    """Conversion of messages and images. `pretty` shows numbers as the schema's display options say."""

    __slots__ = ("_hints", "_pretty", "_schema")

    def __init__(self, schema: Schema, pretty: bool) -> None:
        self._schema = schema
        self._pretty = pretty
        self._hints = display_options(descriptor_path())

    # To JSON

    def message_to_json(self, message: Any, inherited: str = "") -> dict[str, Any]:
        """The fields that are set, by name. What the schema does not know is under "unknown", in hexadecimal."""
        out: dict[str, Any] = {}
        for field, value in message.ListFields():
            hint = self._hint(field) or inherited
            if _repeated(field):
                shown = [self._value_to_json(field, item, hint) for item in value]
                out[field.name] = names.addresses_text(value) if hint == "ipadd" and self._pretty else shown
            else:
                out[field.name] = self._value_to_json(field, value, hint)
        unknown = self._unknown(message)
        if unknown:
            out["unknown"] = unknown.hex()
        return out

    def _value_to_json(self, field: Any, value: Any, hint: str) -> Any:
        if field.type == _MESSAGE:
            return self.message_to_json(value, hint)
        if field.type == _ENUM:
            return field.enum_type.values_by_number[value].name
        if field.type == _BYTES:
            return names.unix_name_text(value) if hint == "conv=unix_name" else _base64(value)
        if field.type == _STRING:
            return text(value)
        if field.type == _BOOL or not self._pretty:
            return value
        kind, _, table = hint.partition("=")
        if kind == "hex":
            return hex(value)
        if kind == "flags":
            return names.flags_text(table, value)
        if kind == "dict":
            return names.dict_text(table, field.name, value)
        if kind.startswith("dev"):
            return names.dev_text(value, "odev" in kind)
        return value

    def _hint(self, field: Any) -> str:
        return self._hints.get((field.containing_type.full_name, field.number), "")

    def _unknown(self, message: Any) -> bytes:
        """The fields that the schema does not know, as they were in the image."""
        parts = []
        for number, wire_type, data in self._schema.unknown(message):
            parts.append(_varint(number << 3 | wire_type))
            if wire_type == 0:
                parts.append(_varint(data))
            elif wire_type in (1, 5):
                parts.append(data.to_bytes(8 if wire_type == 1 else 4, "little"))
            elif wire_type == 2:
                parts += [_varint(len(data)), data]
            else:
                raise BadInput(f"{message.DESCRIPTOR.name}: unknown field {number} is a group, which crit cannot keep")
        return b"".join(parts)

    def image_to_json(self, data: bytes, name: str, payload: bool = True) -> dict[str, Any]:
        """A whole image. Without `payload` only its length is shown. Raises BadImage."""
        image, pos, version = identify(data, name)
        entries = []
        for message, begin, end in wire.parse(self._schema, image, data, name, pos):
            entry = self.message_to_json(message)
            if payload:
                self._payload_to_json(image, message, data[begin:end], entry, name)
            elif has_payload(image, message):
                entry["extra"] = f"... <{end - begin}B>"
            entries.append(entry)
        out: dict[str, Any] = {"magic": image.kind, "entries": entries}
        if version == 1 and image.head != OWN:
            out["img_version"] = 1
        return out

    def _payload_to_json(self, image: Image, message: Any, data: bytes, entry: dict[str, Any], name: str) -> None:
        if not has_payload(image, message):
            return
        rest = b""
        if image.payload == "sem":
            size = message.nsems * 2
            rest = data[size:]
            entry["extra"] = [int.from_bytes(data[i : i + 2], "little") for i in range(0, size, 2)]
        elif image.payload == "msg":
            entry["extra"] = extra = []
            for msg, content, padding in wire.ipc_messages(self._schema, data, name):
                fields = self.message_to_json(msg)
                _keep_padding(fields, padding)
                extra += [fields, _base64(content)]
        elif image.payload == "queues":
            inq = message.inq_len
            entry["extra"] = {"inq": _base64(data[:inq]), "outq": _base64(data[inq:])}
        else:
            size = message.size if image.payload == "shm" else len(data)
            rest = data[size:]
            entry["extra"] = _base64(data[:size])
        _keep_padding(entry, rest)

    # From JSON

    def message_from_json(self, message: Any, values: Any, place: str) -> None:
        """Set the fields of `message`. Raises BadInput for a key that is no field, or a value that is none of its."""
        if not isinstance(values, dict):
            raise BadInput(f"{place}: an object is expected")
        fields = message.DESCRIPTOR.fields_by_name
        for key, value in values.items():
            here = f"{place}.{key}"
            if key == "unknown":
                continue
            if key not in fields:
                raise BadInput(f"{here}: {message.DESCRIPTOR.name} has no such field")
            try:
                self._field_from_json(message, fields[key], value, here)
            except (ValueError, TypeError, binascii.Error) as e:
                raise BadInput(f"{here}: {e}") from e
        if "unknown" in values:
            try:
                message.MergeFromString(bytes.fromhex(values["unknown"]))
            except (ValueError, TypeError, self._schema.decode_error) as e:
                raise BadInput(f"{place}.unknown: {e}") from e
        if not message.IsInitialized() and "." not in (lacks := message.FindInitializationErrors()[0]):
            raise BadInput(f"{place}: {message.DESCRIPTOR.name} lacks the required field {lacks}")

    def _field_from_json(self, message: Any, field: Any, value: Any, place: str) -> None:
        hint = self._hint(field)
        if not _repeated(field):
            if field.type == _MESSAGE:
                nested = getattr(message, field.name)
                nested.SetInParent()
                self.message_from_json(nested, value, place)
            else:
                _assign(message, field, self._value_from_json(field, value, hint))
            return
        if not isinstance(value, list):
            raise TypeError("a list is expected")
        if hint == "ipadd":
            value = names.addresses_value(value)
        for i, item in enumerate(value):
            if field.type == _MESSAGE:
                self.message_from_json(getattr(message, field.name).add(), item, f"{place}[{i}]")
            elif field.type == _STRING:
                set_text(message, field.name, _string(item))
            else:
                getattr(message, field.name).append(self._value_from_json(field, item, hint))

    def _value_from_json(self, field: Any, value: Any, hint: str) -> Any:
        if field.type == _STRING:
            return _string(value)
        if field.type == _BYTES:
            return names.unix_name_value(_string(value)) if hint == "conv=unix_name" else _bytes(value)
        if field.type == _BOOL:
            if value not in (True, False):
                raise TypeError("true or false is expected")
            return bool(value)
        if field.type == _ENUM and isinstance(value, str):
            known = field.enum_type.values_by_name.get(value)
            return int(value, 0) if known is None else known.number
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise TypeError("a number is expected")
        if isinstance(value, int):
            return value
        kind, _, table = hint.partition("=")
        if kind == "flags":
            return names.flags_value(table, value)
        if kind == "dict":
            return names.dict_value(table, field.name, value)
        if kind.startswith("dev"):
            return names.dev_value(value, "odev" in kind)
        return int(value, 0)

    def image_from_json(self, document: Any) -> bytes:
        """The bytes of the image that the JSON document describes. Raises BadInput."""
        if not isinstance(document, dict) or not isinstance(document.get("entries"), list):
            raise BadInput('an object of "magic" and "entries" is expected')
        image = IMAGES.get(str(document.get("magic")))
        if image is None or image.head == RAW:
            raise BadInput(f"magic: {document.get('magic')!r} is no kind of image with entries")
        strange = document.keys() - {"magic", "entries", "img_version"}
        version = document.get("img_version", 2)
        if strange or version not in (1, 2):
            raise BadInput(f"{strange.pop() if strange else 'img_version'}: not understood")
        messages, payloads = [], []
        for i, values in enumerate(document["entries"]):
            place = f"entries[{i}]"
            if not isinstance(values, dict):
                raise BadInput(f"{place}: an object is expected")
            fields = {key: value for key, value in values.items() if key not in ("extra", "padding")}
            message = self._schema.message(_entry_type(image, i))()
            self.message_from_json(message, fields, place)
            messages.append(message)
            payloads.append(self._payload_from_json(image, message, values, place))
        if not messages and image.payload in ("pagemap", "ghost"):
            raise BadInput("entries: the first one is missing")
        return wire.serialize(image, messages, payloads, version)

    def _payload_from_json(self, image: Image, message: Any, values: dict[str, Any], place: str) -> bytes:
        extra, padding = values.get("extra"), _padding(values, place)
        if not has_payload(image, message):
            if extra or padding:
                raise BadInput(f"{place}.extra: {message.DESCRIPTOR.name} has no payload")
            return b""
        try:
            data = self._extra_bytes(image, message, extra, place) + padding
        except (ValueError, TypeError, AttributeError, KeyError, binascii.Error) as e:
            raise BadInput(f"{place}.extra: {e or 'not understood'}") from e
        size = wire.payload_size(image, message)
        if size is None or image.payload == "msg":
            return data
        if image.payload in ("sem", "shm") and not padding:
            data += bytes(size - len(data) if 0 <= size - len(data) < 8 else 0)
        if len(data) != size:
            raise BadInput(f"{place}.extra: the entry says {size} bytes, here are {len(data)}")
        return data

    def _extra_bytes(self, image: Image, message: Any, extra: Any, place: str) -> bytes:
        if image.payload == "queues":
            inq, outq = _bytes(extra["inq"]), _bytes(extra["outq"])
            if len(inq) != message.inq_len:
                raise ValueError(f"inq_len is {message.inq_len}, here are {len(inq)} bytes")
            return inq + outq
        if image.payload == "sem":
            if len(extra) != message.nsems:
                raise ValueError(f"nsems is {message.nsems}, here are {len(extra)}")
            return b"".join(_u16(value) for value in extra)
        if image.payload != "msg":
            return _bytes("" if extra is None else extra)
        if len(extra) != 2 * message.qnum:
            raise ValueError(f"qnum is {message.qnum}, here are {len(extra)} items, two for each message expected")
        messages = []
        for i in range(0, len(extra), 2):
            msg = self._schema.message("ipc_msg")()
            fields = {key: value for key, value in extra[i].items() if key != "padding"}
            self.message_from_json(msg, fields, f"{place}.extra[{i}]")
            content = _bytes(extra[i + 1])
            if len(content) != msg.msize:
                raise ValueError(f"[{i}]: msize is {msg.msize}, here are {len(content)} bytes")
            messages.append((msg, content, _padding(extra[i], f"{place}.extra[{i}]")))
        return wire.pack_ipc_messages(messages)


def identify(data: bytes, name: str) -> tuple[Image, int, int]:
    """What an image is by its magic: its row, the offset of its first entry, the version of the format (1: no head)."""
    words = [int.from_bytes(data[i : i + 4], "little") for i in (0, 4)]
    first = words[1] if words[0] in (COMMON, SERVICE) else words[0]
    image = by_magic(first) if len(data) >= 4 else None
    if image is None:
        what = f"no image begins with {data[:8].hex(' ')}" if data else "empty"
        raise BadImage(name, 0, f"{what}; raw images, like pages-1.img, are not decoded")
    version = 2 if first != words[0] or image.head == OWN else 1
    return image, wire.body(image, data, name, lambda: 1), version


def has_payload(image: Image, message: Any) -> bool:
    """Whether raw bytes can follow this entry."""
    return bool(image.payload) and image.payload != "pagemap" and not getattr(message, "chunks", False)


def display_options(path: str) -> dict[tuple[str, int], str]:
    """How fields are to be shown, by (message, number): the `display` options in the FileDescriptorSet at `path`."""
    from google.protobuf import descriptor_pb2, unknown_fields

    with open(path, "rb") as f:
        files = descriptor_pb2.FileDescriptorSet.FromString(f.read()).file
    hints = {}
    for message in (message for file in files for message in file.message_type):
        for field in message.field:
            for option in unknown_fields.UnknownFieldSet(field.options):
                if option.field_number == _DISPLAY:
                    hints[message.name, field.number] = option.data.decode()
    return hints


def _entry_type(image: Image, index: int) -> str:
    if index and image.payload == "pagemap":
        return "pagemap_entry"
    return "ghost_chunk_entry" if index and image.payload == "ghost" else image.message


def _repeated(field: Any) -> bool:
    repeated = getattr(field, "is_repeated", None)  # since protobuf 6
    return bool(field.label == field.LABEL_REPEATED if repeated is None else repeated)


def _assign(message: Any, field: Any, value: Any) -> None:
    if field.type == _STRING:
        message.ClearField(field.name)
        set_text(message, field.name, value)
    else:
        setattr(message, field.name, value)


def _keep_padding(entry: dict[str, Any], padding: bytes) -> None:
    """What fills a payload up should be zeros; what is not must not get lost."""
    if any(padding):
        entry["padding"] = padding.hex()


def _padding(values: Any, place: str) -> bytes:
    try:
        return bytes.fromhex(values.get("padding", ""))
    except (ValueError, TypeError) as e:
        raise BadInput(f"{place}.padding: {e}") from e


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a string is expected")
    return value


def _bytes(value: Any) -> bytes:
    return base64.b64decode("".join(_string(value).split()), validate=True)


def _u16(value: Any) -> bytes:
    if not isinstance(value, int) or not 0 <= value < 1 << 16:
        raise ValueError(f"{value!r} is no semaphore's value")
    return value.to_bytes(2, "little")


def _base64(data: bytes) -> str:
    return base64.encodebytes(data).decode("ascii")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
