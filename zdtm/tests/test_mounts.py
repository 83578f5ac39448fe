"""Mount namespaces by themselves: images that want to lead out of them, and mountinfo's escapes."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from engine.context import Context
from engine.errors import BadImage, BadOption
from engine.kernel import mountinfo
from engine.log import Log
from engine.mounts import image
from engine.mounts.external import External
from engine.options import parse

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from engine.images.files import Images

IDENT, DEV = 13, 254 << 20

# In mounts and processes of its own: restores the images of the first argument with the root of the second.
RESTORE = f"""
import os, sys
from engine.context import Context
from engine.errors import EngineError
from engine.kernel import mounts, namespaces
from engine.log import Log
from engine.mounts import restore
from engine.options import parse
images, root = sys.argv[1:]
namespaces.unshare(namespaces.FLAGS["mnt"])
mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
mounts.mount(root, root, None, mounts.MS_BIND)
ctx = Context(parse(["restore", "-D", images, "--root", root]), Log(2, 2))
try:
    restored = restore.restore(ctx, ctx.images(), [{IDENT}], {IDENT})
except EngineError as e:
    print("refused:", e)
else:
    print(*sorted(os.listdir("/")), sep="\\n")
"""


def write(tmp_path: Path, *mounts: dict[str, Any]) -> Path:
    """Images of one namespace: a bind of the directory as the root, and what is mounted there."""
    directory = tmp_path / "images"
    directory.mkdir()
    ctx = Context(parse(["restore", "-D", str(directory)]), Log(2, 2))
    make = ctx.schema.message("mnt_entry")
    images = ctx.images()
    root = {"mnt_id": 1, "parent_mnt_id": 0, "fstype": 0, "root": "/somewhere", "mountpoint": "/", "root_dev": DEV}
    entries = []
    for values in (root, *mounts):
        plain = {"flags": 1 << 21, "source": "none", "options": "", "root": "/", "fstype": 5, "parent_mnt_id": 1}
        entries.append(make(**{**plain, "mnt_id": 2 + len(entries), "root_dev": 90 + len(entries), **values}))
    images.write("INVENTORY", (), [ctx.schema.message("inventory_entry")(img_version=2)])
    images.write("MNTS", (IDENT,), list(reversed(entries)))
    images.close()
    return directory


def opened(directory: Path) -> Images:
    return Context(parse(["restore", "-D", str(directory)]), Log(2, 2)).images()


def restore(tmp_path: Path, directory: Path) -> str:
    """What is said of it, or the names in the new root."""
    root = tmp_path / "root"
    root.mkdir(exist_ok=True)
    args = [sys.executable, "-c", RESTORE, str(directory), str(root)]
    done = subprocess.run(args, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def bind(**values: Any) -> dict[str, Any]:
    """A mount of what the root is on."""
    return {"fstype": 0, "root_dev": DEV, **values}


@pytest.mark.parametrize(
    "values",
    [
        {"mountpoint": "/../etc"},
        {"mountpoint": "/a/../../etc"},
        {"mountpoint": "etc"},
        {"mountpoint": "/a//b"},
        {"mountpoint": "/a", "root": "/../.."},
        {"mountpoint": "/a", "mnt_id": 1},
        {"mountpoint": "/a", "parent_mnt_id": 77},
        {"mountpoint": "/a", "parent_mnt_id": 2, "mnt_id": 2},
    ],
    ids=lambda values: " ".join(f"{k}={v}" for k, v in values.items()),
)
def test_names_that_lead_out_are_refused(tmp_path: Path, values: dict[str, Any]) -> None:
    with pytest.raises(BadImage):
        image.read(opened(write(tmp_path, values)), IDENT)


def test_parents_in_a_circle_are_refused(tmp_path: Path) -> None:
    circle = (
        {"mountpoint": "/a", "mnt_id": 5, "parent_mnt_id": 6},
        {"mountpoint": "/a", "mnt_id": 6, "parent_mnt_id": 5},
    )
    with pytest.raises(BadImage, match="each other's parents"):
        image.read(opened(write(tmp_path, *circle)), IDENT)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A directory beside the root, with a file."""
    path = tmp_path / "outside"
    path.mkdir()
    (path / "secret").write_text("secret")
    (tmp_path / "root").mkdir()
    return path


