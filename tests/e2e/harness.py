"""What the end-to-end tests are made of: a driver of the binary, bundles, and the leak check.

The binary is $NUCLEUS, build/nucleus by default. Any runtime with runc's command line can stand
in for it (NUCLEUS=/usr/sbin/runc), which is how the tests themselves are tried out.

No helper here sleeps for a fixed time: wait_for() waits for what is meant.
"""

import ctypes
import functools
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import time
import uuid
import weakref
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ZOO = ROOT / "tests" / "zoo"
TOOLS = ROOT / "tests" / "tools"
BUSYBOX = "/bin/busybox"

CLONE_NEWNS = 0x00020000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 1 << 18
MNT_DETACH = 2
PR_SET_CHILD_SUBREAPER = 36

libc = ctypes.CDLL(None, use_errno=True)

LINKED = "nucleus-linked"


def _libc(name, *args):
    if getattr(libc, name)(*args) < 0:
        err = ctypes.get_errno()
        raise OSError(err, f"{name}: {os.strerror(err)}")


def become_subreaper():
    """Every process that loses its parent below us becomes our child: nothing escapes unseen."""
    _libc("prctl", PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def unshare_mounts():
    """A mount namespace of our own, which hears nothing from outside and says nothing to it."""
    _libc("unshare", CLONE_NEWNS)
    _libc("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)


def mount(source, target, fstype=None, flags=0, data=None):
    def enc(text):
        return None if text is None else os.fsencode(text)

    _libc("mount", enc(source), enc(target), enc(fstype), flags, enc(data))


def umount(target):
    _libc("umount2", os.fsencode(target), MNT_DETACH)


def binary():
    return os.path.abspath(os.environ.get("NUCLEUS", ROOT / "build" / "nucleus"))


def copy_binary(source, target):
    """Both executables, where there are two: the other is looked for beside the one."""
    source, target = Path(source), Path(target)
    for a, b in ((source, target), (source.with_name(LINKED), target.with_name(LINKED))):
        if a.exists():
            shutil.copy(a, b)
            b.chmod(0o755)
    return target


def dynamic_binary(path):
    """Of the two executables the one that loads libraries; it has all commands."""
    linked = Path(path).with_name(LINKED)
    return str(linked if linked.exists() else path)


def wait_for(predicate, timeout=10.0, what=None, interval=0.01):
    """Returns the first true value of predicate(); fails the test if there is none in time."""
    end = time.monotonic() + timeout
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() >= end:
            raise AssertionError(f"not within {timeout} s: {what or predicate}")
        time.sleep(interval)


def wait_output(result, text, count=1, timeout=15):
    """Waits until a container's output, by the Result of the command that made it, has `text`
    `count` times; a program of the zoo that reports a failure ends it at once."""

    def seen():
        out = result.out
        failed = re.search(r"^(FAIL |fail: ).*", out, re.M)
        assert not failed, str(result)
        return out.count(text) >= count

    wait_for(seen, timeout, f"{text!r} {count} times in {result}")


# ---------------------------------------------------------------------------------------------
# Processes

_popens = weakref.WeakSet()
_popen_init = subprocess.Popen.__init__


@functools.wraps(_popen_init)
def _tracked_init(self, *args, **kwargs):
    _popen_init(self, *args, **kwargs)
    _popens.add(self)


subprocess.Popen.__init__ = _tracked_init


@dataclass(frozen=True)
class Process:
    """A process by pid and start time, so that one that reuses a pid is another one."""

    pid: int
    start: int
    ppid: int = field(compare=False)
    state: str = field(compare=False)
    comm: str = field(compare=False)

    def __str__(self):
        return f"pid {self.pid} ({self.comm}, {self.state}): {cmdline(self.pid)}"


def process(pid):
    """The process, or None."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    comm, _, rest = text.partition("(")[2].rpartition(")")
    words = rest.split()
    return Process(int(pid), int(words[19]), int(words[1]), words[0], comm)


def alive(pid):
    """Whether there is such a process, a zombie not counted."""
    found = process(pid)
    return found is not None and found.state not in "ZX"


def processes():
    return list(filter(None, map(process, filter(str.isdigit, os.listdir("/proc")))))


def cmdline(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except (OSError, UnicodeError):
        return "?"


def descendants():
    """All processes below this one. For a subreaper: all it ever caused."""
    everyone = processes()
    below, found = {os.getpid()}, set()
    while True:
        more = {p for p in everyone if p.ppid in below} - found
        if not more:
            return found
        found |= more
        below |= {p.pid for p in more}


def reap_orphans():
    """Waits for dead processes that came to us as subreaper, not for those of a Popen."""
    ours = {p.pid for p in _popens if p.returncode is None}
    for child in processes():
        if child.ppid == os.getpid() and child.state == "Z" and child.pid not in ours:
            try:
                os.waitpid(child.pid, os.WNOHANG)
            except ChildProcessError:
                pass


# ---------------------------------------------------------------------------------------------
# The driver


class CommandFailed(AssertionError):
    pass


@dataclass
class Result:
    args: list
    rc: int
    out_path: Path
    err_path: Path

    @property
    def out(self):
        """All of stdout until now: a container left behind may still be writing to it."""
        return self.out_path.read_text(errors="replace")

    @property
    def err(self):
        return self.err_path.read_text(errors="replace")

    @property
    def json(self):
        return json.loads(self.out)

    def __str__(self):
        return f"{' '.join(self.args)} -> {self.rc}\n--- stdout\n{self.out}--- stderr\n{self.err}"


class Running:
    """A command that was not waited for."""

    def __init__(self, popen, args, out_path, err_path):
        self.popen, self.args = popen, args
        self.out_path, self.err_path = out_path, err_path
        self.pid = popen.pid
        self.stdin = popen.stdin

    out = Result.out
    err = Result.err

    def wait(self, timeout=20):
        try:
            rc = self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise CommandFailed(
                f"timed out after {timeout} s: {self.result(None)}"
            ) from None
        return self.result(rc)

    def result(self, rc):
        return Result(self.args, rc, self.out_path, self.err_path)


class Nucleus:
    """The binary with a state directory and a key file of its own.

    Output goes to files, never to pipes: a container made by `create` or `run -d` keeps the
    descriptors, and the end of a pipe would not come before its death.
    """

    def __init__(self, directory):
        self.dir = Path(directory)
        self.binary = binary()
        self.state_dir = self.dir / "state"
        self.key_file = self.dir / "key" / "checkpoint.key"
        self.logs = self.dir / "logs"
        self.logs.mkdir(parents=True)
        self.key_file.parent.mkdir(mode=0o700)
        self.key_file.write_bytes(os.urandom(32))
        self.key_file.chmod(0o600)
        self.token = uuid.uuid4().hex[:6]
        self.count = self.ids = 0

    @property
    def is_nucleus(self):
        """False when another runtime stands in."""
        return os.path.basename(self.binary) not in ("runc", "crun")

    def new_id(self, prefix="c"):
        """An id nobody else on this machine uses: cgroups are shared by all test runs."""
        self.ids += 1
        return f"{prefix}{self.ids}-{self.token}"

    def environment(self, extra=None):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("NUCLEUS_", "XDG_"))}
        env["NUCLEUS_STATE_DIR"] = str(self.state_dir)
        env["NUCLEUS_CHECKPOINT_HMAC_KEY_FILE"] = str(self.key_file)
        env.update(extra or {})
        return {k: v for k, v in env.items() if v is not None}

    def spawn(self, *args, env=None, cwd=None, stdin=subprocess.DEVNULL, stdout=None,
              stderr=None, root=True, prefix=(), **popen):
        """Starts a command; env entries of None are removed, root=False leaves --root out, prefix
        is a command that starts it (tool("killat"), strace)."""
        binary = self.binary
        if popen.get("user"):
            # The tree may lie where only root gets to.
            binary = self.state_dir.parent / "binary"
            if not binary.exists():
                copy_binary(self.binary, binary)
            for path in binary.parents:
                if path.stat().st_mode & 0o001 == 0:
                    path.chmod(path.stat().st_mode | 0o011)
            binary = str(binary)
        argv = [*map(str, prefix), binary]
        if root:
            argv += ["--root", str(self.state_dir)]
        argv += [str(a) for a in args]
        self.count += 1
        name = re.sub(r"[^a-z]", "", next((str(a) for a in args if str(a)[:1] != "-"), ""))
        out_path = self.logs / f"{self.count:03}-{name[:20]}.out"
        err_path = self.logs / f"{self.count:03}-{name[:20]}.err"
        with open(out_path, "wb") as out, open(err_path, "wb") as err:
            popened = subprocess.Popen(
                argv, stdin=stdin, stdout=stdout or out, stderr=stderr or err,
                env=self.environment(env), cwd=cwd, **popen)
        return Running(popened, argv, out_path, err_path)

    def run(self, *args, check=True, input=None, timeout=20, **spawn):
        """Runs a command to its end; check: it must succeed."""
        if input is not None:
            path = self.logs / f"{self.count + 1:03}.in"
            path.write_bytes(input if isinstance(input, bytes) else input.encode())
            with open(path, "rb") as stdin:
                result = self.spawn(*args, stdin=stdin, **spawn).wait(timeout)
        else:
            result = self.spawn(*args, **spawn).wait(timeout)
        reap_orphans()
        assert "Sanitizer" not in result.err and "runtime error:" not in result.err, str(result)
        if check and result.rc != 0:
            raise CommandFailed(str(result))
        return result

    def fails(self, *args, text=None, **run):
        """Runs a command that must be refused: not 0, nothing on stdout, one line on stderr."""
        result = self.run(*args, check=False, **run)
        assert result.rc != 0, f"it did not fail: {result}"
        assert result.rc > 0, f"it died of a signal: {result}"
        assert result.out == "", f"output besides the error: {result}"
        lines = result.err.strip().splitlines()
        assert len(lines) == 1, f"not one line on stderr: {result}"
        for part in [text] if isinstance(text, str) else text or []:
            assert part.lower() in lines[0].lower(), f"no {part!r} in: {result}"
        return result

    # One method a command; options are given as they are typed.

    def create(self, cid, bundle, *options, **run):
        return self.run("create", "-b", bundle.dir, *options, cid, **run)

    def start(self, cid, **run):
        return self.run("start", cid, **run)

    def run_container(self, cid, bundle, *options, **run):
        """`run`, in the foreground unless -d is among the options."""
        return self.run("run", "-b", bundle.dir, *options, cid, **run)

    def spawn_container(self, cid, bundle, *options, **spawn):
        return self.spawn("run", "-b", bundle.dir, *options, cid, **spawn)

    def state(self, cid, **run):
        reap_orphans()
        return self.run("state", cid, **run).json

    def status(self, cid):
        return self.state(cid)["status"]

    def kill(self, cid, *sig, all=False, **run):
        return self.run("kill", *(["-a"] if all else []), cid, *sig, **run)

    def delete(self, cid, *options, **run):
        return self.run("delete", *options, cid, **run)

    def list(self, *options, **run):
        return json.loads(self.run("list", "-f", "json", *options, **run).out or "null") or []

    def ids_listed(self):
        return self.run("list", "-q").out.split()

    def checkpoint(self, cid, directory, *options, **run):
        return self.run("checkpoint", *options, "-o", directory, cid, **{"timeout": 60, **run})

    def restore(self, directory, *options, **run):
        return self.run("restore", "-i", directory, *options, **{"timeout": 60, **run})

    def wait_status(self, cid, status, timeout=10):
        return wait_for(lambda: self.status(cid) == status, timeout, f"{cid} to be {status}")

    def stop(self, cid):
        """Ends a container of a test and forgets it."""
        self.kill(cid, "KILL", check=False)
        self.wait_status(cid, "stopped")
        self.delete(cid)

    def cgroups(self, cid):
        """The container's cgroup directories, on all hierarchies."""
        return [d for top in cgroup_mounts() for d in _tree(top) if os.path.basename(d) == cid]

    def store(self):
        """The state directory's content, to be compared: nothing may have changed. What is cached
        there is no state."""
        content = {}
        for path in sorted(self.state_dir.rglob("*")) if self.state_dir.exists() else []:
            if path.relative_to(self.state_dir).parts[0] == "seccomp":
                continue
            mode = path.lstat().st_mode
            content[str(path)] = (mode, path.read_bytes() if stat.S_ISREG(mode) else None)
        return content


# ---------------------------------------------------------------------------------------------
# Bundles

CAPS = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]


def default_config():
    """What `runc spec` writes, and all namespaces."""
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": {k: list(CAPS) for k in ("bounding", "effective", "permitted")},
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": False},
        "hostname": "zoo",
        "mounts": [
            _mount("/proc", "proc", "proc"),
            _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
            _mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance",
                   "ptmxmode=0666", "mode=0620", "gid=5"),
            _mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777",
                   "size=65536k"),
            _mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
            _mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
            _mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev",
                   "relatime", "ro"),
        ],
        "linux": {
            "namespaces": [{"type": t}
                           for t in ("pid", "network", "ipc", "uts", "mount", "cgroup")],
            "maskedPaths": ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys",
                            "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
                            "/proc/sched_debug", "/sys/firmware", "/proc/scsi"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                              "/proc/sysrq-trigger"],
        },
    }


