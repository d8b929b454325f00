"""What the engines' tests are made of: the world they run in, drivers of the engines, a terminal,
images made here, and the check for what is left behind."""

import fcntl
import hashlib
import io
import itertools
import json
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import tarfile
import tempfile
import termios
import time
import uuid
from pathlib import Path

import harness

# Not the caller's: another `docker` may come first there. The first is for CRIU.
PATH = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
CLONE_NEWCGROUP, CLONE_NEWNET = 0x02000000, 0x40000000
CGROUP = Path("/sys/fs/cgroup")
# rlimits that a process without CAP_SYS_RESOURCE can keep; engines' defaults are higher.
NOFILE, NPROC = 1024, 4096

# What waiting times are multiplied with: an emulated machine is slow.
PATIENCE = float(os.environ.get("NUCLEUS_ENGINES_PATIENCE", "1"))

_token = uuid.uuid4().hex[:6]
_names = itertools.count(1)


def wait_for(predicate, timeout=10.0, what=None, interval=0.02):
    return harness.wait_for(predicate, timeout * PATIENCE, what, interval)


def runtime():
    return harness.binary()


def is_nucleus():
    return os.path.basename(runtime()) not in ("runc", "crun")


def new_name():
    return f"c{next(_names)}-{_token}"


def controllers():
    return (CGROUP / "cgroup.controllers").read_text().split()


def lacks_controllers():
    missing = {"memory", "pids", "cpu"} - set(controllers())
    return missing and f"no cgroup v2 controllers here ({' '.join(sorted(missing))}): " \
                       "tests/vm/guest-engines runs this test"


def lacks_systemd():
    return not os.path.isdir("/run/systemd/system") and \
        "PID 1 is not systemd: tests/vm/guest-engines runs this test"


# ---------------------------------------------------------------------------------------------
# The world

class World:
    """Namespaces of this process's own. NUCLEUS_ENGINES_PRIVATE=0, for a machine that is thrown
    away anyhow and where systemd must see what we do, keeps those of the machine."""

    def __init__(self, config):
        harness.become_subreaper()
        os.environ["PATH"] = PATH
        self.private = os.environ.get("NUCLEUS_ENGINES_PRIVATE", "1") != "0"
        if self.private:
            self.tmp = tempfile.mkdtemp(prefix="nucleus-engines-", dir="/tmp")
            self.cgroup = self.make_cgroup()
            self.janitor = Janitor(self.cgroup, self.tmp)
            self.enter_cgroup()
            self.unshare_network()
        harness.unshare_mounts()
        if self.private:
            self.cover(config)
        for engine in ("containers", "docker", "containerd"):  # overlayfs keeps no upper layer on another
            self.empty(f"/var/lib/{engine}")
        os.environ["HOME"] = "/run/engines-home"
        os.makedirs("/run/engines-home", exist_ok=True)

    def keep(self):
        """The files of the tests stay, to be looked at."""
        if self.private:
            self.janitor.keep()
            print(f"the tests' /tmp was {self.tmp}/tmp; remove it when done")

    def cover(self, config):
        """What engines write to becomes throw-away; the machine's files stay visible below."""
        given = [runtime(), str(config.rootpath), str(config.option.basetemp or ""),
                 str(config.invocation_params.dir), *config.args]
        # v1 is gone from this namespace, with what else is mounted below.
        harness.umount(CGROUP)
        harness.mount("cgroup2", str(CGROUP), "cgroup2")
        layers = os.path.join(self.tmp, "layers")
        os.mkdir(layers)
        harness.mount("layers", layers, "tmpfs", data="mode=0700")
        for top in ("etc", "opt", "var"):
            upper, work = f"{layers}/{top}", f"{layers}/{top}.work"
            os.makedirs(upper, 0o755)
            os.mkdir(work)
            harness.mount("layers", f"/{top}", "overlay",
                          data=f"lowerdir=/{top},upperdir={upper},workdir={work}")
        self.empty("/run")
        self.empty("/dev/shm", "mode=1777")
        os.mkdir("/run/lock", 0o1777)
        os.mkdir(f"{self.tmp}/tmp")
        os.chmod(f"{self.tmp}/tmp", 0o1777)
        if not any(os.path.realpath(p).startswith("/tmp/") for p in given if p):
            harness.mount(f"{self.tmp}/tmp", "/tmp", flags=harness.MS_BIND)
        tempfile.tempdir = None

    @staticmethod
    def empty(directory, options="mode=0755"):
        os.makedirs(directory, exist_ok=True)
        harness.mount("tmpfs", directory, "tmpfs", data=options)

    @staticmethod
    def make_cgroup():
        at = next(m[1] for m in harness.mountinfo() if m[3] == "cgroup2")
        own = Path(at, f"engines-{_token}")
        own.mkdir()
        return own

    def enter_cgroup(self):
        """The v2 hierarchy as if this were a machine of its own: its root is our cgroup. As in any
        root that delegates, processes live in leaves."""
        (self.cgroup / "cgroup.procs").write_text("0")
        harness._libc("unshare", CLONE_NEWCGROUP)
        (self.cgroup / "tests").mkdir()
        (self.cgroup / "tests/cgroup.procs").write_text("0")

    @staticmethod
    def unshare_network():
        harness._libc("unshare", CLONE_NEWNET)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)


