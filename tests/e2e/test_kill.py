"""kill -9 of nucleus at every system call it makes.

tests/tools/killat kills the command right before its Nth one; with every N in turn each state is
seen in which an interrupted command can leave things. For the commands that start CRIU not every N
is tried by default (700 at 0.1 s each), but every Kth from a random one on, and of each system call
the first and the last: NUCLEUS_E2E_KILL_ALL=1 tries them all, NUCLEUS_E2E_KILL_PHASE repeats a run.
"""

import collections
import json
import os
import random
import shutil
import time
from pathlib import Path

import pytest

from harness import alive, cgroup_mounts, descendants, reap_orphans, tool, wait_for

pytestmark = pytest.mark.nucleus_only

ALL = os.environ.get("NUCLEUS_E2E_KILL_ALL") == "1"
STRIDE = 5
PROGRAM = "fifo"  # of the zoo: answers SIGUSR1 with "pass"
RECORD_KEYS = {"id", "name", "pid", "command", "status", "start_ticks", "cgroup_path"}


class Killer:
    """Runs nucleus under killat, and looks at what is left."""

    def __init__(self, nucleus, bundle):
        self.nucleus, self.bundle = nucleus, bundle
        self.killat, self.report = tool("killat"), nucleus.dir / "killat"
        self.before = {p.pid for p in descendants()}
        self.log = nucleus.dir / "container.log"
        self.log.touch()
        self.outcomes = collections.Counter()
        self.iterations = 0
        self.n = self.syscall = None

    # -- the attack

    def kill_at(self, n, *args):
        """True if nucleus was killed; False if it came to its end, in success, before."""
        self.n = n
        rc = self.spawn(*args, prefix=(self.killat, "-o", self.report, n))
        words = self.report.read_text().split()
        if words[0] == "killed":
            self.syscall = int(words[2])
            self.iterations += 1
            return True
        assert words[0] == "exited" and rc == 0, f"{args}: {words} {self.errors}"
        return False

    def spawn(self, *args, **spawn):
        with open(self.log, "ab") as log:
            running = self.nucleus.spawn(*args, stdout=log, **spawn)
        result = running.wait(30)
        self.errors = result.err
        for path in (running.out_path, running.err_path):
            if path.exists() and not path.read_text():
                path.unlink()
        return result.rc

    def syscalls(self, *args):
        """The numbers of all system calls the command makes."""
        assert self.spawn(*args, prefix=(self.killat, "-o", self.report, "--count")) == 0
        return [int(w) for w in self.report.read_text().splitlines()[1].split()]

    def sample(self, syscalls):
        """Which N to try: all, or a part that has every kind."""
        if ALL:
            print(f"all {len(syscalls)} system calls")
            return range(1, len(syscalls) + 20)
        phase = int(os.environ.get("NUCLEUS_E2E_KILL_PHASE", random.randrange(STRIDE)))
        print(f"{len(syscalls)} system calls, every {STRIDE}th from phase {phase} on, and the "
              "first and last of each kind")
        chosen = set(range(1 + phase, len(syscalls) + 1, STRIDE))
        for n, nr in enumerate(syscalls, 1):
            if nr not in syscalls[:n - 1] or nr not in syscalls[n:]:
                chosen.add(n)
        return sorted(chosen)

    # -- what is left

    @property
    def where(self):
        return f"killed at {self.n} (syscall {self.syscall})"

    def record(self, cid):
        """S12: there is none, or it parses whole."""
        path = self.nucleus.state_dir / f"{cid}.json"
        try:
            text = path.read_text()
        except FileNotFoundError:
            return None
        record = json.loads(text)
        assert RECORD_KEYS <= set(record) and record["id"] == cid, self.where
        return record

    def status(self, cid):
        """None without a record. `list` and `state` must agree, and not complain."""
        record = self.record(cid)
        listed = self.nucleus.run("list", "-f", "json")
        assert listed.err == "", f"{self.where}: {listed}"
        if record is None:
            assert not any(c["id"] == cid for c in listed.json or []), self.where
            self.nucleus.fails("state", cid, text="does not exist")
            return None
        entry, = [c for c in listed.json if c["id"] == cid]
        state = self.nucleus.state(cid)
        # Its first process may be ending at this very moment.
        assert entry["status"] == state["status"] or state["status"] == "stopped", self.where
        if state["status"] == "stopped":
            assert state["pid"] == 0
        return state["status"]

    def helpers(self):
        """What is not a container's program."""
        reap_orphans()
        return [p for p in descendants()
                if p.pid not in self.before and p.state not in "ZX" and p.comm != PROGRAM]

    def settle(self, timeout=5):
        """Guardian and CRIU have seen what happened, and are gone."""
        wait_for(lambda: not self.helpers(), timeout,
                 f"{self.where}: helpers to end: {list(map(str, self.helpers()))}")

    def answers(self):
        return self.log.read_text().count("pass")

    def check_works(self, cid):
        """The container runs, unfrozen, nobody holds its lock, and its program answers."""
        pid = self.nucleus.state(cid)["pid"]
        assert alive(pid), self.where
        before = self.answers()
        result = self.nucleus.kill(cid, "USR1", timeout=10)
        assert result.err == "", f"{self.where}: {result}"
        wait_for(lambda: self.answers() > before, 5, f"{self.where}: no answer from the program")
        assert "fail" not in self.log.read_text(), self.where

    def check_gone(self, cid):
        """Nothing at all is left of it."""
        def left():
            reap_orphans()
            files = [str(f) for f in self.nucleus.state_dir.rglob(f"*{cid}*")]
            groups = [g for top in cgroup_mounts() for g in
                      [Path(top, "nucleus", cid), Path(top, cid)] if g.exists()]
            return files + groups + [str(p) for p in descendants() if p.pid not in self.before]

        wait_for(lambda: not left(), 3, f"{self.where}: left: {left()}")

    def check_gone_beside(self, cid):
        """Nothing of this one, while another runs."""
        assert not [f for f in self.nucleus.state_dir.rglob(f"*{cid}*")
                    if "log" not in f.parts], self.where
        assert not self.nucleus.cgroups(cid), self.where

    def delete(self, cid):
        self.nucleus.delete(cid, "-f", timeout=30)
        self.check_gone(cid)

    def start_fresh(self, cid):
        self.log.write_text("")
        assert self.spawn("run", "-d", "-b", self.bundle.dir, cid) == 0
        self.wait_ready()

    def wait_ready(self):
        wait_for(lambda: "ready" in self.log.read_text(), 5, f"{self.where}: program to be ready")

    def summary(self, command, began):
        print(f"{command}: {self.iterations} kills in {time.monotonic() - began:.0f} s: " +
              ", ".join(f"{k}: {v}" for k, v in sorted(self.outcomes.items())))


