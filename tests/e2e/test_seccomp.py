"""Seccomp filters, end to end: every action as a program sees it, and notifications with an agent that
answers them."""

import ctypes
import ctypes.util
import errno
import fcntl
import json
import os
import select
import signal
import socket
import struct
import threading

import pytest

from harness import reap_orphans, wait_for

pytestmark = pytest.mark.nucleus_only

FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
SYS_MKDIRAT = {"x86_64": 258, "aarch64": 34}[os.uname().machine]
CALLS = ["mkdir", "mkdirat"] if os.uname().machine == "x86_64" else ["mkdirat"]


@pytest.fixture
def bundle(bundle):
    bundle.linux.pop("resources", None)
    return bundle


def profile(bundle, *rules, default="SCMP_ACT_ALLOW", **more):
    bundle.linux["seccomp"] = {"defaultAction": default, "syscalls": list(rules), **more}
    return bundle.write()


def rule(names, action, **more):
    return {"names": names, "action": action, **more}


def all_calls(but=()):
    """Every system call that the library has a name for."""
    lib = ctypes.CDLL(ctypes.util.find_library("seccomp") or "libseccomp.so.2")
    resolve = lib.seccomp_syscall_resolve_num_arch
    resolve.restype = ctypes.c_char_p
    names = {resolve(0, number) for number in range(600)} - {None}
    return sorted({name.decode() for name in names} - set(but))


MKDIR = "mkdir /tmp/made && echo made; echo status $?"


@pytest.mark.parametrize("nnp", [True, False], ids=["nnp", "privileged"])
@pytest.mark.parametrize("more, says", [
    ({"action": "SCMP_ACT_ERRNO"}, "Operation not permitted"),
    ({"action": "SCMP_ACT_ERRNO", "errnoRet": errno.EXDEV}, "Invalid cross-device link"),
    ({"action": "SCMP_ACT_TRACE"}, "Function not implemented"),  # nobody traces it
])
def test_a_call_that_fails(nucleus, bundle, cid, more, says, nnp):
    bundle.process["noNewPrivileges"] = nnp
    profile(bundle, {"names": CALLS, **more})
    result = nucleus.run_container(cid, bundle.sh(MKDIR))
    assert result.out == "status 1\n"
    assert says in result.err


@pytest.mark.parametrize("action", ["SCMP_ACT_LOG", "SCMP_ACT_ALLOW"])
def test_a_call_that_goes_through(nucleus, bundle, cid, action):
    profile(bundle, rule(CALLS, action))
    assert nucleus.run_container(cid, bundle.sh(MKDIR)).out == "made\nstatus 0\n"


@pytest.mark.parametrize("action", ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS",
                                    "SCMP_ACT_TRAP"])
def test_a_call_that_kills(nucleus, bundle, cid, action):
    profile(bundle, rule(CALLS, action))
    result = nucleus.run_container(cid, bundle.args("mkdir", "/tmp/made"), check=False)
    assert result.rc == 128 + signal.SIGSYS
    assert not (bundle.rootfs / "tmp/made").exists()


