"""Mounts and devices of config.json, looked at from inside: options, maps of ids, copies, nodes."""

import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

import harness
from harness import umount

pytestmark = pytest.mark.nucleus_only


@pytest.fixture
def source(tmp_path):
    """A directory of the host to bind, with a mount of its own in it: source/sub."""
    path = tmp_path / "source"
    (path / "sub").mkdir(parents=True)
    (path / "file").write_text("file\n")
    harness.mount(path, path, flags=harness.MS_BIND)
    harness.mount("tmpfs", path / "sub", "tmpfs")
    (path / "sub" / "below").write_text("below\n")
    yield path
    umount(path / "sub")
    umount(path)


@pytest.fixture
def inside(nucleus, bundle, cid):
    """Runs a script in the container and gives what it prints; the container is gone then."""

    def run(script, *options, **spawn):
        result = nucleus.run_container(cid, bundle.sh(script), *options, **spawn)
        nucleus.delete(cid, check=False)
        return result.out

    return run


class Mount:
    """A line of mountinfo (proc_pid_mountinfo(5))."""

    def __init__(self, line):
        fields = line.split()
        dash = fields.index("-")
        self.root, self.point = fields[3:5]
        self.options = set(fields[5].split(","))
        self.tags = {t.split(":")[0] for t in fields[6:dash]}
        self.type, self.source = fields[dash + 1:dash + 3]
        self.super = set(fields[dash + 3].split(","))


def mounts(text):
    """The mounts by their points; where there are several, the last."""
    return {m.point: m for m in map(Mount, filter(None, text.splitlines()))}


@pytest.fixture
def mounted(inside):
    return lambda *options: mounts(inside("cat /proc/self/mountinfo", *options))


def add(bundle, destination, fstype, origin, *options, **more):
    bundle.config["mounts"].append({"destination": destination, "type": fstype, "source": str(origin),
                                    "options": list(options), **more})
    return bundle.write()


# ---- options of one mount

SET = ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"]


@pytest.mark.parametrize("option", SET)
@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_option_that_sets(bundle, mounted, source, option, kind):
    if kind == "bind":
        add(bundle, "/m", "bind", source, "bind", option)
    else:
        bundle.tmpfs("/m", option)
    assert option in mounted()["/m"].options


CLEAR = {"rw": "ro", "suid": "nosuid", "dev": "nodev", "exec": "noexec", "atime": "noatime",
         "diratime": "nodiratime", "symfollow": "nosymfollow"}
FLAGS = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "nosymfollow": 256, "noatime": 1024,
         "nodiratime": 2048}
MS_REMOUNT = 32


@pytest.mark.parametrize("option", CLEAR)
def test_option_that_clears_what_the_source_has(bundle, mounted, source, option):
    flag = CLEAR[option]
    harness.mount(None, source, flags=harness.MS_BIND | MS_REMOUNT | FLAGS[flag])
    add(bundle, "/as-it-is", "bind", source, "bind")
    add(bundle, "/cleared", "bind", source, "bind", option)
    got = mounted()
    assert flag in got["/as-it-is"].options
    assert flag not in got["/cleared"].options


@pytest.mark.parametrize("options, shown", [
    (["relatime"], {"relatime"}), (["norelatime"], {"relatime"}), (["noatime", "strictatime"], set()),
    (["strictatime", "nostrictatime"], {"relatime"}), (["strictatime", "noatime"], {"noatime"}),
    (["strictatime", "nodiratime"], {"nodiratime"}),
])
def test_options_of_access_times(bundle, mounted, source, options, shown):
    add(bundle, "/b", "bind", source, "bind", *options)
    bundle.tmpfs("/t", *options)
    got = mounted()
    for point in ("/b", "/t"):
        assert {o for o in got[point].options if "atime" in o or "diratime" in o} == shown


def test_later_options_win(bundle, mounted, source):
    add(bundle, "/m", "bind", source, "bind", "ro", "noexec", "rw", "exec", "nosuid")
    assert {"rw", "nosuid"} <= mounted()["/m"].options
    assert "noexec" not in mounted()["/m"].options


# ---- options of a tree


@pytest.mark.parametrize("option", SET)
def test_recursive_option_that_sets(bundle, mounted, source, option):
    add(bundle, "/one", "bind", source, "rbind", option)
    add(bundle, "/all", "bind", source, "rbind", "r" + option)
    bundle.tmpfs("/fs", "r" + option)
    got = mounted()
    assert option in got["/one"].options and option not in got["/one/sub"].options
    assert option in got["/all"].options and option in got["/all/sub"].options
    assert option in got["/fs"].options


