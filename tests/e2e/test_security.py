"""Attacks on a runtime that were found in others, and must fail here. Each is carried out for real,
from inside a container or by what an image or a checkpoint brings along; where it can be arranged,
the same attack is shown to succeed once the protection is out of the way."""

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness import _mount, dynamic_binary, session_dir, tool, wait_for, wait_output

pytestmark = pytest.mark.nucleus_only

SECRET = "the-host-s-secret"
STRONG = ["CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE",
          "CAP_CHECKPOINT_RESTORE", "CAP_MKNOD", "CAP_SYS_RAWIO"]


def compiled(name, source, *flags):
    """A shared library made of a few lines."""
    target = session_dir() / f"{name}.so"
    if not target.exists():
        subprocess.run(["cc", "-D_GNU_SOURCE", "-shared", "-fPIC", *flags, "-x", "c", "-o",
                        str(target), "-"], input=source, text=True, check=True)
    return target


@pytest.fixture
def bundle(bundle):
    bundle.linux.pop("resources", None)
    return bundle.write()


@pytest.fixture
def secret(tmp_path):
    """A directory of the host with a file nobody inside may read, or change."""
    directory = tmp_path / "host"
    directory.mkdir()
    (directory / "secret").write_text(SECRET + "\n")
    yield directory
    assert [p.name for p in directory.iterdir()] == ["secret"], "something was made on the host"
    assert (directory / "secret").read_text() == SECRET + "\n", "the host's file was changed"


# ---- CVE-2019-5736: overwriting the runtime


class Copy:
    """A copy of the binary that may be destroyed."""

    def __init__(self, nucleus, directory):
        self.original = nucleus.binary
        self.path = directory / "nucleus"
        # What an attacker brings along is run by no other.
        self.use(nucleus, dynamic_binary(nucleus.binary))

    def use(self, nucleus, binary):
        shutil.copy(binary, self.path)
        self.bytes = self.path.read_bytes()
        nucleus.binary = str(self.path)

    @property
    def intact(self):
        return self.path.read_bytes() == self.bytes


@pytest.fixture
def copy(nucleus, tmp_path):
    directory = tmp_path / "bin"
    directory.mkdir()
    made = Copy(nucleus, directory)
    yield made
    nucleus.binary = made.original


def without_protection():
    """The environment of a nucleus that believes it runs from a read-only mount already, as the one
    does that has protected itself: process/protect.c."""
    return {"LD_PRELOAD": str(compiled("readonly", """
        #include <dlfcn.h>
        #include <sys/statvfs.h>
        int fstatvfs(int fd, struct statvfs *buf)
        {
            int (*real)(int, struct statvfs *) = dlsym(RTLD_NEXT, "fstatvfs");
            int r = real(fd, buf);
            buf->f_flag |= ST_RDONLY;
            return r;
        }
        int fstatvfs64(int fd, struct statvfs64 *buf)
        {
            return fstatvfs(fd, (struct statvfs *)buf);
        }"""))}


def strong(bundle):
    bundle.process["capabilities"] = {k: STRONG for k in ("bounding", "effective", "permitted")}
    bundle.process["noNewPrivileges"] = False
    return bundle


def shebang(bundle):
    """An entrypoint that makes the kernel run the runtime's binary inside, with a library that was
    brought along."""
    strong(bundle).python()
    shutil.copy(tool("thief", "-static"), bundle.rootfs / "zoo" / "thief")
    shutil.copy(tool("thief", "-DTHIEF_PRELOAD", "-shared", "-fPIC"),
                bundle.rootfs / "zoo" / "thief.so")
    entry = bundle.rootfs / "zoo" / "entry"
    entry.write_text("#!/proc/self/exe\n")
    entry.chmod(0o755)
    bundle.process["env"].append("LD_PRELOAD=/zoo/thief.so")
    return bundle.args("/zoo/entry")


