"""Attacks on `exec`, by a container that has had time to prepare: everything in its file system, its
mounts and its processes is the attacker's. See test_security.py for the same on `run`."""

import contextlib
import os
import shutil
import stat
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness import _mount, dynamic_binary, libc, tool, wait_for, wait_output
from test_exec import (bundle, detached, process_file, reaping, refused, running,  # noqa: F401
                       status_of, terminal, up, ex)
from test_security import (PEEK, SECRET, STRONG, compiled, console_listener, copy,  # noqa: F401
                           leaked, nobody_runs, secret, shebang, strong, without_protection)

pytestmark = pytest.mark.nucleus_only


# ---- a process on its way into the container


def held_before_exec(nucleus, directory):
    """The environment of a nucleus that stops right before it lets the program run: at the pid file.
    Only the executable that loads libraries can be stopped like that."""
    nucleus.binary = dynamic_binary(nucleus.binary)
    hold = directory / "hold"
    hold.touch()
    return hold, {"HOLD": str(hold), "LD_PRELOAD": str(compiled("hold", """
        #include <dlfcn.h>
        #include <stdlib.h>
        #include <unistd.h>
        int rename(const char *from, const char *to)
        {
            int (*real)(const char *, const char *) = dlsym(RTLD_NEXT, "rename");
            while (getenv("HOLD") && access(getenv("HOLD"), F_OK) == 0)
                usleep(1000);
            return real(from, to);
        }"""))}


# For each /tmp/goN that appears: looks into the process it names, from inside.
WATCH = ("n=0; while :; do if [ -e /tmp/go$n ]; then /zoo/thief pid $(cat /tmp/go$n) >/tmp/out$n & "
         "n=$((n+1)); fi; sleep 0.05; done")


