"""Ways out of a container, and into another one, that a review found."""

import ctypes
import os
import signal
import subprocess
from pathlib import Path

import pytest

from harness import wait_for, wait_output

# Puts a file behind descriptor 1 whose path, as the kernel tells it from outside, is one of the
# host: on a tmpfs in a mount namespace that is gone, with the same names in it.
PRETENDER = r"""
import array, ctypes, os, socket, sys, time
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    if getattr(libc, name)(*args) < 0:
        e = ctypes.get_errno()
        raise OSError(e, name + ": " + os.strerror(e))
path = sys.argv[1]
ours, theirs = socket.socketpair()
child = os.fork()
if child == 0:
    call("unshare", 0x10000000 | 0x00020000)
    for name, text in (("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")):
        with open("/proc/self/" + name, "w") as f:
            f.write(text)
    call("mount", b"none", b"/mnt", b"tmpfs", 0, None)
    os.makedirs("/mnt" + os.path.dirname(path))
    fd = os.open("/mnt" + path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    socket.send_fds(theirs, [b"x"], [fd])
    os._exit(0)
theirs.close()
fds = socket.recv_fds(ours, 1, 1)[1]
os.waitpid(child, 0)
os.write(1, b"ready\n")
os.dup2(fds[0], 1)
os.close(fds[0])
ours.close()
while True:
    os.write(1, b"PWNED\n")
    time.sleep(0.02)
"""


def test_c16_a_name_that_is_not_the_hosts_is_not_opened_on_the_host(nucleus, bundle, cid, tmp_path):
    """What the kernel tells as the path of descriptor 1 is the container's to choose."""
    victim = tmp_path / "victim"
    victim.write_text("before\n")
    for kind in ("bounding", "effective", "permitted"):
        bundle.process["capabilities"][kind].append("CAP_SETFCAP")
    bundle.python().args("/usr/bin/python3", "-c", PRETENDER, str(victim))
    result = nucleus.run_container(cid, bundle, "-d")
    wait_output(result, "ready\n")
    one = nucleus.state(cid)["pid"]
    assert os.readlink(f"/proc/{one}/fd/1") == str(victim), "the trick does not work any more"
    nucleus.checkpoint(cid, tmp_path / "cp")
    back = nucleus.new_id("back")
    result = nucleus.restore(tmp_path / "cp", "-d", back)
    wait_output(result, "PWNED", count=3)
    assert victim.read_text() == "before\n"
    nucleus.delete(cid)
    nucleus.delete(back, "-f")


def test_c16_a_symlink_in_the_path_of_a_log_is_not_followed(nucleus, counting, tmp_path):
    """A directory of the log may be one that a container writes to."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "other").mkdir()
    with open(tmp_path / "logs" / "out", "w") as out:
        bundle = counting().bundle
        cid = nucleus.new_id()
        nucleus.run_container(cid, bundle.sh("while :; do echo x; sleep 0.02; done"), "-d",
                              stdout=out)
    nucleus.checkpoint(cid, tmp_path / "cp")
    (tmp_path / "logs").rename(tmp_path / "old")
    (tmp_path / "logs").symlink_to("other")
    nucleus.fails("restore", "-d", "-i", tmp_path / "cp", text="symlink")
    assert list((tmp_path / "other").iterdir()) == []


@pytest.mark.parametrize("change", ["owner", "mode", "metadata"])
def test_h6_a_file_that_others_can_change_after_the_check(nucleus, counting, tmp_path, change):
    one = counting()
    one.checkpoint(tmp_path / "cp")
    image = tmp_path / "cp" / "images" / "inventory.img"
    if change == "owner":
        os.chown(image, 1000, 1000)
    elif change == "mode":
        image.chmod(0o666)
    else:
        os.chown(tmp_path / "cp" / "metadata.json", 1000, 0)
    nucleus.fails("restore", "-d", "-i", tmp_path / "cp", text="others could change it")


def test_s15_delete_leaves_another_container_in_the_same_cgroup_alone(
        nucleus, counting, make_bundle, tmp_path):
    """One restored, or made again, with the same linux.cgroupsPath."""
    bundle = make_bundle()
    bundle.linux["cgroupsPath"] = f"/nucleus/shared-{nucleus.token}"
    one = counting(bundle=bundle)
    old = one.id
    one.checkpoint(tmp_path / "cp")
    one.restore(tmp_path / "cp")
    one.more()
    nucleus.fails("kill", "-a", old, "KILL", text="not running")
    nucleus.delete(old)
    one.more()
    nucleus.stop(one.id)


def test_s15_delete_of_one_that_ended_itself(nucleus, counting, make_bundle, cid):
    bundle = make_bundle()
    bundle.linux["cgroupsPath"] = f"/nucleus/shared-{nucleus.token}"
    nucleus.run_container(cid, bundle.sh("exit 0"), "-d")
    nucleus.wait_status(cid, "stopped")
    one = counting(bundle=bundle)
    nucleus.delete(cid, "-f")
    one.more()
    nucleus.stop(one.id)


def test_restore_does_not_wait_for_children_that_are_not_its_own(nucleus, counting, tmp_path):
    """`sleep 60 & exec nucleus restore` hands it one at birth."""
    one = counting()
    one.checkpoint(tmp_path / "cp")
    os.truncate(tmp_path / "cp" / "images" / "inventory.img", 4)
    argv = [nucleus.binary, "--root", str(nucleus.state_dir), "restore", "-d", "--image-path",
            str(tmp_path / "cp" / "images"), "-b", str(one.bundle), nucleus.new_id()]
    script = 'sleep 60 & echo $! >"$0"; exec "$@"'
    with subprocess.Popen(["sh", "-c", script, str(tmp_path / "pid"), *argv],
                          stderr=subprocess.DEVNULL, env=nucleus.environment()) as popen:
        try:
            assert popen.wait(15) == 1
        finally:
            os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)


# System calls 248 and 250 are add_key(2) and keyctl(2); operations: 1 joins a session keyring, 5 sets
# permissions, 10 searches.
SETS_A_TRAP = r"""
import ctypes, sys, time
call = ctypes.CDLL(None).syscall
ring = call(250, 1, sys.argv[1].encode())
assert ring > 0 and call(250, 5, ring, 0x3f3f3f3f) == 0
assert call(248, b"user", b"planted", b"x", 1, ring) > 0
print("set", flush=True)
time.sleep(60)
"""
LOOKS = r"""
import ctypes, sys, time
while True:
    print("found", ctypes.CDLL(None).syscall(250, 10, -3, b"user", b"planted", 0) > 0, flush=True)
    if sys.argv[1:] != ["on"]:
        break
    time.sleep(0.02)
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls")
def test_keyring_is_nobody_elses(nucleus, counting, make_bundle, cid):
    """A name would be looked up: a container that knows the next one's id could wait for it there."""
    first = nucleus.run_container(
        nucleus.new_id(), make_bundle().python().args("/usr/bin/python3", "-c", SETS_A_TRAP,
                                                      f"_ses.{cid}"), "-d")
    wait_output(first, "set\n")
    bundle = make_bundle().python().args("/usr/bin/python3", "-c", LOOKS)
    assert nucleus.run_container(cid, bundle).out == "found False\n"
    nucleus.delete(nucleus.ids_listed()[0], "-f")


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="numbers of system calls")
def test_keyring_of_the_caller_stays_outside_of_what_is_restored(
        nucleus, counting, make_bundle, cid, tmp_path):
    def join():
        call = ctypes.CDLL(None).syscall
        ring = call(250, 1, None)
        assert call(248, b"user", b"planted", b"x", 1, ring) > 0

    result = nucleus.run_container(
        cid, make_bundle().python().args("/usr/bin/python3", "-c", LOOKS, "on"), "-d")
    wait_output(result, "found False\n")
    nucleus.checkpoint(cid, tmp_path / "cp")
    lines = result.out.count("\n")
    back = nucleus.new_id()
    nucleus.restore(tmp_path / "cp", "-d", back, preexec_fn=join)
    wait_output(result, "found", count=lines + 5)
    assert "True" not in result.out
    nucleus.delete(cid)
    nucleus.delete(back, "-f")