@pytest.fixture
def killer(nucleus, bundle):
    """With a bundle whose container takes 20 ms to make."""
    bundle.config["mounts"] = [m for m in bundle.config["mounts"]
                               if m["destination"] in ("/proc", "/dev", "/dev/pts")]
    bundle.linux.pop("resources", None)
    bundle.namespaces("pid", "ipc", "uts", "mount", "cgroup").zoo(PROGRAM)
    return Killer(nucleus, bundle)


def every_syscall(killer, *args):
    """Yields after each kill, until the command comes to its end twice in a row."""
    n = survived = 0
    while survived < 2:
        n += 1
        if killer.kill_at(n, *args):
            survived = 0
        else:
            survived += 1
            killer.outcomes["came to its end"] += 1
        yield n


def test_s12_create_killed_at_every_syscall(killer, cid):
    began = time.monotonic()
    for _ in every_syscall(killer, "create", "-b", killer.bundle.dir, cid):
        status = killer.status(cid)
        assert status in (None, "created", "stopped"), f"{killer.where}: {status}"
        if status == "created":
            # Its first process may not have noticed yet that its creator is gone.
            started = killer.nucleus.run("start", cid, check=False)
            if started.rc == 0:
                killer.wait_ready()
                killer.check_works(cid)
                status = "created, and works"
            else:
                status = "created, but ended then"
                killer.nucleus.wait_status(cid, "stopped")
        killer.outcomes[status or "nothing"] += 1
        killer.delete(cid)
        killer.log.write_text("")
    killer.summary("create", began)