class Watcher:
    """A container that goes for processes it is pointed to."""

    def __init__(self, nucleus, bundle, cid, caps):
        self.nucleus, self.cid, self.root, self.n = nucleus, cid, bundle.rootfs / "tmp", 0
        shutil.copy(tool("thief", "-static"), bundle.rootfs / "zoo" / "thief")
        bundle.process["capabilities"] = {k: list(caps) for k in ("bounding", "effective", "permitted")}
        nucleus.run_container(cid, bundle.sh(WATCH), "-d")
        self.first = nucleus.state(cid)["pid"]

    def members(self):
        """{pid: pid inside} of the container."""
        found = {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(f"/proc/{self.first}/ns/pid"):
                    found[int(pid)] = status_of(Path(f"/proc/{pid}/status").read_text())["NSpid"].split()[-1]
        return found

    def look(self, inside, *wanted):
        """What it got hold of, once it has said all that is wanted."""
        out = self.root / f"out{self.n}"
        new = self.root / "new"
        new.write_text(str(inside))
        new.rename(self.root / f"go{self.n}")
        self.n += 1
        wait_for(lambda: out.exists() and all(w in out.read_text() for w in (*wanted, "ready")), 10,
                 f"the thief to have said {wanted}")
        return out

    def on_the_way(self):
        """The process that is still the runtime, by its pid inside."""

        def find():
            for pid, inside in self.members().items():
                with contextlib.suppress(OSError):
                    if Path(f"/proc/{pid}/comm").read_text() == "nucleus\n":
                        return inside

        return wait_for(find, what="a process on its way")


def outcome(out):
    return {line.split()[0]: line.split()[1] for line in out.read_text().splitlines()
            if line.split()[0] in ("root", "fd", "ptrace", "exe")}


def test_cve_2016_9962_process_is_closed_before_exec(nucleus, bundle, cid, tmp_path):  # noqa: F811
    """Root inside, without CAP_SYS_PTRACE."""
    watcher = Watcher(nucleus, bundle, cid, [])
    hold, env = held_before_exec(nucleus, tmp_path)
    one = nucleus.spawn("exec", "--pid-file", tmp_path / "pid", cid, "sleep", "1000", env=env)
    inside = watcher.on_the_way()
    assert outcome(watcher.look(inside)) == {"root": "EACCES", "fd": "EACCES", "ptrace": "EPERM",
                                             "exe": "EACCES"}
    hold.unlink()
    # The program may be looked into, so the look works.
    wait_for(lambda: "nucleus" not in {Path(f"/proc/{p}/comm").read_text().strip()
                                       for p in watcher.members()}, what="the program to run")
    assert set(outcome(watcher.look(inside)).values()) == {"ok"}
    reaping(nucleus.spawn("delete", "-f", cid))
    assert one.wait().rc == 137


def test_cve_2016_9962_same_user_is_kept_out_too(nucleus, bundle, cid, tmp_path):  # noqa: F811
    """After the change of user: fs.suid_dumpable could open the process again."""
    if "no_timer_check tsc=reliable" not in Path("/proc/cmdline").read_text():
        pytest.skip("changes a setting of the whole machine: only in one that tests/vm/run boots")
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    watcher = Watcher(nucleus, bundle, cid, [])
    hold, env = held_before_exec(nucleus, tmp_path)
    setting = Path("/proc/sys/fs/suid_dumpable")
    before = setting.read_text()
    setting.write_text("1")
    try:
        one = nucleus.spawn("exec", "--pid-file", tmp_path / "pid", cid, "sleep", "1000",
                            env=env)
        inside = watcher.on_the_way()
        wait_for(lambda: list(tmp_path.glob("pid.*.tmp")), what="the pid file")
        found = outcome(watcher.look(inside))
    finally:
        setting.write_text(before)
        hold.unlink()
    assert set(found.values()) == {"EACCES", "EPERM"}, found
    reaping(nucleus.spawn("delete", "-f", cid))
    one.wait()


@pytest.mark.parametrize("protected", [True, False], ids=["protected", "unprotected"])
def test_cve_2019_5736_binary_found_by_pid(nucleus, bundle, cid, copy, tmp_path,  # noqa: F811
                                           protected):
    """A container that may look into everything gets hold of the binary, but can't write it."""
    watcher = Watcher(nucleus, bundle, cid, STRONG)
    hold, env = held_before_exec(nucleus, tmp_path)
    if not protected:
        env["LD_PRELOAD"] += ":" + without_protection()["LD_PRELOAD"]
    one = nucleus.spawn("exec", "--pid-file", tmp_path / "pid", cid, "true", env=env)
    out = watcher.look(watcher.on_the_way(), "handle exe", "handle map_files", "write ")
    if not protected:
        nucleus.binary = copy.original
    hold.unlink()
    assert one.wait().rc == 0
    wait_for(lambda: nobody_runs(copy.path), 5, "every process of the runtime to end")
    if protected:
        time.sleep(0.1)
        assert copy.intact and "WROTE" not in out.read_text(), out.read_text()
        refusals = {line for line in out.read_text().splitlines() if line.startswith("write")}
        assert "write EROFS" in refusals and refusals <= {"write EROFS", "write ETXTBSY"}
    else:
        wait_for(lambda: "WROTE" in out.read_text(), 5, "the attack to succeed")
        assert not copy.intact
    reaping(nucleus.spawn("delete", "-f", cid))


@pytest.mark.parametrize("protected", [True, False], ids=["protected", "unprotected"])
def test_cve_2019_5736_binary_run_by_shebang(nucleus, bundle, cid, copy, up,  # noqa: F811
                                             protected):
    """The container has put "#!/proc/self/exe" where the caller expects a shell."""
    shebang(bundle)
    bundle.sh("while :; do sleep 0.1; done")
    bundle.process["env"] = [v for v in bundle.process["env"] if not v.startswith("LD_PRELOAD")]
    up()
    env = {} if protected else without_protection()
    result = nucleus.run("exec", "-d", "-e", "LD_PRELOAD=/zoo/thief.so", cid, "/zoo/entry", env=env)
    wait_output(result, "handle fd ")
    if not protected:
        wait_output(result, "WROTE")
        assert not copy.intact
        nucleus.binary = copy.original
        return
    wait_for(lambda: nobody_runs(copy.path), 5, "every process of the runtime to end")
    wait_output(result, "write EROFS")
    time.sleep(0.1)
    assert "WROTE" not in result.out and copy.intact, result.out


# ---- CVE-2024-21626: leaked descriptors


@pytest.mark.parametrize("tail", ["", "/", "/../host", "/../../.."])
def test_cve_2024_21626_directory_by_descriptor(running, ex, leaked, secret, tail):  # noqa: F811
    refusals = 0
    for number in range(3, 21):
        result = ex("sh", "-c", PEEK, options=["--cwd", f"/proc/self/fd/{number}{tail}"], check=False,
                    pass_fds=[leaked])
        assert SECRET not in result.out, str(result)
        if result.rc == 255:
            refusals += 1
            assert "working directory" in result.err and len(result.err.splitlines()) == 1
        else:
            assert result.out.startswith("/"), str(result)
    assert refusals >= 17


def test_cve_2024_21626_directory_is_a_link_to_a_descriptor(running, bundle, ex, leaked,  # noqa: F811
                                                            secret):
    """What Dockerfiles do: a link in the image."""
    for number in range(3, 21):
        link = bundle.rootfs / "tmp" / f"link{number}"
        link.symlink_to(f"/proc/self/fd/{number}")
        result = ex("sh", "-c", PEEK, options=["--cwd", f"/tmp/link{number}"], check=False,
                    pass_fds=[leaked])
        assert result.rc == 255 and SECRET not in result.out, str(result)


def test_cve_2024_21626_program_by_descriptor(running, ex, leaked, tmp_path):  # noqa: F811
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.copy("/bin/busybox", outside / "escape")
    directory = os.open(outside, os.O_RDONLY | os.O_DIRECTORY)
    os.dup2(directory, leaked)
    os.close(directory)
    for number in range(3, 21):
        for path in (f"/proc/self/fd/{number}/escape", f"/proc/self/fd/{number}/../outside/escape"):
            result = ex(path, "echo", "ESCAPED", check=False, pass_fds=[leaked])
            assert result.rc in (126, 127) and "ESCAPED" not in result.out, str(result)


def test_cve_2024_21626_descriptors_do_not_leak(running, ex, leaked):  # noqa: F811
    result = ex("sh", "-c", "ls -l /proc/self/fd; cat /proc/self/fd/*/secret", check=False,
                pass_fds=[leaked])
    assert SECRET not in result.out and "host" not in result.out, str(result)
    assert {line.split()[8] for line in result.out.splitlines() if "->" in line} <= set("0123")


def test_cve_2024_21626_none_is_open_on_the_way(nucleus, bundle, cid, leaked, tmp_path):  # noqa: F811
    """Not even before the program runs."""
    watcher = Watcher(nucleus, bundle, cid, [])
    hold, env = held_before_exec(nucleus, tmp_path)
    one = nucleus.spawn("exec", "--pid-file", tmp_path / "pid", cid, "true", env=env, pass_fds=[leaked])
    inside = watcher.on_the_way()
    pid = next(p for p, i in watcher.members().items() if i == inside)
    wait_for(lambda: list(tmp_path.glob("pid.*.tmp")), what="the pid file")
    held = [os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd") if int(n) > 2]
    hold.unlink()
    assert one.wait().rc == 0
    assert len(held) == 1 and held[0].startswith("socket:"), held
    reaping(nucleus.spawn("delete", "-f", cid))


# ---- CVE-2025-52565: the terminal


def inside(pid, work):
    """Calls work() in the container's mount namespace, with its root."""
    child = os.fork()
    if child == 0:
        try:
            fd = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY)
            if libc.setns(fd, 0) == 0:
                work()
                os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0, "the attack could not be prepared"


def replace_pts(fill):
    """Another file system over /dev/pts, filled by the attacker."""
    def work():
        assert libc.mount(b"x", b"/dev/pts", b"tmpfs", 0, None) == 0
        fill("/dev/pts/ptmx")
    return work


def link_pts(target):
    def work():
        assert libc.umount2(b"/dev/pts", 2) == 0
        os.rmdir("/dev/pts")
        os.symlink(target, "/dev/pts")
    return work


def own_file(path):
    Path(path).write_text("mine")
    os.chown(path, 7, 7)


ATTACKS = {
    "link to a file": replace_pts(lambda p: os.symlink("/target", p)),
    "link to /proc": replace_pts(lambda p: os.symlink("/proc/sysrq-trigger", p)),
    "file": replace_pts(own_file),
    "fifo": replace_pts(os.mkfifo),
    "directory": replace_pts(os.mkdir),
    "another device": replace_pts(lambda p: os.mknod(p, stat.S_IFCHR | 0o666, os.makedev(1, 3))),
    "tty": replace_pts(lambda p: os.mknod(p, stat.S_IFCHR | 0o666, os.makedev(5, 0))),
    "ptmx without devpts": replace_pts(
        lambda p: os.mknod(p, stat.S_IFCHR | 0o666, os.makedev(5, 2))),
    "nothing": replace_pts(lambda p: None),
    "pts is a link to /proc": link_pts("/proc/1"),
    "pts is a link nowhere": link_pts("/nowhere"),
    "pts is a link out": link_pts("../../../../../../dev/pts"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_cve_2025_52565_terminal_of_the_container(nucleus, bundle, cid, running, refused,  # noqa: F811
                                                  tmp_path, attack):
    """The container has replaced what terminals come from."""
    target = bundle.rootfs / "target"
    target.write_text("target\n")
    os.chown(target, 7, 7)
    inside(running, ATTACKS[attack])
    with console_listener(tmp_path / "socket") as got:
        refused("sh", "-c", "echo ran", timeout=10, text="terminal", options=[
            "-t", "-d", "-u", "1000", "--console-socket", tmp_path / "socket"])
        assert got == []
    # Nothing was given away that is no terminal.
    assert target.read_text() == "target\n" and target.stat().st_uid == 7

    def check():
        for path in ("/dev/pts/ptmx", "/proc/1/ptmx"):
            with contextlib.suppress(OSError):
                assert os.lstat(path).st_uid != 1000
    inside(running, check)


def test_cve_2025_52565_terminal_is_the_container_s(nucleus, running, cid, ex, tmp_path):  # noqa: F811
    """Another devpts of its own over the first is its own affair."""
    def mount():
        assert libc.mount(b"x", b"/dev/pts", b"devpts", 0, b"newinstance,ptmxmode=0666") == 0
    inside(running, mount)
    before = set(os.listdir("/dev/pts"))
    with console_listener(tmp_path / "socket") as got:
        detached(nucleus, cid, tmp_path, "sleep", "1000", options=[
            "-t", "--console-socket", tmp_path / "socket"])
        wait_for(lambda: got, 5, "the terminal")
        assert set(os.listdir("/dev/pts")) == before, "a terminal of the host"


# ---- the rest of its file system


def test_null_device_is_another_one(bundle, nucleus, running, cid, ex):  # noqa: F811
    """CVE-2025-31133: standard input that was the host's null device is connected to a look-alike."""
    target = bundle.rootfs / "target"
    target.write_text("target\n")

    def swap():
        os.unlink("/dev/null")
        os.symlink("/target", "/dev/null")
    inside(running, swap)
    result = ex("sh", "-c", "echo x >&0", check=False)
    assert result.rc == 255 and "null device" in result.err, str(result)
    assert target.read_text() == "target\n"


@pytest.mark.parametrize("where", ["{secret}", "/", "../../../../../../../{secret}"])
def test_directory_is_swapped(bundle, running, ex, secret, where):  # noqa: F811
    place, aside, spare = (bundle.rootfs / n for n in ("vol", "aside", "spare"))
    place.mkdir()
    aside.symlink_to(where.format(secret=secret))
    done = threading.Event()

    def swap():
        while not done.is_set():
            with contextlib.suppress(OSError):
                place.rename(spare)
                aside.rename(place)
                place.rename(aside)
                spare.rename(place)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(20):
            result = ex("sh", "-c", PEEK, options=["--cwd", "/vol"], check=False)
            assert SECRET not in result.out, str(result)
    finally:
        done.set()
        thread.join()


def test_proc_of_the_container_is_a_fake(bundle, running, ex, tmp_path):  # noqa: F811
    """CVE-2019-16884, CVE-2025-52881: what is written goes to a procfs of the runtime's own."""
    def cover():
        assert libc.mount(b"x", b"/proc", b"tmpfs", 0, None) == 0
        os.makedirs("/proc/self/attr")
        for name in ("oom_score_adj", "attr/exec", "setgroups", "attr/current"):
            Path("/proc/self", name).write_text("")
    inside(running, cover)
    file = process_file(tmp_path, args=["cat", "/proc/self/oom_score_adj"], oomScoreAdj=700)
    assert ex(options=["-p", file]).out == ""