@pytest.mark.parametrize("link", ["../outside", "absolute"])
def test_a_planted_link_is_no_mount_point(tmp_path: Path, outside: Path, link: str) -> None:
    (tmp_path / "root" / "link").symlink_to(str(outside) if link == "absolute" else link)
    images = write(tmp_path, {"mountpoint": "/link", "fstype": 14, "source": "mqueue"})
    assert "refused: mount 3" in restore(tmp_path, images)


@pytest.mark.parametrize("link", ["../outside", "absolute"])
def test_a_planted_link_is_no_way_to_a_mount_point(tmp_path: Path, outside: Path, link: str) -> None:
    (outside / "below").mkdir()
    (tmp_path / "root" / "link").symlink_to(str(outside) if link == "absolute" else link)
    images = write(tmp_path, {"mountpoint": "/link/below", "fstype": 14, "source": "mqueue"})
    assert "refused: mount 3" in restore(tmp_path, images)


def test_a_planted_link_is_no_source_of_a_bind(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "root" / "link").symlink_to(str(outside))
    (tmp_path / "root" / "bind").mkdir()
    assert "refused: mount 3" in restore(tmp_path, write(tmp_path, bind(mountpoint="/bind", root="/somewhere/link")))


def test_a_planted_link_is_no_place_to_make_what_was_deleted(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "root" / "link").symlink_to(str(outside))
    (tmp_path / "root" / "bind").mkdir()
    deleted = bind(mountpoint="/bind", root="/somewhere/link/secret", deleted=True)
    assert "refused: mount 3" in restore(tmp_path, write(tmp_path, deleted))
    assert (outside / "secret").read_text() == "secret"


def test_an_archive_does_not_lead_out_of_its_file_system(tmp_path: Path, outside: Path) -> None:
    import io
    import tarfile

    images = write(tmp_path, {"mountpoint": "/t", "source": "t"})
    (tmp_path / "root" / "t").mkdir()
    with tarfile.open(images / "tmpfs-dev-91.tar.gz.img", "w:gz") as archive:
        for name, target in (("up", str(outside)), ("relative", "../../outside")):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        for name in ("up/planted", "relative/planted", "../outside/planted", f"{outside}/planted"):
            file = tarfile.TarInfo(name)
            file.size = 7
            archive.addfile(file, io.BytesIO(b"planted"))
    restore(tmp_path, images)
    assert os.listdir(outside) == ["secret"]


@pytest.mark.parametrize("name", ["up/s", "../outside/s", "./../../outside/s", "/up/s"])
def test_a_socket_does_not_lead_out_of_its_file_system(tmp_path: Path, outside: Path, name: str) -> None:
    import tarfile

    socket = {"name": name, "mode": 0o777, "uid": 0, "gid": 0, "mtime_ns": 0}
    images = write(tmp_path, {"mountpoint": "/t", "source": "t", "sockets": [socket]})
    (tmp_path / "root" / "t").mkdir()
    with tarfile.open(images / "tmpfs-dev-91.tar.gz.img", "w:gz") as archive:
        link = tarfile.TarInfo("up")
        link.type, link.linkname = tarfile.SYMTYPE, str(outside)
        archive.addfile(link)
    assert restore(tmp_path, images).startswith("refused:")
    assert os.listdir(outside) == ["secret"]


def test_a_root_that_is_no_mount_point_is_refused(tmp_path: Path) -> None:
    images = write(tmp_path)
    (tmp_path / "root").mkdir()
    script = RESTORE.replace("mounts.mount(root, root, None, mounts.MS_BIND)\n", "")
    args = [sys.executable, "-c", script, str(images), str(tmp_path / "root")]
    done = subprocess.run(args, capture_output=True, text=True, timeout=60)
    assert "is not a mount point: mount --bind" in done.stdout, done.stderr


def test_a_failed_restore_of_deleted_binds_leaves_nothing(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "bind").mkdir()
    (root / "gone").write_text("another one of the name")
    deleted = bind(mountpoint="/bind", root="/somewhere/gone", deleted=True)
    missing = {"mountpoint": "/bind/missing", "fstype": 14, "parent_mnt_id": 3, "source": "mqueue"}
    assert "refused" in restore(tmp_path, write(tmp_path, deleted, missing))
    assert sorted(os.listdir(root)) == ["bind", "gone"]
    assert (root / "gone").read_text() == "another one of the name"