class Janitor:
    """A process outside of the world that ends it: whatever the tests die of, no engine, container
    or cgroup outlives them."""

    def __init__(self, cgroup, tmp):
        read, self.write = os.pipe()
        if os.fork() != 0:
            os.close(read)
            return
        try:
            os.close(self.write)
            os.setsid()
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            # Whoever reads the tests' output waits for its end.
            null = os.open("/dev/null", os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null, fd)
            said = b""
            while data := os.read(read, 100):
                said += data
            if (cgroup / "cgroup.kill").exists():  # Linux 5.14 and later
                (cgroup / "cgroup.kill").write_text("1")
            end = time.monotonic() + 10
            while "populated 1" in (cgroup / "cgroup.events").read_text() and time.monotonic() < end:
                time.sleep(0.01)
            for directory in sorted([*harness._tree(str(cgroup)), str(cgroup)], key=len, reverse=True):
                os.rmdir(directory)
            if not said:
                shutil.rmtree(tmp, ignore_errors=True)
        finally:
            os._exit(0)

    def keep(self):
        os.write(self.write, b"keep")


# ---------------------------------------------------------------------------------------------
# What is left behind

class Leftovers(harness.LeakCheck):
    """harness.LeakCheck, but for what engines themselves keep until they are asked to forget it."""

    SETTLE = 5.0 * PATIENCE  # conmon and the shims end on their own, after the container's removal
    # Of an engine: made on first use, emptied by none.
    KEPT_FILES = re.compile(r"/run/(containers|libpod|podman|crun|runc|nucleus|containerd|docker|netns|"
                            r"engines-home|user|cni|xtables\.lock|lock|docker\.(pid|sock))\b|"
                            r"/dev/shm/libpod_lock|/tmp/ctrd-checkpoint")  # containerd forgets it at a restore
    KEPT_CGROUPS = re.compile(r"/sys/fs/cgroup/(libpod_parent(/conmon)?|default|docker|nucleus|k8s\.io|"
                              r"machine\.slice|system\.slice|.*\.service|init\.scope)")
    KEPT_MOUNTS = {"/run/netns", "/run/docker/netns/default", "/var/lib/containers/storage/overlay",
                   "/var/lib/docker/overlay2", "/run/docker/netns"}
    # Where runtimes keep what they know of containers, by engine.
    STATES = ["run/nucleus/*", "run/runc/*", "run/crun/*", "run/containerd/runc/*/*",
              "run/docker/runtime-*/*/*", "run/docker/containerd/runc/*/*",
              "run/containerd/io.containerd.runtime.v2.task/*/*",
              "run/docker/containerd/daemon/io.containerd.runtime.v2.task/*/*"]

    def __init__(self):
        super().__init__(True)
        self.states = self.state_files()

    def state_files(self):
        root = Path("/")
        return {p for pattern in self.STATES for p in root.glob(pattern)
                if p.name not in ("log", "criu.kdat", "seccomp") and not p.name.startswith(".")}

    def state_leaks(self):
        for path in sorted(self.state_files() - self.states):
            yield harness.Leak("state left", str(path), lambda p=path: harness.remove_path(p))

    def cgroup_leaks(self, now):
        for directory in sorted(now.cgroups - self.before.cgroups, reverse=True):
            if self.KEPT_CGROUPS.fullmatch(directory) and not harness.cgroup_procs(directory):
                continue
            inside = harness.cgroup_procs(directory)
            ours = inside & {p.pid for p in now.processes - self.before.processes}
            yield harness.Leak("cgroup left", f"{directory} {sorted(inside) or ''}",
                               lambda d=directory, o=ours: harness.remove_cgroup(d, o))

    def mount_leaks(self, now):
        for leak in super().mount_leaks(now):
            if leak.text.split()[4:5] and leak.text.split()[4] not in self.KEPT_MOUNTS:
                yield leak

    def file_leaks(self, now):
        for leak in super().file_leaks(now):
            if not self.KEPT_FILES.match(leak.text):
                yield leak


