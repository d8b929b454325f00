"""`exec`: another process in a container that is there."""

import contextlib
import json
import os
import platform
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
from pathlib import Path

import fcntl
import pytest

from harness import (alive, libc, process, reap_orphans, v2_cgroup, wait_for, wait_output)
from test_namespaces import USER, own_ids, users_store  # noqa: F401
from test_seccomp import agent, notify  # noqa: F401
from test_stdio import ConsoleSocket

pytestmark = pytest.mark.nucleus_only

# Ends at once when it is asked to: as the first of its pid namespace it would not otherwise.
FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts")


def reaping(one):
    """Waits for a command while whatever comes to this subreaper is reaped: the first process of a pid
    namespace ends after all others of it were, and those that `exec -d` added are ours."""
    while one.popen.poll() is None:
        reap_orphans()
    return one.wait()


@pytest.fixture
def bundle(bundle):
    bundle.linux.pop("resources", None)
    return bundle.sh(FOREVER)


@pytest.fixture
def up(nucleus, bundle, cid):
    """Starts the container of the test's bundle, and ends it."""

    def start(**run):
        bundle.write()
        nucleus.run_container(cid, bundle, "-d", **run)
        return nucleus.state(cid)["pid"]

    yield start
    assert reaping(nucleus.spawn("delete", "-f", cid)).rc == 0


@pytest.fixture
def running(up):
    return up()


@pytest.fixture
def ex(nucleus, cid):
    """`exec` in the test's container: ex("sh", "-c", …, options=["-u", "5"])."""

    def call(*words, options=(), check=True, **run):
        return nucleus.run("exec", *options, cid, *words, check=check, **run)

    return call


@pytest.fixture
def refused(nucleus, cid):
    """`exec` that must fail, with this status; nothing may be left of it."""

    def call(*words, options=(), status=255, **run):
        result = nucleus.fails("exec", *options, cid, *words, **run)
        assert result.rc == status, str(result)
        return result

    return call


def waits_in(pid, call):
    """Whether the process is in this system call."""
    numbers = {"x86_64": {"poll": 7, "flock": 73}, "aarch64": {"poll": 73, "flock": 32}}
    return Path(f"/proc/{pid}/syscall").read_text().startswith(f"{numbers[platform.machine()][call]} ")


def status_of(text):
    """/proc/PID/status as a dict."""
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def namespaces_of(pid):
    return {n: os.readlink(f"/proc/{pid}/ns/{n}") for n in NAMESPACES}


def detached(nucleus, cid, tmp_path, *words, options=(), **run):
    """Starts one with -d; its pid."""
    file = tmp_path / "exec.pid"
    nucleus.run("exec", "-d", "--pid-file", file, *options, cid, *words, **run)
    return int(file.read_text())


# ---- where it runs


