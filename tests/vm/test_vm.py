"""What this host can't do, in a VM: a stock kernel with pure cgroup v2, every controller, and the
distribution's own CRIU (tests/vm/run)."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NUCLEUS = Path(os.environ.get("NUCLEUS", ROOT / "build/nucleus")).resolve()
BUILD = NUCLEUS.parent
ZOO = BUILD / "tests/zoo"


def guest(tmp_path, *command, seconds=900, criu="distro", flavour=()):
    env = {**os.environ, "NUCLEUS_VM_CRIU": criu, "NUCLEUS_VM_LOG": str(tmp_path / "console.log")}
    p = subprocess.run([ROOT / "tests/vm/run", *flavour, "-t", str(seconds), *map(str, command)],
                       cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                       timeout=seconds + 60)
    return p.returncode, p.stdout, p.stderr


@pytest.mark.parametrize("criu", ["distro", "host"])
def test_m2_c13_limits_are_recorded_and_made_again(tmp_path, criu):
    rc, out, err = guest(tmp_path, ROOT / "tests/vm/guest-limits", NUCLEUS, ZOO / "memory_pattern",
                         criu=criu)
    assert rc == 0, out + err
    for member in ('"memory_bytes":67108864', '"memory_high":50331648', '"memory_swap_max":null',
                   '"cpu_quota_us":25000', '"cpu_period_us":50000', '"cpu_weight":250',
                   '"pids_max":77'):
        assert member in out
    for line in ("memory.max=67108864", "memory.high=50331648", "cpu.max=25000 50000",
                 "cpu.weight=250", "pids.max=77", "pass"):
        assert line in out.splitlines(), out


# Not here, because CRIU 3.17.1 can't (4.2.1 can, tests/e2e/test_zoo.py): eventfd (loses
# EFD_SEMAPHORE), itimer (loses ITIMER_VIRTUAL), pipe_data (no packet mode), process_attrs (loses
# no_new_privs: a dump is refused, below), unix_socketpair (no credentials under way), tcp_loopback
# (leaves its network lock: refused, below).
PROGRAMS = ["memory_pattern", "process_tree", "threads", "deleted_file", "shm", "timerfd",
            "tmpfs_content"]


def test_c14_zoo_with_the_distributions_criu(tmp_path):
    rc, out, err = guest(tmp_path, ROOT / "tests/vm/guest-zoo", NUCLEUS, ZOO, *PROGRAMS,
                         seconds=900)
    results = dict(re.findall(r"^(\w+): (.*)$", out, re.M))
    left = results.pop("left", None)
    assert rc == 0, out + err
    assert results == {name: "pass" for name in PROGRAMS}, out + err
    assert left == ""


def test_c3_dump_that_would_lose_no_new_privs_is_refused(tmp_path):
    script = f"""set -eu
        cd $(mktemp -d /tmp/nnp.XXXXXX)
        export NUCLEUS_STATE_DIR=$PWD/state NUCLEUS_CHECKPOINT_HMAC_KEY_FILE=$PWD/key/k
        mkdir -p bundle/rootfs/tmp && cp {ZOO}/memory_pattern bundle/rootfs/program
        (cd bundle && {NUCLEUS} spec && sed -i 's|"sh"|"/program"|' config.json)
        {NUCLEUS} run -d -b bundle z </dev/null >log 2>&1
        {NUCLEUS} checkpoint -o frozen z && echo dumped
        {NUCLEUS} list; ls frozen || true; {NUCLEUS} delete -f z"""
    rc, out, err = guest(tmp_path, "sh", "-c", script.replace("checkpoint -o frozen z &&",
                                                              "checkpoint -o frozen z 2>&1 &&"))
    out += err
    assert "dumped" not in out
    assert "no_new_privs, which this CRIU would lose" in out
    assert "3.19 or newer" in out
    assert re.search(r"^z +[0-9]+ +running", out, re.M), out


def test_c12_tcp_that_would_stay_locked_is_refused(tmp_path):
    rc, out, err = guest(tmp_path, ROOT / "tests/vm/guest-zoo", NUCLEUS, ZOO, "tcp_loopback")
    assert "tcp_loopback: failed: nucleus: cannot keep TCP connections with '/usr/sbin/criu'" in out
    assert "would leave them locked; install CRIU 4.1 or newer" in out, out + err


def test_unit_tests_that_need_a_kernel(tmp_path):
    """On the stock kernel, which is older than the developers': mounts, cgroups, credentials."""
    programs = ["test_rootfs", "test_cgroup_live", "test_security_apply", "test_security_seccomp",
                "test_security_notify", "test_security_labels", "test_attributes", "test_sysctl",
                "test_hooks", "test_netdev"]
    script = "; ".join(f"{BUILD}/tests/{p} >/tmp/out 2>&1 && echo {p} passed || cat /tmp/out"
                       for p in programs)
    rc, out, err = guest(tmp_path, "sh", "-c", script)
    for program in programs:
        assert f"{program} passed" in out.splitlines(), out + err