# ---------------------------------------------------------------------------------------------
# Images

def make_image(rootfs, path, name="docker.io/library/box:latest", command=("sh",)):
    """An OCI image layout of one layer, which docker load reads too (manifest.json)."""
    blobs = {}

    def add(data, media_type):
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": f"application/vnd.oci.image.{media_type}", "size": len(data),
                "digest": f"sha256:{digest}"}

    files = io.BytesIO()
    with tarfile.open(fileobj=files, mode="w") as tar:
        tar.add(rootfs, arcname=".")
    layer = add(files.getvalue(), "layer.v1.tar")
    config = add(json.dumps({
        "architecture": "amd64", "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": list(command)},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }).encode(), "config.v1+json")
    manifest = add(json.dumps({"schemaVersion": 2, "config": config, "layers": [layer]}).encode(),
                   "manifest.v1+json")
    manifest["annotations"] = {"io.containerd.image.name": name,
                               "org.opencontainers.image.ref.name": name.rpartition(":")[2]}

    def blob(descriptor):
        return "blobs/sha256/" + descriptor["digest"].partition(":")[2]

    entries = {
        "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [manifest]}).encode(),
        "manifest.json": json.dumps([{"Config": blob(config), "RepoTags": [name],
                                      "Layers": [blob(layer)]}]).encode(),
        **{f"blobs/sha256/{digest}": data for digest, data in blobs.items()},
    }
    with tarfile.open(path, "w") as tar:
        for entry, data in entries.items():
            info = tarfile.TarInfo(entry)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


# ---------------------------------------------------------------------------------------------
# Commands

class Result:
    def __init__(self, argv, rc, out, err):
        self.argv, self.rc, self.out, self.err = argv, rc, out, err

    @property
    def json(self):
        return json.loads(self.out)

    def __str__(self):
        return f"{' '.join(map(str, self.argv))} -> {self.rc}\n--- stdout\n{self.out}--- stderr\n{self.err}"


