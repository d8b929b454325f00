"""Attacks that get no file, but rights: capabilities nobody asked for, another user than was named, the
host's cgroups, fewer namespaces than the configuration says. docs/security.md says what each was."""

import json
import os
import shutil
import struct
from pathlib import Path

import pytest

from harness import _mount, cgroup_mounts, v2_cgroup
from test_exec import ex, status_of, up  # noqa: F401
from test_namespaces import USER, own_ids, users_store  # noqa: F401

pytestmark = pytest.mark.nucleus_only

SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")
NET_ADMIN = 12


@pytest.fixture
def bundle(bundle):
    bundle.linux.pop("resources", None)
    return bundle.sh("trap 'exit 0' TERM; while :; do sleep 0.1; done")


def rights(text):
    s = status_of(text)
    return {k: int(s[k], 16) for k in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}


# ---- CVE-2022-27650 (crun), CVE-2022-29162 (runc): inheritable capabilities


@pytest.fixture
def gainful(bundle):
    """A program with CAP_NET_ADMIN as an inheritable file capability: what an image may well have. Who runs
    it gains what it has inheritable itself. capabilities(7), struct vfs_cap_data of linux/capability.h."""
    program = bundle.rootfs / "zoo" / "busybox"
    shutil.copy("/bin/busybox", program)
    program.chmod(0o755)
    os.setxattr(program, "security.capability",
                struct.pack("<IIIII", 0x02000000 | 1, 0, 1 << NET_ADMIN, 0, 0))
    names = ["CAP_NET_ADMIN", "CAP_KILL"]
    bundle.process["capabilities"] = {k: names for k in ("bounding", "effective", "permitted")}
    bundle.process["noNewPrivileges"] = False
    return ["/zoo/busybox", "cat", "/proc/self/status"]


def test_cve_2022_27650_program_gains_nothing(nucleus, bundle, cid, gainful):
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    got = rights(nucleus.run_container(cid, bundle.args(*gainful)).out)
    assert (got["CapInh"], got["CapPrm"], got["CapEff"]) == (0, 0, 0) and got["CapBnd"]