def test_s12_detached_run_killed_at_every_syscall(killer, cid):
    began = time.monotonic()
    for _ in every_syscall(killer, "run", "-d", "-b", killer.bundle.dir, cid):
        status = killer.status(cid)
        assert status in (None, "running", "stopped"), f"{killer.where}: {status}"
        if status == "running":
            # The record is saved before the program is let go; with nobody to do that it ends.
            wait_for(lambda: "ready" in killer.log.read_text() or
                     killer.status(cid) == "stopped", 5, f"{killer.where}: a decision")
            if "ready" in killer.log.read_text():
                killer.check_works(cid)
                status = "running, and works"
            else:
                status = "running, but ended then"
        killer.outcomes[status or "nothing"] += 1
        killer.delete(cid)
        killer.log.write_text("")
    killer.summary("run -d", began)


def test_s12_start_killed_at_every_syscall(killer, cid):
    began = time.monotonic()

    def create():
        killer.log.write_text("")
        assert killer.spawn("create", "-b", killer.bundle.dir, cid) == 0

    create()
    for _ in every_syscall(killer, "start", cid):
        status = killer.status(cid)
        assert status in ("created", "running"), f"{killer.where}: {status}"
        if status == "created":
            again = killer.nucleus.run("start", cid, check=False)
            if again.rc != 0:
                assert "already running" in again.err, f"{killer.where}: {again}"
                status = "running, said on the second start"
        killer.wait_ready()
        assert killer.status(cid) == "running", killer.where
        killer.check_works(cid)
        killer.outcomes[status] += 1
        killer.delete(cid)
        create()
    killer.delete(cid)
    killer.summary("start", began)


def test_s12_kill_killed_at_every_syscall(killer, cid):
    began = time.monotonic()
    killer.start_fresh(cid)
    for _ in every_syscall(killer, "kill", cid, "USR1"):
        assert killer.status(cid) == "running", killer.where
        killer.check_works(cid)
        killer.outcomes["runs on"] += 1
    killer.delete(cid)
    killer.summary("kill", began)


def test_s12_s15_delete_killed_at_every_syscall(killer, cid):
    began = time.monotonic()
    killer.start_fresh(cid)
    for _ in every_syscall(killer, "delete", "-f", cid):
        # The kill of the container, once sent, takes effect without us.
        status = killer.status(cid)
        if status == "running":
            before = killer.answers()
            killer.nucleus.run("kill", cid, "USR1", check=False, timeout=10)
            wait_for(lambda: killer.answers() > before or killer.status(cid) == "stopped", 5,
                     f"{killer.where}: neither runs nor has stopped")
            status = killer.status(cid)
        assert status in (None, "running", "stopped"), f"{killer.where}: {status}"
        killer.outcomes[status or "gone"] += 1
        if status == "running":
            continue
        killer.delete(cid)
        killer.start_fresh(cid)
    killer.delete(cid)
    killer.summary("delete", began)


# ---- checkpoint