@pytest.mark.parametrize("option", CLEAR)
def test_recursive_option_that_clears(bundle, mounted, source, option):
    flag = CLEAR[option]
    for path in (source, source / "sub"):
        harness.mount(None, path, flags=harness.MS_BIND | MS_REMOUNT | FLAGS[flag])
    add(bundle, "/as-it-is", "bind", source, "rbind")
    add(bundle, "/one", "bind", source, "rbind", option)
    add(bundle, "/all", "bind", source, "rbind", "r" + option)
    got = mounted()
    assert flag in got["/as-it-is"].options and flag in got["/as-it-is/sub"].options
    assert flag not in got["/one"].options and flag in got["/one/sub"].options
    assert flag not in got["/all"].options and flag not in got["/all/sub"].options


@pytest.mark.parametrize("options, shown", [
    (["rrelatime"], {"relatime"}), (["rnoatime", "rstrictatime"], set()), (["ratime"], {"relatime"}),
    (["rnorelatime"], {"relatime"}), (["rstrictatime", "rnostrictatime"], {"relatime"}),
])
def test_recursive_options_of_access_times(bundle, mounted, source, options, shown):
    for path in (source, source / "sub"):
        harness.mount(None, path, flags=harness.MS_BIND | MS_REMOUNT | FLAGS["noatime"])
    add(bundle, "/m", "bind", source, "rbind", *options)
    got = mounted()
    for point in ("/m", "/m/sub"):
        assert {o for o in got[point].options if "atime" in o} == shown


def test_recursive_option_comes_behind_the_other(bundle, mounted, source):
    add(bundle, "/m", "bind", source, "rbind", "rrw", "ro")
    got = mounted()
    assert "rw" in got["/m"].options and "rw" in got["/m/sub"].options


def test_rbind_brings_what_is_mounted_below(bundle, inside, source):
    add(bundle, "/one", "bind", source, "bind")
    add(bundle, "/all", "bind", source, "rbind")
    assert inside("ls /one/sub; echo; cat /all/sub/below").split() == ["below"]


# ---- options of a file system, and those without a meaning


def test_options_of_a_file_system(bundle, mounted):
    bundle.tmpfs("/s", "sync", "dirsync", "lazytime", "size=64k", "mode=711")
    bundle.tmpfs("/a", "sync", "async", "lazytime", "nolazytime")
    got = mounted()
    assert {"sync", "dirsync", "lazytime", "size=64k", "mode=711"} <= got["/s"].super
    assert not {"sync", "lazytime"} & got["/a"].super


@pytest.mark.parametrize("option", ["defaults", "silent", "loud", "iversion", "noiversion", "nomand"])
def test_option_that_changes_nothing(bundle, mounted, source, option):
    bundle.tmpfs("/t", option)
    add(bundle, "/b", "bind", source, "bind", option)
    got = mounted()
    assert got["/t"].type == "tmpfs" and "/b" in got


def test_option_that_no_kernel_has(nucleus, bundle, cid):
    result = nucleus.run_container(cid, bundle.tmpfs("/t", "mand").sh("cat /proc/self/mountinfo"))
    assert "/t" in mounts(result.out)
    assert "mounts[7].options" in result.err and "'mand'" in result.err
    nucleus.delete(cid, check=False)


def test_option_of_a_file_system_that_it_does_not_know(nucleus, bundle, cid):
    nucleus.fails("run", "-b", bundle.tmpfs("/t", "sise=1k").dir, cid, text="sise=1k")


def test_option_that_a_bind_mount_can_not_have(nucleus, bundle, cid, source):
    add(bundle, "/b", "bind", source, "bind", "size=1k")
    nucleus.fails("run", "-b", bundle.dir, cid, text=["size=1k", "mounts[7].options"])


# ---- remount


def test_remount(bundle, mounted, source):
    add(bundle, "/b", "bind", source, "bind", "nosuid")
    bundle.tmpfs("/t", "size=64k", "nodev")
    add(bundle, "/b", "none", "none", "remount", "bind", "ro")
    add(bundle, "/t", "tmpfs", "tmpfs", "remount", "size=128k")
    got = mounted()
    assert {"ro", "nosuid"} <= got["/b"].options
    assert "nodev" in got["/t"].options and "size=128k" in got["/t"].super


def test_remount_of_what_is_no_mount(nucleus, bundle, cid):
    add(bundle, "/etc", "none", "none", "remount", "bind", "ro")
    nucleus.fails("run", "-b", bundle.dir, cid, text=["/etc", "nothing is mounted there"])


def test_remount_does_not_change_file_systems_of_the_host(nucleus, bundle, cid, source):
    add(bundle, "/b", "bind", source / "sub", "bind")
    add(bundle, "/b", "tmpfs", "tmpfs", "remount", "size=64k")
    nucleus.fails("run", "-b", bundle.dir, cid, text=["size=64k", "mounts[8]"])


# ---- propagation

TAGS = {"private": set(), "slave": {"master"}, "shared": {"shared"}, "unbindable": {"unbindable"}}


@pytest.fixture
def shared(source):
    """The source, its mounts being shared."""
    for path in (source, source / "sub"):
        harness.mount(None, path, flags=1 << 20)
    return source