CALL = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
print(libc.syscall(%s), os.strerror(ctypes.get_errno()))
"""


def test_arguments(nucleus, bundle, cid):
    bundle.python()
    profile(bundle, rule(["mkdirat"], "SCMP_ACT_ERRNO", args=[
        {"index": 2, "value": 0o7000, "valueTwo": 0o1000, "op": "SCMP_CMP_MASKED_EQ"}]))
    out = nucleus.run_container(cid, bundle.args(
        "/usr/bin/python3", "-c", CALL % f"{SYS_MKDIRAT}, -100, b'/tmp/a', 0o755" +
        CALL % f"{SYS_MKDIRAT}, -100, b'/tmp/b', 0o1755")).out
    assert out == "0 Success\n-1 Operation not permitted\n"


def test_default_action_and_its_errno(nucleus, bundle, cid):
    profile(bundle, rule(all_calls(but=CALLS), "SCMP_ACT_ALLOW"), default="SCMP_ACT_ERRNO",
            defaultErrnoRet=errno.EDOM)
    result = nucleus.run_container(cid, bundle.sh(MKDIR))
    assert result.out == "status 1\n"
    assert os.strerror(errno.EDOM) in result.err


def test_calls_newer_than_the_library_are_not_implemented(nucleus, bundle, cid):
    bundle.python()
    profile(bundle, rule(all_calls(but=CALLS), "SCMP_ACT_ALLOW"), default="SCMP_ACT_ERRNO")
    out = nucleus.run_container(cid, bundle.args(
        "/usr/bin/python3", "-c", CALL % "1000" + CALL % f"{SYS_MKDIRAT}, -100, b'/x', 0")).out
    assert out == "-1 Function not implemented\n-1 Operation not permitted\n"


def test_flags(nucleus, bundle, cid):
    profile(bundle, rule(CALLS, "SCMP_ACT_ERRNO"), flags=[
        "SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW", "SECCOMP_FILTER_FLAG_TSYNC",
        "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])
    out = nucleus.run_container(cid, bundle.sh("grep Seccomp: /proc/self/status")).out
    assert out.split() == ["Seccomp:", "2"]


def test_no_filter_without_a_profile(nucleus, bundle, cid):
    out = nucleus.run_container(cid, bundle.sh("grep Seccomp: /proc/self/status")).out
    assert out.split() == ["Seccomp:", "0"]


@pytest.mark.parametrize("nnp", [True, False], ids=["nnp", "privileged"])
def test_an_exec_is_under_the_same_filter(nucleus, bundle, cid, nnp):
    bundle.process["noNewPrivileges"] = nnp
    profile(bundle, rule(CALLS, "SCMP_ACT_ERRNO", errnoRet=errno.EXDEV))
    nucleus.run_container(cid, bundle.sh(FOREVER), "-d")
    result = nucleus.run("exec", cid, "mkdir", "/tmp/made", check=False)
    assert result.rc == 1 and os.strerror(errno.EXDEV) in result.err
    nucleus.stop(cid)


def test_the_runtimes_own_calls_need_not_be_allowed(nucleus, bundle, cid):
    """With no_new_privs the filter comes last, behind hooks and the wait for `start`."""
    bundle.config["hooks"] = {"startContainer": [{"path": "/bin/mkdir", "args": ["mkdir", "/tmp/h"]}]}
    profile(bundle, rule([*CALLS, "recvfrom", "sendmsg", "close_range", "clone3", "prctl", "seccomp",
                          "memfd_create", "poll"], "SCMP_ACT_KILL_PROCESS"))
    nucleus.create(cid, bundle.args("sleep", "1000"))
    nucleus.start(cid)
    assert (bundle.rootfs / "tmp/h").is_dir()
    nucleus.stop(cid)


# ---- the cache of compiled programs

ALLOW_ALL = struct.pack("=HBBI", 6, 0, 0, 0x7fff0000)
HEADER = struct.Struct("=8sQIIII")  # magic, checksum, format, instructions, length of key and of names


def cached(nucleus):
    return sorted((nucleus.state_dir / "seccomp").iterdir())


def run_mkdir(nucleus, bundle, cid):
    """Runs under a filter that denies it."""
    profile(bundle, rule(CALLS, "SCMP_ACT_ERRNO", errnoRet=errno.EXDEV))
    result = nucleus.run_container(cid, bundle.sh(MKDIR))
    assert result.out == "status 1\n" and os.strerror(errno.EXDEV) in result.err


def test_a_program_is_compiled_once(nucleus, bundle, cid):
    run_mkdir(nucleus, bundle, cid)
    [file] = cached(nucleus)
    first = file.stat()
    assert first.st_mode & 0o7777 == 0o600
    assert file.parent.stat().st_mode & 0o7777 == 0o700
    run_mkdir(nucleus, bundle, cid)
    bundle.process["noNewPrivileges"] = False
    run_mkdir(nucleus, bundle, cid)
    profile(bundle, rule(CALLS, "SCMP_ACT_ERRNO", errnoRet=errno.EXDEV))
    nucleus.run_container(cid, bundle.sh(FOREVER), "-d")
    result = nucleus.run("exec", cid, "mkdir", "/tmp/made", check=False)
    assert result.rc == 1 and os.strerror(errno.EXDEV) in result.err
    assert cached(nucleus) == [file]
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (first.st_ino, first.st_mtime_ns)
    assert nucleus.ids_listed() == [cid]
    nucleus.stop(cid)
    # Another profile is another program.
    profile(bundle, rule(CALLS, "SCMP_ACT_ERRNO"))
    assert "Operation not permitted" in nucleus.run_container(cid, bundle.sh(MKDIR)).err
    assert len(cached(nucleus)) == 2


def swap_program(file):
    """Lets everything through, under the old checksum."""
    data = file.read_bytes()
    _, _, _, count, _, _ = HEADER.unpack_from(data)
    file.write_bytes(data[:HEADER.size] + ALLOW_ALL * count + data[HEADER.size + 8 * count:])


def open_to_group(file):
    swap_program(file)
    file.chmod(0o620)


def point_elsewhere(file):
    other = file.parent.parent.parent / "elsewhere"
    file.rename(other)
    swap_program(other)
    file.symlink_to(other)


def tear(file):
    os.truncate(file, file.stat().st_size - 5)


@pytest.mark.parametrize("spoil", [swap_program, open_to_group, point_elsewhere, tear,
                                   lambda file: file.write_bytes(b"")],
                         ids=["swapped", "group", "symlink", "torn", "empty"])
def test_a_spoilt_program_is_not_used(nucleus, bundle, cid, spoil):
    run_mkdir(nucleus, bundle, cid)
    [file] = cached(nucleus)
    good = file.read_bytes()
    spoil(file)
    run_mkdir(nucleus, bundle, cid)
    # What was wrong is replaced.
    assert cached(nucleus) == [file]
    assert file.is_file() and not file.is_symlink()
    assert file.read_bytes() == good and file.stat().st_mode & 0o7777 == 0o600


def test_a_cache_directory_that_others_may_write_to_is_not_used(nucleus, bundle, cid):
    run_mkdir(nucleus, bundle, cid)
    [file] = cached(nucleus)
    swap_program(file)
    spoilt = file.read_bytes()
    file.parent.chmod(0o770)
    run_mkdir(nucleus, bundle, cid)
    assert file.read_bytes() == spoilt
    assert file.parent.stat().st_mode & 0o7777 == 0o770


def test_a_container_may_have_the_caches_name(nucleus, bundle, cid):
    run_mkdir(nucleus, bundle, cid)
    nucleus.create("seccomp", bundle.args("sleep", "1000"))
    assert nucleus.ids_listed() == ["seccomp"]
    nucleus.fails("state", "s1", text="does not exist")
    nucleus.start("seccomp")
    nucleus.stop("seccomp")
    assert len(cached(nucleus)) == 1


# ---- notifications

NOTIF_RECV, NOTIF_SEND, NOTIF_CONTINUE = 0xC0502100, 0xC0182101, 1


class Agent:
    """A seccomp agent: takes listeners at a socket, and answers each notification with an errno, or
    lets the call go on (0)."""

    def __init__(self, path, answer=errno.EXDEV):
        self.path, self.answer = path, answer
        self.states, self.listeners, self.calls, self.failures = [], [], [], []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.bind(str(path))
        self.socket.listen()
        self.stop_read, self.stop_write = os.pipe()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def accept(self):
        connection, _ = self.socket.accept()
        data, fds, _, _ = socket.recv_fds(connection, 1 << 16, 4)
        while more := connection.recv(1 << 16):
            data += more
        connection.close()
        self.states.append((json.loads(data), len(fds)))
        self.listeners.append(fds[0])
        return fds[0]

    def respond(self, listener):
        notif = bytearray(80)
        try:
            fcntl.ioctl(listener, NOTIF_RECV, notif)
        except OSError:
            return False  # its last process has ended
        ident, pid, _, number = struct.unpack_from("QIIi", notif)
        self.calls.append((pid, number))
        flags = 0 if self.answer else NOTIF_CONTINUE
        response = bytearray(struct.pack("QqiI", ident, 0, -self.answer, flags))
        fcntl.ioctl(listener, NOTIF_SEND, response)
        return True

    def serve(self):
        try:
            poll = select.poll()
            poll.register(self.socket, select.POLLIN)
            poll.register(self.stop_read, select.POLLIN)
            while True:
                for fd, event in poll.poll():
                    if fd == self.stop_read:
                        return
                    if fd == self.socket.fileno():
                        poll.register(self.accept(), select.POLLIN)
                    elif not event & select.POLLIN or not self.respond(fd):
                        poll.unregister(fd)
                        self.listeners.remove(fd)
                        os.close(fd)
        except Exception as e:  # told by close()
            self.failures.append(e)

    def close(self):
        if self.socket.fileno() < 0:
            return
        os.write(self.stop_write, b"x")
        self.thread.join()
        self.socket.close()
        for fd in (self.stop_read, self.stop_write, *self.listeners):
            os.close(fd)
        assert not self.failures


@pytest.fixture
def agent(tmp_path):
    one = Agent(tmp_path / "agent.sock")
    yield one
    one.close()


def notify(bundle, path, *names, **more):
    return profile(bundle, rule(list(names) or CALLS, "SCMP_ACT_NOTIFY"), listenerPath=str(path),
                   **more)


@pytest.mark.parametrize("nnp", [True, False], ids=["nnp", "privileged"])
@pytest.mark.parametrize("uid", [0, 1000])
def test_notify(nucleus, bundle, cid, agent, nnp, uid):
    bundle.process["noNewPrivileges"] = nnp
    bundle.process["user"] = {"uid": uid, "gid": uid}
    bundle.config["annotations"] = {"org.example.key": "value"}
    notify(bundle, agent.path, listenerMetadata="some \"metadata\"")
    nucleus.create(cid, bundle.sh(f"mkdir /tmp/made; {FOREVER}"))
    pid = nucleus.state(cid)["pid"]
    # `create` has handed it over: nobody of the runtime is there any more when the program runs.
    assert len(agent.states) == 1
    state, n_fds = agent.states[0]
    assert n_fds == 1
    assert state["fds"] == ["seccompFd"]
    assert state["pid"] == pid
    assert state["metadata"] == "some \"metadata\""
    assert state["ociVersion"].startswith("1.")
    inner = state["state"]
    assert (inner["id"], inner["status"], inner["pid"]) == (cid, "creating", pid)
    assert inner["bundle"] == str(bundle.dir)
    assert inner["annotations"] == {"org.example.key": "value"}
    nucleus.start(cid)
    created = next(p for p in sorted(nucleus.logs.iterdir()) if p.name.endswith("create.err"))
    wait_for(lambda: os.strerror(errno.EXDEV) in created.read_text())
    assert len(agent.calls) == 1
    nucleus.stop(cid)


def test_an_agent_that_lets_it_go_on(nucleus, bundle, cid, agent):
    agent.answer = 0
    notify(bundle, agent.path)
    assert nucleus.run_container(cid, bundle.sh(MKDIR)).out == "made\nstatus 0\n"
    assert len(agent.calls) == 1
    state = agent.states[0][0]
    assert "metadata" not in state


@pytest.mark.parametrize("nnp", [True, False], ids=["nnp", "privileged"])
def test_calls_of_the_runtime_are_answered_too(nucleus, bundle, cid, agent, nnp):
    """What the runtime does behind the filter waits for the agent like anything else; it has the listener."""
    agent.answer = 0
    bundle.process["noNewPrivileges"] = nnp
    notify(bundle, agent.path, "execve", "recvfrom", "close_range", "setresuid", "capset", "chdir",
           "prctl", "close")
    assert nucleus.run_container(cid, bundle.sh("echo fine")).out == "fine\n"
    assert agent.calls


def test_each_exec_has_a_listener_of_its_own(nucleus, bundle, cid, agent):
    notify(bundle, agent.path)
    nucleus.run_container(cid, bundle.sh(FOREVER), "-d")
    first = nucleus.state(cid)["pid"]
    result = nucleus.run("exec", cid, "mkdir", "/tmp/made", check=False)
    assert result.rc == 1 and os.strerror(errno.EXDEV) in result.err
    assert len(agent.states) == 2
    state = agent.states[1][0]
    assert state["pid"] != first
    assert state["state"]["pid"] == first
    assert state["state"]["status"] == "running"
    nucleus.stop(cid)


def test_wait_killable(nucleus, bundle, cid, agent):
    agent.answer = 0
    notify(bundle, agent.path, flags=["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
                                      "SECCOMP_FILTER_FLAG_TSYNC"])
    assert nucleus.run_container(cid, bundle.sh(MKDIR)).out == "made\nstatus 0\n"


def test_in_a_user_namespace(nucleus, bundle, cid, agent):
    notify(bundle, agent.path)
    bundle.user_namespace()
    result = nucleus.run_container(cid, bundle.sh(MKDIR))
    assert result.out == "status 1\n"
    assert os.strerror(errno.EXDEV) in result.err


def test_no_agent(nucleus, bundle, cid, tmp_path):
    notify(bundle, tmp_path / "nobody.sock")
    nucleus.fails("create", "-b", bundle.dir, cid,
                  text=["seccomp", str(tmp_path / "nobody.sock"), "linux.seccomp.listenerPath"])
    assert nucleus.ids_listed() == []
    assert nucleus.cgroups(cid) == []


def test_an_agent_that_goes_away(nucleus, bundle, cid, agent):
    """Its calls are not implemented any more (seccomp_unotify(2)); the container is not lost."""
    notify(bundle, agent.path)
    nucleus.create(cid, bundle.sh(MKDIR))
    agent.close()
    nucleus.start(cid)
    nucleus.wait_status(cid, "stopped")
    created = next(p for p in sorted(nucleus.logs.iterdir()) if p.name.endswith("create.err"))
    assert "Function not implemented" in created.read_text()
    nucleus.delete(cid)


@pytest.mark.parametrize("action", ["SCMP_ACT_NOTIFY", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL"])
def test_a_listener_that_could_not_be_handed_over(nucleus, bundle, cid, tmp_path, action):
    """Refused before anything is made; nothing waits for ever."""
    profile(bundle, rule(CALLS, "SCMP_ACT_NOTIFY"), rule(["sendmsg"], action),
            listenerPath=str(tmp_path / "agent.sock"))
    nucleus.fails("create", "-b", bundle.dir, cid, text="sendmsg")


def test_notify_as_the_default(nucleus, bundle, cid, tmp_path):
    profile(bundle, default="SCMP_ACT_NOTIFY", listenerPath=str(tmp_path / "agent.sock"))
    nucleus.fails("create", "-b", bundle.dir, cid, text="linux.seccomp")


def test_notify_without_a_listener_path(nucleus, bundle, cid):
    profile(bundle, rule(CALLS, "SCMP_ACT_NOTIFY"))
    nucleus.fails("create", "-b", bundle.dir, cid, text="linux.seccomp.listenerPath")


def test_a_killed_create_leaves_no_waiting_call(nucleus, bundle, cid, tmp_path):
    """An agent that never answers, and a runtime that is killed meanwhile."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(tmp_path / "agent.sock"))
    sock.listen()
    notify(bundle, tmp_path / "agent.sock", "setresuid", "recvfrom")
    create = nucleus.spawn("create", "-b", bundle.dir, cid)
    connection, _ = sock.accept()
    _, fds, _, _ = socket.recv_fds(connection, 1 << 16, 1)
    poll = select.poll()
    poll.register(fds[0], select.POLLIN)
    assert poll.poll(20000)  # it waits
    create.popen.send_signal(signal.SIGKILL)
    create.wait()
    os.close(fds[0])
    connection.close()
    sock.close()
    reap_orphans()
    wait_for(lambda: nucleus.status(cid) == "stopped")
    nucleus.delete(cid, "-f")
