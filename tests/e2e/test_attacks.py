"""Attacks on the file system of a container while it is made: what the image brings along, and what
another container swaps on a volume that both have, or in the very root file system. docs/security.md
says what each was and what stands against it; more of them are in test_security.py (run, create,
restore), test_exec_security.py and test_attacks_rights.py.

Where a race can only be lost, nobody can prove it by losing none: these tests look at every container that
came up, from outside, and see that the other side was busy meanwhile."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import _mount, tool, wait_for, wait_output
from test_security import (SECRET, console_listener, refused_or, secret, without_dev)  # noqa: F401

pytestmark = pytest.mark.nucleus_only

ROUNDS = 12


@pytest.fixture
def bundle(bundle):
    bundle.linux.pop("resources", None)
    return bundle.write()


class Accomplice:
    """A container of the attacker's: it has a directory of the victim's as a volume, and exchanges two
    names in it without a pause."""

    def __init__(self, nucleus, bundle, shared, one, other):
        self.nucleus, self.id = nucleus, nucleus.new_id("accomplice")
        bundle.linux.pop("resources", None)
        shutil.copy(tool("swap", "-static"), bundle.rootfs / "zoo" / "swap")
        bundle.bind(shared, "/vol").args("/zoo/swap", f"/vol/{one}", f"/vol/{other}")
        self.result = nucleus.run_container(self.id, bundle, "-d")
        wait_output(self.result, "ready")

    @property
    def swaps(self):
        assert not self.result.err, f"the attack broke off: {self.result}"
        return int(re.findall(r"^swaps (\d+)$", self.result.out, re.M)[-1])

    def end(self):
        self.nucleus.delete(self.id, "-f")


@pytest.fixture
def swapping(nucleus, make_bundle):
    """swapping(directory, one, other): from now on both names lead to either."""
    made = []

    def start(shared, one, other):
        made.append(Accomplice(nucleus, make_bundle(f"accomplice{len(made)}"), shared, one, other))
        return made[-1]

    yield start
    for one in made:
        one.end()


def mounts_seen_by(pid):
    """{id: (parent's id, root, mount point, type)}, as the kernel has them: no path inside is used."""
    found = {}
    for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        words = line.split()
        found[words[0]] = (words[1], words[3], words[4], words[words.index("-") + 1])
    return found


class Race:
    """Many containers are created while an accomplice swaps; each that comes up is looked at."""

    def __init__(self, nucleus, cid, accomplice, **run):
        self.nucleus, self.cid, self.run, self.accomplice = nucleus, cid, run, accomplice

    def each(self, bundle, *options, rounds=ROUNDS):
        """Yields (number, pid) of those that were created."""
        host = Path("/proc/self/mountinfo").read_text()
        before, came_up = self.accomplice.swaps, 0
        for n in range(rounds):
            result = self.nucleus.create(self.cid, bundle(n), *options, check=False, **self.run)
            assert SECRET not in result.out + result.err, str(result)
            if result.rc != 0:
                assert len(result.err.splitlines()) == 1, str(result)
                assert result.err.startswith("nucleus: "), str(result)
            else:
                came_up += 1
                try:
                    yield n, self.nucleus.state(self.cid)["pid"]
                finally:
                    self.nucleus.delete(self.cid, "-f")
            assert not self.nucleus.cgroups(self.cid)
            assert Path("/proc/self/mountinfo").read_text() == host, "a mount on the host"
        # It tells the number now and then only, and goes on in between.
        wait_for(lambda: self.accomplice.swaps - before > 100 * rounds, what="the attack to have run")
        print(f"{self.accomplice.swaps - before} swaps, {came_up} of {rounds} came up")


# ---- CVE-2021-30465, CVE-2024-45310: a volume of both, a mount point on it


WAYS_OUT = ["{secret}", "../../../../../../../../../{secret}", "/", "/proc/1/root", "/proc/1/cwd"]


@pytest.fixture
def volume(tmp_path, secret):  # noqa: F811
    """volume(target) makes a directory "real" and a link "link" to the target; they are to be swapped."""

    def make(target):
        directory = tmp_path / "volume"
        (directory / "real").mkdir(parents=True)
        (directory / "link").symlink_to(target.format(secret=secret))
        return directory

    return make


@pytest.mark.parametrize("target", WAYS_OUT)
def test_cve_2021_30465_mount_point_on_a_shared_volume(nucleus, bundle, cid, secret, volume, swapping,  # noqa: F811
                                                       target):
    """The victim mounts below a directory of the volume. A mount that goes where the link leads would
    show the host in the container, or cover the host's directory."""
    shared = volume(target)
    other = bundle.dir / "other"
    other.mkdir()
    (other / "mark").write_text("mark\n")
    for name in ("bind", "tmpfs"):
        (shared / "real" / name).mkdir()
    (shared / "real" / "file").touch()
    bundle.bind(shared, "/vol").bind(other, "/vol/real/bind").tmpfs("/vol/real/tmpfs")
    # The last one goes over the swapped name itself, and covers the others.
    bundle.bind(other / "mark", "/vol/real/file").bind(bundle.rootfs / "bin", "/vol/real").sh("sleep 1000")

    for _, pid in Race(nucleus, cid, swapping(shared, "real", "link")).each(lambda n: bundle):
        mounts = mounts_seen_by(pid).values()
        assert not [m for m in mounts if str(secret) in m[1]], mounts
        assert [m[1].endswith("/rootfs") for m in mounts if m[2] == "/"] == [True], mounts
        # Each is in the container, wherever: one that is not lies on the host's side.
        for root in ("/bundle/other", "/bundle/other/mark", "/bundle/rootfs/bin"):
            assert len([m for m in mounts if m[1].endswith(root)]) == 1, mounts
        assert len([m for m in mounts if m[3] == "tmpfs" and m[2].endswith("/tmpfs")]) == 1, mounts
    assert [p.name for p in other.iterdir()] == ["mark"]


def test_cve_2021_30465_source_that_a_mount_was_to_cover(nucleus, bundle, cid, volume, swapping, tmp_path):
    """The whole of it: the first volume lands on the directory of the host that holds the volumes; in it the
    attacker has put a link to the host's root where the second one is looked for."""
    volumes = tmp_path / "volumes"
    (volumes / "one").mkdir(parents=True)
    (volumes / "two").mkdir()
    (volumes / "one" / "two").symlink_to("/")
    shared = volume(str(volumes))
    bundle.bind(shared, "/vol").bind(volumes / "one", "/vol/real").bind(volumes / "two", "/two")
    bundle.sh("sleep 1000")
    for _, pid in Race(nucleus, cid, swapping(shared, "real", "link")).each(lambda n: bundle):
        mounts = mounts_seen_by(pid).values()
        assert [m[1].endswith("/volumes/two") for m in mounts if m[2] == "/two"] == [True], mounts


@pytest.mark.parametrize("target", WAYS_OUT[:2])
@pytest.mark.parametrize("what", ["mounts", "device", "directory"])
def test_cve_2024_45310_what_is_made_on_a_shared_volume(nucleus, bundle, cid, secret, volume,  # noqa: F811
                                                        swapping, target, what):
    """Whatever a runtime makes where nothing is: mount points, directories of devices, the working
    directory. The fixture `secret` sees an empty file or directory on the host."""
    shared = volume(target)
    bundle.bind(shared, "/vol").sh("sleep 1000")
    mounts = list(bundle.config["mounts"])

    def fresh(n):
        """Names that are not there yet, nor were tried before."""
        bundle.config["mounts"] = list(mounts)
        if what == "mounts":
            bundle.bind(bundle.rootfs, f"/vol/real/bind{n}/a/b")
            bundle.bind(bundle.rootfs / "etc" / "passwd", f"/vol/real/file{n}/a/b")
            bundle.tmpfs(f"/vol/real/tmpfs{n}/a/b")
        elif what == "device":
            bundle.linux["devices"] = [
                {"path": f"/vol/real/dev{n}/a/null", "type": "c", "major": 1, "minor": 3},
                {"path": f"/vol/real/null{n}", "type": "c", "major": 1, "minor": 3}]
        else:
            bundle.process["cwd"] = f"/vol/real/cwd{n}/a/b"
        return bundle.write()

    for _ in Race(nucleus, cid, swapping(shared, "real", "link")).each(fresh):
        assert [p.name for p in secret.iterdir()] == ["secret"]


# ---- CVE-2019-19921, CVE-2023-27561, CVE-2023-28642: another /proc


def bound_on(pid, root):
    """Types of the file systems on which mounts with this root lie: what covers the kernel's files."""
    mounts = mounts_seen_by(pid)
    return {mounts[parent][3] for parent, r, _, _ in mounts.values() if r == root}


@pytest.mark.parametrize("other", ["link", "directory"])
@pytest.mark.parametrize("place", ["proc", "sys"])
def test_cve_2019_19921_proc_is_swapped(nucleus, bundle, cid, swapping, place, other):
    """Procfs goes onto /proc, the masks onto what /proc is a moment later. A second container has the
    root file system as a volume."""
    fake = bundle.rootfs / "fake"
    if place == "proc":
        masked, magic = ["/proc/timer_list", "/proc/keys", "/proc/acpi"], "proc"
        read_only = ["/proc/sys", "/proc/sysrq-trigger"]
    else:
        masked, magic = ["/sys/firmware", "/sys/kernel/notes"], "sysfs"
        read_only = ["/sys/kernel/mm"]
        bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["type"] != "cgroup"]
    bundle.linux.update(maskedPaths=masked, readonlyPaths=read_only)
    for path in masked[:1] + read_only:
        (fake / path.split("/", 2)[2]).mkdir(parents=True)
    (bundle.rootfs / "other").symlink_to("/fake")
    if other == "directory":
        (bundle.rootfs / "other").unlink()
        fake.rename(bundle.rootfs / "other")
    bundle.sh("sleep 1000")

    def covered(pid):
        """What is covered, by the name it has on its own file system."""
        mounts = mounts_seen_by(pid)
        below = [point for parent, _, point, _ in mounts.values()
                 if parent in mounts and mounts[parent][3] == magic]
        return {point.split("/", 2)[2] for point in below}

    nucleus.create(cid, bundle)
    right = covered(nucleus.state(cid)["pid"])
    assert len(right) >= 2
    nucleus.delete(cid, "-f")

    for _, pid in Race(nucleus, cid, swapping(bundle.rootfs, place, "other")).each(lambda n: bundle):
        kernels = [i for i, m in mounts_seen_by(pid).items() if m[3] == magic and m[1] == "/"]
        assert len(kernels) == 1
        assert covered(pid) == right, Path(f"/proc/{pid}/mountinfo").read_text()


@pytest.mark.parametrize("place,file", [("/proc", "timer_list"), ("/sys", "kernel/notes")])
def test_cve_2019_19921_masks_in_what_is_read_only(nucleus, bundle, cid, place, file):
    """A read-only path is a mount over the first one: masks go onto what is on top."""
    bundle.linux.update(maskedPaths=[f"{place}/{file}"], readonlyPaths=[place])
    out = nucleus.run_container(cid, bundle.sh(
        f"stat -c %t:%T {place}/{file}; (echo 1 > /proc/sys/net/ipv4/ip_forward) 2>&1; :")).out
    assert out.splitlines()[0] == "1:3"
    assert place == "/sys" or "Read-only" in out


@pytest.mark.parametrize("place", ["proc", "sys"])
@pytest.mark.parametrize("order", ["volume first", "volume last"])
def test_cve_2023_27561_proc_of_the_image_leads_to_a_volume(nucleus, bundle, cid, place, order):
    """What the repair of 2019 had missed: the link leads to a volume, where the attacker has made a
    /proc of their own."""
    fake = bundle.dir / "volume" / "fake"
    (fake / "self" / "attr").mkdir(parents=True)
    (fake / "self" / "attr" / "exec").touch()
    (bundle.rootfs / place).rmdir()
    (bundle.rootfs / place).symlink_to("vol/fake")
    volume_mount = _mount("/vol", "bind", str(bundle.dir / "volume"), "rbind")
    at = 0 if order == "volume first" else len(bundle.config["mounts"])
    bundle.config["mounts"].insert(at, volume_mount)
    nucleus.fails("run", "-b", bundle.sh("true").dir, cid, text=f"/{place}")
    assert nucleus.list() == [] and (fake / "self" / "attr" / "exec").read_bytes() == b""
    assert not [p for p in fake.iterdir() if p.name != "self"]


def net_sysctl(pid, name):
    """In the network namespace of the process, by the host's procfs."""
    return subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", "cat", f"/proc/sys/net/{name}"],
                          capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("proc", ["nowhere", "elsewhere", "link"])
def test_cve_2023_28642_proc_is_a_fake(nucleus, bundle, cid, proc):
    """What a runtime tells the kernel by /proc (labels of security modules, sysctls, oom_score_adj) must
    not go to files of the image's, whatever the mounts of the configuration make of /proc."""
    fake = bundle.rootfs / ("fake" if proc == "link" else "proc")
    files = [fake / "sys/net/ipv4/ip_default_ttl", fake / "self/oom_score_adj",
             fake / "1/oom_score_adj", fake / "self/attr/exec", fake / "self/attr/apparmor/exec"]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    if proc == "link":
        (bundle.rootfs / "proc").rmdir()
        (bundle.rootfs / "proc").symlink_to("fake")
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["type"] != "proc"]
    if proc == "elsewhere":
        bundle.config["mounts"].append(_mount("/real", "proc", "proc"))
    bundle.linux["sysctl"] = {"net.ipv4.ip_default_ttl": "77"}
    bundle.process["oomScoreAdj"] = 321
    nucleus.create(cid, bundle.sh("sleep 1000"))
    pid = nucleus.state(cid)["pid"]
    assert net_sysctl(pid, "ipv4/ip_default_ttl") == "77"
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "321"
    assert {file.read_bytes() for file in files} == {b""}
    nucleus.delete(cid, "-f")