def nobody_runs(path):
    """No process has the file as its executable."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if os.path.samefile(f"/proc/{pid}/exe", path):
                return False
    return True


@pytest.mark.parametrize("how", ["run", "create"])
def test_cve_2019_5736_binary_run_by_shebang(nucleus, bundle, cid, copy, how):
    shebang(bundle)
    if how == "run":
        result = nucleus.run_container(cid, bundle, "-d")
    else:
        result = nucleus.create(cid, bundle)
        nucleus.start(cid)
    wait_output(result, "handle fd ")
    wait_for(lambda: nobody_runs(copy.path), 5, "every process of the runtime to end")
    # The handle outlives them: what it is refused by now is not that the file is busy.
    wait_output(result, "write EROFS")
    time.sleep(0.1)
    assert "WROTE" not in result.out and copy.intact, result.out
    nucleus.kill(cid, "KILL")
    nucleus.wait_status(cid, "stopped")
    nucleus.delete(cid)
    assert copy.intact


def test_cve_2019_5736_attack_works_on_the_unprotected(nucleus, bundle, cid, copy):
    """What the test above would look like without protect_own_binary()."""
    result = nucleus.run_container(cid, shebang(bundle), "-d", env=without_protection())
    wait_output(result, "WROTE")
    assert not copy.intact
    nucleus.binary = copy.original
    nucleus.delete(cid, "-f")


def thief_for(bundle, pid, *caps):
    """A container in the host's pid namespace that goes for a process."""
    shutil.copy(tool("thief", "-static"), bundle.rootfs / "zoo" / "thief")
    bundle.process["capabilities"] = {k: list(caps) for k in ("bounding", "effective",
                                                             "permitted")}
    return bundle.namespaces("mount", "ipc", "uts", "cgroup").args("/zoo/thief", "pid", str(pid))


@pytest.mark.parametrize("protected, static", [(True, False), (True, True), (False, False)],
                         ids=["protected", "static", "unprotected"])
def test_cve_2019_5736_binary_found_by_pid(nucleus, make_bundle, copy, protected, static):
    """Another container's first process waits for `start` and is still the runtime."""
    if static:
        copy.use(nucleus, copy.original)
    victim, thief = nucleus.new_id("victim"), nucleus.new_id("thief")
    one, two = make_bundle("one"), make_bundle("two")
    for b in (one, two):
        b.linux.pop("resources", None)
    nucleus.create(victim, one.namespaces("mount", "ipc", "uts", "cgroup").sh("sleep 1000"),
                   env={} if protected else without_protection())
    pid = nucleus.state(victim)["pid"]
    result = nucleus.run_container(thief, thief_for(two, pid, *STRONG), "-d")
    wait_output(result, "handle exe")
    wait_output(result, "handle map_files")
    wait_output(result, "write ")
    if not protected:
        nucleus.binary = copy.original
    nucleus.start(victim)
    nucleus.delete(victim, "-f")
    wait_for(lambda: nobody_runs(copy.path), 5, "every process of the runtime to end")
    if protected:
        time.sleep(0.1)
        assert copy.intact and "WROTE" not in result.out, result.out
        refusals = {line for line in result.out.splitlines() if line.startswith("write")}
        assert "write EROFS" in refusals and refusals <= {"write EROFS", "write ETXTBSY"}
    else:
        wait_output(result, "WROTE")
        assert not copy.intact
    nucleus.delete(thief, "-f")


def test_cve_2019_5736_binary_as_elf_interpreter(nucleus, bundle, cid, copy):
    """The kernel maps the runtime as the interpreter of a program; nobody relocates it, it dies."""
    subprocess.run(["cc", "-x", "c", "-o", str(bundle.rootfs / "zoo" / "entry"), "-",
                    "-Wl,--dynamic-linker=/proc/self/exe"], input="int main(){}", text=True,
                   check=True)
    result = nucleus.run_container(cid, strong(bundle).args("/zoo/entry"), check=False)
    assert result.rc != 0
    assert copy.intact and nucleus.list() == []