def run(*argv, check=True, input=None, timeout=60, env=None, **popen):
    """Runs a command to its end; check: True for status 0, False for any, or the wanted one, or a
    tuple of them. Output goes to files: what a container keeps open is not waited for."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, \
            tempfile.TemporaryFile() as stdin:
        stdin.write(input.encode() if isinstance(input, str) else input or b"")
        stdin.seek(0)
        argv = list(map(str, argv))
        p = subprocess.Popen(argv, stdin=stdin, stdout=out, stderr=err,
                             env={**os.environ, **(env or {})}, **popen)
        try:
            rc = p.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            p.kill()
            p.wait()
            rc = None
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
        result = Result(argv, rc, *texts)
    harness.reap_orphans()
    assert rc is not None, f"timed out after {timeout} s: {result}"
    if check is True:
        assert rc == 0, str(result)
    elif check is not False:
        wanted = check if isinstance(check, tuple) else (check,)
        assert rc in wanted, f"status {check} expected: {result}"
    return result


class Terminal:
    """A command on a terminal of its own, as a user has it."""

    def __init__(self, *argv, rows=33, columns=101, env=None):
        self.master, self.slave = pty.openpty()
        self.resize(rows, columns)
        self.argv, self.seen, self.read = list(map(str, argv)), "", 0

        def controlling():
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        self.popen = subprocess.Popen(self.argv, stdin=self.slave, stdout=self.slave,
                                      stderr=self.slave,
                                      start_new_session=True, preexec_fn=controlling,
                                      env={**os.environ, "TERM": "xterm", **(env or {})})

    def resize(self, rows, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def resized(self, rows, columns, pattern, timeout=20):
        """Resizes until the other side shows it: a client may not listen yet when it first hears."""
        self.resize(rows, columns)
        end = time.monotonic() + timeout * PATIENCE
        while not re.compile(pattern).search(self.seen):
            assert time.monotonic() < end, f"no {pattern!r} from {self.argv}: {self.seen!r}"
            self.popen.send_signal(signal.SIGWINCH)
            self.more(0.2)

    def type(self, text):
        os.write(self.master, text.encode())

    def expect(self, pattern, timeout=20):
        """Waits for output that matches and was not matched before."""
        end = time.monotonic() + timeout * PATIENCE
        while True:
            found = re.compile(pattern).search(self.seen, self.read)
            if found:
                self.read = found.end()
                return found
            left = end - time.monotonic()
            assert left > 0 and self.more(left), f"no {pattern!r} from {self.argv}: {self.seen!r}"

    def more(self, timeout):
        if not select.select([self.master], [], [], timeout)[0]:
            return False
        self.seen += os.read(self.master, 65536).decode(errors="replace")
        return True

    def wait(self, timeout=20):
        """The exit status. Output is read meanwhile, or the command might wait for us."""
        end = time.monotonic() + timeout * PATIENCE
        while self.popen.poll() is None:
            assert time.monotonic() < end, f"{self.argv} does not end: {self.seen!r}"
            self.more(0.02)
        while self.more(0):
            pass
        harness.reap_orphans()
        return self.popen.returncode

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()
        os.close(self.master)
        os.close(self.slave)


def limits(pid):
    """What a process's cgroup says, without what is not limited."""
    own = re.search(r"^0::(.*)$", Path(f"/proc/{pid}/cgroup").read_text(), re.M).group(1)
    found = {}
    for name in ("memory.max", "memory.swap.max", "memory.low", "pids.max", "cpu.max", "cpuset.cpus"):
        value = (CGROUP / own.lstrip("/") / name).read_text().strip()
        if value not in ("max", "max 100000", "", "0") or name == "memory.swap.max":
            found[name] = value
    return found


# ---------------------------------------------------------------------------------------------
# Engines

class Daemon:
    """A background process of an engine, with its log."""

    def __init__(self, log, *argv, env=None):
        self.log, self.argv = Path(log), list(map(str, argv))
        with open(log, "wb") as out:
            self.popen = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=out,
                                          stderr=subprocess.STDOUT, env={**os.environ, **(env or {})})

    def ready(self, answers, timeout=30):
        def up():
            assert self.popen.poll() is None, f"{self.argv[0]} ended:\n{self.log.read_text()[-3000:]}"
            return answers()

        wait_for(up, timeout, f"{self.argv[0]} to answer", 0.1)

    def stop(self):
        self.popen.terminate()
        try:
            self.popen.wait(30 * PATIENCE)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            raise AssertionError(f"{self.argv[0]} did not stop:\n{self.log.read_text()[-3000:]}")


