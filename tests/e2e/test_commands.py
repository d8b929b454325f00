"""pause, resume, ps, events, stats, features: what engines and people ask of a container while it
lives. Statistics that take controllers are looked at in a VM (tests/vm/guest-stats)."""

import json
import os
import re
import select
from pathlib import Path

import pytest

from harness import Counting, alive, process, v2_cgroup, wait_for, wait_output

OTHER_USER = {"user": 1000, "group": 1000, "extra_groups": []}


@pytest.fixture
def counting(nucleus, bundle):
    one = Counting(nucleus, bundle)
    one.more()
    yield one
    nucleus.run("delete", "-f", one.id, check=False)


@pytest.fixture
def stopped(nucleus, bundle, cid):
    nucleus.create(cid, bundle.sh("exit 0"))
    nucleus.start(cid)
    nucleus.wait_status(cid, "stopped")
    yield cid
    nucleus.delete(cid)


@pytest.fixture
def sleepers(nucleus, make_bundle):
    """Makes containers that sleep; all are removed at the end."""
    made = []

    def make(script=None):
        cid = nucleus.new_id("sleeper")
        made.append(cid)
        bundle = make_bundle()
        nucleus.run_container(cid, bundle.sh(script) if script else bundle.args("sleep", "1000"),
                              "-d")
        return cid

    yield make
    for cid in made:
        nucleus.run("delete", "-f", cid, check=False)


@pytest.fixture
def store_of(nucleus, tmp_path):
    """Gives the state directory to a user, and back to root at the end."""

    def give(uid):
        for path in [tmp_path, *tmp_path.parents]:
            if path.stat().st_mode & 0o007 == 0:
                path.chmod(path.stat().st_mode | 0o011)
        for path in [nucleus.dir, nucleus.state_dir, *nucleus.state_dir.iterdir()]:
            os.chown(path, uid, uid)

    yield give
    give(0)


@pytest.fixture
def family(nucleus, sleepers):
    """A container of a shell and two that sleep, and another one."""
    cid = sleepers("sleep 1000 & sleep 1001 & wait")
    sleepers()

    def names():
        return sorted(filter(None, (p and p.comm for p in map(process, pids_of(nucleus, cid)))))

    wait_for(lambda: names() == ["sh", "sleep", "sleep"])
    return cid


def pids_of(nucleus, cid):
    return sorted(map(int, (v2_cgroup(nucleus, cid) / "cgroup.procs").read_text().split()))


# ---- pause, resume


def test_s1_pause_and_resume(nucleus, counting):
    nucleus.run("pause", counting.id)
    assert nucleus.status(counting.id) == "paused"
    assert [c["status"] for c in nucleus.list()] == ["paused"]
    assert "frozen 1" in (v2_cgroup(nucleus, counting.id) / "cgroup.events").read_text()
    before = counting.numbers()
    for _ in range(5):
        nucleus.state(counting.id)
    assert counting.numbers() == before, "it counts on"

    nucleus.run("resume", counting.id)
    assert nucleus.status(counting.id) == "running"
    counting.more()


def test_pause_and_resume_where_they_make_no_sense(nucleus, counting, make_bundle):
    nucleus.fails("resume", counting.id, text=["container not paused", "running"])
    nucleus.run("pause", counting.id)
    nucleus.fails("pause", counting.id, text="container not running")
    nucleus.run("resume", counting.id)
    gone = nucleus.new_id()
    for command in "pause", "resume":
        nucleus.fails(command, gone, text="does not exist")
        nucleus.fails(command, text="usage")
        nucleus.fails(command, counting.id, "more", text="usage")

    over = nucleus.new_id()
    nucleus.create(over, make_bundle().sh("exit 0"))
    nucleus.start(over)
    nucleus.wait_status(over, "stopped")
    nucleus.fails("pause", over, text=["container not running", "stopped"])
    nucleus.fails("resume", over, text=["container not paused", "stopped"])
    nucleus.delete(over)


def test_pause_of_a_created_container(nucleus, bundle, cid):
    """As runc has it; it starts when it is resumed first."""
    created = nucleus.create(cid, bundle.sh("echo started; sleep 1000"))
    nucleus.run("pause", cid)
    assert nucleus.status(cid) == "paused"
    nucleus.fails("start", cid, text="cannot start a container in the paused state")
    nucleus.run("resume", cid)
    assert nucleus.status(cid) == "created"
    nucleus.start(cid)
    wait_output(created, "started")
    nucleus.delete(cid, "-f")