def _mount(destination, fstype, source, *options):
    return {"destination": destination, "type": fstype, "source": source,
            "options": list(options)}


def make_rootfs(directory):
    """A busybox root file system: one static file and its applets' symlinks."""
    root = Path(directory)
    for name in ("bin", "dev", "etc", "home", "mnt", "proc", "root", "run", "sys", "usr", "var",
                 "zoo"):
        (root / name).mkdir(parents=True)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    (root / "sbin").symlink_to("bin")
    shutil.copy(BUSYBOX, root / "bin" / "busybox")
    applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True)
    for applet in set(applets.stdout.split()) - {"busybox"}:
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc" / "passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home:/bin/sh\n")
    (root / "etc" / "group").write_text("root:x:0:\ntty:x:5:\nuser:x:1000:\nextra:x:2000:user\n")
    return root


class Bundle:
    """A directory with rootfs/ and config.json; write() after changing `config`."""

    def __init__(self, directory, template):
        self.dir = Path(directory)
        self.rootfs = self.dir / "rootfs"
        self.dir.mkdir(parents=True)
        subprocess.run(["cp", "-a", str(template), str(self.rootfs)], check=True)
        self.config = default_config()
        self.write()

    def __str__(self):
        return str(self.dir)

    @property
    def process(self):
        return self.config["process"]

    @property
    def linux(self):
        return self.config["linux"]

    def write(self, override=None):
        """Writes config.json; override(config) may change it in place before."""
        if override:
            override(self.config)
        (self.dir / "config.json").write_text(json.dumps(self.config, indent=2))
        return self

    def args(self, *args):
        self.process["args"] = list(args)
        return self.write()

    def sh(self, script):
        return self.args("sh", "-c", script)

    def bind(self, source, destination, *options):
        self.config["mounts"].append(
            _mount(destination, "bind", str(source), "rbind", *options))
        return self.write()

    def tmpfs(self, destination, *options):
        self.config["mounts"].append(_mount(destination, "tmpfs", "tmpfs", *options))
        return self.write()

    def namespaces(self, *types):
        self.linux["namespaces"] = [{"type": t} for t in types]
        return self.write()

    def user_namespace(self, host_id=100000, size=65536):
        """Root inside is host_id outside; the way to the bundle is opened for it."""
        for kind in ("uidMappings", "gidMappings"):
            self.linux[kind] = [{"containerID": 0, "hostID": host_id, "size": size}]
        self.linux["namespaces"].append({"type": "user"})
        subprocess.run(["chown", "-hR", f"{host_id}:{host_id}", str(self.rootfs)], check=True)
        for parent in [self.dir, *self.dir.parents]:
            if parent.stat().st_uid == os.getuid() and not parent.stat().st_mode & 0o001:
                parent.chmod(parent.stat().st_mode | 0o011)
        return self.write()

    def python(self):
        """The host's /usr, read-only, and what it takes for /usr/bin/python3 to run."""
        self.bind("/usr", "/usr", "ro")
        for name in ("lib", "lib64"):
            host = Path("/", name)
            if host.is_symlink():
                (self.rootfs / name).symlink_to(os.readlink(host))
            elif host.exists():
                self.bind(host, f"/{name}", "ro")
        return self

    def counter(self, *args):
        """tests/zoo/counter.py as the container's program."""
        self.python()
        shutil.copy(ZOO / "counter.py", self.rootfs / "zoo" / "counter.py")
        return self.args("/usr/bin/python3", "/zoo/counter.py", *map(str, args))

    def zoo(self, name, *args):
        """A program of tests/zoo as the container's program, with a tmpfs at /tmp."""
        shutil.copy(zoo_program(name), self.rootfs / "zoo" / name)
        if not any(m["destination"] == "/tmp" for m in self.config["mounts"]):
            self.tmpfs("/tmp", "mode=1777")
        return self.args(f"/zoo/{name}", *map(str, args))