class Engine:
    IMAGE = "box"

    def __call__(self, *args, **options):
        return run(*self.command, *args, env=self.env, **options)

    def terminal(self, *args, **options):
        return Terminal(*self.command, *args, env=self.env, **options)


class Podman(Engine):
    """podman with runtime and storage of its own. No daemon: conmon, one a container."""

    CONFIG = """
[containers]
{limits}
[engine]
cgroup_manager = "{manager}"
events_logger = "file"
runtime_supports_json = ["crun", "runc", "nucleus"]
"""
    STORAGE = """
[storage]
driver = "overlay"
runroot = "/run/containers/storage"
graphroot = "/var/lib/containers/storage"
"""

    def __init__(self, directory, rootfs, manager="cgroupfs"):
        self.directory, self.rootfs = directory, rootfs
        limits = f'default_ulimits = ["nofile={NOFILE}:{NOFILE}", "nproc={NPROC}:{NPROC}"]'
        if lacks_controllers():
            limits += "\npids_limit = 0"  # the default is 2048
        (directory / "containers.conf").write_text(self.CONFIG.format(limits=limits, manager=manager))
        (directory / "storage.conf").write_text(self.STORAGE)
        self.env = {"CONTAINERS_CONF": str(directory / "containers.conf"),
                    "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf"),
                    # Without systemd there are no timers for it; they are run by hand.
                    "DISABLE_HC_SYSTEMD": "true"}
        # Below "error" there are warnings about cgroup controllers that a host does not have.
        self.command = ["podman", "--log-level=error", "--runtime", runtime()]

    def serve(self):
        tar = self.directory / "rootfs.tar"
        run("tar", "-C", self.rootfs, "-cf", tar, ".")
        self("import", "-q", "--change", 'CMD ["sh"]', "--change", "ENV PATH=/bin", tar, self.IMAGE)
        yield self
        self("rm", "-f", "-t", "0", "-a", check=False)
        self("network", "prune", "-f", check=False)

    def run(self, *args, **options):
        """podman run --rm, without a network."""
        return self("run", "--rm", "--network=none", *args, **options)

    def start(self, name, *args, **options):
        """podman run -d; the container must be removed by the test."""
        return self("run", "-d", "--name", name, "--network=none", *args, **options)

    def remove(self, *names):
        # podman 4.3 unmounts a user namespace's /dev/shm in two processes at once, on any runtime:
        # conmon's clean-up, and this. It then says so, and is through at the next call.
        result = self("rm", "-f", "-t", "0", *names, check=False)
        if result.rc != 0 and "userdata/shm: device or resource busy" in result.err:
            result = self("rm", "-f", "-t", "0", *names)
        assert result.rc == 0, str(result)

    def inspect(self, name, template):
        return self("inspect", "-f", template, name).out.strip()

    def status(self, name):
        return self.inspect(name, "{{.State.Status}}")