@pytest.mark.parametrize("kind", ["default", "all", "no pid", "user", "user of the host's net"])
def test_it_joins_every_namespace(nucleus, bundle, cid, up, tmp_path, kind):
    holder = None
    if kind == "all":
        bundle.namespaces("pid", "network", "ipc", "uts", "mount", "cgroup", "time")
    elif kind == "no pid":
        bundle.namespaces("network", "ipc", "uts", "mount", "cgroup")
    elif kind == "user":
        bundle.user_namespace()
    elif kind == "user of the host's net":
        # As podman makes it: the network belongs to the host's root, the rest to the container's.
        holder = subprocess.Popen(["unshare", "-n", "sleep", "1000"])
        wait_for(lambda: process(holder.pid).comm == "sleep", what="the network namespace")
        bundle.user_namespace()
        # A sysfs shows the network: nobody but its owner mounts one.
        bundle.config["mounts"] = [m for m in bundle.config["mounts"] if "/sys" not in m["destination"]]
        for one in bundle.linux["namespaces"]:
            if one["type"] == "network":
                one["path"] = f"/proc/{holder.pid}/ns/net"
    try:
        first = up()
        pid = detached(nucleus, cid, tmp_path, "sh", "-c", FOREVER)
        assert namespaces_of(pid) == namespaces_of(first)
        assert os.path.samefile(f"/proc/{pid}/root", f"/proc/{first}/root")
        assert os.readlink(f"/proc/{pid}/root") == "/" and os.readlink(f"/proc/{pid}/cwd") == "/"
        cgroup = v2_cgroup(nucleus, cid)
        assert str(pid) in (cgroup / "cgroup.procs").read_text().split()
        # A session of its own, a child of nobody in there, and nothing of the runtime's.
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        assert int(words[3]) == pid
        held = {os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")}
        assert len(held) == 3, held  # input, and the files that take its output
        nucleus.kill(cid, "KILL")
        nucleus.wait_status(cid, "stopped")
        if kind != "no pid":
            wait_for(lambda: not alive(pid), what="the kernel to end the pid namespace")
    finally:
        if holder:
            holder.kill()
            holder.wait()


def test_it_is_seen_inside(running, ex):
    lines = ex("ps").out.splitlines()
    assert lines[1].split()[0] == "1" and any(line.endswith("ps") for line in lines[2:])


def test_what_is_said_in_the_container_is_seen(running, ex, bundle):
    ex("sh", "-c", "hostname; echo here >/tmp/mark; exit 0")
    assert (bundle.rootfs / "tmp" / "mark").read_text() == "here\n"


@pytest.mark.parametrize("directory", ["/", "/tmp"])
def test_the_caller_s_place_does_not_matter(running, ex, directory):
    assert ex("pwd", cwd=directory).out == "/\n"


# ---- exit status


@pytest.mark.parametrize("script,status", [
    ("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -KILL $$", 137),
    ("kill -SEGV $$", 139)])
def test_exit_status_is_the_program_s(running, ex, script, status):
    assert ex("sh", "-c", script, check=False).rc == status


@pytest.mark.parametrize("detach", [[], ["-d"]], ids=["foreground", "detached"])
@pytest.mark.parametrize("program,status,text", [
    ("nope", 127, "executable file not found in $PATH"),
    ("/no/such", 127, "no such file or directory"),
    ("/etc/passwd", 126, "permission denied"),
    ("/etc", 126, "directory"),
    ("/zoo/bad", 126, "exec format error"),
    ("/zoo/interpreter", 127, "no such file or directory")])
def test_program_that_can_t_be_run(running, bundle, refused, tmp_path, program, status, text, detach):
    (bundle.rootfs / "zoo" / "bad").write_bytes(b"\x7fELFnot really")
    (bundle.rootfs / "zoo" / "interpreter").write_text("#!/no/such\n")
    for name in ("bad", "interpreter"):
        (bundle.rootfs / "zoo" / name).chmod(0o755)
    refused(program, options=[*detach, "--pid-file", tmp_path / "pid"], status=status,
            text=[text, program])
    assert not (tmp_path / "pid").exists()


def test_failures_are_told_as_json(nucleus, running, cid, tmp_path):
    """What containerd's shim reads."""
    log = tmp_path / "log.json"
    result = nucleus.run("--log", log, "--log-format", "json", "exec", cid, "nope", check=False)
    assert result.rc == 127
    last = json.loads(log.read_text().splitlines()[-1])
    assert last["level"] == "error" and last["code"] == "program"
    assert "executable file not found in $PATH" in last["msg"]


# ---- the command line


def test_options_end_at_the_id(running, ex):
    assert ex("sh", "-c", "echo $0 $1 $2", "-t", "--env", "x").out == "-t --env x\n"
    assert ex("--", "echo", "--", "-d").out == "-- -d\n"
    assert ex("echo", "--help").out == "--help\n"


def test_there_must_be_a_program(running, refused):
    refused(text="process args cannot be empty")
    refused("--", text="process args cannot be empty")
    refused("", text="empty")


def test_help_names_what_runc_has(nucleus):
    text = nucleus.run("exec", "--help").out
    for option in ("process", "tty", "detach", "pid-file", "console-socket", "cwd", "env", "user",
                   "additional-gids", "cap", "no-new-privs", "preserve-fds", "cgroup",
                   "ignore-paused", "pidfd-socket", "apparmor", "process-label"):
        assert f"--{option} " in text


def test_unknown_container(nucleus):
    assert nucleus.fails("exec", "nobody", "true", text="container does not exist").rc == 255


# ---- environment, directory, user


def test_environment_is_the_container_s_with_changes(bundle, up, ex):
    bundle.process["env"] += ["ONE=1", "TWO=2"]
    up()
    out = ex("env", options=["-e", "TWO=second", "--env", "THREE=a=b", "-e", "EMPTY="]).out.split("\n")
    assert "ONE=1" in out and "TWO=second" in out and "THREE=a=b" in out and "EMPTY=" in out
    assert len([line for line in out if line.startswith("TWO=")]) == 1


def test_path_of_the_environment_counts(running, bundle, ex, refused):
    (bundle.rootfs / "zoo" / "tool").write_text("#!/bin/sh\necho found\n")
    (bundle.rootfs / "zoo" / "tool").chmod(0o755)
    assert ex("tool", options=["-e", "PATH=/zoo"]).out == "found\n"
    refused("tool", status=127)


@pytest.mark.parametrize("value", ["NAME", "=x", ""])
def test_environment_without_a_name(running, refused, value):
    refused("true", options=["-e", value], text="--env")


def test_directory(bundle, up, ex, refused):
    bundle.process["cwd"] = "/etc"
    up()
    assert ex("pwd").out == "/etc\n"
    assert ex("pwd", options=["--cwd", "/tmp"]).out == "/tmp\n"
    # Only the first process's is made where it is missing.
    refused("pwd", options=["--cwd", "/var/new"], text=["/var/new", "no such file"])
    refused("pwd", options=["--cwd", "tmp"], text="absolute")
    refused("pwd", options=["--cwd", "/etc/passwd"], text="/etc/passwd")


def test_user_and_groups(bundle, up, ex):
    bundle.process["user"] = {"uid": 1, "gid": 2, "additionalGids": [7]}
    up()

    def ids(*options):
        s = status_of(ex("cat", "/proc/self/status", options=options).out)
        return s["Uid"].split()[0], s["Gid"].split()[0], s["Groups"].split()

    assert ids() == ("1", "2", ["7"])
    assert ids("-u", "1000") == ("1000", "2", ["7"])
    assert ids("--user", "1000:1001", "-g", "5", "--additional-gids", "2000") == (
        "1000", "1001", ["5", "7", "2000"])


@pytest.mark.parametrize("value", ["root", "1:", ":1", "", "-1", "4294967295", "1:2:3", "0x1", " 1"])
def test_user_that_is_none(running, refused, value):
    refused("true", options=["-u", value], text="--user")


@pytest.mark.parametrize("value", ["tty", "", "5,6", "4294967295"])
def test_group_that_is_none(running, refused, value):
    refused("true", options=["-g", value], text="--additional-gids")


# ---- rights and limits


def rights(ex, *options, check=True):
    s = status_of(ex("cat", "/proc/self/status", options=options, check=check).out)
    return {k: int(s[k], 16) for k in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} | {
        "nnp": s["NoNewPrivs"]}


KILL, NET_BIND, NET_ADMIN = 1 << 5, 1 << 10, 1 << 12


def test_cve_2022_29162_capabilities_are_the_container_s(bundle, up, ex):
    """And no more: nothing is inheritable that is not so in the container (CVE-2022-27650)."""
    names = ["CAP_KILL", "CAP_NET_BIND_SERVICE"]
    bundle.process["capabilities"] = {k: names for k in ("bounding", "effective", "permitted")}
    up()
    own = rights(ex)
    assert own == {"CapInh": 0, "CapAmb": 0, "CapPrm": KILL | NET_BIND, "CapEff": KILL | NET_BIND,
                   "CapBnd": KILL | NET_BIND, "nnp": "1"}
    more = rights(ex, "--cap", "CAP_NET_ADMIN", "-c", "CAP_KILL")
    assert more == own | {k: own[k] | NET_ADMIN for k in ("CapPrm", "CapEff", "CapBnd")}
    # An ordinary user has what is ambient, which is nothing.
    plain = rights(ex, "-u", "1000", "-c", "CAP_NET_ADMIN")
    assert (plain["CapPrm"], plain["CapEff"], plain["CapInh"], plain["CapAmb"]) == (0, 0, 0, 0)


def test_added_capability_is_ambient_where_it_is_inheritable(bundle, up, ex):
    names = ["CAP_KILL", "CAP_NET_ADMIN"]
    bundle.process["capabilities"] = {"bounding": names, "effective": ["CAP_KILL"],
                                      "permitted": ["CAP_KILL"], "inheritable": ["CAP_NET_ADMIN"]}
    up()
    plain = rights(ex, "-u", "1000", "-c", "CAP_NET_ADMIN")
    assert plain["CapAmb"] == plain["CapEff"] == NET_ADMIN


@pytest.mark.parametrize("value", ["CAP_NOPE", "", "all", "5"])
def test_capability_that_is_none(running, refused, value):
    refused("true", options=["-c", value], text="--cap")


def test_no_new_privs(bundle, up, ex):
    bundle.process["noNewPrivileges"] = False
    up()
    assert rights(ex)["nnp"] == "0"
    assert rights(ex, "--no-new-privs")["nnp"] == "1"


def test_limits_are_those_of_the_first_process(bundle, up, ex):
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": 200, "soft": 100},
                                 {"type": "RLIMIT_CORE", "hard": 0, "soft": 0}]
    bundle.process["user"]["umask"] = 0o027
    bundle.process["oomScoreAdj"] = 500
    up()
    out = ex("sh", "-c", "ulimit -Sn; ulimit -Hn; ulimit -c; umask; cat /proc/self/oom_score_adj").out
    assert out.split() == ["100", "200", "0", "0027", "500"]


