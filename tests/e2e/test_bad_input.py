"""Bad input: one clear line on stderr, a status that is not 0, and nobody harmed.

Each case runs beside a running container, and afterwards that one runs on untouched and the store
is what it was, byte for byte.
"""

import json
import os
import socket
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
    (("process", "capabilities"), {"bounding": "CAP_KILL"}),
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


# ---- limits, sizes and numbers


@pytest.mark.nucleus_only
@pytest.mark.parametrize("name,hard", [("RLIMIT_NOFILE", 1 << 40), ("RLIMIT_NOFILE", (1 << 64) - 1),
                                       ("RLIMIT_CORE", (1 << 64) - 1), ("RLIMIT_MEMLOCK", 1 << 62)])
@pytest.mark.parametrize("how", ["create", "run", "exec"])
def test_rlimit_above_the_hard_limit(refused, nucleus, bystander, bundle, cid, tmp_path, name, hard, how):
    """Of a caller that may not raise it. The line names which, and says what to do."""
    limits = [{"type": name, "soft": 1, "hard": hard}]
    text = ["process.rlimits", name, "hard limit"]
    lowered = ["prlimit", f"--{name[7:].lower()}=512:512", "setpriv", "--bounding-set=-sys_resource",
               "--inh-caps=-sys_resource"]
    if how != "exec":
        bundle.process["rlimits"] = limits
        refused(how, "-b", bundle.write().dir, cid, text=text, prefix=lowered)
        return
    process = tmp_path / "process.json"
    process.write_text(json.dumps({"cwd": "/", "args": ["true"], "env": ["PATH=/bin"], "rlimits": limits}))
    refused("exec", "-p", process, bystander.id, text=text, prefix=lowered)


@pytest.mark.nucleus_only
@pytest.mark.parametrize("field", ["args", "env"])
@pytest.mark.parametrize("kind", ["one of 3 MiB", "4 MiB in all", "20000 of them"])
def test_arguments_and_environment_that_are_too_large(nucleus, bystander, bundle, cid, field, kind):
    """The kernel takes 128 KiB in one, and a quarter of the stack in all (execve(2)). Many small ones
    run."""
    items = {"one of 3 MiB": ["A=" + "x" * (3 << 20)], "4 MiB in all": [f"A{n}=" + "x" * 65000 for n in range(64)],
             "20000 of them": [f"A{n}=1" for n in range(20000)]}[kind]
    bundle.process[field] = (["true"] if field == "args" else ["PATH=/bin"]) + items
    bundle.process["args"] = bundle.process["args"] if field == "args" else ["true"]
    bundle.process["rlimits"] = [{"type": "RLIMIT_STACK", "soft": 8 << 20, "hard": 8 << 20}]
    for command in ("create", "run"):
        result = nucleus.run(command, "-b", bundle.write().dir, cid, check=False)
        lines = result.err.splitlines()
        if result.rc == 0 and kind == "20000 of them" and command == "run":
            continue
        if result.rc == 0 and command == "create":
            # Known to execve alone: the program says it, and the container is over.
            nucleus.run("start", cid, check=False)
            nucleus.wait_status(cid, "stopped")
            nucleus.delete(cid)
            continue
        assert result.rc != 0 and len(lines) == 1 and lines[0].startswith("nucleus: "), str(result)
        assert len(lines[0]) < 1000 and ("too long" in lines[0] or "more than" in lines[0]), str(result)
    bystander.check()


@pytest.mark.nucleus_only
@pytest.mark.parametrize("options,status", [
    (["--env", "A=" + "x" * 131072], 126), (["--cwd", "/" + "x" * 5000], 255), (["--user", "9" * 5000], 255),
    (["--additional-gids", "9" * 5000], 255), (["--cap", "CAP_" + "X" * 5000], 255),
    (["--cgroup", "/" + "x" * 5000], 255), (["--cgroup", "../.."], 255), (["--preserve-fds", "99999999999"], 255),
    (["--preserve-fds", "-1"], 255), (["--process", "/dev/zero"], 255), (["--process", "/proc/self/mem"], 255),
    (["--pid-file", "/" + "x" * 5000], 255), (["--console-socket", "/x"], 255)],
    ids=lambda v: " ".join(v)[:30] if isinstance(v, list) else None)
def test_exec_options_that_are_too_much(nucleus, bystander, options, status):
    """The last of what a caller can get wrong; the program's own limits are told as its."""
    if options[0] == "--env":
        # execve of nucleus itself has the same limit: what is just below it for one is above for none.
        options = ["--env", options[1][:131070]]
    result = nucleus.run("exec", *options, bystander.id, "true", check=False, timeout=10)
    assert result.rc in (0, status), str(result)
    if result.rc:
        assert len(result.err.splitlines()) == 1 and len(result.err) < 12000, str(result)
    bystander.check()


