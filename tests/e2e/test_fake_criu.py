"""checkpoint and restore with a CRIU that misbehaves: tests/tools/fake-criu, told by a file what to
do. Whatever it does, the container runs on after a failed checkpoint, and nothing is left of a
failed restore."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from harness import (alive, cgroup_mounts, descendants, mount, process, programs, reap_orphans,
                     umount, wait_for)

pytestmark = pytest.mark.nucleus_only

CAUSE = "the disk is made of cheese"
LOG = f"log (00.012345) 4711: Error (criu/cr-dump.c:1234): {CAUSE}"
DUMP_STEPS = ["dump", "notify:pre-dump", "notify:post-dump", "response"]
RESTORE_STEPS = ["restore", "notify:setup-namespaces", "notify:post-restore", "notify:post-resume",
                 "response"]
DUMP_NOTIFIES = ["notify pre-dump", "notify network-lock", "notify post-dump",
                 "notify network-unlock"]
RESTORE_NOTIFIES = ["notify pre-restore", "notify setup-namespaces",
                    "notify post-setup-namespaces", "notify post-restore", "notify pre-resume",
                    "notify post-resume"]
# What goes wrong, and what the error says about it.
FAULTS = {
    "die-at {}": "exit status 1",
    "die-at {} signal=11": "killed by SIGSEGV",
    "garbage-at {}": "",
    "empty-at {}": "",
    "wrong-type-at {}": "",
    "huge-at {}": "",
}


class FakeCriu:
    def __init__(self, directory):
        directory.mkdir(mode=0o755)
        self.path = directory / "criu"
        shutil.copy(programs() / "tools" / "fake-criu", self.path)
        self.path.chmod(0o755)

    def orders(self, *lines):
        self.record.unlink(missing_ok=True)
        self.path.with_name("criu.conf").write_text("\n".join(lines) + "\n")
        return self

    @property
    def record(self):
        return self.path.with_name("criu.record")

    def acks(self):
        """What was answered to each notification."""
        words = [line.split() for line in self.record.read_text().splitlines()]
        return [(w[1], w[2] == "1") for w in words if w[0] == "ack"]

    def processes(self):
        reap_orphans()
        return [p for p in descendants() if p.comm == "criu" and p.state not in "ZX"]


@pytest.fixture
def fake(tmp_path):
    return FakeCriu(tmp_path / "fake")


class Container:
    """A running one, whose program answers SIGUSR1 with "pass"."""

    def __init__(self, nucleus, bundle, cid):
        self.nucleus, self.bundle, self.id = nucleus, bundle, cid
        bundle.linux.pop("resources", None)
        bundle.config["mounts"] = [m for m in bundle.config["mounts"]
                                   if m["destination"] in ("/proc", "/dev", "/dev/pts")]
        bundle.namespaces("pid", "ipc", "uts", "mount", "cgroup").zoo("fifo")
        self.result = nucleus.run_container(cid, bundle, "-d")
        wait_for(lambda: "ready" in self.result.out, 5, "program to be ready")
        self.process = process(nucleus.state(cid)["pid"])
        self.store = self.files()

    def files(self):
        return {k: v for k, v in self.nucleus.store().items()
                if "/log" not in k and not k.endswith("criu.kdat")}

    def check_unharmed(self, timeout=5):
        """It runs as before: the same process, not frozen, and its record is what it was."""
        self.nucleus.wait_status(self.id, "running", timeout)
        assert process(self.process.pid) == self.process
        before = self.result.out.count("pass")
        self.nucleus.kill(self.id, "USR1", timeout=timeout)
        wait_for(lambda: self.result.out.count("pass") > before, 5, "an answer of the program")
        assert self.files() == self.store

    def check_no_checkpoint(self, directory):
        if directory.exists():
            self.nucleus.fails("verify", directory)
            self.nucleus.fails("restore", "-d", "-i", directory, self.nucleus.new_id())


@pytest.fixture
def container(nucleus, bundle, cid):
    made = Container(nucleus, bundle, cid)
    yield made
    nucleus.delete(cid, "-f")


def checkpoint_fails(container, fake, directory, *options, text=None):
    """A checkpoint that fails in good order; its error."""
    result = container.nucleus.fails("checkpoint", "--criu", fake.path, *options, "-o", directory,
                                     container.id, text=text, timeout=30)
    container.check_unharmed()
    container.check_no_checkpoint(directory)
    wait_for(lambda: not fake.processes(), 3, "fake-criu to be gone")
    return result.err


# ---- C8: a checkpoint that fails


@pytest.mark.parametrize("leave", [(), ("--leave-running",)], ids=["stop", "leave-running"])
@pytest.mark.parametrize("step", DUMP_STEPS)
def test_c8_criu_misbehaves(container, fake, tmp_path, step, leave):
    for n, (fault, what) in enumerate(FAULTS.items()):
        fake.orders(LOG, "image inventory.img 100", "image pages-1.img 5000", *DUMP_NOTIFIES,
                    fault.format(step))
        directory = tmp_path / f"checkpoint{n}"
        err = checkpoint_fails(container, fake, directory, *leave, text=["criu", what])
        assert not directory.exists(), "made, and not removed again"
        if step != "dump":
            # The log was written until then: its telling line is the reason, its path is named.
            assert CAUSE in err, err
            log, = [word.rstrip(")\n") for word in err.split() if word.endswith("-dump.log)")]
            assert CAUSE in Path(log).read_text()


@pytest.mark.parametrize("orders,text", [
    (["fail-at dump", LOG], CAUSE),
    (["fail-at dump errno=13 errmsg=too cheesy"], "too cheesy"),
    (["fail-at dump errno=13"], "Permission denied"),
    (["fail-at dump"], "no reason"),
    (["fail-at dump", "stderr no libcheese.so"], "no libcheese.so"),
    (["fail-at dump", "log " + "x" * 5000, LOG], CAUSE),
    (["fail-at dump", "log (00.1) 1: Error (criu/x.c:1): \x1b[31m \x07\x1b[2J red"], "red"),
])
def test_c8_criu_says_no(container, fake, tmp_path, orders, text):
    fake.orders(*orders, *DUMP_NOTIFIES)
    err = checkpoint_fails(container, fake, tmp_path / "checkpoint", text=text)
    assert err.rstrip("\n").isprintable(), repr(err)


def test_c8_criu_says_no_in_an_existing_directory(container, fake, tmp_path):
    """What was there before stays, what was made goes."""
    directory = tmp_path / "checkpoint"
    directory.mkdir()
    (directory / "mine").write_text("mine")
    fake.orders("image inventory.img 100", "fail-at dump", *DUMP_NOTIFIES)
    checkpoint_fails(container, fake, directory)
    assert [p.name for p in directory.iterdir()] == ["mine"]


def test_c8_endless_log(container, fake, tmp_path):
    fake.orders("log-size 400000000", "hang-at notify:pre-dump", *DUMP_NOTIFIES)
    checkpoint_fails(container, fake, tmp_path / "checkpoint", text="log grew without end")


def test_c8_notifications_are_answered_in_order(container, fake, tmp_path):
    fake.orders("record", "image inventory.img 100", "kill-target", *DUMP_NOTIFIES)
    container.nucleus.checkpoint(container.id, tmp_path / "checkpoint", "--criu", fake.path)
    assert fake.acks() == [(n.split()[1], True) for n in DUMP_NOTIFIES]
    assert container.nucleus.status(container.id) == "stopped"
    container.nucleus.run("verify", tmp_path / "checkpoint")


@pytest.mark.parametrize("leave", [(), ("--leave-running",)], ids=["stop", "leave-running"])
def test_c8_no_room_for_metadata(container, fake, tmp_path, leave):
    """After the images are complete: CRIU gets a no at post-dump, and lets the container live."""
    small = tmp_path / "small"
    small.mkdir()
    # Itself, the directory, images/, descriptors.json, nucleus.json.
    mount("tmpfs", small, "tmpfs", data="nr_inodes=5")
    try:
        fake.orders("record", "kill-target", *DUMP_NOTIFIES)
        err = checkpoint_fails(container, fake, small / "checkpoint", *leave,
                               text="No space left")
        assert "metadata" in err, err
        assert fake.acks() == [("pre-dump", True), ("network-lock", True), ("post-dump", False)]
        assert not list(small.iterdir())
    finally:
        umount(small)


def test_c8_no_room_for_the_seal(container, fake, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mount("tmpfs", small, "tmpfs", data="nr_inodes=6")
    try:
        fake.orders("record", "kill-target", *DUMP_NOTIFIES)
        checkpoint_fails(container, fake, small / "checkpoint", text="No space left")
        assert fake.acks()[-1] == ("post-dump", False)
        # Of one that runs on the seal is made when it does.
        fake.orders("record", "kill-target", *DUMP_NOTIFIES)
        checkpoint_fails(container, fake, small / "checkpoint", "--leave-running",
                         text="No space left")
        assert fake.acks()[-1] == ("network-unlock", True)
        assert not list(small.iterdir())
    finally:
        umount(small)


def hang(nucleus, fake, step, *args):
    """Starts a command whose CRIU hangs, and waits until it does."""
    notifies = DUMP_NOTIFIES if args[0] == "checkpoint" else RESTORE_NOTIFIES
    wanted = len(notifies) if step == "response" else \
        notifies.index(step.replace(":", " ")) if ":" in step else 0

    def hangs():
        text = fake.record.read_text() if fake.record.exists() else ""
        # Version, features, and this.
        return text.count("request\n") == 3 and text.count("ack ") == wanted

    running = nucleus.spawn(args[0], "--criu", fake.path, *args[1:])
    wait_for(hangs, 10, "fake-criu to hang")
    return running


@pytest.mark.parametrize("step", DUMP_STEPS)
def test_c8_hung_criu_is_killed(container, fake, tmp_path, step):
    nucleus, directory = container.nucleus, tmp_path / "checkpoint"
    fake.orders("record", LOG, *DUMP_NOTIFIES, f"hang-at {step}")
    running = hang(nucleus, fake, step, "checkpoint", "-o", directory, container.id)
    assert nucleus.status(container.id) == "paused"
    swrk, = fake.processes()
    os.kill(swrk.pid, signal.SIGKILL)
    result = running.wait()
    assert result.rc == 1 and "SIGKILL" in result.err and len(result.err.splitlines()) == 1
    container.check_unharmed()
    assert not directory.exists()


@pytest.mark.parametrize("step", DUMP_STEPS)
def test_c8_hung_criu_and_nucleus_is_killed(container, fake, tmp_path, step):
    """The guardian waits for CRIU, which may be at work in the container, before it undoes it."""
    nucleus, directory = container.nucleus, tmp_path / "checkpoint"
    fake.orders("record", LOG, "image inventory.img 10", *DUMP_NOTIFIES, f"hang-at {step}")
    running = hang(nucleus, fake, step, "checkpoint", "-o", directory, container.id)
    os.kill(running.pid, signal.SIGKILL)
    running.popen.wait()
    assert nucleus.status(container.id) == "paused"
    swrk, = fake.processes()
    os.kill(swrk.pid, signal.SIGKILL)
    container.check_unharmed(timeout=10)
    if step == "response":
        # Everything was on disk and CRIU had its yes: it is a whole checkpoint.
        nucleus.run("verify", directory)
    else:
        assert not directory.exists()


# ---- C13: a restore that fails


@pytest.fixture
def checkpoint(nucleus, bundle, cid, fake, tmp_path):
    """A sealed one, of the fake's making; the container is gone."""
    container = Container(nucleus, bundle, cid)
    directory = tmp_path / "checkpoint"
    fake.orders("image inventory.img 100", "kill-target", *DUMP_NOTIFIES)
    nucleus.checkpoint(cid, directory, "--criu", fake.path)
    nucleus.delete(container.id)
    return directory