def deny_mkdir(bundle):
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}


@pytest.mark.parametrize("nnp", [True, False], ids=["no_new_privs", "new privs"])
def test_the_container_s_seccomp_filter_holds(bundle, up, ex, tmp_path, nnp):
    deny_mkdir(bundle)
    bundle.process["noNewPrivileges"] = nnp
    up()
    file = process_file(tmp_path, noNewPrivileges=nnp, args=["mkdir", "/tmp/x"])
    for result in (ex("mkdir", "/tmp/x", check=False), ex(options=["-p", file], check=False)):
        assert result.rc == 1 and "not supported" in result.err, str(result)
    assert "Seccomp:\t2" in ex("cat", "/proc/self/status").out


def test_seccomp_agent_gets_the_listener(nucleus, bundle, up, ex, agent, cid):  # noqa: F811
    bundle.config["annotations"] = {"org.example.key": "value"}
    notify(bundle, agent.path, listenerMetadata="some")
    first = up()
    result = ex("mkdir", "/tmp/x", check=False)
    assert result.rc == 1 and "cross-device" in result.err.lower(), str(result)
    state, _ = agent.states[1]
    assert state["pid"] not in (0, first) and state["metadata"] == "some"
    assert state["state"]["id"] == cid and state["state"]["pid"] == first
    assert state["state"]["status"] == "running"
    assert state["state"]["annotations"] == {"org.example.key": "value"}


# ---- a process from a file