# ---- CVE-2025-52881: writes to /proc that end elsewhere


@pytest.mark.parametrize("target", ["/proc/sys/net/ipv4", "/proc/self/attr", "/proc/self/net"])
def test_cve_2025_52881_mount_over_the_kernels_files(nucleus, bundle, cid, volume, swapping, target):
    """No mount of the configuration names /proc; what it names leads there for a moment. Were it to
    succeed, what the runtime writes next would go to a file of the attacker's choice."""
    shared = volume(target)
    other = bundle.dir / "other"
    other.mkdir()
    for name in ("ip_default_ttl", "exec", "tmpfs"):
        (shared / "real" / name).touch() if name != "tmpfs" else (shared / "real" / name).mkdir()
        (other / name).touch()
    bundle.bind(shared, "/vol")
    for name in ("ip_default_ttl", "exec"):
        bundle.bind(other / name, f"/vol/real/{name}")
    bundle.bind(other, "/vol/real").tmpfs("/vol/real")
    bundle.linux["sysctl"] = {"net.ipv4.ip_default_ttl": "77"}
    bundle.linux.update(maskedPaths=[], readonlyPaths=[])
    bundle.sh("sleep 1000")

    for _, pid in Race(nucleus, cid, swapping(shared, "real", "link")).each(lambda n: bundle):
        mounts = mounts_seen_by(pid)
        kernels = {i for i, m in mounts.items() if m[3] == "proc"}
        assert not [m for m in mounts.values() if m[0] in kernels], mounts
        assert net_sysctl(pid, "ipv4/ip_default_ttl") == "77"
    assert (other / "ip_default_ttl").read_bytes() == b""