@pytest.mark.parametrize("option", TAGS)
def test_propagation_of_a_bind(bundle, mounted, shared, option):
    add(bundle, "/one", "bind", shared, "rbind", option)
    add(bundle, "/all", "bind", shared, "rbind", "r" + option)
    add(bundle, "/default", "bind", shared, "rbind")
    got = mounted()
    assert got["/one"].tags == TAGS[option]
    assert got["/all"].tags == TAGS[option] and got["/all/sub"].tags == TAGS[option]
    assert got["/default"].tags == set() and got["/default/sub"].tags == set()


def test_a_shared_mount_reaches_the_host_and_back(nucleus, bundle, cid, shared):
    (shared / "late").mkdir()
    add(bundle, "/s", "bind", shared, "rbind", "rshared")
    add(bundle, "/p", "bind", shared, "rbind")
    for kind in ("bounding", "effective", "permitted"):
        bundle.process["capabilities"][kind] = ["CAP_SYS_ADMIN"]
    nucleus.run_container(cid, bundle.sh(
        "mount -t tmpfs made /s/late && mount -t tmpfs made /p/sub && echo ok > /s/late/x"))
    nucleus.delete(cid, check=False)
    try:
        assert (shared / "late" / "x").read_text() == "ok\n"
        assert (shared / "sub" / "below").exists()
    finally:
        umount(shared / "late")


@pytest.mark.parametrize("value", ["shared", "slave", "private", "unbindable"])
def test_rootfs_propagation(bundle, mounted, value):
    harness.mount(bundle.rootfs, bundle.rootfs, flags=harness.MS_BIND)
    harness.mount(None, bundle.rootfs, flags=1 << 20)
    try:
        bundle.linux["rootfsPropagation"] = value
        got = mounted()
    finally:
        umount(bundle.rootfs)
    # A shared one still hears what the host mounts: it is a peer group of its own, below the host's.
    assert got["/"].tags == TAGS[value] | ({"master"} if value == "shared" else set())
    assert got["/proc"].tags == set()


def test_rootfs_that_is_shared_does_not_reach_the_host(nucleus, bundle, cid):
    harness.mount(bundle.rootfs, bundle.rootfs, flags=harness.MS_BIND)
    harness.mount(None, bundle.rootfs, flags=1 << 20)
    try:
        bundle.linux["rootfsPropagation"] = "shared"
        for kind in ("bounding", "effective", "permitted"):
            bundle.process["capabilities"][kind] = ["CAP_SYS_ADMIN"]
        nucleus.run_container(cid, bundle.sh("mount -t tmpfs made /mnt && touch /mnt/x"))
        nucleus.delete(cid, check=False)
        assert not list((bundle.rootfs / "mnt").iterdir())
    finally:
        umount(bundle.rootfs)


# ---- maps of ids


def owned(path, uid, gid):
    path.write_text(path.name)
    os.chown(path, uid, gid)


def maps(*rows):
    rows = [{"containerID": c, "hostID": h, "size": n} for c, h, n in rows]
    return {"uidMappings": rows, "gidMappings": rows}