def test_sigkill_ends_a_paused_container(nucleus, counting):
    nucleus.run("pause", counting.id)
    nucleus.kill(counting.id, "KILL")
    nucleus.wait_status(counting.id, "stopped")
    nucleus.delete(counting.id)


def test_a_signal_waits_until_a_container_is_resumed(nucleus, bundle, cid):
    result = nucleus.run_container(
        cid, bundle.sh("trap 'echo term; exit 0' TERM; echo up; while :; do sleep 0.02; done"), "-d")
    wait_output(result, "up")
    nucleus.run("pause", cid)
    nucleus.kill(cid, "TERM")
    assert nucleus.status(cid) == "paused"
    nucleus.run("resume", cid)
    wait_output(result, "term")
    nucleus.wait_status(cid, "stopped")
    nucleus.delete(cid)


def test_delete_of_a_paused_container_takes_force(nucleus, counting):
    pid = counting.pid
    nucleus.run("pause", counting.id)
    nucleus.fails("delete", counting.id, text=["not stopped", "paused"])
    assert alive(pid)
    nucleus.delete(counting.id, "-f")
    assert not alive(pid)
    assert nucleus.list() == []


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_s18_somebody_elses_is_not_paused(nucleus, counting, store_of, command):
    if command == "resume":
        nucleus.run("pause", counting.id)
    status = nucleus.status(counting.id)
    store_of(1000)
    refused = nucleus.fails(command, counting.id, **OTHER_USER)
    assert "belongs to uid 0, the caller is uid 1000" in refused.err
    store_of(0)
    assert nucleus.status(counting.id) == status
    nucleus.run("resume", counting.id, check=status == "paused")
    counting.more()


def test_resume_below_a_frozen_cgroup_changes_nothing(nucleus, bundle):
    """When that is thawed one day, the container must not run on behind the caller's back."""
    top = f"/nucleus-e2e-{nucleus.token}"
    cid = nucleus.new_id()
    bundle.linux["cgroupsPath"] = f"{top}/{cid}"
    result = nucleus.run_container(cid, bundle.sh(Counting.LOOP), "-d")
    parent = v2_cgroup(nucleus, cid).parent
    try:
        nucleus.run("pause", cid)
        (parent / "cgroup.freeze").write_text("1")
        nucleus.fails("resume", cid, text=[f"{parent} is frozen", "thaw the parent"], timeout=40)
        assert nucleus.status(cid) == "paused"
        (parent / "cgroup.freeze").write_text("0")
        wait_for(lambda: "frozen 0" in (parent / "cgroup.events").read_text())
        assert nucleus.status(cid) == "paused"
        nucleus.run("resume", cid)
        have = len(result.out.split())
        wait_for(lambda: len(result.out.split()) > have)
    finally:
        (parent / "cgroup.freeze").write_text("0")
        nucleus.delete(cid, "-f")
        os.rmdir(parent)


# ---- ps


def test_ps_json_is_an_array_of_pids(nucleus, family):
    pids = nucleus.run("ps", "--format", "json", family).json
    assert len(pids) == 3
    assert sorted(pids) == pids_of(nucleus, family)


def rows(table):
    return [line.split() for line in table.splitlines()]


def test_ps_table(nucleus, family):
    header, *lines = rows(nucleus.run("ps", family).out)
    assert header[:3] == ["UID", "PID", "PPID"]
    assert sorted(int(line[1]) for line in lines) == pids_of(nucleus, family)
    assert sorted(line[-1] for line in lines if line[-2] == "sleep") == ["1000", "1001"]


@pytest.mark.parametrize("options", [["-o", "pid,comm"], ["--", "-eo", "pid,comm"],
                                     ["-eo", "pid,comm"], ["axo", "pid,comm"]])
def test_ps_passes_options_on(nucleus, sleepers, options):
    cid = sleepers()
    wanted = ["-e", *options] if options[0] == "-o" else options
    header, *lines = rows(nucleus.run("ps", cid, *wanted).out)
    assert header == ["PID", "COMMAND"]
    assert lines == [[str(nucleus.state(cid)["pid"]), "sleep"]]


def test_ps_keeps_its_own_options_before_the_id(nucleus, sleepers):
    """What stands behind the ID is ps', even if it looks like ours."""
    cid = sleepers()
    header, *_ = rows(nucleus.run("ps", cid, "-f").out)
    assert "PID" in header
    nucleus.fails("ps", "-f", "yaml", cid, text="invalid format option")
    nucleus.fails("ps", "-Q", cid, text="-Q")
    assert "Usage: nucleus ps" in nucleus.run("ps", "--help").out