def test_scopes_of_systemd(tmp_path):
    """The systemd driver against the distribution's systemd: the system's manager, a user's, and a
    user's from within a user namespace."""
    program = BUILD / "tests/test_cgroup_systemd_live"
    # A user of the guest may not look into the directory it was built in.
    script = f"""cp {program} /tmp/live && cd /tmp
        as_user() {{ XDG_RUNTIME_DIR=/run/user/1000 setpriv --reuid 1000 --regid 1000 \
            --clear-groups "$@"; }}
        try() {{ label=$1; shift; "$@" >/tmp/out 2>&1 && echo "$label passed" || cat /tmp/out; }}
        try system env NUCLEUS_TEST_SYSTEMD=system /tmp/live
        systemctl start user@1000
        try user as_user env NUCLEUS_TEST_SYSTEMD=user /tmp/live
        try namespace as_user env NUCLEUS_TEST_SYSTEMD=user unshare -Ur /tmp/live"""
    rc, out, err = guest(tmp_path, "sh", "-c", script, flavour=["--systemd"], seconds=900)
    for label in ("system", "user", "namespace"):
        assert f"{label} passed" in out.splitlines(), out + err


def test_statistics_and_oom_kills(tmp_path):
    rc, out, err = guest(tmp_path, ROOT / "tests/vm/guest-stats", NUCLEUS)
    assert rc == 0, out + err
    for line in (
            "before: None", 'event: {"type":"oom","id":"survivor"}', "after: running True",
            "memory: 67108864 True", "used: True", "swap: 67108864", "raw: True True",
            "pids: True 100", "psi: ['blkio', 'cpu', 'memory']", "stopped: stopped True",
            'event: {"type":"oom","id":"victim"}', "killed: stopped True", "anew: None",
            "share: True", "throttled: True True", "limit: 67108864 1 True", "written: [4194304]",
            "shown: True", "left:"):
        assert line in map(str.strip, out.splitlines()), f"{line!r} is not in:\n{out}{err}"
    assert out.count("watcher ended: 0") == 2, out


# What tests/vm/guest-systemd sees, for the system's manager and for a user's.
SYSTEMD_FACTS = {
    "limits": "67108864 0 100 20000 50000 59",
    "started": "running",
    "with exec": "2 processes",
    "updated": "33554432 0 50 10000 50000 59",
    "as systemd has it": "33554432 50 200ms",
    "after a reload": "33554432 0 50 10000 50000 59",
    "paused": "paused",
    "resumed": "running",
    "deleted": "not-found gone",
    "after a life": "0 units, 0 containers",
    "named": "/nucleus.slice/nucleus-test.slice/box-named.scope",
    "first one": "running active",
    "after names": "0 units, 0 containers",
    "short": "0",
    "after an end": "0 units, 0 containers",
    "after errors": "0 units, 0 containers",
    "loads it": "1",
}
SYSTEM_FACTS = {
    **SYSTEMD_FACTS,
    "unit": "active system.slice yes 3s",
    "place": "/system.slice/nucleus-web.scope",
    "does not load it": "0",
    "frozen": "not-found",
    "restored": "/system.slice/nucleus-again.scope running",
    "restored limits": "33554432 0 100 20000 50000 59",
    "after a restore": "0 units, 0 containers",
}
USER_FACTS = {
    **SYSTEMD_FACTS,
    "unit": "active user.slice yes 3s",
    "place": "/user.slice/nucleus-web.scope",
}


def facts_of(out):
    return dict(re.findall(r"^([a-z ]+): (.*)$", out, re.M))


