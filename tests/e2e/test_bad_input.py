"""Bad input: one clear line on stderr, a status that is not 0, and nobody harmed.

Each case runs beside a running container, and afterwards that one runs on untouched and the store
is what it was, byte for byte.
"""

import json
import os
import time

import pytest

from harness import cgroup_mounts, process, wait_for, wait_output
from harness import _tree as tree


class Bystander:
    def __init__(self, nucleus, bundle):
        self.nucleus = nucleus
        self.id = nucleus.new_id("bystander")
        self.result = nucleus.run_container(
            self.id, bundle.sh("n=0; while :; do n=$((n+1)); echo $n; sleep 0.02; done"), "-d")
        wait_output(self.result, "3\n")
        self.pid = nucleus.state(self.id)["pid"]
        self.process = process(self.pid)
        self.store = nucleus.store()
        self.cgroups = self.all_cgroups()

    def all_cgroups(self):
        return {d for top in cgroup_mounts() for d in tree(top) if self.nucleus.token in d}

    def check(self):
        assert process(self.pid) == self.process, "the other container died"
        assert self.nucleus.state(self.id)["status"] == "running"
        lines = len(self.result.out)
        wait_for(lambda: len(self.result.out) > lines, 5, "the other container to go on")
        assert self.nucleus.store() == self.store, "the store changed"
        assert self.all_cgroups() == self.cgroups, "a cgroup stayed"


@pytest.fixture
def bystander(nucleus, make_bundle):
    other = Bystander(nucleus, make_bundle("bystander"))
    yield other
    nucleus.stop(other.id)


@pytest.fixture
def refused(nucleus, bystander):
    """refused(args..., text=...): the command must fail well and change nothing."""

    def run(*args, **kwargs):
        began = time.monotonic()
        result = nucleus.fails(*args, **kwargs)
        assert time.monotonic() - began < 10
        bystander.check()
        return result

    return run


def both(refused, bundle_dir, cid, text=None):
    """What is wrong with a bundle is wrong for `create` and for `run`."""
    for command in ("create", "run"):
        refused(command, "-b", bundle_dir, cid, text=text)


def test_bundle_that_is_not_there(refused, nucleus, cid, tmp_path):
    both(refused, tmp_path / "nothing", cid,
         [str(tmp_path / "nothing"), "no such file"] if nucleus.is_nucleus else "no such file")


def test_bundle_that_is_a_file(refused, cid, tmp_path):
    (tmp_path / "file").write_text("x")
    both(refused, tmp_path / "file", cid)


def test_bundle_without_config(refused, cid, bundle):
    (bundle.dir / "config.json").unlink()
    both(refused, bundle.dir, cid, "config.json")


def test_config_that_is_a_directory(refused, nucleus, cid, bundle):
    (bundle.dir / "config.json").unlink()
    (bundle.dir / "config.json").mkdir()
    both(refused, bundle.dir, cid, "config.json")


def test_config_that_is_a_fifo(refused, nucleus, cid, bundle):
    """Nobody will ever write to it: it must not be waited for."""
    if not nucleus.is_nucleus:
        pytest.skip("runc waits for ever")
    (bundle.dir / "config.json").unlink()
    os.mkfifo(bundle.dir / "config.json")
    both(refused, bundle.dir, cid, "config.json")


def test_config_that_is_empty(refused, cid, bundle):
    (bundle.dir / "config.json").write_text("")
    both(refused, bundle.dir, cid)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_config_that_is_truncated(refused, nucleus, cid, bundle, share):
    text = (bundle.dir / "config.json").read_text()
    (bundle.dir / "config.json").write_text(text[: int(len(text) * share)])
    both(refused, bundle.dir, cid, ["config.json:"] if nucleus.is_nucleus else None)


@pytest.mark.nucleus_only
def test_config_of_64_mib(refused, cid, bundle):
    bundle.config["annotations"] = {"big": "x" * (64 << 20)}
    both(refused, bundle.write().dir, cid, ["config.json", "large"])


@pytest.mark.nucleus_only
def test_config_of_64_mib_of_brackets(refused, cid, bundle):
    (bundle.dir / "config.json").write_text("[" * (64 << 20))
    both(refused, bundle.dir, cid, "config.json")


@pytest.mark.nucleus_only
def test_config_that_is_deep(refused, cid, bundle):
    (bundle.dir / "config.json").write_text("[" * 100_000)
    both(refused, bundle.dir, cid, "config.json")


@pytest.mark.nucleus_only
@pytest.mark.parametrize("text", [b"\xff\xfe{}", b"{}\0", b'{"a":1}{"b":2}', b"[]", b"null", b'"x"',
                                  b"\x00" * 4096, b'{"ociVersion": "1.0.2", }'])
def test_config_that_is_no_object(refused, cid, bundle, text):
    (bundle.dir / "config.json").write_bytes(text)
    both(refused, bundle.dir, cid, "config.json")


def test_rootfs_that_is_not_there(refused, cid, bundle):
    bundle.config["root"]["path"] = "elsewhere"
    both(refused, bundle.write().dir, cid, "elsewhere")


def test_rootfs_that_is_a_symlink_loop(refused, nucleus, cid, bundle):
    bundle.rootfs.rename(bundle.dir / "away")
    bundle.rootfs.symlink_to("rootfs")
    both(refused, bundle.dir, cid, "rootfs")


def test_rootfs_that_is_a_file(refused, cid, bundle):
    bundle.rootfs.rename(bundle.dir / "away")
    bundle.rootfs.write_text("x")
    both(refused, bundle.dir, cid)