# ---- CVE-2025-31133, CVE-2025-52565: /dev on a volume of both


@pytest.fixture
def shared_dev(bundle):
    """A /dev that another container has, too: with a null device, a console, and links to swap in. What
    they lead to is never written to by a test: where a protection is missing it is the host's."""
    dev = bundle.dir / "dev"
    dev.mkdir()
    os.mknod(dev / "null", 0o20666, os.makedev(1, 3))
    (dev / "console").touch()
    (dev / "pts").mkdir()
    for name in ("link", "file"):
        (dev / name).symlink_to("/proc/sys/kernel/core_pattern")
    (dev / "file").unlink()
    (dev / "file").write_text("mine\n")
    without_dev(bundle).config["mounts"].append(_mount("/dev", "bind", str(dev), "bind"))
    bundle.sh("sleep 1000")
    return dev


@pytest.mark.parametrize("other", ["link", "file"])
def test_cve_2025_31133_null_device_is_swapped(nucleus, bundle, cid, shared_dev, swapping, other):
    """While masks are made of it. A mask that is the link's target, writable, would be core_pattern."""
    bundle.linux["maskedPaths"] = ["/proc/timer_list"]
    race = Race(nucleus, cid, swapping(shared_dev, "null", other))
    for _, pid in race.each(lambda n: bundle.write(), rounds=8 * ROUNDS):
        there = os.stat(f"/proc/{pid}/root/proc/timer_list")
        assert there.st_rdev == os.makedev(1, 3)