@pytest.fixture
def idmap_source(source):
    """The source, on a file system that can (overlayfs can't; tmpfs, at source/sub, since Linux 6.3)."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", source], capture_output=True, text=True, check=True)
    if "overlay" in kind.stdout or tuple(map(int, os.uname().release.split(".")[:2])) < (6, 3):
        pytest.skip("this file system, or kernel, can't map ids")
    return source


def owners(inside, *paths):
    """Seen in the container: {path: (uid, gid)}."""
    lines = inside("stat -c '%n %u %g' " + " ".join(paths)).splitlines()
    return {name: (int(u), int(g)) for name, u, g in (line.split() for line in lines)}


@pytest.mark.parametrize("option", ["idmap", "ridmap", None])
def test_idmap_with_maps(bundle, inside, idmap_source, option):
    owned(idmap_source / "root", 0, 0)
    owned(idmap_source / "user", 1001, 1002)
    owned(idmap_source / "other", 5000, 5000)
    owned(idmap_source / "sub" / "root", 0, 0)
    add(bundle, "/m", "bind", idmap_source, "rbind", *[option][:option is not None],
        **maps((0, 3000, 10), (1000, 0, 100)))
    assert owners(inside, "/m/root", "/m/user", "/m/other", "/m/sub/root") == {
        "/m/root": (3000, 3000), "/m/user": (1, 2), "/m/other": (65534, 65534),
        "/m/sub/root": (3000, 3000) if option == "ridmap" else (0, 0)}


def test_idmap_what_is_written_has_the_files_ids(bundle, inside, idmap_source):
    idmap_source.chmod(0o777)
    os.chown(idmap_source, 1001, 1001)
    add(bundle, "/m", "bind", idmap_source, "bind", "idmap", **maps((1000, 0, 2)))
    inside("touch /m/new")
    found = (idmap_source / "new").stat()
    assert (found.st_uid, found.st_gid) == (1000, 1000)


def test_idmap_by_the_containers_user_namespace(bundle, inside, idmap_source):
    owned(idmap_source / "root", 0, 0)
    owned(idmap_source / "user", 1000, 1000)
    bundle.user_namespace()
    add(bundle, "/m", "bind", idmap_source, "bind", "idmap")
    add(bundle, "/plain", "bind", idmap_source, "bind")
    got = owners(inside, "/m/root", "/m/user", "/plain/root")
    assert got == {"/m/root": (0, 0), "/m/user": (1000, 1000), "/plain/root": (65534, 65534)}


def test_idmap_by_a_joined_user_namespace(nucleus, make_bundle, bundle, cid, idmap_source):
    owned(idmap_source / "user", 7, 8)
    other = make_bundle("other").user_namespace().args("sleep", "1000")
    first = nucleus.new_id("first")
    nucleus.run_container(first, other, "-d")
    try:
        bundle.user_namespace()
        for kind in ("uidMappings", "gidMappings"):
            del bundle.linux[kind]
        pid = nucleus.state(first)["pid"]
        for space in bundle.linux["namespaces"]:
            if space["type"] == "user":
                space["path"] = f"/proc/{pid}/ns/user"
        add(bundle, "/m", "bind", idmap_source, "bind", "idmap")
        result = nucleus.run_container(cid, bundle.sh("stat -c '%u %g' /m/user"))
        assert result.out.split() == ["7", "8"]
        nucleus.delete(cid, check=False)
    finally:
        nucleus.delete(first, "-f")


def test_idmap_without_any_ids(nucleus, bundle, cid, source):
    add(bundle, "/m", "bind", source, "bind", "idmap")
    nucleus.fails("run", "-b", bundle.dir, cid, text=["mounts[7]", "uidMappings"])


def test_idmap_of_a_file_system_that_can_not(nucleus, bundle, cid):
    add(bundle, "/m", "bind", "/proc/sys", "bind", "idmap", **maps((0, 1000, 1)))
    nucleus.fails("run", "-b", bundle.dir, cid, text=["/proc/sys", "mounts[7]", "can't have its ids"])


def test_idmap_with_maps_that_overlap(nucleus, bundle, cid, source):
    add(bundle, "/m", "bind", source, "bind", "idmap", **maps((0, 1000, 10), (5, 2000, 10)))
    nucleus.fails("run", "-b", bundle.dir, cid, text="mounts[7]")


def test_idmap_of_a_new_file_system(nucleus, bundle, cid):
    add(bundle, "/m", "tmpfs", "tmpfs", "idmap", **maps((0, 1000, 10)))
    nucleus.fails("run", "-b", bundle.dir, cid, text=["mounts[7]", "bind mount"])


# ---- tmpcopyup


def test_tmpcopyup(bundle, inside):
    data = bundle.rootfs / "data"
    (data / "a" / "b").mkdir(parents=True)
    (data / "file").write_text("text\n")
    (data / "file").chmod(0o4711)
    os.chown(data / "file", 3, 4)
    (data / "file").chmod(0o4711)
    (data / "a" / "b" / "deep").write_text("deep\n")
    (data / "link").symlink_to("../../../../../../etc/passwd")
    os.mkfifo(data / "fifo", 0o600)
    data.chmod(0o757)
    os.chown(data, 5, 6)
    os.setxattr(data / "file", "trusted.test", b"value")
    bundle.tmpfs("/data", "tmpcopyup")
    out = inside(
        "stat -c '%n %a %u %g %F' /data /data/file /data/fifo; readlink /data/link; "
        "cat /data/a/b/deep; rm -r /data/*; touch /data/new; stat -f -c %T /data").splitlines()
    assert out == ["/data 757 5 6 directory", "/data/file 4711 3 4 regular file",
                   "/data/fifo 600 0 0 fifo", "../../../../../../etc/passwd", "deep", "tmpfs"]
    assert (data / "file").exists() and not (data / "new").exists()


def test_tmpcopyup_read_only_and_new(bundle, inside):
    bundle.tmpfs("/etc", "tmpcopyup", "ro").tmpfs("/made", "tmpcopyup")
    out = inside("cat /etc/passwd | head -1; touch /etc/x 2>&1; ls -A /made; touch /made/x && echo ok")
    assert out.startswith("root:x:0:0") and "Read-only" in out and out.endswith("ok\n")


def test_tmpcopyup_into_a_small_one(nucleus, bundle, cid):
    (bundle.rootfs / "etc" / "large").write_bytes(b"x" * 100000)
    nucleus.fails("run", "-b", bundle.tmpfs("/etc", "tmpcopyup", "size=16k").dir, cid,
                  text=["/etc", "size="])


def test_tmpcopyup_of_something_else(nucleus, bundle, cid, source):
    add(bundle, "/m", "bind", source, "bind", "tmpcopyup")
    nucleus.fails("run", "-b", bundle.dir, cid, text=["tmpcopyup", "mounts[7]"])


# ---- flags that a user namespace can not change

USER = dict(user=1000, group=1000, extra_groups=[])


def rootless(bundle):
    """One id, for a caller who is user 1000."""
    bundle.config["mounts"] = [m for m in bundle.config["mounts"]
                               if m["type"] in ("proc", "tmpfs", "mqueue")]
    bundle.linux["namespaces"] = [{"type": t} for t in ("pid", "ipc", "uts", "mount", "user")]
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 0, "hostID": 1000, "size": 1}]
    subprocess.run(["chown", "-hR", "1000:1000", str(bundle.rootfs)], check=True)
    for parent in [bundle.dir, *bundle.dir.parents]:
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    return bundle.write()


@pytest.fixture
def users_store(nucleus):
    nucleus.state_dir.mkdir(mode=0o700)
    os.chown(nucleus.state_dir, 1000, 1000)
    return nucleus


def refused(nucleus, bundle, cid):
    """The error of a container that is not made. (Before it there are warnings.)"""
    result = nucleus.run("run", "-b", bundle.dir, cid, check=False, **USER)
    assert result.rc == 1 and not result.out, str(result)
    assert not nucleus.ids_listed()
    return result.err.splitlines()[-1]


@pytest.fixture
def locked(source):
    source.chmod(0o755)
    harness.mount(None, source, flags=harness.MS_BIND | MS_REMOUNT | FLAGS["nosuid"] | FLAGS["nodev"])
    return source


def test_locked_flags_of_the_source_stay(users_store, bundle, cid, locked):
    rootless(bundle)
    add(bundle, "/m", "bind", locked, "rbind", "ro", "noexec")
    result = users_store.run_container(cid, bundle.sh("cat /proc/self/mountinfo"), **USER)
    assert {"ro", "noexec", "nosuid", "nodev"} <= mounts(result.out)["/m"].options


def test_locked_flags_can_not_be_cleared(users_store, bundle, cid, locked):
    rootless(bundle)
    add(bundle, "/m", "bind", locked, "rbind", "suid")
    assert "has locked" in refused(users_store, bundle, cid)


def test_what_is_mounted_below_must_come_along(users_store, bundle, cid, locked):
    """The kernel does not show what another user namespace had covered."""
    rootless(bundle)
    add(bundle, "/m", "bind", locked, "bind")
    assert "rbind" in refused(users_store, bundle, cid)


def test_idmap_needs_rights_on_the_host(users_store, bundle, cid, locked):
    rootless(bundle)
    add(bundle, "/m", "bind", locked, "bind", "idmap")
    assert "CAP_SYS_ADMIN" in refused(users_store, bundle, cid)


# ---- devices


def device(kind, path, major=None, minor=None, **more):
    numbers = {} if major is None else {"major": major, "minor": minor}
    return {"type": kind, "path": path, **numbers, **more}


def looks(inside, *paths):
    """{path: 'type major:minor mode uid:gid'} as seen inside."""
    lines = inside("stat -c '%n %F %t:%T %a %u:%g' " + " ".join(paths)).splitlines()
    return dict(line.split(" ", 1) for line in lines)


def test_devices(bundle, inside):
    bundle.linux["devices"] = [
        device("c", "/dev/fuse", 10, 229, fileMode=0o640, uid=3, gid=4),
        device("b", "/a/b/disk", 7, 3),
        device("u", "/dev/u", 1, 3),
        device("p", "/run/pipe", fileMode=0o622, uid=5),
        device("c", "/dev/null", 1, 3, fileMode=0o444, gid=9),
    ]
    assert looks(inside, "/dev/fuse", "/a/b/disk", "/dev/u", "/run/pipe", "/dev/null", "/dev/zero") == {
        "/dev/fuse": "character special file a:e5 640 3:4",
        "/a/b/disk": "block special file 7:3 666 0:0",
        "/dev/u": "character special file 1:3 666 0:0",
        "/run/pipe": "fifo 0:0 622 5:0",
        "/dev/null": "character special file 1:3 444 0:9",
        "/dev/zero": "character special file 1:5 666 0:0",
    }


def test_device_that_is_there_already(bundle, inside):
    for name, mode in (("same", 0o666), ("other", 0o600)):
        os.mknod(bundle.rootfs / name, stat.S_IFCHR | mode, os.makedev(1, 5))
        (bundle.rootfs / name).chmod(mode)
    inode = (bundle.rootfs / "same").stat().st_ino
    bundle.linux["devices"] = [device("c", "/same", 1, 5), device("c", "/other", 1, 5)]
    got = looks(inside, "/same", "/other")
    assert set(got.values()) == {"character special file 1:5 666 0:0"}
    assert (bundle.rootfs / "same").stat().st_ino == inode


@pytest.mark.parametrize("there", ["file", "link", "device", "directory", "type"])
def test_device_where_something_else_is(nucleus, bundle, cid, there, tmp_path):
    place, outside = bundle.rootfs / "place", tmp_path / "outside"
    outside.write_text("outside\n")
    {"file": lambda: place.write_text("x"), "directory": place.mkdir,
     "link": lambda: place.symlink_to(outside),
     "device": lambda: os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(1, 5)),
     "type": lambda: os.mknod(place, stat.S_IFBLK | 0o666, os.makedev(1, 3))}[there]()
    bundle.linux["devices"] = [device("c", "/place", 1, 3)]
    nucleus.fails("run", "-b", bundle.write().dir, cid, text=["/place", "something else is there"])
    assert outside.read_text() == "outside\n"


@pytest.mark.parametrize("path", ["/proc/x", "/", "/dev/..", "/a/../proc/self/x"])
def test_device_that_can_not_be_there(nucleus, bundle, cid, path):
    bundle.linux["devices"] = [device("c", path, 1, 3)]
    nucleus.fails("run", "-b", bundle.write().dir, cid, text="linux.devices[0]")


@pytest.mark.parametrize("target", ["/proc", "proc/self", "/sys", "/proc/sys/kernel"])
def test_devices_by_a_link_into_a_file_system_of_the_kernel(nucleus, bundle, cid, target):
    bundle.config["mounts"] = [m for m in bundle.config["mounts"]
                               if not m["destination"].startswith("/dev")]
    (bundle.rootfs / "dev").rmdir()
    (bundle.rootfs / "dev").symlink_to(target)
    nucleus.fails("run", "-b", bundle.write().dir, cid, text="/dev/null")


def test_devices_in_a_user_namespace_are_the_hosts(bundle, inside):
    bundle.user_namespace()
    bundle.linux["devices"] = [device("c", "/dev/null", 1, 3),
                               device("p", "/run/pipe", fileMode=0o600, uid=5, gid=6)]
    assert looks(inside, "/dev/null", "/run/pipe") == {
        "/dev/null": "character special file 1:3 666 65534:65534", "/run/pipe": "fifo 0:0 600 5:6"}


@pytest.mark.parametrize("dev, why", [
    (("b", "/dev/null", 1, 3), "it is not block device 1:3"),
    (("c", "/dev/null", 1, 5), "it is not character device 1:5"),
    (("c", "/dev/nobody-has-this", 1, 3), "/dev/nobody-has-this"),
])
def test_devices_in_a_user_namespace_that_the_host_has_not(nucleus, bundle, cid, dev, why):
    bundle.user_namespace()
    bundle.linux["devices"] = [device(*dev)]
    nucleus.fails("run", "-b", bundle.write().dir, cid, text=["linux.devices[0]", why])


def test_devices_beside_a_bound_dev(nucleus, bundle, cid, inside, tmp_path):
    dev = tmp_path / "dev"
    dev.mkdir()
    os.mknod(dev / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    bundle.config["mounts"] = [m for m in bundle.config["mounts"]
                               if not m["destination"].startswith("/dev")]
    bundle.bind(dev, "/dev")
    bundle.linux["devices"] = [device("c", "/dev/null", 1, 3), device("c", "/zero", 1, 5)]
    assert looks(inside, "/zero") == {"/zero": "character special file 1:5 666 0:0"}
    bundle.linux["devices"].append(device("c", "/dev/fuse", 10, 229))
    nucleus.fails("run", "-b", bundle.write().dir, cid, text=["/dev/fuse", "bind mount"])
    assert [p.name for p in dev.iterdir()] == ["null"]


# ---- cgroup


@pytest.mark.parametrize("user", [False, True], ids=["root", "user-namespace"])
def test_cgroup_without_a_namespace_is_the_containers_own(nucleus, bundle, cid, user):
    bundle.namespaces("pid", "network", "ipc", "uts", "mount")
    if user:
        bundle.user_namespace()
    out = nucleus.run_container(cid, bundle.sh(
        "cat /proc/self/mountinfo; cat /sys/fs/cgroup/cgroup.procs; ls /sys/fs/cgroup; "
        "touch /sys/fs/cgroup/x 2>&1; :")).out
    found = mounts("\n".join(line for line in out.splitlines() if " - " in line))["/sys/fs/cgroup"]
    assert found.type == "cgroup2" and {"ro", "nosuid", "nodev", "noexec"} <= found.options
    assert found.root.endswith(f"/{cid}"), found.root
    lines = out.splitlines()
    assert "1" in lines and "cgroup.type" in lines
    # Not the host's tree.
    assert "nucleus" not in lines and not out.count("cgroup.procs") > 1
    nucleus.delete(cid, check=False)


def test_cgroup_in_a_joined_namespace_is_the_containers_own(nucleus, make_bundle, bundle, cid):
    first = nucleus.new_id("first")
    nucleus.run_container(first, make_bundle("other").args("sleep", "1000"), "-d")
    try:
        pid = nucleus.state(first)["pid"]
        for space in bundle.linux["namespaces"]:
            if space["type"] == "cgroup":
                space["path"] = f"/proc/{pid}/ns/cgroup"
        result = nucleus.run_container(cid, bundle.sh(
            "cat /sys/fs/cgroup/cgroup.procs; grep ' /sys/fs/cgroup ' /proc/self/mountinfo"))
        assert result.out.split()[0] == "1"
        assert f"/../{cid} /sys/fs/cgroup" in result.out
        nucleus.delete(cid, check=False)
    finally:
        nucleus.delete(first, "-f")


def test_cve_2023_25809_cgroups_of_the_host_are_not_writable(bundle, inside):
    """A /sys of the host, without a cgroup namespace: the cgroups below it are a mount of their own, that
    "ro" says nothing of. With "rro" none is left writable, and a mount of type cgroup is read-only too."""
    bundle.namespaces("pid", "ipc", "uts", "mount")
    bundle.user_namespace()
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["destination"] != "/sys"]
    bundle.config["mounts"].insert(0, {"destination": "/sys", "type": "none", "source": "/sys",
                                       "options": ["rbind", "rro", "rnosuid", "rnodev", "rnoexec"]})
    got = [Mount(line) for line in inside("cat /proc/self/mountinfo").splitlines()]
    below = [m for m in got if m.point.startswith("/sys")]
    assert len(below) > 1 and all("ro" in m.options for m in below), [m.point for m in below]


# ---- --no-pivot


def test_no_pivot(bundle, inside, tmp_path):
    (tmp_path / "secret").write_text("secret\n")
    out = inside(f"cat /proc/self/mountinfo; ls {tmp_path} 2>&1; pwd; ls /; cat /proc/1/comm",
                 "--no-pivot")
    lines = out.splitlines()
    assert any("No such file" in line for line in lines) and "/" in lines and "zoo" in lines
    got = [Mount(line) for line in lines if " - " in line]
    assert [m.point for m in got if m.type == "proc" and m.root == "/"] == ["/proc"]
    assert [m.point for m in got if m.type == "sysfs" and m.root == "/"] == ["/sys"]
    assert os.path.ismount("/proc") and Path("/proc/self").exists()


def test_no_pivot_is_masked_too(bundle, inside):
    out = inside("touch /proc/sys/kernel/x 2>&1; cat /proc/sysrq-trigger 2>&1; head -c1 /proc/kcore | wc -c",
                 "--no-pivot")
    assert out.splitlines()[-1] == "0"


def test_no_pivot_does_not_let_out(nucleus, bundle, cid, tmp_path):
    """The classic way out of a chroot."""
    (tmp_path / "secret").write_text("secret\n")
    for kind in ("bounding", "effective", "permitted"):
        bundle.process["capabilities"][kind] = ["CAP_SYS_CHROOT"]
    bundle.python()
    bundle.args("/usr/bin/python3", "-c", (
        "import os\n"
        "os.mkdir('/d'); slash = os.open('/', os.O_RDONLY); os.chroot('/d'); os.fchdir(slash)\n"
        "for i in range(99): os.chdir('..')\n"
        "os.chroot('.')\n"
        f"print(os.path.exists('/zoo'), os.path.exists({str(tmp_path / 'secret')!r}))\n"))
    result = nucleus.run_container(cid, bundle, "--no-pivot")
    assert result.out.split() == ["True", "False"]
    nucleus.delete(cid, check=False)


def test_no_pivot_leaves_the_hosts_mounts(nucleus, bundle, cid):
    before = Path("/proc/self/mountinfo").read_text()
    nucleus.run_container(cid, bundle.sh(":"), "--no-pivot")
    nucleus.delete(cid, check=False)
    assert Path("/proc/self/mountinfo").read_text() == before


# ---- very many

MANY = 10_000 - len(harness.default_config()["mounts"])  # more are no config.json


def many(bundle, kind, source):
    for i in range(MANY):
        entry = {"destination": f"/many/{i % 100}/{i}"}
        if kind == "bind":
            entry.update(type="bind", source=str(source), options=["bind", "ro"])
        else:
            entry.update(type="tmpfs", source="tmpfs", options=["ro", "size=4k"])
        bundle.config["mounts"].append(entry)
    return bundle.write()


@pytest.mark.parametrize("kind", ["bind", "tmpfs"])
def test_very_many_mounts(nucleus, bundle, cid, source, kind):
    many(bundle, kind, source)
    result = nucleus.run_container(
        cid, bundle.sh("grep -c ' /many/' /proc/self/mountinfo; ls /many/0/0; ulimit -n"),
        timeout=300, prefix=["prlimit", "--nofile=1024:"])
    assert result.out.split()[0] == str(MANY)
    assert result.out.split()[-1] == "1024"
    if kind == "bind":
        assert "file" in result.out.split()
    nucleus.delete(cid, check=False)
    shutil.rmtree(bundle.rootfs / "many")


def test_very_many_mounts_with_few_open_files(nucleus, bundle, cid, source):
    many(bundle, "bind", source)
    nucleus.fails("run", "-b", bundle.dir, cid, timeout=300, prefix=["prlimit", "--nofile=1024:1024"],
                  text=["mounts[", "RLIMIT_NOFILE"])
    assert nucleus.list() == [] and not nucleus.cgroups(cid)


def test_very_many_masked_and_read_only_paths(nucleus, bundle, cid):
    top = bundle.rootfs / "many"
    for i in range(500):
        (top / f"d{i}").mkdir(parents=True)
        (top / f"d{i}" / "secret").write_text("secret")
        (top / f"f{i}").write_text("secret")
        (top / f"r{i}").mkdir()
    bundle.linux["maskedPaths"] += [f"/many/{k}{i}" for i in range(500) for k in "df"]
    bundle.linux["maskedPaths"] += [f"/many/absent{i}" for i in range(8000)]
    bundle.linux["readonlyPaths"] += [f"/many/r{i}" for i in range(500)]
    result = nucleus.run_container(cid, bundle.write().sh(
        "cat /many/f* /many/d*/* 2>/dev/null | wc -c; touch /many/r499/x 2>&1"), timeout=60, check=False)
    assert result.out.split()[0] == "0" and "Read-only" in result.out
    nucleus.delete(cid, check=False)


# ---- paths that are not what they look like


@pytest.mark.parametrize("destination", ["/a/../../../../m", "m", "//m//.", "/link/m", "/../m"])
def test_destinations_stay_inside(bundle, inside, source, destination):
    (bundle.rootfs / "link").symlink_to("../../../../..")
    add(bundle, destination, "bind", source, "bind")
    assert inside("cat /m/file") == "file\n"
    assert not Path("/m").exists()


def test_cve_2024_45310_mount_points_are_not_made_outside(nucleus, bundle, cid, source, tmp_path):
    """Somebody swaps a directory that a mount point is just being made in for a link to the host."""
    outside = tmp_path / "outside"
    outside.mkdir()
    place, link = bundle.rootfs / "shared", bundle.rootfs / "link"
    link.symlink_to(outside)
    for i in range(30):
        add(bundle, f"/shared/{'deep/' * 20}{i}", "bind", source, "bind")
    bundle.args("true")
    swapper = subprocess.Popen(
        ["/usr/bin/python3", "-c",
         "import ctypes, os, sys\n"
         "libc = ctypes.CDLL(None)\n"
         "a, b = (os.fsencode(x) for x in sys.argv[1:])\n"
         "while True:\n"
         "    os.makedirs(a, exist_ok=True)\n"
         "    libc.renameat2(-100, a, -100, b, 2)\n"  # RENAME_EXCHANGE
         , str(place), str(link)], stderr=subprocess.DEVNULL)
    try:
        for _ in range(15):
            nucleus.run_container(cid, bundle, check=False)
            nucleus.delete(cid, "-f", check=False)
            shutil.rmtree(place, ignore_errors=True)
    finally:
        swapper.kill()
        swapper.wait()
    assert not list(outside.iterdir())


@pytest.mark.parametrize("destination", ["/", "/..", "/a/..", "/link"])
def test_destination_that_is_the_root(nucleus, bundle, cid, source, destination):
    (bundle.rootfs / "link").symlink_to("/")
    add(bundle, destination, "bind", source, "bind")
    nucleus.fails("run", "-b", bundle.dir, cid, text="root")


def test_source_that_is_not_there(nucleus, bundle, cid, tmp_path):
    add(bundle, "/m", "bind", tmp_path / "absent", "bind")
    nucleus.fails("run", "-b", bundle.dir, cid, text=["mounts[7]", "absent"])
    assert nucleus.list() == [] and not nucleus.cgroups(cid)


def test_mount_namespace_of_somebody_else(nucleus, bundle, cid):
    for space in bundle.linux["namespaces"]:
        if space["type"] == "mount":
            space["path"] = "/proc/self/ns/mnt"
    before = Path("/proc/self/mountinfo").read_text()
    nucleus.fails("run", "-b", bundle.write().dir, cid, text="mount")
    assert Path("/proc/self/mountinfo").read_text() == before


def test_names_of_options_are_those_that_work(nucleus):
    """`features` says what the table has."""
    names = nucleus.run("features").json["mountOptions"]
    assert {"rro", "idmap", "ridmap", "tmpcopyup", "remount", "rnosymfollow", "bind"} <= set(names)
    assert "mand" not in names and len(names) == len(set(names))
    assert all(re.fullmatch("[a-z]+", name) for name in names)
