"""Every program of tests/zoo across checkpoint and restore: each holds one kind of resource and
checks it itself on SIGUSR1."""

import os
import re

import pytest

from harness import wait_for, wait_output, zoo_names

# What has to be said for CRIU to take them.
NEEDS = {"tcp_loopback": "--tcp-established", "flock": "--file-locks"}
# The part of a program that CRIU can't do: it is left out, and tried alone.
PARTS = {"pipe_data": "packets", "unix_socketpair": "credentials", "eventfd": "semaphore"}
# What CRIU can't do, and what the error says of it.
REFUSED = {"mqueue": "path=/zoo-", "pipe_data": "packetized mode", "eventfd": "semaphore",
           "unix_socketpair": "control messages in queue"}
POSSIBLE = [name for name in zoo_names() if name not in REFUSED or name in PARTS]


class Member:
    """A running program of the zoo."""

    def __init__(self, nucleus, bundle, name, whole=False):
        self.nucleus, self.name, self.bundle = nucleus, name, bundle
        if name in PARTS and not whole:
            bundle.process["env"].append(f"ZOO_WITHOUT={PARTS[name]}")
        self.id = nucleus.new_id(name.replace("_", "-"))
        self.options = [NEEDS[name]] if name in NEEDS else []
        self.passed = 0
        self.result = nucleus.run_container(self.id, bundle.zoo(name), "-d")
        wait_output(self.result, "ready\n")

    def check(self, cid=None):
        """It finds everything as it left it, and nothing was started from the beginning."""
        self.nucleus.kill(cid or self.id, "USR1")
        self.passed += 1
        wait_output(self.result, "pass\n", self.passed)
        assert self.result.out == "ready\n" + "pass\n" * self.passed

    def checkpoint(self, directory, *options, **run):
        return self.nucleus.checkpoint(self.id, directory, *self.options, *options, **run)

    def restore(self, directory):
        """Under a new id; the one before is deleted."""
        self.nucleus.delete(self.id)
        self.id = self.nucleus.new_id(self.name.replace("_", "-"))
        self.nucleus.restore(directory, "-d", "-b", self.bundle, self.id)


@pytest.fixture
def member(nucleus, bundle):
    made = []

    def make(name, **kwargs):
        made.append(Member(nucleus, bundle, name, **kwargs))
        return made[-1]

    yield make
    for one in made:
        nucleus.delete(one.id, "-f", check=False)


@pytest.mark.parametrize("name", POSSIBLE)
def test_c14_zoo_twice(member, tmp_path, name):
    """Checkpoint, restore, and again: the second one shows what the first did not bring back."""
    one = member(name)
    for turn in ("first", "second"):
        one.checkpoint(tmp_path / turn)
        assert one.nucleus.status(one.id) == "stopped"
        one.restore(tmp_path / turn)
        one.check()
    one.check()


@pytest.mark.parametrize("name", POSSIBLE)
def test_c9_zoo_leave_running(member, tmp_path, name):
    """The original holds on; so does, afterwards, the one restored from its checkpoint."""
    one = member(name)
    one.checkpoint(tmp_path / "cp", "--leave-running")
    one.check()
    one.check()
    one.nucleus.stop(one.id)
    one.id = one.nucleus.new_id(name.replace("_", "-"))
    one.nucleus.restore(tmp_path / "cp", "-d", "-b", one.bundle, one.id)
    one.check()


@pytest.mark.parametrize("name", [*NEEDS, *REFUSED])
def test_c8_zoo_refused_runs_on(member, tmp_path, name):
    """Without the option it takes, or because CRIU can't: a clear error, and nothing is lost."""
    one = member(name, whole=True)
    one.check()
    one.options = []
    pid = one.nucleus.state(one.id)["pid"]
    failed = one.nucleus.fails("checkpoint", "-o", tmp_path / "cp", one.id, timeout=60)
    assert "; " in failed.err, f"nothing is said of what to do: {failed}"
    assert f"pass {NEEDS[name]}" in failed.err if name in NEEDS else (
        REFUSED[name] in failed.err.lower()), str(failed)
    log = re.search(r"\(log: (/\S+dump\.log)\)", failed.err)
    if name != "eventfd":  # found before CRIU is asked
        assert log and os.path.exists(log[1]), f"no log of the failure: {failed}"
    assert one.nucleus.state(one.id)["pid"] == pid
    assert one.nucleus.status(one.id) == "running"
    one.check()
    assert not (tmp_path / "cp").exists()
    one.nucleus.fails("restore", "-i", tmp_path / "cp", "-d", "-b", one.bundle,
                      text="no such file")
    one.check()


def test_c17_counter_with_everything(nucleus, bundle, cid, tmp_path):
    """Memory, threads, a child, sockets, files, timers, epoll: the count goes on, nothing lost."""
    result = nucleus.run_container(cid, bundle.counter(16, "--interval", "0.02"), "-d",)
    wait_output(result, "tick 5 ok")
    seen = 5
    for turn in range(2):
        nucleus.checkpoint(cid, tmp_path / f"cp{turn}", "--tcp-established")
        wait_for(lambda: nucleus.status(cid) == "stopped")
        frozen = len(ticks(result))
        assert frozen >= seen
        nucleus.delete(cid)
        nucleus.restore(tmp_path / f"cp{turn}", "-d", "-b", bundle, cid)
        seen = frozen + 20
        wait_output(result, f"tick {seen} ok")
    numbers = ticks(result)
    assert numbers == list(range(1, len(numbers) + 1)), "a tick is missing, or there twice"
    assert all("memory=16M" in line for line in result.out.splitlines())
    nucleus.kill(cid, "TERM")
    wait_output(result, "bye ")
    nucleus.wait_status(cid, "stopped")
    nucleus.delete(cid)


def ticks(result):
    return [int(n) for n in re.findall(r"^tick (\d+) ok", result.out, re.M)]