@pytest.mark.parametrize("who, wanted", [("system", SYSTEM_FACTS), ("user", USER_FACTS)])
def test_containers_in_scopes_of_systemd(tmp_path, who, wanted):
    # A user of the guest may not look into the directory the binary was built in.
    script = f"""cp {NUCLEUS} {NUCLEUS}-linked /tmp/ && cp {ROOT}/tests/vm/guest-systemd /tmp/ && cd /tmp
        [ {who} = system ] && exec ./guest-systemd /tmp/nucleus
        systemctl start user@1000
        export XDG_RUNTIME_DIR=/run/user/1000
        unset NUCLEUS NUCLEUS_VM_LOG
        exec setpriv --reuid 1000 --regid 1000 --clear-groups ./guest-systemd /tmp/nucleus"""
    rc, out, err = guest(tmp_path, "sh", "-c", script, flavour=["--systemd"], seconds=900)
    facts = facts_of(out)
    assert rc == 0, out + err
    said = {name: facts.pop(name, "") for name in ("twice", "no unit", "no value", "no property")}
    assert facts == wanted, out + err
    assert "Unit box-named.scope" in said["twice"] and "choose another name" in said["twice"]
    assert "not of the form slice:prefix:name" in said["no unit"]
    assert "text stands in quotes" in said["no value"]
    assert "NoSuchProperty" in said["no property"]


def test_apparmor(tmp_path):
    """A profile of process.apparmorProfile holds: Debian's kernel has AppArmor at work."""
    rc, out, err = guest(tmp_path, ROOT / "tests/vm/guest-lsm", NUCLEUS)
    assert rc == 0, out + err
    lines = out.splitlines()
    for how in ("plain", "nnp", "userns"):
        assert f"{how}: nucleus-vm (enforce)" in lines, out + err
        assert f"{how}: wrote allowed" in lines
        assert f"{how}: wrote forbidden" not in lines
    for how in ("unconfined", "none"):
        assert f"{how}: unconfined" in lines
        assert f"{how}: wrote forbidden" in lines
    assert "exec: nucleus-vm (enforce)" in lines
    assert "exec unconfined: unconfined" in lines
    unknown = [line for line in lines if line.startswith("unknown:")]
    assert len(unknown) == 1 and "'no-such-profile'" in unknown[0] and "no profile" in unknown[0]
    assert "left: " in lines


def test_resources(tmp_path):
    """Each field of linux.resources: what it writes, what the kernel makes of it, what a container feels."""
    rc, out, err = guest(tmp_path, ROOT / "tests/vm/guest-resources", NUCLEUS,
                         BUILD / "tests/tools/consume", seconds=900)
    assert rc == 0 and "FAIL" not in out and ", 0 failed" in out, out + err


CYCLES = int(os.environ.get("NUCLEUS_E2E_CYCLES", "1000"))


def test_cycles_leave_nothing_behind(tmp_path):
    """Lives of containers, 8 at a time: then there are as many cgroups, mounts, processes,
    descriptors, files and namespaces as before."""
    rc, out, err = guest(tmp_path, ROOT / "tests/vm/guest-cycles", NUCLEUS,
                         BUILD / "tests/tools/cycles", CYCLES, seconds=1800)
    assert rc == 0 and f"{CYCLES} cycles in " in out, out + err
    counts = re.findall(r"^([a-z ]+): (\d+) (\d+)$", out, re.M)
    assert len(counts) == 11 and all(before == after for _, before, after in counts), out


@pytest.mark.parametrize("marker, flavour", [("controllers", []), ("systemd", ["--systemd"])])
def test_engines(tmp_path, marker, flavour):
    """What podman, containerd and docker ask for when there are controllers, or when systemd has them."""
    rc, out, err = guest(tmp_path, ROOT / "tests/vm/guest-engines", marker, NUCLEUS, seconds=1800,
                         flavour=[*flavour, "-m", "4G"])
    assert rc == 0 and " passed" in out and " failed" not in out, out + err


# The others by hand, for want of time: tests/vm/guest-e2e.
E2E = ["resources", "namespaces", "seccomp", "hooks"]


def test_end_to_end(tmp_path):
    """Files of tests/e2e whose subject is the kernel's."""
    rc, out, err = guest(tmp_path, ROOT / "tests/vm/guest-e2e", NUCLEUS, *E2E, seconds=2400,
                         criu="host", flavour=["-m", "4G"])
    counts = dict(re.findall(r"^([\w:]+): (\d+) passed, 0 failed, \d+ skipped in ", out, re.M))
    assert rc == 0 and counts.keys() == set(E2E) and "0" not in counts.values(), out + err