def zoo_names():
    return sorted(p.stem for p in ZOO.glob("*.c"))


def programs():
    """Where meson built the tests' own programs: beside the binary, or in another build (a program that
    is to die of SIGSEGV can't be one with a sanitizer)."""
    build = os.environ.get("NUCLEUS_TEST_PROGRAMS") or Path(binary()).parent
    return Path(build) / "tests"


@functools.lru_cache(maxsize=None)
def zoo_program(name):
    """The static program: as meson built it, or else built here."""
    source = ZOO / f"{name}.c"
    newest = max(source.stat().st_mtime, (ZOO / "zoo.h").stat().st_mtime)
    built = programs() / "zoo" / name
    if built.exists() and built.stat().st_mtime >= newest:
        return built
    target = session_dir() / "zoo" / name
    target.parent.mkdir(exist_ok=True)
    subprocess.run(["cc", "-std=gnu17", "-O1", "-Wall", "-Wextra", "-static",
                    "-o", str(target), str(source)], check=True)
    return target


@functools.lru_cache(maxsize=None)
def tool(name, *flags):
    """A program of tests/tools, on the same terms. (fake-criu needs what meson generates.)"""
    source = TOOLS / f"{name}.c"
    built = programs() / "tools" / name
    if not flags and built.exists() and built.stat().st_mtime >= source.stat().st_mtime:
        return built
    target = session_dir() / "tools" / "".join([name, *flags])
    target.parent.mkdir(exist_ok=True)
    subprocess.run(["cc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", *flags,
                    "-o", str(target), str(source)], check=True)
    return target