@pytest.mark.parametrize("how", ["shebang", "interpreter"])
def test_cve_2019_5736_static_binary_runs_nothing_else(nucleus, bundle, cid, copy, how):
    """The executable that starts containers takes no library from anybody; inside it finds none of
    its own either, and ends."""
    copy.use(nucleus, copy.original)
    if how == "shebang":
        shebang(bundle)
    else:
        subprocess.run(["cc", "-x", "c", "-o", str(bundle.rootfs / "zoo" / "entry"), "-",
                        "-Wl,--dynamic-linker=/proc/self/exe"], input="int main(){}", text=True,
                       check=True)
        strong(bundle).args("/zoo/entry")
    result = nucleus.run_container(cid, bundle, check=False)
    assert "handle" not in result.out and "WROTE" not in result.out
    nucleus.binary = copy.original
    assert copy.intact and nucleus.list() == []


# ---- CVE-2016-9962: looking into the runtime before it has become the program


def test_cve_2016_9962_first_process_is_closed_before_exec(nucleus, make_bundle):
    """A container in the same pid namespace, as root but without CAP_SYS_PTRACE."""
    victim = nucleus.new_id("victim")
    one = make_bundle("one").namespaces("mount", "ipc", "uts", "cgroup")
    one.linux.pop("resources", None)
    one.sh("while :; do sleep 0.1; done")
    one.process["capabilities"] = {"bounding": [], "effective": [], "permitted": []}
    nucleus.create(victim, one.write())
    pid = nucleus.state(victim)["pid"]

    def outcome():
        thief = nucleus.new_id("thief")
        bundle = make_bundle()
        bundle.linux.pop("resources", None)
        result = nucleus.run_container(thief, thief_for(bundle, pid), "-d")
        wait_output(result, "ready")
        nucleus.delete(thief, "-f")
        return {line.split()[0]: line.split()[1] for line in result.out.splitlines()
                if line.split()[0] in ("root", "fd", "ptrace", "exe")}

    assert outcome() == {"root": "EACCES", "fd": "EACCES", "ptrace": "EPERM", "exe": "EACCES"}
    nucleus.start(victim)
    # Its program has the same user and no more rights: it may be looked into, so the look works.
    wait_for(lambda: Path(f"/proc/{pid}/exe").resolve().name == "busybox", 5, "exec")
    assert set(outcome().values()) == {"ok"}
    nucleus.delete(victim, "-f")


# ---- CVE-2024-21626: leaked descriptors


@pytest.fixture
def leaked(secret):
    """A descriptor of a host directory, numbered 10 or a little more, that the runtime inherits."""
    fd = os.open(secret, os.O_RDONLY | os.O_DIRECTORY)
    high = fcntl.fcntl(fd, fcntl.F_DUPFD, 10)
    assert high <= 20
    os.close(fd)
    yield high
    os.close(high)


PEEK = "pwd; for f in secret ../secret ../host/secret ../../host/secret; do cat ./$f; done; " \
       "ls -l /proc/self/fd"


@pytest.mark.parametrize("tail", ["", "/", "/.", "/../host", "/../../.."])
def test_cve_2024_21626_cwd_by_descriptor(nucleus, bundle, cid, leaked, secret, tail):
    refused = 0
    for number in range(3, 21):
        bundle.process["cwd"] = f"/proc/self/fd/{number}{tail}"
        for command in ("run", "create"):
            result = nucleus.run(command, "-b", bundle.sh(PEEK).dir, cid, check=False,
                                 pass_fds=[leaked])
            if result.rc == 0 and command == "create":
                nucleus.start(cid)
                nucleus.wait_status(cid, "stopped")
            assert SECRET not in result.out, f"{number}: {result}"
            if result.out:
                # The runtime's own walk through the container's /proc; its text leads nowhere else.
                assert result.out.splitlines()[0].startswith("/"), str(result)
                nucleus.delete(cid, "-f")
            else:
                refused += 1
                assert "working directory" in result.err, str(result)
                assert len(result.err.splitlines()) == 1, str(result)
    assert refused >= 34
    assert nucleus.list() == []


