"""Limits as this host can have them: cgroup v2 with few controllers or none. What it takes a real v2 host to see is
in tests/vm/guest-resources."""

import json
import os
from pathlib import Path

import pytest
from harness import wait_for, wait_output

pytestmark = [pytest.mark.nucleus_only,
              pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


def v2_mount():
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split()
        if words[words.index("-") + 1] == "cgroup2":
            return Path(words[4])
    return pytest.skip("no cgroup2 here")


def controllers():
    return (v2_mount() / "cgroup.controllers").read_text().split()


def resources(bundle, **what):
    bundle.linux["resources"] = what
    return bundle.write()


def needs_missing(controller):
    if controller in controllers():
        pytest.skip(f"this host has the {controller} controller in cgroup v2")


# ---- limits ----

@pytest.mark.parametrize("controller, what, file", [
    ("memory", dict(memory=dict(limit=64 << 20)), "memory.max"),
    ("pids", dict(pids=dict(limit=7)), "pids.max"),
    ("cpu", dict(cpu=dict(quota=5000)), "cpu.max"),
    ("cpuset", dict(cpu=dict(cpus="0")), "cpuset.cpus"),
    ("io", dict(blockIO=dict(throttleReadBpsDevice=[dict(major=8, minor=0, rate=1)])), "io.max"),
    ("memory", dict(unified={"memory.high": "1000000"}), "memory.high"),
])
def test_limit_without_its_controller_is_refused_by_name(nucleus, bundle, controller, what, file):
    needs_missing(controller)
    resources(bundle.sh("true"), **what)
    cid = nucleus.new_id()
    result = nucleus.fails("create", "-b", bundle.dir, cid, text=[f"'{file}'", "controller"])
    name = "blkio" if controller == "io" else controller
    assert f"as {name} (/" in result.err or f"the controller {controller} is not" in result.err
    assert nucleus.cgroups(cid) == []


def test_what_asks_for_nothing_needs_no_controller(nucleus, bundle):
    """What engines send without being asked for a limit."""
    resources(bundle.sh("true"), devices=[dict(allow=False, access="rwm")],
              memory=dict(limit=-1, swap=-1, disableOOMKiller=False), pids=dict(limit=0),
              cpu=dict(shares=1024, quota=0, period=0, cpus="", mems=""), blockIO=dict(weight=0))
    nucleus.run_container(nucleus.new_id(), bundle)


@pytest.mark.parametrize("what, says", [
    (dict(memory=dict(limit=1 << 30, swap=1 << 20)), "linux.resources.memory.swap"),
    (dict(memory=dict(swap=1 << 20)), "there is no memory limit to subtract"),
    (dict(memory=dict(swappiness=60)), "linux.resources.memory.swappiness"),
    (dict(memory=dict(disableOOMKiller=True)), "linux.resources.memory.disableOOMKiller"),
    (dict(cpu=dict(idle=1, shares=512)), "linux.resources.cpu.idle"),
])
def test_contradictions_are_refused_by_field(nucleus, bundle, what, says):
    resources(bundle.sh("true"), **what)
    nucleus.fails("create", "-b", bundle.dir, nucleus.new_id(), text=says)


def test_hugepage_limit_on_a_hybrid_host(nucleus, bundle):
    if "hugetlb" not in controllers():
        pytest.skip("no hugetlb controller in cgroup v2")
    resources(bundle.sh("sleep 60"), hugepageLimits=[dict(pageSize="2MB", limit=(4 << 20) + 5)])
    cid = nucleus.new_id()
    nucleus.run_container(cid, bundle, "-d")
    (cgroup,) = nucleus.cgroups(cid)
    for file in ("hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"):
        assert Path(cgroup, file).read_text() == f"{4 << 20}\n"
    nucleus.run("update", "-r", "-", cid, input=json.dumps(
        dict(hugepageLimits=[dict(pageSize="2MB", limit=2 << 20)])))
    assert Path(cgroup, "hugetlb.2MB.max").read_text() == f"{2 << 20}\n"
    # A page size that is none: nothing is changed.
    nucleus.fails("update", "-r", "-", cid, text="hugetlb.3MB.max", input=json.dumps(
        dict(hugepageLimits=[dict(pageSize="2MB", limit=0), dict(pageSize="3MB", limit=0)])))
    assert Path(cgroup, "hugetlb.2MB.max").read_text() == f"{2 << 20}\n"
    nucleus.delete(cid, "--force")


# ---- devices ----

KMSG = dict(path="/dev/log-of-kernel", type="c", major=1, minor=11, fileMode=0o666)


def with_kmsg(bundle, *rules):
    """The kernel's log as a device of the container: what it takes to open it is a rule."""
    bundle.linux["devices"] = [KMSG]
    for kind in ("bounding", "effective", "permitted"):
        bundle.process["capabilities"][kind] += ["CAP_SYSLOG", "CAP_MKNOD"]
    return resources(bundle, devices=list(rules))


def opened(nucleus, bundle, script="true"):
    bundle.sh(f"{script}; for d in {KMSG['path']} null zero full random urandom tty ptmx; do "
              "case $d in /*) ;; *) d=/dev/$d;; esac; "
              "(exec 3<$d) 2>/dev/null && echo ${d##*/}; done; true")
    return nucleus.run_container(nucleus.new_id(), bundle).out.split()


DEFAULT = ["null", "zero", "full", "random", "urandom", "ptmx"]


@pytest.mark.parametrize("rules, opens", [
    ([], False),
    ([dict(allow=True, type="c", major=1, minor=11, access="r")], True),
    ([dict(allow=True, type="c", major=1, minor=11, access="w")], False),
    ([dict(allow=True, type="c", major=1, access="rwm")], True),
    ([dict(allow=True, access="rwm")], True),
    ([dict(allow=True, access="rwm"), dict(allow=False, type="c", major=1, access="rw")], False),
    ([dict(allow=False, access="rwm"), dict(allow=True, type="b", major=1, minor=11, access="rwm")],
     False),
])
def test_device_rules(nucleus, bundle, rules, opens):
    got = opened(nucleus, with_kmsg(bundle, *rules))
    assert [d for d in got if d != "tty"] == (["log-of-kernel"] if opens else []) + DEFAULT


def test_a_node_made_inside_opens_no_more_than_the_rules_say(nucleus, bundle):
    with_kmsg(bundle)
    bundle.sh("mknod /dev/disk b 8 0 && mknod /dev/log c 1 11 && echo made; "
              "for d in disk log; do (exec 3<>/dev/$d) && echo opened; done; true")
    result = nucleus.run_container(nucleus.new_id(), bundle)
    assert result.out.split() == ["made"], result
    assert result.err.count("Operation not permitted") == 2, result


def test_update_replaces_device_rules(nucleus, bundle):
    with_kmsg(bundle).sh(f"while :; do (exec 3<{KMSG['path']}) 2>/dev/null && echo open || echo shut; "
                         "sleep 0.05; done")
    cid = nucleus.new_id()
    result = nucleus.run_container(cid, bundle, "-d")
    wait_output(result, "shut")
    for rules, says in ([dict(allow=True, type="c", major=1, minor=11, access="r")], "open"), (
            [dict(allow=False, access="rwm")], "shut"):
        nucleus.run("update", "--resources", "-", cid, input=json.dumps(dict(devices=rules)))
        seen = result.out.count("\n")
        wait_for(lambda: result.out.splitlines()[seen + 2:seen + 3] == [says], what=says)
    nucleus.delete(cid, "--force")


# ---- update ----

@pytest.fixture
def sleeper(nucleus, bundle):
    cid = nucleus.new_id()
    nucleus.run_container(cid, bundle.sh("sleep 60"), "-d")
    yield cid
    nucleus.delete(cid, "--force")


@pytest.mark.parametrize("args, says", [
    (["--memory", "lots"], ["--memory", "lots", "it is no number"]),
    (["--memory", "99999999T"], ["--memory", "out of range"]),
    (["--memory", "-2"], ["--memory", "it is no number"]),
    (["--cpu-quota", "1.5"], ["--cpu-quota", "it is no number"]),
    (["--cpu-share", "-1"], ["--cpu-share", "it is no number"]),
    (["--pids-limit", ""], ["--pids-limit", "it is no number"]),
    (["--blkio-weight", "5"], ["--blkio-weight", "out of range"]),
    (["--blkio-weight", "1001"], ["--blkio-weight", "out of range"]),
    (["--cpu-idle", "2"], ["linux.resources.cpu.idle", "set it to 0 or 1"]),
    (["--kernel-memory", "1"], ["--kernel-memory", "use --memory"]),
    (["--cpu-rt-period", "1"], ["--cpu-rt-period", "real-time"]),
    (["--l3-cache-schema", "x"], ["--l3-cache-schema", "linux.intelRdt"]),
    (["--memory", "1M", "-r", "x"], ["--memory", "put it into the file"]),
    (["-r", "/nonexistent"], ["/nonexistent", "No such file"]),
    (["-r", "/dev/null"], ["/dev/null"]),
])
def test_update_refuses(nucleus, sleeper, args, says):
    before = nucleus.store()
    nucleus.fails("update", *args, sleeper, text=says)
    assert nucleus.store() == before


def test_update_of_a_limit_without_its_controller(nucleus, sleeper):
    needs_missing("memory")
    before = nucleus.store()
    nucleus.fails("update", "--memory", "64M", sleeper, text=["memory.max", "controller"])
    assert nucleus.store() == before
    # What is the default is no limit.
    nucleus.run("update", "--memory", "-1", "--pids-limit", "-1", "--cpu-share", "1024", sleeper)
    nucleus.run("update", sleeper)


@pytest.mark.parametrize("text, says", [
    ("{", "standard input:1:2"), ("[]", "object"), ('{"memory": {"limit": "1G"}}', "limit"),
    ('{"memory": {"limit": 1, "limit": 2}}', "limit")])
def test_update_says_where_the_json_is_wrong(nucleus, sleeper, text, says):
    nucleus.fails("update", "-r", "-", sleeper, text=["standard input", says], input=text)


def test_update_by_status(nucleus, bundle):
    cid = nucleus.new_id()
    nucleus.fails("update", "--pids-limit", "-1", cid, text="does not exist")
    nucleus.create(cid, bundle.sh("sleep 60"))
    nucleus.run("update", "--pids-limit", "-1", cid)
    nucleus.start(cid)
    nucleus.run("pause", cid)
    nucleus.run("update", "--pids-limit", "-1", cid)
    assert nucleus.status(cid) == "paused"
    nucleus.run("resume", cid)
    nucleus.kill(cid, "KILL")
    nucleus.wait_status(cid, "stopped")
    nucleus.fails("update", "--pids-limit", "-1", cid, text="container not running")
    nucleus.delete(cid)


# ---- hosts with less, each in a mount namespace of its own ----

def on_host(script):
    """A prefix for commands: what this host would be with some of its cgroup mounts changed."""
    return ("unshare", "-m", "sh", "-ec",
            f"mount --make-rprivate /; cd /; {script}; exec \"$@\"", "sh")


NO_V2 = "umount -l $(awk '$3 == \"cgroup2\" {print $2}' /proc/self/mounts)"
NOTHING = "umount -R -l /sys/fs/cgroup"
READ_ONLY = ("for m in $(awk '$3 == \"cgroup2\" {print $2}' /proc/self/mounts); do "
             "mount -o remount,bind,ro $m; done")
V2_ALONE = f"{NOTHING}; mount -t cgroup2 none /sys/fs/cgroup"


@pytest.mark.parametrize("script, says", [
    (NOTHING, ["no cgroup2 file system is mounted here", "mount -t cgroup2 none /sys/fs/cgroup"]),
    (READ_ONLY, ["Read-only file system", "remount,rw"]),
])
def test_host_where_no_cgroup_can_be_made(nucleus, bundle, script, says):
    nucleus.fails("run", "-b", bundle.sh("true").dir, nucleus.new_id(), text=says,
                  prefix=on_host(script))


def test_host_with_v1_alone(nucleus, bundle):
    if not any(" - cgroup " in line for line in Path("/proc/self/mountinfo").read_text().splitlines()):
        pytest.skip("no cgroup v1 here")
    nucleus.fails("run", "-b", bundle.sh("true").dir, nucleus.new_id(), prefix=on_host(NO_V2),
                  text=["no cgroup2 file system is mounted here, only cgroup v1",
                        "mount -t cgroup2 none /sys/fs/cgroup/unified"])


def test_host_with_v2_at_its_usual_place(nucleus, bundle):
    cid = nucleus.new_id()
    prefix = on_host(V2_ALONE)
    nucleus.run_container(cid, bundle.sh("sleep 60"), "-d", prefix=prefix)
    assert nucleus.state(cid, prefix=prefix)["status"] == "running"
    nucleus.run("pause", cid, prefix=prefix)
    nucleus.run("resume", cid, prefix=prefix)
    nucleus.delete(cid, "--force", prefix=prefix)


@pytest.mark.parametrize("path", ["../escape", "/a/../../b", "/", "", ".", "/a\nb", "/" + "x" * 256])
def test_cgroups_paths_that_are_none(nucleus, bundle, path):
    bundle.linux["cgroupsPath"] = path
    bundle.sh("true")
    if path == "":  # not set, as Go writes it
        nucleus.run_container(nucleus.new_id(), bundle)
    else:
        nucleus.fails("create", "-b", bundle.dir, nucleus.new_id(), text="cgroup")


def test_a_systemd_name_without_the_systemd_driver(nucleus, bundle):
    bundle.linux["cgroupsPath"] = "system.slice:nucleus:web"
    bundle.sh("true")
    nucleus.fails("create", "-b", bundle.dir, nucleus.new_id(),
                  text=["slice:prefix:name", "pass --systemd-cgroup"])