_session_dir = None


def session_dir():
    assert _session_dir, "conftest.py sets it"
    return _session_dir


def set_session_dir(path):
    global _session_dir
    _session_dir = Path(path)


class Counting:
    """A container that counts, one number a line: what is lost or done twice shows."""

    LOOP = "n=0; while :; do n=$((n+1)); echo $n; sleep 0.02; done"

    def __init__(self, nucleus, bundle, *options, before="", **run):
        self.nucleus, self.bundle = nucleus, bundle
        self.id = nucleus.new_id("counting")
        self.result = nucleus.run_container(
            self.id, bundle.sh(before + self.LOOP), "-d", *options, **run)

    @property
    def pid(self):
        return self.nucleus.state(self.id)["pid"]

    def root(self, path):
        """A path inside, seen from outside."""
        return Path(f"/proc/{self.pid}/root", path.lstrip("/"))

    def numbers(self):
        """All it wrote until now; it must have written them in order, each once."""
        text = self.result.out
        got = [int(line) for line in text[:text.rfind("\n") + 1].splitlines()]
        assert got == list(range(1, len(got) + 1)), str(self.result)
        return got

    def more(self, count=3, timeout=10):
        """Waits until it has counted on."""
        have = len(self.numbers())
        wait_for(lambda: len(self.numbers()) >= have + count, timeout, f"{self.id} to count on")

    def checkpoint(self, directory, *options, **run):
        return self.nucleus.checkpoint(self.id, directory, *options, **run)

    def restore(self, directory, *options, **run):
        """Under a new id; the one before stays."""
        cid = self.nucleus.new_id("counting")
        result = self.nucleus.restore(directory, "-d", "-b", self.bundle, *options, cid, **run)
        self.id = cid
        return result