def check_nothing_left(nucleus, fake, rid, before):
    def left():
        reap_orphans()
        return [str(p) for p in descendants() if p.pid not in before] + \
            [d for top in cgroup_mounts() for d in (f"{top}/nucleus/{rid}", f"{top}/{rid}")
             if os.path.exists(d)] + \
            [str(p) for p in nucleus.state_dir.iterdir() if p.name not in ("log", "criu.kdat")]

    wait_for(lambda: not left(), 3, f"nothing to be left: {left()}")
    assert nucleus.list() == []


def restore_fails(nucleus, fake, checkpoint, bundle, *options, text=None):
    rid = nucleus.new_id("r")
    before = {p.pid for p in descendants()}
    result = nucleus.fails("restore", "-d", "--criu", fake.path, "-i", checkpoint, "-b",
                           bundle.dir, *options, rid, text=text, timeout=30)
    check_nothing_left(nucleus, fake, rid, before)
    nucleus.run("verify", checkpoint)
    return result.err


@pytest.fixture
def forget_logs(nucleus, cid):
    """The log of a failed restore is kept by the name of the original."""
    yield
    nucleus.delete(cid, "-f")


@pytest.mark.parametrize("step", RESTORE_STEPS)
def test_c13_criu_misbehaves(nucleus, bundle, fake, checkpoint, forget_logs, step):
    for fault, what in FAULTS.items():
        fake.orders(LOG, *RESTORE_NOTIFIES, fault.format(step))
        err = restore_fails(nucleus, fake, checkpoint, bundle, text=["criu", what])
        if step != "restore":
            assert CAUSE in err, err
            log, = [word.rstrip(")\n") for word in err.split() if word.endswith("-restore.log)")]
            assert CAUSE in Path(log).read_text()