def test_cve_2025_31133_null_device_is_missing(nucleus, bundle, cid, shared_dev):
    """The second attack of that advisory: without a null device there were no masks, in silence."""
    (shared_dev / "null").unlink()
    bundle.linux["maskedPaths"] = ["/proc/timer_list"]
    nucleus.fails("run", "-b", bundle.sh("true").dir, cid, stdin=None, text=["mask", "/proc/timer_list"])
    assert nucleus.list() == []


def test_cve_2025_52565_console_is_swapped(nucleus, bundle, cid, shared_dev, swapping, tmp_path):
    """While the terminal is mounted on it."""
    bundle.config["mounts"].append(
        _mount("/dev/pts", "devpts", "devpts", "newinstance", "ptmxmode=0666", "mode=0620"))
    bundle.process["terminal"] = True
    bundle.write()
    race = Race(nucleus, cid, swapping(shared_dev, "console", "link"))
    for n in range(ROUNDS):
        with console_listener(tmp_path / f"socket{n}"):
            for _, pid in race.each(lambda n: bundle, "--console-socket", tmp_path / f"socket{n}", rounds=1):
                mounts = mounts_seen_by(pid)
                kernels = {i for i, m in mounts.items() if m[3] == "proc"}
                # Masks and read-only paths apart, nothing lies on procfs, and nothing of procfs on /dev.
                for parent, root, point, kind in mounts.values():
                    assert parent not in kernels or kind != "devpts", mounts
                    assert kind != "proc" or root == "/" or point.startswith("/proc/"), mounts