def test_cve_2024_21626_program_by_descriptor(nucleus, bundle, cid, leaked, secret, tmp_path):
    # Statically linked, so that it would run if it were found.
    outside = tmp_path / "outside"
    outside.mkdir()
    shutil.copy("/bin/busybox", outside / "escape")
    directory = os.open(outside, os.O_RDONLY | os.O_DIRECTORY)
    os.dup2(directory, leaked)
    os.close(directory)
    for number in range(3, 21):
        for path in (f"/proc/self/fd/{number}/escape", f"/proc/1/fd/{number}/escape",
                     f"/proc/self/fd/{number}/../outside/escape"):
            result = nucleus.run("run", "-b", bundle.args(path, "echo", "ESCAPED").dir, cid,
                                 check=False, pass_fds=[leaked])
            assert result.rc != 0 and "ESCAPED" not in result.out, str(result)
            assert len(result.err.splitlines()) == 1, str(result)
            created = nucleus.run("create", "-b", bundle.dir, cid, check=False,
                                  pass_fds=[leaked])
            if created.rc == 0:
                nucleus.start(cid)
                nucleus.wait_status(cid, "stopped")
                nucleus.delete(cid)
            assert "ESCAPED" not in created.out, str(created)
    assert nucleus.list() == []


def test_cve_2024_21626_descriptors_do_not_leak(nucleus, bundle, cid, leaked):
    script = "ls -l /proc/self/fd /proc/1/fd; cat /proc/1/fd/*/secret /proc/self/fd/*/secret"
    result = nucleus.run_container(cid, bundle.sh(script), check=False, pass_fds=[leaked])
    assert SECRET not in result.out and "host" not in result.out, str(result)
    # ls has its own directory open, as the fourth.
    assert {line.split()[8] for line in result.out.splitlines() if "->" in line} <= set("0123")

    created = nucleus.create(cid, bundle.sh(script), pass_fds=[leaked])
    pid = nucleus.state(cid)["pid"]
    held = [os.readlink(f"/proc/{pid}/fd/{n}") for n in os.listdir(f"/proc/{pid}/fd")]
    assert not [t for t in held if "host" in t], held
    nucleus.start(cid)
    nucleus.wait_status(cid, "stopped")
    assert SECRET not in created.out and "/host" not in created.out
    nucleus.delete(cid)


# ---- CVE-2025-31133, CVE-2025-52565: what lies in /dev


def without_dev(bundle):
    """The image's own /dev."""
    bundle.config["mounts"] = [m for m in bundle.config["mounts"]
                               if not m["destination"].startswith("/dev")]
    return bundle


def refused_or(nucleus, cid, bundle, *options, **run):
    """The output of a container, or None where it was refused in good order."""
    result = nucleus.run_container(cid, bundle, *options, check=False, **run)
    assert nucleus.list() == []
    if result.rc == 0:
        return result.out
    assert len(result.err.splitlines()) == 1 and result.err.startswith("nucleus: "), str(result)
    assert result.out == "", str(result)
    return None


@pytest.mark.parametrize("null", ["link inside", "link to proc", "link out", "file", "zero",
                                  "directory", "dangling"])