def change(path, value):
    """A function that sets config[path[0]]... = value, or removes it for None."""

    def apply(config):
        where = config
        for step in path[:-1]:
            where = where[step]
        if value is None:
            del where[path[-1]]
        else:
            where[path[-1]] = value

    return apply


@pytest.mark.nucleus_only
@pytest.mark.parametrize("path, value", [
    (("process", "args"), []),
    (("process", "args"), "sh"),
    (("process", "args"), [1]),
    (("process", "cwd"), "relative"),
    (("process", "cwd"), 5),
    (("process", "user"), {"uid": -1, "gid": 0}),
    (("process", "user"), {"uid": 1 << 40, "gid": 0}),
    (("process", "user"), {"uid": "0", "gid": 0}),
    (("process", "env"), ["NO_EQUAL_SIGN", 7]),
    (("process", "rlimits"), [{"type": "RLIMIT_NOPE", "soft": 1, "hard": 1}]),
    (("process", "rlimits"), [{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}]),
    (("process", "capabilities"), {"bounding": ["CAP_NOPE"]}),
    (("process", "terminal"), "yes"),
    (("root",), None),
    (("root", "path"), ""),
    (("mounts", 0, "destination"), None),
    (("mounts", 0, "type"), "nosuchfs"),
    (("mounts", 0, "options"), "ro"),
    (("linux", "namespaces"), [{"type": "nope"}]),
    (("linux", "namespaces"), [{"type": "pid"}, {"type": "pid"}]),
    (("linux", "namespaces", 1, "path"), "/no/such/namespace"),
    (("linux", "maskedPaths"), "x"),
    (("linux", "seccomp"), {"defaultAction": "SCMP_ACT_NOPE"}),
    (("linux", "cgroupsPath"), "/../../escape"),
    (("linux", "sysctl"), {"kernel.nosuch": "1"}),
    (("ociVersion",), None),
    (("ociVersion",), "7.0.0"),
], ids=lambda v: ".".join(map(str, v)) if isinstance(v, tuple) else str(v)[:30])
def test_config_with_a_wrong_value(refused, cid, bundle, path, value):
    """The line names the place."""
    bundle.write(change(path, value))
    names = [step for step in path if isinstance(step, str)]
    both(refused, bundle.dir, cid, names[-1] if len(names) < 2 else None)


@pytest.mark.parametrize("bad", ["a/b", "../escape", "/etc/passwd"])
def test_s10_id_with_a_slash(refused, nucleus, bundle, bad):
    text = "invalid container id" if nucleus.is_nucleus else None
    both(refused, bundle.dir, bad, text)
    for command in ("state", "start", "kill", "delete"):
        refused(command, bad, text=text)


def test_duplicate_id(refused, nucleus, bystander, bundle):
    both(refused, bundle.dir, bystander.id, "already exists" if nucleus.is_nucleus else None)


def test_start_of_a_running_one(refused, bystander):
    refused("start", bystander.id)


def test_delete_of_a_running_one(refused, nucleus, bystander):
    refused("delete", bystander.id, text=bystander.id if nucleus.is_nucleus else None)


def test_no_arguments_where_some_are_due(refused, nucleus):
    for command in ("create", "start", "state", "kill", "delete", "run"):
        if nucleus.is_nucleus:
            refused(command)


@pytest.mark.nucleus_only
def test_pid_file_that_can_not_be_written(refused, cid, bundle, tmp_path):
    refused("create", "-b", bundle.dir, "--pid-file", tmp_path / "no" / "dir" / "pid", cid,
            text="pid")


@pytest.mark.nucleus_only
@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"id": 5}', "x" * (2 << 20)],
                         ids=["empty", "open", "array", "null", "object", "wrong", "large"])
def test_s13_broken_state_file_hurts_only_its_own(refused, nucleus, bystander, content):
    broken = nucleus.state_dir / "broken.json"
    broken.write_text(content)
    bystander.store = nucleus.store()
    try:
        refused("state", "broken", text="broken")
        assert nucleus.run("list", "-q").out.split() == [bystander.id]
    finally:
        broken.unlink()
        bystander.store = nucleus.store()


@pytest.mark.nucleus_only
def test_s13_state_file_that_is_a_symlink(refused, nucleus, bystander):
    link = nucleus.state_dir / "link.json"
    link.symlink_to(f"{bystander.id}.json")
    bystander.store = nucleus.store()
    try:
        refused("state", "link", text="link")
        refused("kill", "link", "KILL")
    finally:
        link.unlink()
        bystander.store = nucleus.store()


@pytest.mark.nucleus_only
def test_random_changes_of_the_config_never_crash(nucleus, bundle, bystander):
    """Bytes of a good config.json changed at random: refused, or run, but never a crash."""
    import random

    rng = random.Random(20240607)
    good = bytearray(json.dumps(bundle.config).encode())
    for round_no in range(40):
        text = bytearray(good)
        for _ in range(rng.randint(1, 4)):
            text[rng.randrange(len(text))] = rng.randrange(32, 127)
        (bundle.dir / "config.json").write_bytes(text)
        cid = nucleus.new_id("fuzz")
        result = nucleus.run("create", "-b", bundle.dir, cid, check=False)
        assert 0 <= result.rc <= 255, f"round {round_no} died: {result}"
        if result.rc == 0:
            nucleus.delete(cid, "-f")
        else:
            lines = [line for line in result.err.strip().splitlines()
                     if not line.startswith("nucleus: warning: ")]
            assert len(lines) == 1, str(result)
    bystander.check()