@pytest.mark.parametrize("orders,text", [
    (["fail-at restore", LOG], CAUSE),
    (["fail-at restore errno=17 errmsg=pid is taken"], "pid is taken"),
    (["fail-at restore"], "no reason"),
    (["restore-pid 4194303"], "process"),
    (["restore-pid 0"], None),
    (["restore-pid -1"], None),
])
def test_c13_criu_says_no(nucleus, bundle, fake, checkpoint, forget_logs, orders, text):
    fake.orders(*orders, *RESTORE_NOTIFIES)
    restore_fails(nucleus, fake, checkpoint, bundle, text=text)


@pytest.mark.parametrize("orders", [[], ["ignore-nack"]], ids=["obeys", "goes on regardless"])
def test_c13_refused_at_post_restore(nucleus, bundle, fake, checkpoint, forget_logs, tmp_path,
                                     orders):
    """The pid file can't be written: CRIU gets a no when everything is back."""
    fake.orders("record", *orders, *RESTORE_NOTIFIES)
    restore_fails(nucleus, fake, checkpoint, bundle, "--pid-file", tmp_path / "no" / "pid",
                  text="pid file")
    assert ("post-restore", False) in fake.acks()


def test_c13_pid_file_goes_with_the_rest(nucleus, bundle, fake, checkpoint, forget_logs, tmp_path):
    fake.orders(*RESTORE_NOTIFIES, "die-at response")
    restore_fails(nucleus, fake, checkpoint, bundle, "--pid-file", tmp_path / "pid")
    assert not (tmp_path / "pid").exists()