def process_file(tmp_path, **changes):
    p = {"cwd": "/tmp", "args": ["cat", "/proc/self/status"], "user": {"uid": 0, "gid": 0},
         "env": ["PATH=/bin"]}
    p.update(changes)
    path = tmp_path / "process.json"
    path.write_text(json.dumps({k: v for k, v in p.items() if v is not None}))
    return path


def test_process_file(running, ex, tmp_path):
    file = process_file(
        tmp_path, args=["sh", "-c", "pwd; echo $A; id; grep -E 'Cap(Eff|Inh)|NoNew' /proc/self/status; "
                        "ulimit -n; umask; cat /proc/self/oom_score_adj"],
        user={"uid": 7, "gid": 8, "additionalGids": [9], "umask": 0o77}, env=["PATH=/bin", "A=b"],
        capabilities={k: ["CAP_KILL"] for k in ("bounding", "effective", "permitted", "inheritable",
                                                "ambient")},
        rlimits=[{"type": "RLIMIT_NOFILE", "hard": 64, "soft": 64}], oomScoreAdj=321)
    out = ex(options=["--process", file]).out.splitlines()
    assert out[0] == "/tmp" and out[1] == "b"
    assert out[2].split()[:2] == ["uid=7", "gid=8"] and "9" in out[2]
    assert [line.split()[1] for line in out[3:6]] == ["0000000000000020", "0000000000000020", "0"]
    assert out[6:] == ["64", "0077", "321"]


def test_what_a_process_file_leaves_out_is_the_container_s(bundle, up, ex, tmp_path):
    """Leaving a limit out is no way out of it."""
    bundle.process["capabilities"] = {k: ["CAP_KILL"] for k in ("bounding", "effective", "permitted")}
    bundle.process["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": 99, "soft": 99}]
    bundle.process["user"]["umask"] = 0o026
    bundle.process["oomScoreAdj"] = 123
    bundle.process["env"].append("A=container")
    up()
    file = process_file(tmp_path, args=["sh", "-c", "grep CapBnd /proc/self/status; ulimit -n; umask; "
                                        "cat /proc/self/oom_score_adj; echo A=$A"])
    out = ex(options=["-p", file]).out.split()
    assert out == ["CapBnd:", "0000000000000020", "99", "0026", "123", "A="]


def test_options_come_on_top_of_a_process_file(running, ex, tmp_path):
    file = process_file(tmp_path)
    options = ["-p", file, "-u", "5:6", "--cwd", "/etc", "-e", "A=1", "--no-new-privs"]
    out = ex("sh", "-c", "id; pwd; echo $A; grep NoNew /proc/self/status", options=options).out.split()
    assert out[:2] == ["uid=5", "gid=6"] and out[2:] == ["/etc", "1", "NoNewPrivs:", "1"]


@pytest.mark.parametrize("text,why", [
    ("", "process.json"), ("[]", "process.json"), ("{", "process.json"), ('{"args": ["x"]}', "cwd"),
    ('{"cwd": "/"}', "args"), ('{"cwd": "/", "args": []}', "args"),
    ('{"cwd": "x", "args": ["true"]}', "absolute"),
    ('{"cwd": "/", "args": ["true"], "user": {"uid": -1}}', "uid")])
def test_bad_process_file(running, refused, tmp_path, text, why):
    path = tmp_path / "process.json"
    path.write_text(text)
    refused(options=["-p", path], text=why)


def test_process_file_that_is_not_there(running, refused, tmp_path):
    refused(options=["-p", tmp_path / "none"], text=["none", "no such file"])
    refused(options=["-p", tmp_path], text=str(tmp_path))


# ---- the container's status


def test_created_container(nucleus, bundle, cid, ex):
    nucleus.create(cid, bundle)
    assert ex("sh", "-c", "hostname; cat /proc/1/comm").rc == 0
    assert nucleus.status(cid) == "created"
    nucleus.start(cid)
    assert nucleus.status(cid) == "running"
    nucleus.delete(cid, "-f")


def test_stopped_container(nucleus, bundle, cid, refused):
    nucleus.run_container(cid, bundle.sh("exit 0"), "--keep")
    refused("true", text="cannot exec in a stopped container")
    nucleus.delete(cid)


def test_paused_container(nucleus, running, cid, refused):
    cgroup = v2_cgroup(nucleus, cid)
    nucleus.run("pause", cid)
    before = (cgroup / "cgroup.procs").read_text()
    refused("true", text="cannot exec in a paused container (use --ignore-paused to override)")
    assert (cgroup / "cgroup.procs").read_text() == before
    nucleus.run("resume", cid)


def test_paused_container_ignored(nucleus, running, cid):
    """It waits until the container runs again, and holds nobody up meanwhile."""
    nucleus.run("pause", cid)
    one = nucleus.spawn("exec", "--ignore-paused", cid, "echo", "there")
    wait_for(lambda: waits_in(one.pid, "poll"), what="it to wait")
    assert nucleus.status(cid) == "paused" and one.out == ""
    nucleus.run("resume", cid)
    result = one.wait()
    assert (result.rc, result.out) == (0, "there\n"), str(result)