# ---- CVE-2026-41579 (crun: CVE-2026-47766): /dev of the image is a link


@pytest.fixture
def decoy(secret):  # noqa: F811
    """A directory of the host with what a runtime removes in a /dev; the fixture `secret` sees what is
    made."""
    (secret / "ptmx").write_text("mine\n")
    yield secret
    assert (secret / "ptmx").read_text() == "mine\n", "a file of the host was replaced"
    (secret / "ptmx").unlink()


def dev_is_a_link(bundle, target):
    (without_dev(bundle).rootfs / "dev").rmdir()
    (bundle.rootfs / "dev").symlink_to(target)
    return bundle.write()


@pytest.mark.parametrize("how", ["run", "create"])
@pytest.mark.parametrize("target", WAYS_OUT[:2])
@pytest.mark.parametrize("user", [False, True], ids=["root", "user-namespace"])
def test_cve_2026_41579_dev_of_the_image_is_a_link(nucleus, bundle, cid, decoy, how, target, user):
    dev_is_a_link(bundle, target.format(secret=decoy))
    if user:
        bundle.user_namespace()
    # The link is made true inside, or refused: it is followed inside only.
    result = nucleus.run(how, "-b", bundle.sh("ls -l /dev/; cat /dev/secret; true").dir, cid, check=False)
    if how == "create" and result.rc == 0:
        nucleus.start(cid)
        nucleus.wait_status(cid, "stopped")
    assert SECRET not in result.out
    nucleus.delete(cid, "-f")


def test_cve_2026_41579_dev_is_swapped(nucleus, bundle, cid, decoy, swapping):
    without_dev(bundle).sh("sleep 1000")
    (bundle.rootfs / "link").symlink_to(decoy)
    for _ in Race(nucleus, cid, swapping(bundle.rootfs, "dev", "link")).each(lambda n: bundle):
        pass


