"""conmon on the runtime under test, without an engine above it: what podman and CRI-O lean on."""

import json
import os
import re
import select
import socket
import subprocess

import pytest

import engines
import harness
from engines import wait_for

ATTACH_STDOUT, ATTACH_STDERR = 2, 3  # the first byte of a packet of the attach socket


class Conmon:
    """One container under one conmon."""

    def __init__(self, directory, name, rootfs):
        self.directory, self.name = directory, name
        self.bundle = directory / "bundle"
        for sub in ("bundle", "exits", "persist", "s"):
            (directory / sub).mkdir()
        self.root, self.log = directory / "state", directory / "log"
        self.config = harness.default_config()
        self.config["root"]["path"] = str(rootfs)
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith("_OCI")}

    def runtime(self, *args, **options):
        return engines.run(engines.runtime(), "--root", self.root, *args, **options)

    def conmon(self, *extra, cid, bundle, log, pass_fds=()):
        """Starts conmon; returns what it says through its sync pipe: a process id, and a message of
        the runtime if it failed."""
        read, write = os.pipe()
        start_read, start_write = os.pipe()
        argv = ["conmon", "--api-version", "1", "-c", cid, "-u", cid, "-n", cid, "-b", bundle,
                "-r", engines.runtime(), "--runtime-arg", f"--root={self.root}",
                "-l", f"k8s-file:{log}", "--exit-dir", self.directory / "exits",
                "--persist-dir", self.directory / "persist", "--socket-dir-path", self.directory / "s",
                "-p", self.directory / f"{cid}.pid", "--conmon-pidfile", self.directory / f"{cid}.conmon",
                "--full-attach", "--exit-command", "/bin/touch", "--exit-command-arg",
                self.directory / f"{cid}.ended", *extra]
        env = {**self.environ, "_OCI_SYNCPIPE": str(write), "_OCI_STARTPIPE": str(start_read)}
        p = subprocess.Popen(list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, env=env,
                             pass_fds=[write, start_read, *pass_fds])
        os.close(write)
        os.close(start_read)
        os.write(start_write, b"\0")
        p.wait(10)  # the one it leaves behind goes on
        self.sync = os.fdopen(read)
        os.close(start_write)
        return self.next_report()

    def next_report(self):
        assert select.select([self.sync], [], [], 20)[0], "conmon says nothing"
        report = json.loads(self.sync.readline())
        return report.get("pid", report.get("data")), report.get("message")

    def create(self, *args, extra=(), terminal=False):
        self.config["process"]["args"] = list(args)
        self.config["process"]["terminal"] = terminal
        (self.bundle / "config.json").write_text(json.dumps(self.config))
        return self.conmon(*extra, *(["-t"] if terminal else []), cid=self.name, bundle=self.bundle,
                           log=self.log)

    def start(self):
        self.runtime("start", self.name)

    def logged(self, log=None):
        """[(stream, text)] of a log in Kubernetes' format."""
        text = (log or self.log).read_bytes().decode()
        return re.findall(r"^\S+ (stdout|stderr) [FP] (.*)$", text, re.M)

    def exit_status(self, cid=None):
        path = self.directory / "exits" / (cid or self.name)
        wait_for(lambda: path.exists() and path.read_text(), what=f"{path}")
        wait_for((self.directory / f"{cid or self.name}.ended").exists, what="the exit command")
        return int(path.read_text())

    def close(self):
        self.runtime("delete", "--force", self.name, check=False)
        self.sync.close()


@pytest.fixture
def container(tmp_path, name, rootfs):
    made = Conmon(tmp_path, name, rootfs)
    yield made
    made.close()


def test_create_reports_the_process_and_start_runs_it(container):
    pid, message = container.create("sh", "-c", "echo out; echo err >&2; exit 7")
    assert pid > 0 and message is None
    state = container.runtime("state", container.name).json
    assert (state["status"], state["pid"]) == ("created", pid)
    assert int((container.directory / f"{container.name}.pid").read_text()) == pid
    assert container.logged() == []
    container.start()
    assert container.exit_status() == 7
    assert sorted(container.logged()) == [("stderr", "err"), ("stdout", "out")]
    assert container.runtime("state", container.name).json["status"] == "stopped"


def test_death_by_signal_is_128_and_its_number(container):
    container.create("sh", "-c", "sleep 1000")
    container.start()
    container.runtime("kill", container.name, "KILL")
    assert container.exit_status() == 137


def test_failing_create_tells_why_through_the_sync_pipe(container):
    pid, message = container.create("no-such-program")
    assert pid < 0
    assert "executable file not found in $PATH" in message


def test_output_goes_to_who_attaches(container):
    container.create("sh", "-c", "read line; echo got $line; echo err >&2", extra=["-i"])
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        at = os.open(container.bundle, os.O_PATH)  # the path may be too long for an address
        s.connect(f"/proc/self/fd/{at}/attach")
        os.close(at)
        container.start()
        s.send(b"a word\n")
        seen = {}
        s.settimeout(10)
        while seen.get(ATTACH_STDOUT) != b"got a word\n" or seen.get(ATTACH_STDERR) != b"err\n":
            packet = s.recv(8192)
            assert packet, f"{seen}"
            seen[packet[0]] = seen.get(packet[0], b"") + packet[1:]
    assert container.exit_status() == 0


def test_terminal_is_received_and_resized(container):
    container.create("sh", "-c", "trap 'stty size' WINCH; tty; while :; do sleep 0.1; done",
                     terminal=True)
    container.start()
    wait_for(lambda: re.search(r"/dev/(pts/0|console)\r", container.log.read_bytes().decode()),
             what=container.log)
    with open(container.bundle / "ctl", "w") as control:
        control.write("1 44 111\n")
    wait_for(lambda: "44 111\r" in container.log.read_bytes().decode(), what=container.log)
    container.runtime("kill", container.name, "KILL")
    assert container.exit_status() == 137


def execute(container, *args, terminal=False, **process):
    spec = {**container.config["process"], "args": list(args), "terminal": terminal, **process}
    path = container.directory / "process.json"
    path.write_text(json.dumps(spec))
    log = container.directory / "exec-log"
    container.sync.close()
    report = container.conmon("-e", "--exec-process-spec", path,
                              *(["-t"] if terminal else []), cid=container.name, bundle=container.bundle, log=log)
    return report, log


def test_exec_by_process_file(container):
    container.create("sleep", "1000")
    container.start()
    (pid, message), log = execute(container, "sh", "-c", "echo in exec; id -u; exit 5",
                                  user={"uid": 1000, "gid": 1000})
    assert pid > 0 and message is None
    status, message = container.next_report()
    assert (status, container.logged(log)) == (5, [("stdout", "in exec"), ("stdout", "1000")])


def test_exec_on_a_terminal(container):
    container.create("sleep", "1000")
    container.start()
    (pid, message), log = execute(container, "tty", terminal=True)
    assert pid > 0 and message is None
    status, message = container.next_report()
    assert status == 0
    assert re.match(r"/dev/(pts/\d+|console)", container.logged(log)[0][1])


def test_failing_exec_tells_why(container):
    container.create("sleep", "1000")
    container.start()
    (pid, message), _ = execute(container, "no-such-program")
    assert pid < 0
    assert "executable file not found in $PATH" in message