def test_paused_container_ignored_can_be_interrupted(nucleus, running, cid):
    nucleus.run("pause", cid)
    one = nucleus.spawn("exec", "--ignore-paused", cid, "true")
    wait_for(lambda: status_of(Path(f"/proc/{one.pid}/status").read_text())["SigBlk"].strip("0") == ""
             and waits_in(one.pid, "poll"), what="it to wait")
    os.kill(one.pid, signal.SIGTERM)
    assert one.wait().rc == -signal.SIGTERM
    nucleus.run("resume", cid)


def test_paused_container_that_ends(nucleus, running, cid):
    nucleus.run("pause", cid)
    one = nucleus.spawn("exec", "--ignore-paused", cid, "true")
    wait_for(lambda: waits_in(one.pid, "poll"), what="it to wait")
    nucleus.kill(cid, "KILL", all=True)
    result = one.wait()
    assert result.rc == 255 and "stopped" in result.err, str(result)


# ---- its cgroup


def test_sub_cgroup(nucleus, running, cid, ex, refused, tmp_path):
    cgroup = v2_cgroup(nucleus, cid)
    (cgroup / "sub" / "deep").mkdir(parents=True)
    for path in ("sub/deep", "/sub/deep", "sub/../sub/deep"):
        pid = detached(nucleus, cid, tmp_path, "sleep", "1000", options=["--cgroup", path])
        assert str(pid) in (cgroup / "sub" / "deep" / "cgroup.procs").read_text().split()
    pid = detached(nucleus, cid, tmp_path, "sleep", "1000", options=["--cgroup", "/"])
    assert str(pid) in (cgroup / "cgroup.procs").read_text().split()
    refused("true", options=["--cgroup", "none"], text=["none", "no such file"])
    for path in ("..", "sub/../..", "../../.."):
        refused("true", options=["--cgroup", path], text="not below")
    refused("true", options=["--cgroup", "memory:sub"], text="v2")


def test_cgroup_that_has_passed_its_controllers_on(nucleus, running, cid, ex, refused, tmp_path):
    """Then processes can only be in those below (a container with systemd, or docker, in it)."""
    cgroup = v2_cgroup(nucleus, cid)
    if "pids" not in (cgroup / "cgroup.controllers").read_text().split():
        parent = cgroup.parent / "cgroup.subtree_control"
        with contextlib.suppress(OSError):
            if "pids" in (cgroup.parent / "cgroup.controllers").read_text().split():
                parent.write_text("+pids")
    if "pids" not in (cgroup / "cgroup.controllers").read_text().split():
        pytest.skip("there is no controller here to pass on")
    (cgroup / "init").mkdir()
    for pid in (cgroup / "cgroup.procs").read_text().split():
        with contextlib.suppress(ProcessLookupError):
            (cgroup / "init" / "cgroup.procs").write_text(pid)
    wait_for(lambda: not (cgroup / "cgroup.procs").read_text(), what="all to be further down")
    (cgroup / "cgroup.subtree_control").write_text("+pids")
    pid = detached(nucleus, cid, tmp_path, "sleep", "1000")
    assert str(pid) in (cgroup / "init" / "cgroup.procs").read_text().split()
    assert ex("true", options=["--cgroup", "init"]).rc == 0
    refused("true", options=["--cgroup", "."], text="busy")


# ---- descriptors, pid files, sockets


def test_preserved_descriptors(running, ex, refused, tmp_path):
    (tmp_path / "file").write_text("handed over\n")
    fds = [os.open(tmp_path / "file", os.O_RDONLY) for _ in range(3)]
    handed = [fcntl.fcntl(fd, fcntl.F_DUPFD, 50 + i) for i, fd in enumerate(fds)]

    def run(n, count, words, call=ex, **more):
        """With `count` descriptors from 3 on."""

        def move():
            for i in range(count):
                os.dup2(handed[i], 3 + i)

        return call(*words, options=["--preserve-fds", str(n)], preexec_fn=move, close_fds=False, **more)

    assert run(1, 3, ["sh", "-c", "cat <&3; ls /proc/self/fd"]).out.split() == [
        "handed", "over", "0", "1", "2", "3", "4"]  # 4 is ls's own
    assert run(3, 3, ["sh", "-c", "cat <&5"]).out == "handed over\n"
    run(3, 2, ["true"], call=refused, text="descriptor '5'")
    run("x", 0, ["true"], call=refused, text="--preserve-fds")
    run("-1", 0, ["true"], call=refused, text="--preserve-fds")
    run("99999999999", 0, ["true"], call=refused, text="--preserve-fds")
    for fd in fds + handed:
        os.close(fd)


def test_log_is_no_descriptor_to_preserve(nucleus, running, cid, tmp_path):
    result = nucleus.run("--log", tmp_path / "log", "exec", "--preserve-fds", "1", cid, "true",
                         check=False)
    assert result.rc == 255 and "not open" in result.err


def test_detached(nucleus, running, cid, bundle, tmp_path):
    """On return the program runs, as somebody else's child, and the pid file names it."""
    file = tmp_path / "pid"
    result = nucleus.run("exec", "-d", "--pid-file", file, cid, "sh", "-c",
                         "echo out; echo err >&2; while [ ! -e /tmp/go ]; do sleep 0.05; done; exit 3")
    pid = int(file.read_text())
    assert process(pid).ppid == os.getpid() and process(pid).comm == "sh"
    wait_output(result, "out\n")
    assert result.err == "err\n"
    (bundle.rootfs / "tmp" / "go").touch()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3