def test_c13_success(nucleus, bundle, fake, checkpoint):
    fake.orders("record", *RESTORE_NOTIFIES)
    rid = nucleus.new_id("r")
    nucleus.run("restore", "-d", "--criu", fake.path, "-i", checkpoint, "-b", bundle.dir, rid)
    assert fake.acks() == [(n.split()[1], True) for n in RESTORE_NOTIFIES]
    state = nucleus.state(rid)
    assert state["status"] == "running" and alive(state["pid"])
    assert rid in Path(f"/proc/{state['pid']}/cgroup").read_text()
    nucleus.delete(rid, "-f")
    assert not alive(state["pid"])


@pytest.mark.parametrize("step", RESTORE_STEPS)
@pytest.mark.parametrize("who", ["criu", "nucleus"])
def test_c13_killed_while_criu_hangs(nucleus, bundle, fake, checkpoint, forget_logs, who, step):
    rid = nucleus.new_id("r")
    before = {p.pid for p in descendants()}
    fake.orders("record", LOG, *RESTORE_NOTIFIES, f"hang-at {step}")
    running = hang(nucleus, fake, step, "restore", "-d", "-i", checkpoint, "-b", bundle.dir, rid)
    if who == "criu":
        # The process it "restored" is a copy of it that has closed everything.
        swrk, = [p for p in fake.processes() if os.listdir(f"/proc/{p.pid}/fd")]
        os.kill(swrk.pid, signal.SIGKILL)
    else:
        os.kill(running.pid, signal.SIGKILL)
    rc = running.popen.wait(20)
    assert rc == (1 if who == "criu" else -signal.SIGKILL)
    if who == "nucleus":
        nucleus.delete(rid, "-f")  # waits for the guardian
    check_nothing_left(nucleus, fake, rid, before)
    nucleus.run("verify", checkpoint)