def test_ps_says_what_ps_said(nucleus, sleepers):
    cid = sleepers()
    nucleus.fails("ps", cid, "-o", "nonsense", text=["run ps", "nonsense"])
    nucleus.fails("ps", cid, "-eo", "comm", text=["find PID field", "choose ps options"])
    nucleus.fails("ps", cid, "-eo", "lstart,pid", text=["it is no pid", "before columns"])


def test_ps_without_a_ps(nucleus, sleepers, tmp_path):
    cid = sleepers()
    nucleus.fails("ps", cid, env={"PATH": str(tmp_path)}, text=["no ps in PATH", "procps"])
    assert nucleus.run("ps", "-f", "json", cid, env={"PATH": str(tmp_path)}).json


def test_ps_of_a_stopped_container(nucleus, stopped):
    assert nucleus.run("ps", "-f", "json", stopped).json == []
    assert len(nucleus.run("ps", stopped).out.splitlines()) == 1
    nucleus.fails("ps", nucleus.new_id(), text="does not exist")


# ---- events


def lines_of(running):
    text = running.out
    return [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines()]


def test_events_stats(nucleus, sleepers):
    cid = sleepers("while :; do :; done")
    event = nucleus.run("events", "--stats", cid).json
    assert event["type"] == "stats" and event["id"] == cid
    usage = event["data"]["cpu"]["usage"]
    assert set(usage) == {"total", "kernel", "user"}
    again = wait_for(lambda: (n := nucleus.run("events", "--stats", cid).json["data"]["cpu"][
        "usage"])["total"] > usage["total"] and n)
    assert again["user"] >= usage["user"]
    directory = v2_cgroup(nucleus, cid)
    for part, file in {"memory": "memory.current", "pids": "pids.current",
                       "hugetlb": "hugetlb.2MB.current"}.items():
        assert (part in event["data"]) == (directory / file).exists(), part
    assert event["data"]["network_interfaces"] is None


def test_events_end_with_the_container(nucleus, sleepers):
    cid = sleepers()
    running = nucleus.spawn("events", "--interval", "20ms", cid)
    wait_for(lambda: len(lines_of(running)) >= 3, what="three lines")
    nucleus.kill(cid, "KILL")
    result = running.wait()
    assert result.rc == 0, str(result)
    events = lines_of(result)
    assert {e["type"] for e in events} == {"stats"} and {e["id"] for e in events} == {cid}
    totals = [e["data"]["cpu"]["usage"]["total"] for e in events]
    assert totals == sorted(totals)


@pytest.mark.parametrize("how", ["kill", "delete"])
def test_events_do_not_wait_for_the_interval_to_end(nucleus, sleepers, how):
    cid = sleepers()
    running = nucleus.spawn("events", "--interval=1h", cid)
    wait_for(lambda: any("inotify" in os.readlink(f) for f in fds(running.pid)), what="the watch")
    if how == "kill":
        nucleus.kill(cid, "KILL")
    else:
        nucleus.delete(cid, "-f")
    result = running.wait()
    assert result.rc == 0 and result.out == "", str(result)


def fds(pid):
    return [f for f in Path(f"/proc/{pid}/fd").iterdir() if f.is_symlink()]


@pytest.mark.parametrize("interval", ["0", "0s", "-5s", "5", "fast", "", "5sec", "3000000h"])
def test_events_want_an_interval_above_zero(nucleus, sleepers, interval):
    cid = sleepers()
    text = "greater than 0" if interval in ("0", "0s", "-5s") else "no duration"
    nucleus.fails("events", f"--interval={interval}", cid, text=["interval", text])


def test_events_of_what_does_not_run(nucleus, stopped):
    nucleus.fails("events", stopped, text=f"container with id {stopped} is not running")
    nucleus.fails("events", "--stats", stopped, text="is not running")
    nucleus.fails("events", nucleus.new_id(), text="does not exist")


def test_events_of_a_paused_container(nucleus, sleepers):
    cid = sleepers()
    nucleus.run("pause", cid)
    assert nucleus.run("events", "--stats", cid).json["id"] == cid


def test_events_report_an_output_that_fails(nucleus, sleepers):
    cid = sleepers()
    with open("/dev/full", "wb") as full:
        result = nucleus.run("events", "--stats", cid, stdout=full, check=False)
    assert result.rc == 1 and "standard output" in result.err


# ---- stats

COLUMNS = ["ID", "CPU", "MEMORY", "/", "LIMIT", "TASKS", "READ", "/", "WRITTEN"]