def mounts_of(pid):
    """The mounts a process sees, as (mount point, root, options, type, options of the super
    block), in order of the mount points."""
    found = []
    for line in Path(f"/proc/{pid}/mountinfo").read_text().splitlines():
        words = line.split()
        dash = words.index("-")
        found.append((words[4], words[3], words[5], words[dash + 1], words[dash + 3]))
    return sorted(found)


def v2_cgroup(nucleus, cid):
    """Its directory on the v2 hierarchy."""
    return next(Path(d) for d in nucleus.cgroups(cid) if Path(d, "cgroup.freeze").exists())


# ---------------------------------------------------------------------------------------------
# The leak check

# Made by others on the same machine while a test runs; not looked at outside of a private /tmp.
FOREIGN_TMP = re.compile(
    r"bash_jobs|bash_tool|hsperfdata|pytest-of-|nucleus-e2e-|cc[A-Za-z0-9]{6}\b|tmp[._a-z0-9]|"
    r"zoo-|apt|core|clang|meson|\.X|systemd", re.I)

WATCHED_DIRS = ["/tmp", "/run", "/run/nucleus", "/run/netns", "/run/lock", "/var/lib/nucleus",
                "/dev/shm"]


def mountinfo():
    """Mounts of this namespace by id: (root, mount point, type)."""
    mounts = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split()
        fstype = words[words.index("-") + 1]
        mounts[words[0], words[4], words[3], fstype] = line
    return mounts