def test_mountinfo_is_unescaped() -> None:
    left = r"36 35 98:0 /a\040b\134\011 /x\012y rw,noatime,nosymfollow shared:7 master:9 unbindable"
    mount = mountinfo.Mount(left + r" - tmpfs \043s ro,size=1k,x=\054")
    assert (mount.root, mount.point, mount.source) == ("/a b\\\t", "/x\ny", "#s")
    assert (mount.shared, mount.master, mount.dev) == (7, 9, 98 << 20)
    assert (mount.options, mount.sb_flags) == (["size=1k", "x=,"], 1)
    assert mount.flags == 0x400 | 0x100 | 1 << 20 | 1 << 19 | 1 << 17
    deleted = mountinfo.Mount("36 35 0:40 /gone//deleted /x rw - tmpfs  rw")
    assert (deleted.root, deleted.deleted, deleted.source) == ("/gone", True, "")


def test_external_mounts_are_told_by_old_and_new_options() -> None:
    def external(dumping: bool, *args: str) -> External:
        return External(parse(["check", *args]), dumping)

    assert external(True, "--external", "mnt[/a/b]:KEY").map == {"/a/b": "KEY"}
    assert external(True, "--ext-mount-map", "/a:KEY").map == {"/a": "KEY"}
    assert external(False, "--external", "mnt[KEY]:/host/a[1]").map == {"KEY": "/host/a[1]"}
    found = external(True, "--external", "mnt[]:sm")
    assert (found.auto, found.masters, found.sharing) == (True, True, True)
    assert external(True, "--ext-mount-map", "auto", "--enable-external-masters").masters
    for bad in ("mnt[]:x", "mnt[KEY", "mnt[KEY]"):
        with pytest.raises(BadOption):
            external(False, "--external", bad)


def mounted(line: str) -> mountinfo.Mount:
    """A mount of a line of mountinfo from the mount point on."""
    return mountinfo.Mount(f"36 35 0:99 / {line}")


def test_layers_that_cannot_be_seen_are_refused(tmp_path: Path) -> None:
    from engine.mounts import fs_overlay

    (tmp_path / "a:b").mkdir()
    (tmp_path / "c").mkdir()
    there = f"lowerdir={tmp_path}/a\\134:b:{tmp_path}/c::{tmp_path}/c,upperdir={tmp_path}/c"
    assert fs_overlay.look(mounted(f"/m rw - overlay o rw,{there}")) == []
    cases = {
        "upperdir=/nowhere": "/nowhere cannot be seen",
        "lowerdir=c": "not absolute",
        "workdir=/" + "x" * 255: "longer",
    }
    for option, why in cases.items():
        (said,) = fs_overlay.look(mounted(f"/m rw - overlay o rw,{option}"))
        assert why in said and "--external 'mnt[/m]:KEY'" in said


def external_mount(**values: Any) -> dict[str, Any]:
    return {"mountpoint": "/e", "fstype": 0, **values}


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"ext_key": "VOLUME"}, "--external 'mnt[VOLUME]:PATH'"),
        ({"ext_mount": True, "root": "/old"}, "--external 'mnt[/old]:PATH'"),
        ({"ext_key": "CRIU:AUTOGENERATED", "source": "/etc"}, "restore with --external 'mnt[]', too"),
        (
            {"ext_key": "CRIU:EXTERNAL_DEV", "source": "dev[D]", "fstype": 16, "fsname": "ext4"},
            "--external 'dev[D]:PATH'",
        ),
        ({"source": "/dev/vda", "fstype": 16, "fsname": "ext4"}, "restore with --enable-fs ext4, too"),
        ({"master_id": 7, "root_dev": DEV, "root": "/somewhere"}, "restore with --enable-external-masters"),
        ({"fstype": 17, "fsname": "overlay", "options": "lowerdir=/outside"}, "outside"),
    ],
    ids=["key", "old", "auto", "device", "kind", "master", "layer"],
)
def test_what_is_outside_is_only_had_when_the_user_says_so(
    tmp_path: Path, outside: Path, values: dict[str, Any], why: str
) -> None:
    (tmp_path / "root" / "e").mkdir()
    said = restore(tmp_path, write(tmp_path, external_mount(**values)))
    assert said.startswith("refused:") and why in said