def hostile_files(tmp_path):
    """(name, path) of files that are no JSON object, by kind."""
    kinds = {
        "missing": lambda p: None,
        "directory": lambda p: p.mkdir(),
        "fifo": os.mkfifo,
        "loop": lambda p: p.symlink_to(p.name),
        "device": lambda p: os.mknod(p, 0o20600, os.makedev(1, 5)),
        "huge": lambda p: (p.touch(), os.truncate(p, 1 << 40)),
        "empty": lambda p: p.touch(),
        "garbage": lambda p: p.write_bytes(bytes(range(256)) * 16),
        "deep": lambda p: p.write_text("[" * 200000),
        "many": lambda p: p.write_text("[" + "0," * 400000 + "0]"),
        "array": lambda p: p.write_text("[]"),
        "string": lambda p: p.write_text('"x"'),
        "nul": lambda p: p.write_text('{"cwd": "/\\u0000", "args": ["x"]}'),
        "twice": lambda p: p.write_text('{"cwd": "/", "cwd": "/", "args": ["x"]}'),
        "NaN": lambda p: p.write_text('{"cwd": NaN}'),
        "open string": lambda p: p.write_text('{"cwd": "/'),
        "two": lambda p: p.write_text('{} {}'),
        "utf-8": lambda p: p.write_bytes(b'{"cwd": "/\xff"}'),
    }
    for name, make in kinds.items():
        path = tmp_path / name
        make(path)
        yield path


@pytest.mark.nucleus_only
@pytest.mark.parametrize("command", ["exec", "update"])
def test_files_that_commands_read(refused, nucleus, bystander, tmp_path, command):
    """--process and --resources: nothing is waited for, each is refused by name."""
    (tmp_path / "hostile").mkdir()
    for path in hostile_files(tmp_path / "hostile"):
        args = ("exec", "-p", path, bystander.id) if command == "exec" else (
            "update", "-r", path, bystander.id)
        refused(*args, text=path.name, timeout=10)


@pytest.mark.nucleus_only
def test_resources_on_standard_input(refused, bystander):
    """The same by a pipe."""
    for text in ("", "[]", "{", "\0", "[" * 100000, '{"pids": {"limit": "x"}}', '{"memory": {"limit": 1.5}}',
                 "x" * (3 << 20)):
        refused("update", "-r", "-", bystander.id, text="standard input", input=text)


@pytest.mark.nucleus_only
@pytest.mark.parametrize("resources", [
    {"memory": {"limit": 1 << 64}}, {"memory": {"limit": -5}}, {"cpu": {"cpus": "x" * 5000}},
    {"cpu": {"cpus": "0\n1"}}, {"pids": {"limit": 1 << 64}}, {"unified": {"../x": "1"}},
    {"unified": {"cgroup.procs/../../cgroup.procs": "1"}}, {"unified": {"/cgroup.procs": "1"}},
    {"unified": {"": "1"}}, {"unified": {"..": "1"}}, {"unified": {"a" * 300: "1"}},
    {"unified": {"cgroup.procs": "1"}}, {"unified": {"cgroup.freeze": "1"}}, {"unified": {"cgroup.kill": "1"}},
    {"hugepageLimits": [{"pageSize": "../../x", "limit": 1}]}, {"rdma": {"../x\n": {"hcaHandles": 1}}},
    {"devices": [{"allow": True, "access": "rwmx"}]}],
    ids=lambda r: json.dumps(r)[:40])
def test_resources_that_are_none(nucleus, bystander, bundle, cid, tmp_path, resources):
    """Names in them become names of files of the cgroup: they lead nowhere else, and what the runtime itself
    uses is not theirs. For `update` as for a new container."""
    file = tmp_path / "resources.json"
    file.write_text(json.dumps(resources))
    nucleus.fails("update", "-r", file, bystander.id)
    bystander.check()
    bundle.linux["resources"] = resources
    for command in ("create", "run"):
        nucleus.fails(command, "-b", bundle.write().dir, cid)
    assert not nucleus.cgroups(cid)
    bystander.check()


# ---- those who do not answer


class Deaf:
    """A socket that takes connections into its queue, and that nobody ever reads."""

    def __init__(self, path, backlog):
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(backlog)
        self.waiting = []

    def fill(self, path):
        while True:
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            self.waiting.append(client)
            try:
                client.connect(str(path))
            except BlockingIOError:
                return self

    def close(self):
        for one in (self.listener, *self.waiting):
            one.close()


@pytest.mark.nucleus_only
@pytest.mark.parametrize("command", ["create", "exec"])
@pytest.mark.parametrize("option", ["--console-socket", "--pidfd-socket"])
def test_socket_nobody_reads(nucleus, bystander, refused, bundle, cid, tmp_path, command, option):
    """Where the queue has room the descriptor waits there; where it has none, nothing is waited for."""
    path = tmp_path / "s"
    tty = option == "--console-socket"
    bundle.process["terminal"] = tty
    args = (["create", "-b", bundle.sh("sleep 1000").dir, option, path, cid] if command == "create" else
            ["exec", "-d", *(["-t"] if tty else []), option, path, bystander.id, "true"])
    deaf = Deaf(path, 5)
    try:
        nucleus.run(*args, timeout=10)
        if command == "create":
            nucleus.delete(cid, "-f")
        bystander.store = nucleus.store()
        deaf.fill(path)
        refused(*args, text=["socket", str(path)], timeout=10)
    finally:
        deaf.close()


@pytest.mark.nucleus_only
def test_seccomp_agent_that_does_not_read(nucleus, bystander, bundle, cid, tmp_path):
    """The state is larger than the socket's buffer: it is not waited for without end."""
    path = tmp_path / "agent"
    bundle.config["annotations"] = {f"key{n}": "x" * 60000 for n in range(12)}
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": str(path),
        "syscalls": [{"names": ["getcwd"], "action": "SCMP_ACT_NOTIFY"}]}
    deaf = Deaf(path, 1)
    try:
        nucleus.fails("run", "-b", bundle.write().dir, cid, text=["listenerPath", str(path)], timeout=40)
    finally:
        deaf.close()
    bystander.check()