def check_checkpoint(killer, cid, directory, other):
    """What a killed `checkpoint` left: says which."""
    nucleus = killer.nucleus
    killer.settle(timeout=15)
    status = killer.status(cid)
    if status == "running":
        killer.check_works(cid)
    else:
        assert status == "stopped", f"{killer.where}: {status}"
    if not directory.exists():
        assert status == "running", killer.where
        return "runs on, no directory"
    complete = nucleus.run("verify", directory, check=False).rc == 0
    if not complete:
        assert status == "running", f"{killer.where}: it has stopped, and nothing restores it"
        nucleus.fails("restore", "-d", "-i", directory, other)
        assert killer.record(other) is None, killer.where
        killer.check_gone_beside(other)
        return "runs on, half a directory that restore refuses"
    assert killer.spawn("restore", "-d", "-i", directory, "-b", killer.bundle.dir, other) == 0, \
        killer.where
    killer.check_works(other)
    nucleus.delete(other, "-f")
    return "runs on, complete checkpoint" if status == "running" else \
        "has stopped, complete checkpoint"


def killed_checkpoints(killer, cid, tmp_path, *options):
    began = time.monotonic()
    directory, other = tmp_path / "checkpoint", killer.nucleus.new_id("r")
    args = ("checkpoint", *options, "-o", directory, cid)
    killer.start_fresh(cid)
    syscalls = killer.syscalls(*args)
    killer.delete(cid)
    for n in killer.sample(syscalls):
        shutil.rmtree(directory, ignore_errors=True)
        if killer.record(cid) is None:
            killer.start_fresh(cid)
        if not killer.kill_at(n, *args):
            assert "--leave-running" in options or killer.status(cid) == "stopped"
            killer.outcomes["came to its end"] += 1
        outcome = check_checkpoint(killer, cid, directory, other)
        killer.outcomes[outcome] += 1
        if outcome.startswith("has stopped"):
            killer.delete(cid)
    killer.delete(cid)
    killer.delete(other)
    killer.summary(" ".join(args[:-3]), began)
    return killer.outcomes


def test_c8_checkpoint_killed_anywhere(killer, cid, tmp_path):
    outcomes = killed_checkpoints(killer, cid, tmp_path)
    assert outcomes["has stopped, complete checkpoint"] and outcomes["runs on, no directory"]


def test_c8_leave_running_killed_anywhere(killer, cid, tmp_path):
    outcomes = killed_checkpoints(killer, cid, tmp_path, "--leave-running")
    assert not outcomes["has stopped, complete checkpoint"]
    assert outcomes["runs on, complete checkpoint"] and outcomes["runs on, no directory"]


# ---- restore


def remove_criu_mountpoints():
    """CRIU makes a directory to mount on, by a path built into it (mnt_roots in criu/mount.c), and
    can't remove it when the guardian kills it with the rest of the cgroup. The mount is gone with
    CRIU's namespace, so it is empty."""
    for path in Path("/tmp").glob(".criu.mntns.??????"):
        path.rmdir()


def test_c13_restore_killed_anywhere(killer, cid, tmp_path):
    began = time.monotonic()
    nucleus, directory, rid = killer.nucleus, tmp_path / "checkpoint", killer.nucleus.new_id("r")
    killer.start_fresh(cid)
    nucleus.checkpoint(cid, directory)
    killer.delete(cid)
    args = ("restore", "-d", "-i", directory, "-b", killer.bundle.dir, rid)
    syscalls = killer.syscalls(*args)
    killer.check_works(rid)
    killer.delete(rid)
    for n in killer.sample(syscalls):
        killed = killer.kill_at(n, *args)
        killer.settle(timeout=15)
        status = killer.status(rid)
        if status == "running":
            killer.check_works(rid)
            outcome = "running, and works"
        else:
            assert killed and status in (None, "stopped"), f"{killer.where}: {status}"
            reap_orphans()
            left = [str(p) for p in descendants() if p.pid not in killer.before]
            assert not left, f"{killer.where}: {left}"
            outcome = "nothing" if status is None else "a record that says stopped"
        killer.outcomes[outcome] += 1
        killer.delete(rid)
        remove_criu_mountpoints()
    killer.summary("restore -d", began)
    assert killer.outcomes["running, and works"] and killer.outcomes["nothing"]
    nucleus.run("verify", directory)