def test_c13_a_changed_image_does_not_reach_criu(nucleus, bundle, fake, checkpoint):
    (checkpoint / "images" / "inventory.img").write_bytes(b"x" * 100)
    fake.orders("record", *RESTORE_NOTIFIES)
    nucleus.fails("restore", "-d", "--criu", fake.path, "-i", checkpoint, "-b", bundle.dir,
                  nucleus.new_id("r"), text="HMAC mismatch")
    assert not fake.record.exists(), "CRIU was started"


# ---- C1, C2, C3: which CRIU


def refused_before_anything(container, fake, tmp_path, path, text):
    directory = tmp_path / "checkpoint"
    result = container.nucleus.fails("checkpoint", "--criu", path, "-o", directory, container.id,
                                     text=text)
    assert not directory.exists() and not fake.record.exists()
    assert container.files() == container.store
    container.check_unharmed()
    return result.err


def test_c2_binary_that_others_could_change_is_refused(container, fake, tmp_path):
    fake.orders("record")
    for mode in (0o775, 0o757, 0o777):
        fake.path.chmod(mode)
        refused_before_anything(container, fake, tmp_path, fake.path, "writable")
    # What counts is where it leads.
    link = tmp_path / "link"
    link.symlink_to(fake.path)
    refused_before_anything(container, fake, tmp_path, link, "writable")
    fake.path.chmod(0o755)
    os.chown(fake.path, 1000, 0)
    refused_before_anything(container, fake, tmp_path, fake.path, "belongs to")
    os.chown(fake.path, 0, 0)
    fake.path.chmod(0o644)
    refused_before_anything(container, fake, tmp_path, fake.path, "execut")


def test_c2_other_things_than_a_binary(container, fake, tmp_path):
    refused_before_anything(container, fake, tmp_path, tmp_path / "nothing", "No such file")
    refused_before_anything(container, fake, tmp_path, tmp_path, None)
    refused_before_anything(container, fake, tmp_path, "", None)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o755)
    refused_before_anything(container, fake, tmp_path, fifo, None)
    text = tmp_path / "text"
    text.write_text("no program\n")
    text.chmod(0o755)
    refused_before_anything(container, fake, tmp_path, text, None)


def test_c2_a_link_to_a_good_one_is_fine(container, fake, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(fake.path)
    fake.orders("image inventory.img 100", "kill-target", *DUMP_NOTIFIES)
    container.nucleus.checkpoint(container.id, tmp_path / "checkpoint", "--criu", link)


@pytest.mark.parametrize("orders,text", [
    (["exit-at-start 1", "stderr vdso: Unexpected rt vDSO area bounds"], "vDSO"),
    (["exit-at-start 0"], ""),
    (["die-at start signal=6"], "SIGABRT"),
    (["fail-version"], ""),
    (["fail-features no such kernel"], "no such kernel"),
    (["die-at version"], "exit status 1"), (["die-at features"], "exit status 1"),
    (["garbage-at version"], ""), (["garbage-at features"], ""),
    (["empty-at version"], ""), (["wrong-type-at version"], ""), (["huge-at features"], ""),
])
def test_c3_criu_that_cannot_work_here(container, fake, tmp_path, orders, text):
    fake.orders(*orders)
    directory = tmp_path / "checkpoint"
    result = container.nucleus.fails("checkpoint", "--criu", fake.path, "-o", directory,
                                     container.id, text=["criu", text])
    assert str(fake.path) in result.err
    assert not directory.exists(), "it was found out only afterwards"
    container.check_unharmed()


def test_c1_without_the_option_the_fake_is_not_found(container, fake, tmp_path):
    """Root's PATH is not consulted."""
    fake.orders("record")
    container.nucleus.run("checkpoint", "--leave-running", "-o", tmp_path / "checkpoint",
                          container.id, check=False, timeout=60,
                          env={"PATH": f"{fake.path.parent}:{os.environ['PATH']}"})
    assert not fake.record.exists()


def test_c3_restore_with_an_older_one_is_refused(nucleus, bundle, fake, checkpoint):
    fake.orders("record", "version 3.17.1")
    before = {p.pid for p in descendants()}
    rid = nucleus.new_id("r")
    nucleus.fails("restore", "-d", "--criu", fake.path, "-i", checkpoint, "-b", bundle.dir, rid,
                  text="older")
    assert "req.opts." not in fake.record.read_text(), "it was asked to"
    check_nothing_left(nucleus, fake, rid, before)
    record = json.loads((checkpoint / "images" / "nucleus.json").read_text())
    assert record["criu_version"] == 40201