def test_cve_2025_31133_null_device_of_the_image(nucleus, bundle, cid, secret, null):
    """A mask is the null device, bound: over it the image's null device must not decide."""
    dev = without_dev(bundle).rootfs / "dev"
    target = bundle.rootfs / "target"
    target.write_text("target\n")
    make = {
        "link inside": lambda p: p.symlink_to("/target"),
        "link to proc": lambda p: p.symlink_to("/proc/sys/kernel/core_pattern"),
        "link out": lambda p: p.symlink_to(secret / "secret"),
        "file": lambda p: p.write_text("target\n"),
        "zero": lambda p: os.mknod(p, 0o20666, os.makedev(1, 5)),
        "directory": lambda p: p.mkdir(),
        "dangling": lambda p: p.symlink_to("/nowhere"),
    }[null]
    make(dev / "null")
    pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    bundle.linux["maskedPaths"] = ["/proc/timer_list", "/etc/passwd"]
    out = refused_or(nucleus, cid, bundle.sh(
        "stat -c '%F %t:%T' /proc/timer_list; echo changed > /proc/timer_list; "
        "wc -c < /proc/timer_list; cat /etc/passwd; :"))
    if out is not None:
        assert out.splitlines() == ["character special file 1:3", "0"]
    assert target.read_text() == "target\n"
    assert Path("/proc/sys/kernel/core_pattern").read_text() == pattern
    assert not (bundle.rootfs / "nowhere").exists()


@contextlib.contextmanager
def console_listener(path):
    """Takes the terminal's master; its descriptors come in a list."""
    got = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(5)

        def take():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    got.extend(socket.recv_fds(connection, 100, 1)[1])

        thread = threading.Thread(target=take)
        thread.start()
        try:
            yield got
        finally:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as end, \
                    contextlib.suppress(OSError):
                end.connect(str(path))
            thread.join()
            for fd in got:
                os.close(fd)


@pytest.mark.parametrize("name,target", [
    ("console", "/proc/sys/kernel/core_pattern"), ("console", "/proc/sysrq-trigger"),
    ("console", "{secret}/secret"), ("console", "../../../../../../../../{secret}/made"),
    ("console", "/target"), ("ptmx", "/target"), ("ptmx", "/proc/sysrq-trigger"),
    ("pts", "/proc/sys/kernel"), ("pts", "{secret}"), ("pts/ptmx", "/target"),
    ("pts/0", "/proc/sysrq-trigger"), ("pts/0", "/target")])
@pytest.mark.parametrize("devpts", [False, True], ids=["image's pts", "devpts"])
def test_cve_2025_52565_console_of_the_image(nucleus, bundle, cid, secret, tmp_path, name, target,
                                             devpts):
    dev = without_dev(bundle).rootfs / "dev"
    (bundle.rootfs / "target").write_text("target\n")
    if devpts:
        bundle.config["mounts"].append(
            _mount("/dev/pts", "devpts", "devpts", "newinstance", "ptmxmode=0666", "mode=0620"))
    (dev / name).parent.mkdir(exist_ok=True)
    (dev / name).symlink_to(target.format(secret=secret))
    bundle.process["terminal"] = True
    pattern = Path("/proc/sys/kernel/core_pattern").read_text()
    bundle.sh("test -t 0 && echo tty; stat -c %F /dev/console; "
              "(echo x > /proc/sysrq-trigger) 2>/dev/null && echo WRITTEN; "
              "(echo x > /proc/sys/kernel/core_pattern) 2>/dev/null && echo WRITTEN; "
              "cat /dev/console/secret /dev/pts/secret; echo end; sleep 1000")
    with console_listener(tmp_path / "socket") as got:
        result = nucleus.run("run", "-d", "-b", bundle.dir, "--console-socket",
                             tmp_path / "socket", cid, check=False)
        if result.rc == 0:
            wait_for(lambda: got, 5, "the terminal")
            os.set_blocking(got[0], False)
            text = ""

            def read():
                nonlocal text
                with contextlib.suppress(BlockingIOError):
                    text += os.read(got[0], 65536).decode()
                return "end" in text.split()

            wait_for(read, 5, "the program's words")
            assert text.splitlines()[:2] == ["tty", "character special file"], text
            assert "WRITTEN" not in text and SECRET not in text, text
        else:
            assert len(result.err.splitlines()) == 1, str(result)
        # Nothing but the terminal can be the console.
        assert name != "console" or result.rc != 0
        nucleus.delete(cid, "-f")
    assert (bundle.rootfs / "target").read_text() == "target\n"
    assert Path("/proc/sys/kernel/core_pattern").read_text() == pattern


