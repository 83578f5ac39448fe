"""crit: looks into images, and turns them into JSON and back. Command line of the public tool of that name."""

from __future__ import annotations

import argparse
import json
import os
import sys

from engine.errors import EngineError
from engine.images import wire
from engine.images.crit_json import BadInput, Codec, has_payload, identify
from engine.images.crit_x import EXPLORERS
from engine.images.files import Images
from engine.images.schema import Schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0, 1 with one line on stderr, or 2 for wrong usage."""
    try:
        args = _parser().parse_args(argv)
    except SystemExit as e:
        return int(e.code or 0)
    try:
        args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has seen enough. What is left in the buffer must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (EngineError, OSError) as e:
        print(f"crit: {_one_line(e)}", file=sys.stderr)
        return 1
    return 0


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'input/output'}: {error.strerror or error}"
    return str(error).replace("\n", "; ")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("crit", description="Show and convert the images of a checkpoint.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    decode = commands.add_parser("decode", help="convert an image to JSON")
    decode.add_argument("--pretty", action="store_true", help="indent, and show numbers as what they mean")
    decode.add_argument("-i", "--in", dest="source", metavar="IN", help="the image (default: standard input)")
    decode.add_argument("-o", "--out", metavar="OUT", help="where the JSON goes (default: standard output)")
    decode.set_defaults(run=_decode, payload=True)

    encode = commands.add_parser("encode", help="convert JSON to an image")
    encode.add_argument("-i", "--in", dest="source", metavar="IN", help="the JSON (default: standard input)")
    encode.add_argument("-o", "--out", metavar="OUT", help="where the image goes (default: standard output)")
    encode.set_defaults(run=_encode)

    info = commands.add_parser("info", help="what an image is, how many entries it has and how big they are")
    info.add_argument("source", metavar="FILE")
    info.set_defaults(run=_info)

    explore = commands.add_parser("x", help="explore a directory of images")
    explore.add_argument("dir", metavar="DIR")
    explore.add_argument("what", choices=sorted(EXPLORERS))
    explore.set_defaults(run=_explore)

    show = commands.add_parser("show", help="print an image as indented JSON")
    show.add_argument("source", metavar="FILE")
    show.add_argument("--nopl", dest="payload", action="store_false", help="leave out the raw data of the entries")
    show.set_defaults(run=_decode, pretty=True, out=None)
    return parser


def _decode(args: Any) -> None:
    data, name = _read(args.source)
    document = Codec(Schema(), args.pretty).image_to_json(data, name, args.payload)
    _write(args.out, json.dumps(document, indent=4 if args.pretty else None).encode("ascii") + b"\n")


def _encode(args: Any) -> None:
    data, name = _read(args.source)
    try:
        _write(args.out, Codec(Schema(), False).image_from_json(json.loads(data)))
    except (BadInput, ValueError, RecursionError) as e:
        raise BadInput(f"{name}: {e}") from e


def _info(args: Any) -> None:
    data, name = _read(args.source)
    image, pos, _ = identify(data, name)
    spans = wire.parse(Schema(), image, data, name, pos)
    info: dict[str, Any] = {"magic": image.kind, "count": len(spans), "size": len(data)}
    info["entries_size"] = sum(message.ByteSize() for message, _, _ in spans)
    if image.payload and image.payload != "pagemap":
        info["payload_size"] = sum(end - begin for message, begin, end in spans if has_payload(image, message))
    print(json.dumps(info, indent=4))


def _explore(args: Any) -> None:
    images = Images.open(Schema(), args.dir)
    try:
        for line in EXPLORERS[args.what](images):
            print(line)
    finally:
        images.close()


def _read(path: str | None) -> tuple[bytes, str]:
    """The whole input and what to call it."""
    if path is None:
        return sys.stdin.buffer.read(), "standard input"
    with open(path, "rb") as f:
        return f.read(), os.path.basename(path)


def _write(path: str | None, data: bytes) -> None:
    if path is None:
        sys.stdout.buffer.write(data)
        return
    with open(path, "wb") as f:
        f.write(data)


if __name__ == "__main__":
    sys.exit(main())