def cgroup_mounts():
    return sorted({key[1] for key in mountinfo() if key[3] in ("cgroup", "cgroup2")})


def _tree(top):
    for directory, _, _ in os.walk(top):
        if directory != top:
            yield directory


def cgroup_procs(directory):
    pids = set()
    for sub in [directory, *_tree(directory)]:
        try:
            pids |= {int(p) for p in Path(sub, "cgroup.procs").read_text().split()}
        except (OSError, ValueError):
            pass
    return pids - {0}


def network_namespace(pid):
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return None


@dataclass
class Snapshot:
    processes: set
    mounts: dict
    cgroups: set
    netns: dict
    files: dict

    @classmethod
    def take(cls):
        reap_orphans()
        below = descendants()
        return cls(
            processes=below,
            mounts=mountinfo(),
            cgroups={d for top in cgroup_mounts() for d in _tree(top)},
            netns={ns: p for p in below if (ns := network_namespace(p.pid))},
            files={d: set(os.listdir(d)) if os.path.isdir(d) else None for d in WATCHED_DIRS},
        )


@dataclass
class Leak:
    what: str
    text: str
    clean: object = None

    def __str__(self):
        return f"{self.what}: {self.text}"


class LeakCheck:
    """Compares the machine after a test with the machine before.

    Other sessions may be at work on it. What can be attributed is: all processes we caused are
    our descendants; /tmp, /run and mounts are private to the session (see conftest.py); cgroups
    count as ours when their name holds the token of one of the test's drivers or a process of
    ours is in them. A new cgroup that holds only processes of others is theirs. A new one that is
    empty and stays so is reported too, but not removed, unless NUCLEUS_E2E_SHARED=1 says that
    others are busy with cgroups.
    """

    # Seconds for processes that are already dying, and for other sessions' short-lived cgroups.
    SETTLE = float(os.environ.get("NUCLEUS_E2E_SETTLE", "2"))

    def __init__(self, private):
        self.private = private
        self.before = Snapshot.take()
        self.drivers = []

    def leaks(self):
        now = Snapshot.take()
        yield from self.process_leaks(now)
        yield from self.cgroup_leaks(now)
        yield from self.netns_leaks(now)
        yield from self.mount_leaks(now)
        yield from self.state_leaks()
        yield from self.file_leaks(now)

    def process_leaks(self, now):
        suspects = now.processes - self.before.processes
        for proc in sorted(suspects, key=lambda p: p.pid):
            yield Leak("process left", str(proc), functools.partial(kill_process, proc))
        if not self.drivers:
            return
        places = [os.fsencode(str(d.state_dir)) for d in self.drivers]
        known = {p.pid for p in suspects} | {os.getpid(), os.getppid()}
        for proc in processes():
            if proc.pid in known or proc in self.before.processes:
                continue
            try:
                text = Path(f"/proc/{proc.pid}/cmdline").read_bytes()
                text += b"\0" + Path(f"/proc/{proc.pid}/environ").read_bytes()
            except OSError:
                continue
            if any(place in text for place in places):
                yield Leak("process left (not below us)", str(proc),
                           functools.partial(kill_process, proc))

    def cgroup_leaks(self, now):
        tokens = [d.token for d in self.drivers]
        ours = {p.pid for p in now.processes}
        new = now.cgroups - self.before.cgroups
        for directory in sorted(new, reverse=True):
            # The parent of all containers' cgroups stays: removing it would race with a create.
            if os.path.basename(directory) == "nucleus" and os.path.dirname(
                    directory) in cgroup_mounts():
                continue
            inside = cgroup_procs(directory)
            if any(t in directory for t in tokens) or inside & ours:
                yield Leak("cgroup left", f"{directory} {sorted(inside) or ''}",
                           functools.partial(remove_cgroup, directory, inside & ours))
            elif not inside and os.path.isdir(directory) and not shared_machine():
                yield Leak("cgroup left", f"{directory} (empty; not removed, it could be someone "
                                          "else's: set NUCLEUS_E2E_SHARED=1 if so)")

    def netns_leaks(self, now):
        for ns, proc in now.netns.items():
            if ns not in self.before.netns and ns != network_namespace("self"):
                yield Leak("network namespace left", f"{ns}, held by {proc}")

    def mount_leaks(self, now):
        new = [k for k in now.mounts if k not in self.before.mounts]
        for key in sorted(new, key=lambda k: int(k[0]), reverse=True):
            what = "network namespace left (mounted)" if key[3] == "nsfs" else "mount left"
            yield Leak(what, now.mounts[key], functools.partial(umount, key[1]))
        for key in self.before.mounts:
            if key not in now.mounts:
                yield Leak("mount gone", self.before.mounts[key])

    def state_leaks(self):
        for driver in self.drivers:
            if driver.state_dir.is_dir():
                for path in sorted(driver.state_dir.iterdir()):
                    # The logs of failures outlive their container, the caches are the store's.
                    if path.name in ("log", "criu.kdat", "seccomp"):
                        continue
                    yield Leak("state left", str(path), functools.partial(remove_path, path))

    def file_leaks(self, now):
        for directory, names in now.files.items():
            before = self.before.files[directory]
            if names is None or before is None:
                # Itself new: its parent says so, where that is watched.
                if names and before is None and os.path.dirname(directory) not in now.files:
                    yield Leak("file left", directory)
                continue
            private = self.private and directory.startswith(("/tmp", "/run"))
            for name in sorted(names - before):
                path = Path(directory, name)
                if directory == "/tmp" and name.startswith("pytest-of-"):
                    continue
                if str(path) in ("/run/mount", "/run/criu.kdat"):  # libmount's, CRIU's cache
                    continue
                if not private and (FOREIGN_TMP.match(name) or shared_machine()):
                    continue
                yield Leak("file left", str(path),
                           functools.partial(remove_path, path) if private else None)

    def finish(self):
        """The leaks that stay, as texts, after having removed them as far as they are ours."""
        end = time.monotonic() + self.SETTLE
        found = list(self.leaks())
        while found and time.monotonic() < end:
            time.sleep(0.02)
            found = list(self.leaks())
        report = [str(leak) for leak in found]
        for leak in found:
            if leak.clean:
                try:
                    leak.clean()
                except OSError as error:
                    report.append(f"  can't be cleaned up ({leak.text}): {error}")
        reap_orphans()
        return report


def shared_machine():
    return os.environ.get("NUCLEUS_E2E_SHARED") == "1"


def kill_process(proc):
    """By pidfd, so that it can't be another one; then reaped if it came to us."""
    try:
        fd = os.pidfd_open(proc.pid)
    except ProcessLookupError:
        return
    try:
        if process(proc.pid) == proc:
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(fd)
    end = time.monotonic() + 2
    while alive(proc.pid) and process(proc.pid) == proc and time.monotonic() < end:
        time.sleep(0.005)
    reap_orphans()


def remove_cgroup(directory, pids):
    frozen = Path(directory, "cgroup.freeze")
    if frozen.exists():
        frozen.write_text("0")
    frozen = Path(directory, "freezer.state")
    if frozen.exists():
        frozen.write_text("THAWED")
    for pid in pids:
        proc = process(pid)
        if proc:
            kill_process(proc)
    for sub in sorted([*_tree(directory), directory], key=len, reverse=True):
        if os.path.isdir(sub):
            os.rmdir(sub)


def remove_path(path):
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.exists() or path.is_symlink():
        path.unlink()