# ---- CVE-2019-16884, CVE-2019-19921, CVE-2023-27561: another /proc


@pytest.mark.parametrize("path", ["proc", "sys"])
@pytest.mark.parametrize("target", ["/fake", "fake", "/", "../../../../../../{secret}"])
def test_cve_2019_19921_proc_of_the_image_is_a_link(nucleus, bundle, cid, secret, path, target):
    """A procfs mounted elsewhere leaves a /proc that the image made, where masks and security
    attributes go to."""
    (bundle.rootfs / "fake").mkdir()
    (bundle.rootfs / path).rmdir()
    (bundle.rootfs / path).symlink_to(target.format(secret=secret))
    nucleus.fails("run", "-b", bundle.sh("cat /proc/mounts").dir, cid, text=f"/{path}")
    assert nucleus.list() == [] and not nucleus.cgroups(cid)
    assert not list((bundle.rootfs / "fake").iterdir())


@pytest.mark.parametrize("destination", ["/proc", "/proc/self", "/proc/self/attr", "/proc/sys",
                                         "/proc/../proc", "/link", "/proc/sys/kernel"])
def test_cve_2019_16884_volume_over_proc(nucleus, bundle, cid, destination):
    fake = bundle.dir / "fake"
    (fake / "self" / "attr").mkdir(parents=True)
    (bundle.rootfs / "link").symlink_to("/proc/self")
    bundle.bind(fake, destination)
    result = nucleus.fails("run", "-b", bundle.sh("ls /proc").dir, cid)
    assert "/proc" in result.err or "/link" in result.err, str(result)
    assert nucleus.list() == []


@pytest.mark.parametrize("target", ["/etc", "/", "../../../../../../{secret}", "{secret}",
                                    "/nowhere", "/proc/self/fd"])
@pytest.mark.parametrize("mounted", [True, False], ids=["mounted", "image's"])
def test_dev_of_the_image_is_a_link(nucleus, bundle, cid, secret, target, mounted):
    if not mounted:
        without_dev(bundle)
    (bundle.rootfs / "dev").rmdir()
    (bundle.rootfs / "dev").symlink_to(target.format(secret=secret))
    out = refused_or(nucleus, cid, bundle.sh("ls -l /dev/; cat /dev/secret; :"))
    assert out is None or SECRET not in out
    # The host's own, which it must not touch (the fixture looks at `secret`).
    assert os.stat("/dev/null").st_rdev == os.makedev(1, 3)


# ---- CVE-2021-30465: a mount's destination is swapped while the runtime works


@pytest.mark.parametrize("where", ["{secret}", "/", "../../../../../../../{secret}", "/proc"])
def test_cve_2021_30465_destination_is_swapped(nucleus, bundle, cid, secret, where):
    source = bundle.dir / "volume"
    source.mkdir()
    (source / "mark").write_text("mark\n")
    place, aside = bundle.rootfs / "vol", bundle.rootfs / "aside"
    place.mkdir()
    aside.symlink_to(where.format(secret=secret))
    bundle.bind(source, "/vol/deep/one").bind(source, "/vol/two").tmpfs("/vol/three")
    bundle.sh("cat /proc/self/mountinfo; cat /vol/secret /vol/deep/secret; "
              f"cat {secret}/secret; :")
    done = threading.Event()
    swaps = 0

    def swap():
        nonlocal swaps
        spare = bundle.rootfs / "spare"
        while not done.is_set():
            with contextlib.suppress(OSError):
                place.rename(spare)
                aside.rename(place)
                swaps += 1
                place.rename(aside)
                spare.rename(place)

    thread = threading.Thread(target=swap)
    thread.start()
    mounts = Path("/proc/self/mountinfo").read_text()
    came_up = 0
    try:
        for _ in range(25):
            result = nucleus.run_container(cid, bundle, check=False)
            assert SECRET not in result.out and SECRET not in result.err, str(result)
            assert nucleus.list() == []
            if result.rc != 0:
                assert len(result.err.splitlines()) == 1, str(result)
                continue
            came_up += 1
            for line in result.out.splitlines():
                words = line.split()
                if len(words) > 8 and words[3].endswith("/volume"):
                    continue
                # What is seen of the host's file system is the root and the volume.
                assert str(secret) not in words[3:4], str(result)
    finally:
        done.set()
        thread.join()
    print(f"{swaps} swaps, {came_up} of 25 came up")
    assert swaps > 25, "the attack hardly ran"
    assert Path("/proc/self/mountinfo").read_text() == mounts
    assert [p.name for p in source.iterdir()] == ["mark"]