def test_stats_once_where_nobody_watches(nucleus, sleepers):
    busy, idle = sleepers("while :; do :; done"), sleepers()
    header, *lines = rows(nucleus.run("stats").out)
    assert header == COLUMNS
    share = {line[0]: float(line[1].rstrip("%")) for line in lines}
    assert set(share) == {busy, idle}
    assert share[busy] > share[idle], share
    header, *lines = rows(nucleus.run("stats", "--no-stream", idle).out)
    assert [line[0] for line in lines] == [idle]


def test_stats_json(nucleus, sleepers):
    busy = sleepers("while :; do :; done")
    row = nucleus.run("stats", "--json", busy).json
    assert list(row) == ["id", "name", "cpu_percent", "cpu_usage_usec", "memory_usage",
                         "memory_limit", "tasks", "io_read", "io_written"]
    assert row["id"] == row["name"] == busy
    assert row["cpu_percent"] > 1 and row["cpu_usage_usec"] > 0
    directory = v2_cgroup(nucleus, busy)
    for key, file in {"memory_usage": "memory.current", "tasks": "pids.current"}.items():
        assert (row[key] is not None) == (directory / file).exists(), key


def test_stats_of_nothing(nucleus, stopped):
    assert rows(nucleus.run("stats").out) == [COLUMNS]
    assert nucleus.run("stats", "--json").out == ""
    nucleus.fails("stats", stopped, text=[stopped, "container not running"])
    nucleus.fails("stats", nucleus.new_id(), text="does not exist")


def read_screen(fd, until):
    data = b""

    def seen():
        nonlocal data
        while select.select([fd], [], [], 0)[0]:
            try:
                more = os.read(fd, 65536)
            except OSError:
                return True
            if not more:
                return True
            data += more
        return until(data)

    wait_for(seen, what=f"the screen, with {data!r}")
    return data


def test_stats_go_on_until_the_container_ends_on_a_terminal(nucleus, sleepers):
    cid = sleepers()
    master, slave = os.openpty()
    running = nucleus.spawn("stats", cid, stdout=slave)
    os.close(slave)
    screen = read_screen(master, lambda data: data.count(b"\033[H") >= 3)
    assert screen.startswith(b"\033[2J") and screen.count(cid.encode()) >= 2
    nucleus.kill(cid, "KILL")
    read_screen(master, lambda data: running.popen.poll() is not None)
    os.close(master)
    assert running.wait().rc == 0


# ---- features


@pytest.fixture
def features(nucleus):
    return nucleus.run("features").json


REFUSED = re.compile(r"nucleus (does not|implements no)|not honour|expected one of|unknown", re.I)


@pytest.fixture
def accepted(nucleus, bundle):
    """Makes a container of the bundle. It may fail for what the host lacks, not because nucleus does not
    know or do what config.json asks for."""

    def create(what):
        cid = nucleus.new_id()
        result = nucleus.run("--log-format", "json", "create", "-b", bundle.write().dir, cid,
                             check=False)
        lines = result.err.splitlines()
        error = json.loads(lines.pop()) if result.rc else None
        if not error:
            nucleus.delete(cid, "-f")
        assert not [line for line in lines if "ignored" in line], (what, lines)
        if not error:
            return
        if "there is no such device" in error["msg"]:
            return
        assert error["code"] not in ("config", "usage"), (what, error)
        assert not REFUSED.search(error["msg"]), (what, error)

    return create


def test_features_document(features):
    """The runtime-spec's types: what is a list has strings, each once; what is enabled is a boolean."""
    assert features["ociVersionMin"] == "1.0.0"
    assert re.fullmatch(r"1\.\d+\.\d+", features["ociVersionMax"])
    assert features["annotations"]["org.opencontainers.runc.checkpoint.enabled"] == "true"
    assert re.fullmatch(r"\d+\.\d+\.\d+",
                        features["annotations"]["io.github.seccomp.libseccomp.version"])

    def walk(value):
        if isinstance(value, dict):
            for key, inner in value.items():
                if key == "enabled":
                    assert isinstance(inner, bool)
                walk(inner)
        elif isinstance(value, list):
            assert all(isinstance(word, str) for word in value)
            assert len(value) == len(set(value))

    walk(features)
    seccomp = features["linux"]["seccomp"]
    assert set(seccomp["supportedFlags"]) <= set(seccomp["knownFlags"])
    assert features["linux"]["cgroup"]["v2"] and not features["linux"]["cgroup"]["v1"]


@pytest.mark.parametrize("version", ["ociVersionMin", "ociVersionMax"])
def test_features_versions(features, bundle, accepted, version):
    bundle.config["ociVersion"] = features[version]
    accepted(version)