@pytest.mark.parametrize("terminal", [False, True])
def test_cve_2026_88264_console_of_the_image_leads_out(nucleus, bundle, cid, secret, tmp_path,  # noqa: F811
                                                       terminal):
    """crun made the file that the link names."""
    (without_dev(bundle).rootfs / "dev" / "console").symlink_to(secret / "made")
    bundle.config["mounts"].append(_mount("/dev/pts", "devpts", "devpts", "newinstance", "ptmxmode=0666"))
    bundle.process["terminal"] = terminal
    bundle.sh("true")
    with console_listener(tmp_path / "socket"):
        socket = ["--console-socket", tmp_path / "socket"] if terminal else []
        result = nucleus.run("run", "-d", "-b", bundle.dir, *socket, cid, check=False)
    assert (result.rc != 0) == terminal
    nucleus.delete(cid, "-f")


@pytest.mark.parametrize("target", ["{secret}/secret", "../../../../../../../../../{secret}/secret",
                                    "/target"])
def test_cve_2026_88265_null_device_of_the_image_as_stdio(nucleus, bundle, cid, secret, target):  # noqa: F811
    """Standard input that was the null device became the link's target, and then the user's."""
    dev = without_dev(bundle).rootfs / "dev"
    (bundle.rootfs / "target").write_text("target\n")
    (dev / "null").symlink_to(target.format(secret=secret))
    bundle.linux["maskedPaths"] = []
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    owner = (secret / "secret").stat().st_uid
    out = refused_or(nucleus, cid, bundle.sh("cat <&0; echo x >&0; :"))
    assert out is None or (SECRET not in out and "target" not in out)
    assert (secret / "secret").stat().st_uid == owner
    assert (bundle.rootfs / "target").stat().st_uid == 0
    assert (bundle.rootfs / "target").read_text() == "target\n"


# ---- CVE-2019-18837, CVE-2025-24965: files that a runtime writes, or opens, in a root file system


@pytest.mark.parametrize("target", WAYS_OUT[:2])
@pytest.mark.parametrize("link,mount", [
    ("srv", "/srv"), ("srv", "/srv/new"), ("srv", "/srv/new/er/file"), ("srv/new", "/srv/new"),
    ("srv/file", "/srv/file")])
def test_cve_2019_18837_mount_point_leads_out(nucleus, bundle, cid, secret, target, link, mount):  # noqa: F811
    """A destination, or the directory above it, is a link out of the root."""
    path = bundle.rootfs / link
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(target.format(secret=secret) + ("/made" if link != "srv" else ""))
    if mount.endswith("file"):
        bundle.bind(bundle.rootfs / "etc" / "group", mount)
    else:
        bundle.bind(bundle.rootfs / "etc", mount)
    script = "cat /proc/self/mountinfo; cat /srv/secret /srv/new/secret; :"
    out = refused_or(nucleus, cid, bundle.sh(script))
    # In the container, not over a directory of the host's.
    assert out is None or (SECRET not in out and "/rootfs/etc" in out)


# What runtimes and their handlers are known to write, or read, by name.
NAMES = [".krun_config.json", ".krun_vm.json", ".flatpak-info", "krun-sev.json", "etc/hostname", "etc/hosts",
         "etc/resolv.conf", "etc/mtab", "run/.containerenv", ".dockerenv", "run/secrets"]


@pytest.mark.parametrize("annotations", [
    {"run.oci.handler": "krun"}, {"run.oci.handler": "wasm", "module.wasm.image/variant": "compat"}, {}],
    ids=["krun", "wasm", "none"])
@pytest.mark.parametrize("to", ["secret", "new"])
def test_cve_2025_24965_names_that_handlers_write(nucleus, bundle, cid, secret, annotations, to):  # noqa: F811
    """crun's handler for libkrun wrote the configuration to /.krun_config.json, through a link. There are
    no handlers here, and nothing is written into a root file system."""
    for name in NAMES:
        path = bundle.rootfs / name
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(secret / to)
    bundle.config["annotations"] = annotations
    out = nucleus.run_container(cid, bundle.sh("cat /.krun_config.json; echo ran")).out
    assert out == "ran\n"
    for name in NAMES:
        assert os.readlink(bundle.rootfs / name) == str(secret / to)