# ---- a checkpoint from a stranger, without a seal


@pytest.fixture
def unsealed(nucleus, bundle, cid, tmp_path):
    """A checkpoint in runc's form of a program that prints, and the log it printed to."""
    log = tmp_path / "log"
    bundle.config["mounts"] = [m for m in bundle.config["mounts"]
                               if m["destination"] in ("/proc", "/dev", "/dev/pts")]
    bundle.zoo("fifo")
    directory = tmp_path / "checkpoint"
    with open(log, "ab") as out:
        nucleus.run_container(cid, bundle, "-d", stdout=out)
    wait_for(lambda: "ready" in log.read_text(), 5, "program to be ready")
    nucleus.run("checkpoint", "--image-path", directory, "--work-path", tmp_path / "work", cid)
    nucleus.delete(cid)
    return directory


def restore_args(directory, bundle, rid, tmp_path):
    return ("restore", "-d", "--image-path", directory, "--work-path", tmp_path / "work2", "-b",
            bundle.dir, rid)


@pytest.fixture
def victim(tmp_path):
    """A file of the host that must not even be opened for writing."""
    path = tmp_path / "victim"
    path.write_text(SECRET + "\n")
    before = path.stat()
    yield path
    after = path.stat()
    assert path.read_bytes() == SECRET.encode() + b"\n"
    assert (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)


def test_hostile_checkpoint_stdout_is_not_what_it_says(nucleus, bundle, unsealed, victim,
                                                       tmp_path):
    """The caller's own output is used for a file, never the name."""
    made = tmp_path / "made"
    for name, target in (("one", victim), ("two", made)):
        record = json.loads((unsealed / "nucleus.json").read_text())
        assert record["stdio"][1]["kind"] == "file"
        record["stdio"][1]["target"] = str(target)
        (unsealed / "nucleus.json").write_text(json.dumps(record))
        (unsealed / "descriptors.json").write_text(
            json.dumps(["/dev/null", str(target), str(target)]))
        rid = nucleus.new_id(name)
        out = tmp_path / f"{name}.out"
        with open(out, "ab") as stdout:
            result = nucleus.run(*restore_args(unsealed, bundle, rid, tmp_path), check=False,
                                 stdout=stdout)
        if result.rc == 0:
            nucleus.kill(rid, "USR1")
            wait_for(lambda: "pass" in out.read_text(), 5, "the caller's output")
        nucleus.delete(rid, "-f")
        assert not made.exists()


def test_hostile_checkpoint_stdio_keys(nucleus, bundle, unsealed, victim, tmp_path):
    """A key is what CRIU takes instead of a file: only of the forms that are written."""
    original = (unsealed / "nucleus.json").read_text()
    for key in (str(victim), "/etc/passwd", "file[1:1", "file[../x]", "extRootNetNS", "", None,
                "x" * 70000, "tty[1:1]"):
        record = json.loads(original)
        record["stdio"][1]["key"] = key
        (unsealed / "nucleus.json").write_text(json.dumps(record))
        nucleus.fails(*restore_args(unsealed, bundle, nucleus.new_id(), tmp_path),
                      text="nucleus.json")
    assert nucleus.list() == []