def test_c10_a_pipe_between_processes_of_the_container_is_not_the_callers(
        nucleus, bundle, cid, tmp_path):
    """`exec > >(tee log)`: the first process's output goes to another one of the container."""
    (bundle.rootfs / "tmp" / "log").touch()
    bundle.python().args("/usr/bin/python3", "-c", """
import os, time
r, w = os.pipe()
if os.fork() == 0:
    os.close(w)
    f = os.open("/tmp/log", os.O_WRONLY | os.O_APPEND)
    os.dup2(f, 1)
    os.dup2(f, 2)
    while data := os.read(r, 100):
        os.write(f, data)
    os._exit(1)
os.close(r)
os.dup2(w, 1)
os.close(w)
while True:
    os.write(1, b"inner\\n")
    time.sleep(0.02)
""")
    log = bundle.rootfs / "tmp" / "log"
    nucleus.run_container(cid, bundle, "-d")
    wait_for(lambda: log.stat().st_size > 50)
    nucleus.checkpoint(cid, tmp_path / "cp")
    size = log.stat().st_size
    back = nucleus.new_id()
    result = nucleus.restore(tmp_path / "cp", "-d", back)
    try:
        wait_for(lambda: log.stat().st_size > size + 50)
        assert "inner" not in result.out
    finally:
        nucleus.delete(cid)
        nucleus.delete(back, "-f")


@pytest.mark.parametrize("how", ["run", "create"])
def test_half_a_container_is_none(nucleus, bundle, cid, how):
    """Where `run` or `create` is killed while the first process is on its way, and still in the host's
    mounts: nobody gets to it, and it does not go on."""
    slow = ["strace", "-f", "-o", "/dev/null", "-e", "trace=pivot_root,recvmsg", "-e",
            "inject=pivot_root:delay_enter=1500000"]
    running = nucleus.spawn(how, "-b", bundle.sh("sleep 1000").dir, cid, prefix=slow)

    def waiting():
        """The runtime, when it waits for the one that it has made."""
        for line in Path(f"/proc/{running.popen.pid}/task/{running.popen.pid}/children").read_text().split():
            if Path(f"/proc/{line}/syscall").read_text().startswith("47 "):  # recvmsg
                return int(line)

    parent = wait_for(waiting, what="the runtime to wait")
    os.kill(parent, signal.SIGKILL)
    wait_for(lambda: nucleus.status(cid) == "stopped", what="the lock to be free")
    nucleus.fails("exec", cid, "cat", "/etc/hostname", text="stopped")
    running.wait(20)
    assert nucleus.status(cid) == "stopped"
    nucleus.delete(cid)


def test_pid_file_is_left_alone_by_what_never_came_to_be(nucleus, bundle, cid, tmp_path):
    pid_file = tmp_path / "pid"
    pid_file.write_text("4711\n")
    nucleus.fails("run", "--pid-file", pid_file, "-b", bundle.args("/no/such/program").dir, cid)
    assert pid_file.read_text() == "4711\n"