def test_pid_file_that_can_t_be_written(nucleus, running, cid, refused, tmp_path):
    before = (v2_cgroup(nucleus, cid) / "cgroup.procs").read_text().split()[0]
    refused("touch", "/tmp/ran", options=["-d", "--pid-file", tmp_path / "none" / "pid"], text="pid file")
    assert (v2_cgroup(nucleus, cid) / "cgroup.procs").read_text().split()[0] == before
    assert not Path(f"/proc/{running}/root/tmp/ran").exists()


def test_pidfd_socket(nucleus, running, cid, tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        pid = detached(nucleus, cid, tmp_path, "sleep", "1000", options=["--pidfd-socket", path])
        connection, _ = listener.accept()
        with connection:
            _, fds, _, _ = socket.recv_fds(connection, 100, 1)
    info = dict(line.split(":\t") for line in Path(f"/proc/self/fdinfo/{fds[0]}").read_text().splitlines())
    assert int(info["Pid"]) == pid
    signal.pidfd_send_signal(fds[0], signal.SIGKILL)
    wait_for(lambda: not alive(pid), what="it to end")
    os.close(fds[0])


def test_pidfd_socket_without_listener(running, refused, tmp_path):
    refused("true", options=["--pidfd-socket", tmp_path / "none"], text="none")


# ---- in the foreground


def test_pipes(nucleus, running, cid):
    one = nucleus.spawn("exec", cid, "sh", "-c", "while read line; do echo got $line; done; exit 5",
                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for word in (b"one", b"two"):
        one.stdin.write(word + b"\n")
        one.stdin.flush()
        assert one.popen.stdout.readline() == b"got " + word + b"\n"
    one.stdin.close()
    assert one.wait().rc == 5
    one.popen.stdout.close()


@pytest.mark.parametrize("sig,trap", [("TERM", 41), ("INT", 42), ("USR1", 43), ("HUP", 44)])
def test_signals_are_passed_on(nucleus, running, cid, sig, trap):
    one = nucleus.spawn("exec", cid, "sh", "-c",
                        f"trap 'exit {trap}' {sig}; echo up; while :; do sleep 0.05; done")
    wait_output(one, "up")
    os.kill(one.pid, getattr(signal, f"SIG{sig}"))
    assert one.wait().rc == trap
    assert nucleus.status(cid) == "running"


def test_killed_runtime_leaves_the_program(nucleus, running, cid):
    """As with `run`: the program is the container's."""
    one = nucleus.spawn("exec", cid, "sh", "-c", "echo up; sleep 1000")
    wait_output(one, "up")
    os.kill(one.pid, signal.SIGKILL)
    one.wait()
    assert len((v2_cgroup(nucleus, cid) / "cgroup.procs").read_text().split()) >= 2


@pytest.mark.parametrize("where", ["rename", "sendmsg"])
def test_runtime_killed_half_way_leaves_nothing(nucleus, running, cid, tmp_path, where):
    """Between the process's set-up and its program: it sees the end of the channel."""
    first = set((v2_cgroup(nucleus, cid) / "cgroup.procs").read_text().split())
    syscall = {"rename": "rename", "sendmsg": "sendto"}[where]
    one = nucleus.spawn("exec", "-d", "--pid-file", tmp_path / "pid", cid, "touch", "/tmp/ran",
                        prefix=["strace", "-o", tmp_path / "trace", "-e", f"inject={syscall}:signal=KILL"])
    one.wait()
    assert "SIGKILL" in (tmp_path / "trace").read_text()

    def gone():
        reap_orphans()
        now = (v2_cgroup(nucleus, cid) / "cgroup.procs").read_text().split()
        return [p for p in now if process(p) and process(p).comm == "nucleus"] == []

    wait_for(gone, what="the process to end")
    assert first <= set((v2_cgroup(nucleus, cid) / "cgroup.procs").read_text().split()) or first
    assert not Path(f"/proc/{running}/root/tmp/ran").exists()
    nucleus.run("exec", cid, "true")


# ---- terminals


class Screen:
    """The other side of a terminal: all it printed until now."""

    def __init__(self, master):
        self.master, self.data = master, b""

    def text(self):
        while select.select([self.master], [], [], 0)[0]:
            try:
                got = os.read(self.master, 65536)
            except OSError:
                break
            if not got:
                break
            self.data += got
        return self.data.decode(errors="replace")

    def expect(self, text):
        wait_for(lambda: text in self.text(), 15, f"{text!r} on the screen: {self.data}")

    def say(self, text):
        os.write(self.master, text.encode())


def set_size(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@pytest.fixture
def terminal(nucleus, cid):
    """`exec -t` on a terminal of the host, as a shell would start it."""
    made = []

    def start(*words, options=()):
        pid, master = pty.fork()
        if pid == 0:
            try:
                argv = [nucleus.binary, "--root", str(nucleus.state_dir), "exec", "-t", *options, cid,
                        *words]
                os.execve(nucleus.binary, argv, nucleus.environment())
            finally:
                os._exit(99)
        made.append((pid, master))
        return pid, Screen(master)

    yield start
    for pid, master in made:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(master)


def test_terminal_in_the_foreground(running, terminal):
    pid, screen = terminal("sh", "-c", "stty -echo; tty; test -t 0 -a -t 1 -a -t 2 && echo all; echo up; "
                           "while read l; do [ $l = end ] && exit 6; echo got $l $(stty size); done")
    screen.expect("up")
    assert screen.text().splitlines()[:2] == ["/dev/pts/0", "all"]
    set_size(screen.master, 33, 77)
    os.kill(pid, signal.SIGWINCH)

    def resized():
        screen.say("size\n")
        return "33 77" in screen.text()

    wait_for(resized, what="the size to arrive")
    screen.say("end\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 6


def test_terminal_size_is_there_from_the_start(running, terminal):
    master, slave = os.openpty()
    set_size(slave, 21, 55)
    pid, screen = terminal("sh", "-c", "while :; do stty size; sleep 0.05; done")
    set_size(screen.master, 21, 55)
    os.kill(pid, signal.SIGWINCH)
    screen.expect("21 55")
    os.close(master)
    os.close(slave)


def test_terminal_s_keys_are_the_program_s(running, terminal):
    """Raw on the outside: ^C is a character there, and a signal inside."""
    pid, screen = terminal("sh", "-c", "trap 'echo interrupted; exit 9' INT; echo up; "
                           "while :; do sleep 0.05; done")
    screen.expect("up")
    screen.say("\x03")
    screen.expect("interrupted")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9


def test_terminal_belongs_to_the_user(running, terminal):
    _, screen = terminal("sh", "-c", "stat -c 'owner %u' $(tty); echo data >/dev/tty; sleep 1000",
                         options=["-u", "1000"])
    screen.expect("owner 1000")
    screen.expect("data")


def test_terminal_by_socket(nucleus, running, cid, tmp_path):
    console = ConsoleSocket(tmp_path / "console")
    pid = detached(nucleus, cid, tmp_path, "sh", "-c", "stty -echo; tty; cat", options=[
        "-t", "--console-socket", console.path])
    screen = Screen(console.receive())
    screen.expect("/dev/pts/0")
    screen.say("hello\n")
    screen.expect("hello")
    # The controlling terminal of its session.
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/pts/0"
    assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[4] != "0"
    os.close(console.master)
    console.close()


def test_terminal_by_process_file(nucleus, running, cid, tmp_path):
    """As conmon calls it."""
    console = ConsoleSocket(tmp_path / "console")
    file = process_file(tmp_path, terminal=True, args=["sh", "-c", "stty size; sleep 1000"],
                        consoleSize={"height": 12, "width": 34})
    nucleus.run("exec", "--pid-file", tmp_path / "pid", "--process", file, "--detach",
                "--console-socket", console.path, cid)
    Screen(console.receive()).expect("12 34")
    os.close(console.master)
    console.close()


def test_terminal_that_nobody_takes(running, refused, tmp_path):
    refused("true", options=["-t", "-d"], text="console socket")
    refused("true", options=["-d", "--console-socket", tmp_path / "none"], text="no terminal")
    refused("true", options=["-t", "-d", "--console-socket", tmp_path / "none"], text="none")


def test_terminal_of_a_container_without_one_is_none_of_ours(bundle, up, ex, nucleus, cid, tmp_path):
    """process.terminal of config.json is about the first process."""
    bundle.process["terminal"] = True
    console = ConsoleSocket(tmp_path / "console")
    bundle.write()
    nucleus.run_container(cid, bundle, "-d", "--console-socket", console.path)
    console.receive()
    assert ex("sh", "-c", "test -t 0 || echo none").out == "none\n"
    os.close(console.master)
    console.close()
    nucleus.delete(cid, "-f")


# ---- others at the same time


def test_many_at_once(nucleus, running, cid):
    ones = [nucleus.spawn("exec", cid, "sh", "-c", f"echo {n}; exit {n}") for n in range(20)]
    for n, one in enumerate(ones):
        result = one.wait()
        assert (result.rc, result.out) == (n, f"{n}\n"), str(result)


@pytest.mark.parametrize("kind", ["pid", "no pid"])
def test_container_that_dies_at_that_moment(nucleus, bundle, make_bundle, kind):
    """A clear answer, and nothing left: the leak check looks at the machine afterwards."""
    if kind == "no pid":
        bundle.namespaces("network", "ipc", "uts", "mount", "cgroup")
    answers = {}
    for turn in range(40):
        cid = nucleus.new_id("dying")
        nucleus.run_container(cid, bundle, "-d")
        pid = nucleus.state(cid)["pid"]
        one = nucleus.spawn("exec", cid, "sleep", "1000")
        end = time.monotonic() + turn * 0.0002
        while time.monotonic() < end:
            pass
        os.kill(pid, signal.SIGKILL)
        if kind == "no pid":
            # Who was added in time lives on; the cgroup is what ends it.
            reaping(nucleus.spawn("delete", "-f", cid))
        result = reaping(one)
        if result.rc == 255:
            assert len(result.err.splitlines()) == 1, str(result)
            assert re.search("not running|stopped container|does not exist", result.err), str(result)
        else:
            assert result.rc == 137, str(result)
        answers[result.rc] = answers.get(result.rc, 0) + 1
        assert reaping(nucleus.spawn("delete", "-f", cid)).rc == 0
        assert nucleus.cgroups(cid) == []
    print(answers)


@contextlib.contextmanager
def deaf_file_system(pid, path):
    """A FUSE file system in the container's mount namespace, which nobody serves: who looks into it
    waits."""
    fd = os.open("/dev/fuse", os.O_RDWR)
    child = os.fork()
    if child == 0:
        try:
            mnt = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
            ok = libc.setns(mnt, 0) == 0 and libc.mount(
                b"deaf", path.encode(), b"fuse", 0,
                f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()) == 0
            os._exit(0 if ok else 1)
        finally:
            os._exit(1)
    failed = os.waitpid(child, 0)[1]
    try:
        yield not failed
    finally:
        os.close(fd)


def test_container_that_hangs_an_exec_can_be_killed(nucleus, running, cid):
    """The lock is not the container's to hold."""
    if not os.path.exists("/dev/fuse"):
        pytest.skip("no FUSE here")
    with deaf_file_system(running, "/mnt") as mounted:
        if not mounted:
            pytest.skip("FUSE can't be mounted here")
        one = nucleus.spawn("exec", "--cwd", "/mnt/x", cid, "true")
        wait_for(lambda: len((v2_cgroup(nucleus, cid) / "cgroup.procs").read_text().split()) > 2 or any(
            process(p) and process(p).comm == "nucleus"
            for p in (v2_cgroup(nucleus, cid) / "cgroup.procs").read_text().split()), what="it to hang")
        nucleus.kill(cid, "KILL", timeout=30)
        result = one.wait()
        assert result.rc == 255 and "not running" in result.err, str(result)
        nucleus.wait_status(cid, "stopped")


def test_it_does_not_get_between_a_checkpoint(nucleus, running, cid, tmp_path):
    """The lock is held until the program runs: the second waits for the first."""
    lock = os.open(nucleus.state_dir / f"{cid}.lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    one = nucleus.spawn("exec", cid, "echo", "there")
    wait_for(lambda: waits_in(one.pid, "flock"), what="flock(2)")
    assert one.out == ""
    fcntl.flock(lock, fcntl.LOCK_UN)
    assert one.wait().out == "there\n"
    # And is free again while the program runs.
    one = nucleus.spawn("exec", cid, "sh", "-c", "echo up; sleep 1000")
    wait_output(one, "up")

    def free():
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True

    wait_for(free, what="the lock to be free")
    os.close(lock)
    one.popen.kill()
    one.wait()


def test_it_belongs_to_somebody_else(nucleus, running, cid):
    nucleus.state_dir.chmod(0o755)
    (nucleus.state_dir / f"{cid}.json").chmod(0o644)
    result = nucleus.run("exec", cid, "true", check=False, user=1000, group=1000, extra_groups=[])
    assert result.rc == 255 and len(result.err.splitlines()) == 1, str(result)
    nucleus.state_dir.chmod(0o700)


def test_rootless(users_store, bundle, cid, tmp_path):  # noqa: F811
    """As the ordinary user whose container it is: one id, no cgroup, no groups."""
    nucleus = users_store
    own_ids(bundle)
    bundle.process["oomScoreAdj"] = 500
    nucleus.run_container(cid, bundle.sh(FOREVER), "-d", **USER)
    first = nucleus.run("state", cid, **USER).json["pid"]

    def call(*words, **more):
        return nucleus.run("exec", *words, **USER, **more)

    out = call(cid, "sh", "-c", "id -u; cat /proc/self/uid_map; readlink /proc/self/ns/user").out.split()
    assert out == ["0", "0", "1000", "1", os.readlink(f"/proc/{first}/ns/user")]
    assert call(cid, "sh", "-c", "exit 6", check=False).rc == 6
    assert call(cid, "cat", "/proc/self/oom_score_adj").out == "500\n"
    failed = call("-g", "5", cid, "true", check=False)
    assert failed.rc == 255 and "setgroups" in failed.err, str(failed)
    failed = call("--cgroup", "x", cid, "true", check=False)
    assert failed.rc == 255 and "no cgroup" in failed.err, str(failed)
    # Root may, too.
    assert nucleus.run("exec", cid, "id", "-u").out == "0\n"
    assert reaping(nucleus.spawn("delete", "-f", cid, **USER)).rc == 0


def test_bundle_that_changed_meanwhile(nucleus, bundle, running, ex):
    """What counts is what the container was made with."""
    bundle.process["env"].append("LATE=1")
    bundle.process["user"] = {"uid": 5, "gid": 5}
    bundle.write()
    out = ex("sh", "-c", "id -u; echo late=$LATE").out
    assert out == "0\nlate=\n"
    (bundle.dir / "config.json").unlink()
    assert ex("id", "-u").out == "0\n"