def test_hostile_checkpoint_metadata_is_ignored(nucleus, bundle, unsealed, tmp_path):
    """Without a seal it is nobody's word: the bundle says where the container runs."""
    (unsealed / "metadata.json").write_text(json.dumps({
        "container_id": "../../x", "container_name": "x", "original_pid": 1, "command": ["x"],
        "checkpoint_at": 1, "version": "1", "using_gvisor": True, "rootless": False,
        "cgroup_path": "../..", "resource_limits": {"memory_bytes": 4096, "pids_max": 1}}))
    rid = nucleus.new_id()
    nucleus.run(*restore_args(unsealed, bundle, rid, tmp_path))
    state = json.loads((nucleus.state_dir / f"{rid}.json").read_text())
    assert state["cgroup_path"].endswith(f"/{rid}") and state["memory_limit"] is None
    assert not state["using_gvisor"]
    assert rid in Path(f"/proc/{state['pid']}/cgroup").read_text()
    nucleus.delete(rid, "-f")


@pytest.mark.parametrize("name", ["nucleus.json", "descriptors.json"])
@pytest.mark.parametrize("trick", ["link", "fifo", "directory", "huge", "deep", "not json",
                                   "wrong types"])
def test_hostile_checkpoint_files(nucleus, bundle, unsealed, victim, tmp_path, name, trick):
    if name == "descriptors.json":
        (unsealed / "nucleus.json").unlink()  # is what is read first
    path = unsealed / name
    path.unlink()
    {
        "link": lambda: path.symlink_to(victim),
        "fifo": lambda: os.mkfifo(path),
        "directory": lambda: path.mkdir(),
        "huge": lambda: (path.touch(), os.truncate(path, 1 << 40)),
        "deep": lambda: path.write_text("[" * 60000),
        "not json": lambda: path.write_text('["\x00'),
        "wrong types": lambda: path.write_text('{"format": -1, "stdio": [{}, 1, null]}'),
    }[trick]()
    result = nucleus.fails(*restore_args(unsealed, bundle, nucleus.new_id(), tmp_path), text=name,
                           timeout=10)
    assert SECRET not in result.err
    assert nucleus.list() == []


def test_hostile_checkpoint_directory_is_a_link(nucleus, bundle, unsealed, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(unsealed)
    nucleus.fails(*restore_args(link, bundle, nucleus.new_id(), tmp_path), text="symlink")
    (tmp_path / "work2").symlink_to(tmp_path)
    os.chown(tmp_path / "work2", 1000, 1000, follow_symlinks=False)
    nucleus.fails(*restore_args(unsealed, bundle, nucleus.new_id(), tmp_path), text="work")
    assert not (tmp_path / "restore.log").exists()


@pytest.mark.parametrize("log", ["restore.log", "stats-restore"])
def test_hostile_checkpoint_log_is_a_link(nucleus, bundle, unsealed, victim, log):
    """Without a work path CRIU writes beside the images, as runc has it."""
    (unsealed / log).unlink(missing_ok=True)
    (unsealed / log).symlink_to(victim)
    rid = nucleus.new_id()
    result = nucleus.run("restore", "-d", "--image-path", unsealed, "-b", bundle.dir, rid,
                         check=False)
    nucleus.delete(rid, "-f")
    assert result.rc != 0 and f"'{log}'" in result.err and "symlink" in result.err, str(result)


def test_hostile_checkpoint_is_refused_where_a_seal_is_asked_for(nucleus, bundle, unsealed,
                                                                 tmp_path):
    nucleus.fails(*restore_args(unsealed, bundle, nucleus.new_id(), tmp_path), "--require-seal",
                  text="seal")
    nucleus.fails("restore", "-d", "-i", unsealed, nucleus.new_id())
    assert nucleus.list() == []