def test_features_hooks(features, bundle, accepted):
    assert len(features["hooks"]) == 6
    for name in features["hooks"]:
        path = "/bin/true" if name in ("createContainer", "startContainer") else "/usr/bin/true"
        bundle.config["hooks"] = {name: [{"path": path}]}
        accepted(name)


def test_features_mount_options(features, bundle, accepted, tmp_path):
    """Each on a tmpfs and on a bind mount: one of them takes it."""
    for name in features["mountOptions"]:
        bind = name in ("bind", "rbind", "idmap", "ridmap")
        mount = {"destination": "/mnt", "type": "bind" if bind else "tmpfs",
                 "source": str(tmp_path) if bind else "tmpfs", "options": [name]}
        if name in ("idmap", "ridmap"):
            mount["options"].append("bind")
            for kind in "uidMappings", "gidMappings":
                mount[kind] = [{"containerID": 0, "hostID": 1000, "size": 1}]
        bundle.config["mounts"].append(mount)
        accepted(name)
        bundle.config["mounts"].pop()


def test_features_namespaces(features, bundle, accepted):
    assert len(features["linux"]["namespaces"]) == 8
    del bundle.config["hostname"]
    for name in features["linux"]["namespaces"]:
        if name == "user":
            bundle.user_namespace()
        else:
            bundle.namespaces(*{"mount", name})
        accepted(name)
        bundle.namespaces("mount")
        bundle.linux.pop("uidMappings", None)
        bundle.linux.pop("gidMappings", None)


def test_features_capabilities(features, bundle, accepted):
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    capabilities = features["linux"]["capabilities"]
    assert len(capabilities) > last
    bundle.process["capabilities"] = {"bounding": capabilities[:last + 1]}
    accepted("capabilities")


def test_features_seccomp(features, bundle, accepted, tmp_path):
    seccomp = features["linux"]["seccomp"]

    def profile(action="SCMP_ACT_ERRNO", op=None, **more):
        rule = {"names": ["swapon"], "action": action}
        if op:
            rule["args"] = [{"index": 0, "value": 1, "valueTwo": 1, "op": op}]
        bundle.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule], **more}

    for action in seccomp["actions"]:
        notify = {"listenerPath": str(tmp_path / "agent")} if action == "SCMP_ACT_NOTIFY" else {}
        profile(action=action, **notify)
        accepted(action)
    for operator in seccomp["operators"]:
        profile(op=operator)
        accepted(operator)
    for arch in seccomp["archs"]:
        profile(architectures=[arch])
        accepted(arch)
    for flag in seccomp["supportedFlags"]:
        profile(flags=[flag])
        accepted(flag)


def test_features_that_are_on_or_off(features, bundle, accepted):
    """What is said to be done is not refused by nucleus, whatever the host says."""
    linux = features["linux"]
    tries = [
        (linux["apparmor"]["enabled"], bundle.process, "apparmorProfile", "some-profile"),
        (linux["selinux"]["enabled"], bundle.process, "selinuxLabel", "system_u:system_r:x_t:s0"),
        (linux["intelRdt"]["enabled"], bundle.linux, "intelRdt", {"closID": "nucleus-e2e"}),
        (linux["intelRdt"]["schemata"], bundle.linux, "intelRdt", {"schemata": ["L3:0=f"]}),
        (linux["intelRdt"]["monitoring"], bundle.linux, "intelRdt", {"enableMonitoring": True}),
        (linux["netDevices"]["enabled"], bundle.linux, "netDevices", {"nucleus-e2e0": {}}),
    ]
    for enabled, place, key, value in tries:
        assert enabled
        place[key] = value
        accepted(key)
        del place[key]


def test_features_memory_policy(features, bundle, accepted):
    policy = features["linux"]["memoryPolicy"]
    assert "MPOL_BIND" in policy["modes"]
    for mode in policy["modes"]:
        bundle.linux["memoryPolicy"] = {"mode": mode}
        if mode not in ("MPOL_DEFAULT", "MPOL_LOCAL"):
            bundle.linux["memoryPolicy"]["nodes"] = "0"
        accepted(mode)
    for flag in policy["flags"]:
        mode = "MPOL_BIND" if flag == "MPOL_F_NUMA_BALANCING" else "MPOL_INTERLEAVE"
        bundle.linux["memoryPolicy"] = {"mode": mode, "nodes": "0", "flags": [flag]}
        accepted(flag)


def test_every_command_explains_itself(nucleus):
    for command in "pause", "resume", "ps", "events", "stats", "features":
        out = nucleus.run(command, "--help").out
        assert out.startswith(f"Usage: nucleus {command}")
        assert f"  {command} " in nucleus.run("--help").out