class Containerd(Engine):
    IMAGE = "docker.io/library/box:latest"
    SOCKET = "/run/containerd/containerd.sock"
    CONFIG = """
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{socket}"
"""

    def __init__(self, directory, image_tar):
        self.directory, self.image_tar = directory, image_tar
        self.env = {}
        self.command = ["ctr"]

    def serve(self):
        config = self.directory / "config.toml"
        config.write_text(self.configuration())
        daemon = Daemon(self.directory / "log", "containerd", "-c", config)
        try:
            daemon.ready(lambda: run("ctr", "version", check=False).rc == 0)
            self.prepare()
            yield self
        finally:
            daemon.stop()

    def configuration(self):
        return self.CONFIG.format(socket=self.SOCKET)

    def prepare(self):
        self("image", "import", self.image_tar)

    def arguments(self, *options):
        # ctr asks for cpu.shares unless told not to.
        shares = ["--cpu-shares", "0"] if lacks_controllers() else []
        return ["run", "--runc-binary", runtime(), *shares, *options]

    def run(self, name, *args, options=(), **run_options):
        return self(*self.arguments("--rm", *options), self.IMAGE, name, *args, **run_options)

    def start(self, name, *args, options=()):
        return self(*self.arguments("-d", *options), self.IMAGE, name, *args)

    def tasks(self):
        """{name: (pid, status)}"""
        lines = self("task", "ls").out.splitlines()[1:]
        return {w[0]: (int(w[1]), w[2]) for w in map(str.split, lines)}

    def status(self, name):
        return self.tasks().get(name, (None, None))[1]

    def remove(self, name):
        if self.status(name) in ("RUNNING", "PAUSED", "CREATED"):
            self("task", "kill", "-s", "KILL", name)
            wait_for(lambda: self.status(name) == "STOPPED", 10, f"{name} to stop")
        if self.status(name):
            self("task", "delete", name, check=False)  # its status is that of the task
        self("container", "delete", name)
        assert name not in self("container", "ls", "-q").out.split()


class CRI(Containerd):
    """containerd with the plugin that Kubernetes talks to."""

    PAUSE = "docker.io/library/pause:latest"
    CONFIG = """
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
address = "{socket}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
disable_cgroup = {no_limits}
restrict_oom_score_adj = true
disable_apparmor = true
max_container_log_line_size = 16384
[plugins."io.containerd.grpc.v1.cri".containerd]
default_runtime_name = "under-test"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.under-test]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.under-test.options]
BinaryName = "{runtime}"
"""

    def __init__(self, directory, image_tar, pause_tar):
        super().__init__(directory, image_tar)
        self.pause_tar = pause_tar
        self.command = ["ctr", "-n", "k8s.io"]

    def configuration(self):
        return self.CONFIG.format(socket=self.SOCKET, pause=self.PAUSE, runtime=runtime(),
                                  no_limits=str(bool(lacks_controllers())).lower())

    def prepare(self):
        self("image", "import", self.image_tar)
        self("image", "import", self.pause_tar)
        from cri import Runtime
        client = Runtime(self.SOCKET)
        wait_for(client.ready, 20, "the CRI plugin to answer")


class Docker(Engine):
    SOCKET = "/run/docker.sock"

    def __init__(self, directory, image_tar, driver="cgroupfs"):
        self.directory, self.image_tar, self.driver = directory, image_tar, driver
        self.env = {"DOCKER_HOST": f"unix://{self.SOCKET}"}
        self.command = ["/usr/bin/docker"]

    def serve(self):
        daemon = Daemon(
            self.directory / "log", "/usr/sbin/dockerd", "-H", self.env["DOCKER_HOST"],
            "--add-runtime", f"under-test={runtime()}", "--default-runtime", "under-test",
            "--exec-opt", f"native.cgroupdriver={self.driver}", "--storage-driver", "overlay2",
            "--default-ulimit", f"nofile={NOFILE}:{NOFILE}",
            # The network namespace is the tests' own, and nothing here is about packets.
            "--bridge=none", "--iptables=false", "--ip-forward=false")
        try:
            daemon.ready(lambda: self("version", check=False).rc == 0)
            self("load", "-i", self.image_tar)
            yield self
        finally:
            daemon.stop()

    def run(self, *args, **options):
        return self("run", "--rm", "--network=none", *args, **options)

    def start(self, name, *args, **options):
        return self("run", "-d", "--name", name, "--network=none", *args, **options)

    def remove(self, *names):
        self("rm", "-f", "-v", *names)

    def inspect(self, name, template):
        return self("inspect", "-f", template, name).out.strip()

    def status(self, name):
        return self.inspect(name, "{{.State.Status}}")