# ---- the same on the way back: the root file system changed after the checkpoint


@pytest.fixture
def saved(nucleus, bundle, cid, tmp_path):
    """A checkpoint of a container with mounts on made directories; the directories are gone again."""
    bundle.config["mounts"] = [m for m in bundle.config["mounts"]
                               if m["destination"] in ("/proc", "/dev", "/dev/pts")]
    bundle.tmpfs("/place/deep/tmpfs").bind(bundle.rootfs / "bin", "/place/deep/bind")
    bundle.zoo("fifo")
    result = nucleus.run_container(cid, bundle, "-d")
    wait_output(result, "ready")
    nucleus.checkpoint(cid, tmp_path / "checkpoint")
    nucleus.delete(cid)
    shutil.rmtree(bundle.rootfs / "place")
    return tmp_path / "checkpoint"


def restored(nucleus, bundle, saved):
    """Restores once; None, or what the container's mounts are."""
    rid = nucleus.new_id("restored")
    result = nucleus.restore(saved, "-d", "-b", bundle.dir, rid, check=False)
    mounts = None
    if result.rc == 0:
        mounts = mounts_seen_by(nucleus.state(rid)["pid"])
    else:
        assert len(result.err.splitlines()) == 1, str(result)
    nucleus.delete(rid, "-f")
    assert not nucleus.cgroups(rid)
    shutil.rmtree(nucleus.state_dir / "log", ignore_errors=True)
    return mounts


@pytest.mark.parametrize("target", WAYS_OUT[:2])
@pytest.mark.parametrize("link", ["place", "place/deep", "place/deep/tmpfs", "place/deep/bind"])
def test_cve_2024_45310_restore_where_a_link_leads_out(nucleus, bundle, saved, secret, target, link):  # noqa: F811
    path = bundle.rootfs / link
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target.format(secret=secret))
    host = Path("/proc/self/mountinfo").read_text()
    mounts = restored(nucleus, bundle, saved)
    assert Path("/proc/self/mountinfo").read_text() == host
    assert not [m for m in (mounts or {}).values() if str(secret) in m[1]]


def test_cve_2021_30465_restore_while_it_is_swapped(nucleus, bundle, saved, secret, swapping):  # noqa: F811
    (bundle.rootfs / "place").mkdir()
    (bundle.rootfs / "link").symlink_to(secret)
    accomplice = swapping(bundle.rootfs, "place", "link")
    host = Path("/proc/self/mountinfo").read_text()
    for _ in range(8):
        mounts = restored(nucleus, bundle, saved)
        assert Path("/proc/self/mountinfo").read_text() == host
        assert [p.name for p in secret.iterdir()] == ["secret"]
        assert not [m for m in (mounts or {}).values() if str(secret) in m[1]]
    assert accomplice.swaps > 1000


@pytest.mark.parametrize("target", WAYS_OUT[:2])
def test_cve_2026_41579_restore_where_dev_is_a_link(nucleus, bundle, saved, decoy, target):
    (bundle.rootfs / "dev").rmdir()
    (bundle.rootfs / "dev").symlink_to(target.format(secret=decoy))
    restored(nucleus, bundle, saved)


@pytest.mark.parametrize("destination,why", [
    ("/proc", "a mount the checkpoint does not know"),  # a procfs may be bound there; what it is is seen later
    ("/proc/self", "only a procfs may be mounted on /proc"), ("/proc/sys", "only a procfs may be mounted on")])
def test_cve_2019_16884_restore_with_a_volume_over_proc(nucleus, bundle, saved, destination, why):
    """A bundle that asks for it now: refused as it is by `run`."""
    (bundle.dir / "fake" / "self").mkdir(parents=True)
    bundle.bind(bundle.dir / "fake", destination)
    nucleus.fails("restore", "-i", saved, "-d", "-b", bundle.dir, nucleus.new_id(), timeout=60,
                  text=[destination, why])
    assert nucleus.list() == []