def test_cve_2022_27650_attack_works_where_it_is_asked_for(nucleus, bundle, cid, gainful):
    """The program is what it should be: with an inheritable capability it gains it."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["capabilities"]["inheritable"] = ["CAP_NET_ADMIN"]
    got = rights(nucleus.run_container(cid, bundle.args(*gainful)).out)
    assert got["CapPrm"] == got["CapEff"] == 1 << NET_ADMIN


@pytest.mark.parametrize("options", [[], ["--cap", "CAP_NET_ADMIN"], ["-c", "CAP_NET_ADMIN", "-c", "CAP_CHOWN"]])
def test_cve_2022_29162_program_gains_nothing_by_exec(bundle, gainful, up, ex, options):  # noqa: F811
    up()
    got = rights(ex(*gainful, options=["-u", "1000", *options]).out)
    assert (got["CapInh"], got["CapPrm"], got["CapEff"]) == (0, 0, 0), options


def test_cve_2022_29162_process_file_gains_nothing(bundle, gainful, up, ex, tmp_path):  # noqa: F811
    """Docker's and containerd's way: a whole process, with every set but those two."""
    up()
    file = tmp_path / "process.json"
    names = ["CAP_NET_ADMIN", "CAP_CHOWN"]
    file.write_text(json.dumps({
        "cwd": "/", "args": gainful, "env": ["PATH=/bin"], "user": {"uid": 1000, "gid": 1000},
        "capabilities": {k: names for k in ("bounding", "effective", "permitted")}}))
    got = rights(ex(options=["-p", file]).out)
    assert (got["CapInh"], got["CapPrm"], got["CapEff"], got["CapAmb"]) == (0, 0, 0, 0)


def test_cve_2016_8867_user_has_no_ambient_capabilities(nucleus, bundle, cid):
    """Docker 1.12.2 by way of runc: what root would have was ambient, so any user had it."""
    bundle.process["capabilities"] = {k: ["CAP_NET_ADMIN"] for k in ("bounding", "effective", "permitted")}
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    got = rights(nucleus.run_container(cid, bundle.args("cat", "/proc/self/status")).out)
    assert (got["CapAmb"], got["CapInh"], got["CapPrm"], got["CapEff"]) == (0, 0, 0, 0)


# ---- CVE-2016-3697 (runc), CVE-2026-30892 (crun): another user than was asked for


def named_like_numbers(bundle):
    """Users and groups whose names are numbers, and who are root."""
    (bundle.rootfs / "etc" / "passwd").write_text(
        "".join(f"{n}:x:0:0:root:/root:/bin/sh\n" for n in (1000, 1, 7)) + "root:x:0:0::/root:/bin/sh\n")
    (bundle.rootfs / "etc" / "group").write_text(
        "".join(f"{n}:x:0:1000,1,7\n" for n in (1000, 1, 7)) + "root:x:0:1000\n")
    return bundle


def ids(text):
    s = status_of(text)
    return s["Uid"].split(), s["Gid"].split(), s["Groups"].split()


def test_cve_2016_3697_names_of_the_image_are_not_looked_up(nucleus, bundle, cid):
    named_like_numbers(bundle).process["user"] = {"uid": 1000, "gid": 7, "additionalGids": [1]}
    out = nucleus.run_container(cid, bundle.args("cat", "/proc/self/status")).out
    assert ids(out) == (["1000"] * 4, ["7"] * 4, ["1"])


@pytest.mark.parametrize("user", ["1000:7", "1:1", "7:1000"])
def test_cve_2016_3697_names_of_the_image_are_not_looked_up_by_exec(bundle, up, ex, user):  # noqa: F811
    named_like_numbers(bundle)
    up()
    uid, gid = user.split(":")
    assert ids(ex("cat", "/proc/self/status", options=["-u", user]).out) == ([uid] * 4, [gid] * 4, [])


@pytest.mark.parametrize("uid", [0, 1, 2, 9, 10, 11, 100, 1000, 65534, 4294967294])
def test_cve_2026_30892_user_of_exec_is_the_one_named(bundle, up, ex, uid):  # noqa: F811
    """crun took `-u 1` for user 0."""
    bundle.process["user"] = {"uid": 5, "gid": 6}
    up()
    got = ids(ex("cat", "/proc/self/status", options=["-u", str(uid)]).out)
    assert got == ([str(uid)] * 4, ["6"] * 4, [])


# ---- CVE-2023-25809: a writable /sys/fs/cgroup without a cgroup namespace


@pytest.fixture
def users_cgroup(nucleus):
    """A cgroup of the host that belongs to user 1000, as a login session has it; what is in it may be
    written to by anybody who gets there as that user."""
    top = next(Path(d) for d in cgroup_mounts() if Path(d, "cgroup.procs").exists()
               and Path(d, "cgroup.controllers").exists())
    made = top / f"user-{nucleus.token}"
    made.mkdir()
    for path in (made, made / "cgroup.procs", made / "cgroup.subtree_control"):
        os.chown(path, 1000, 1000)
    yield made
    assert not [p for p in made.iterdir() if p.is_dir()], "a cgroup was made on the host"
    made.rmdir()


# Looks for the host's hierarchy by all it can see, and tries to write to it.
TRY_CGROUPS = ("mkdir /sys/fs/cgroup/x 2>&1; echo 1 > /sys/fs/cgroup/cgroup.procs; "
               "for d in $(find /sys/fs/cgroup -name 'user-*' -type d 2>/dev/null); do echo found; "
               "mkdir $d/x && echo MADE; done; grep cgroup /proc/self/mountinfo; echo tried")


@pytest.mark.parametrize("namespace", [False, True], ids=["host's", "own"])
@pytest.mark.parametrize("options", [["ro"], ["ro", "relatime", "nosuid"]])
def test_cve_2023_25809_runtime_in_a_user_namespace(nucleus, bundle, cid, users_cgroup, namespace, options):
    """The first condition: a rootless engine has made the user namespace, the container has none, and no
    cgroup namespace either. "ro" was not kept."""
    kinds = ["pid", "network", "ipc", "uts", "mount"] + ["cgroup"] * namespace
    bundle.namespaces(*kinds)
    for m in bundle.config["mounts"]:
        if m["type"] == "cgroup":
            m["options"] = options
        m["options"] = [o for o in m["options"] if not o.startswith("gid=")]
    result = nucleus.run_container(cid, bundle.sh(TRY_CGROUPS), check=False,
                                   prefix=["unshare", "-U", "-m", "-n", "--map-root-user"])
    assert result.rc == 0 and result.out.endswith("tried\n"), str(result)
    assert not {"MADE", "found"} & set(result.out.split()), str(result)
    assert "Read-only file system" in result.out, str(result)
    mounted = [line for line in result.out.splitlines() if " /sys/fs/cgroup " in line]
    assert len(mounted) == 1 and " ro" in mounted[0].split(" - ")[0], str(result)


@pytest.mark.parametrize("namespace", [False, True], ids=["host's", "own"])
def test_cve_2023_25809_sys_of_the_host(users_store, bundle, cid, users_cgroup, namespace):  # noqa: F811
    """The second: /sys bound with "rbind,ro", which says nothing about what is mounted below. What
    `nucleus spec --rootless` writes, run by the user whose the cgroups are."""
    cgroup_mount = next(m for m in bundle.config["mounts"] if m["type"] == "cgroup")
    own_ids(bundle.sh(TRY_CGROUPS))
    if namespace:
        bundle.linux["namespaces"].append({"type": "cgroup"})
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["destination"] != "/sys"]
    bundle.config["mounts"] += [
        _mount("/sys", "none", "/sys", "rbind", "nosuid", "noexec", "nodev", "ro"), cgroup_mount]
    bundle.write()
    os.chown(bundle.dir / "config.json", 1000, 1000)
    result = users_store.run_container(cid, bundle, check=False, **USER)
    assert result.rc == 0 and result.out.endswith("tried\n"), str(result)
    assert "MADE" not in result.out.split(), str(result)
    # Without a cgroup of its own it sees the user's, but read-only.
    assert "Read-only file system" in result.out, str(result)


# ---- CVE-2021-43784: numbers and lengths that wrap


MESSAGE = "".join(map(chr, [8, 1, 0x41, 0x6a, 0x42, 0x43] * 11000))


@pytest.mark.parametrize("kind", ["pid", "network", "ipc", "uts", "mount", "cgroup", "user", "time"])
def test_cve_2021_43784_path_of_a_namespace_that_wraps_a_length(nucleus, bundle, cid, kind):
    """runc told its other half by netlink messages, with 16 bits for a length: what was behind 64 KiB of a
    path was read as further messages, which could take namespaces away. Nothing is told by message here,
    and no length has 16 bits; such a path is none."""
    for path in ("/" + "a" * 65535, "/" + "a" * 65536, "/proc/self/ns/net" + "/" * 70000,
                 "/" + "A" * 131000, "/" + MESSAGE[:66000]):
        bundle.linux["namespaces"] = [n for n in bundle.linux["namespaces"] if n["type"] != kind]
        bundle.linux["namespaces"].append({"type": kind, "path": path})
        result = nucleus.fails("run", "-b", bundle.write().dir, cid)
        assert len(result.err) < 300000
    assert nucleus.list() == []


def test_cve_2021_43784_no_namespace_is_lost_beside_large_fields(nucleus, bundle, cid):
    """Each field that is handed to the child as large as it may be: what is isolated stays so."""
    bundle.process["env"] += [f"BIG{n}=" + "x" * 100000 for n in range(8)]
    bundle.config["annotations"] = {f"key{n}": "y" * 30000 for n in range(8)}
    for n in range(200):
        bundle.tmpfs("/big/" + "/".join(["d" * 100] * 20) + f"/{n}")
    bundle.sh("ls -l /proc/self/ns | sed -n 's/.*-> //p'")
    inside = set(nucleus.run_container(cid, bundle, timeout=60).out.split())
    outside = {os.readlink(f"/proc/self/ns/{n}") for n in ("pid", "net", "ipc", "uts", "mnt", "cgroup")}
    assert not inside & outside and len(inside) >= 8


def id_maps(bundle, maps):
    bundle.user_namespace()
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": c, "hostID": h, "size": s} for c, h, s in maps]
    return bundle.write()


@pytest.mark.parametrize("maps", [
    [(0, 0, 1 << 32)], [(0, 100000, (1 << 32) - 1)], [(1 << 32, 100000, 1)], [(0, 1 << 32, 1)],
    [((1 << 32) - 1, 100000, 1)], [(0, (1 << 32) - 1, 1)], [(0, 100000, 1 << 64)], [(0, 100000, 0)],
    [(4294967290, 100000, 10)], [(0, 4294967290, 10)], [(0, 100000, -1)], [(0, -100000, 1)],
    [(0, 100000, 2), (1, 200000, 1)], [(0, 100000, 2), (5, 100001, 1)],
    [(n, 100000 + n, 1) for n in range(341)], [(n, 100000 + n, 1) for n in range(10000)],
    [(n, 100000 + n, 1) for n in range(20000)]],
    ids=lambda maps: f"{maps[0]}" if len(maps) < 3 else str(len(maps)))
def test_cve_2021_43784_id_maps_that_wrap(nucleus, bundle, cid, maps):
    """Sums beyond 32 bits, more ranges than the kernel takes, ranges that lie on each other: no map comes
    about that says something else."""
    result = nucleus.fails("run", "-b", id_maps(bundle, maps).dir, cid)
    assert "config.json:" in result.err, str(result)
    assert "Mappings" in result.err or "64 bits" in result.err, str(result)
    assert nucleus.list() == [] and not nucleus.cgroups(cid)


@pytest.mark.parametrize("count", [1, 2, 100, 200, 340])
def test_cve_2021_43784_many_id_maps_are_all_there(nucleus, bundle, cid, count):
    """Or none: the kernel takes a map as a whole, of less than a page (user_namespaces(7))."""
    maps = [(0, 100000, 10)] + [(1000 + 2 * n, 200000 + 3 * n, 1) for n in range(1, count)]
    id_maps(bundle, maps).args("cat", "/proc/self/uid_map", "/proc/self/gid_map")
    result = nucleus.run_container(cid, bundle, check=False)
    if result.rc != 0:
        assert len(result.err.splitlines()) == 1 and "fewer ranges" in result.err, str(result)
        assert len("".join(f"{c} {h} {s}\n" for c, h, s in maps)) >= os.sysconf("SC_PAGE_SIZE")
        return
    got = [tuple(map(int, line.split())) for line in result.out.splitlines()]
    assert got == maps + maps


# ---- CVE-2024-3154: annotations that change the unit of systemd


def test_cve_2024_3154_annotations_of_systemd_need_its_driver(nucleus, bundle, cid):
    """Whoever may give annotations may give properties of the unit: so did pods by way of CRI-O. Without
    --systemd-cgroup there is no unit; with it the engine has to keep such annotations to itself."""
    bundle.config["annotations"] = {
        "org.systemd.property.ExecStartPre": "[('/bin/touch', ['touch', '/escaped'], false)]",
        "org.systemd.property.SuccessAction": "'poweroff-force'"}
    nucleus.run_container(cid, bundle.sh("sleep 1000"), "-d")
    assert v2_cgroup(nucleus, cid).parent.name == "nucleus"
    nucleus.delete(cid, "-f")
    assert not Path("/escaped").exists()
