"""create, start, state, kill, delete, run, list, spec: what users of runc know, and what a
container sees from inside."""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from harness import Bundle, alive, process, wait_for, wait_output

SLEEP = "trap 'echo term; exit 43' TERM; trap 'echo usr1' USR1; echo up; " \
        "while :; do sleep 0.02; done"


def inside(nucleus, cid, bundle, script, check=True, **run):
    """Runs a shell script in the foreground and returns its stdout."""
    return nucleus.run_container(cid, bundle.sh(script), check=check, **run).out


@pytest.fixture
def sleeper(nucleus, bundle, cid):
    """A running container; its output is in sleeper.out. Removed at the end if still there."""
    result = nucleus.run_container(cid, bundle.sh(SLEEP), "-d")
    wait_output(result, "up")
    yield result
    nucleus.run("delete", "-f", cid, check=False)


# ---- create, start, state, delete


def test_s5_s16_create_start_delete(nucleus, bundle, cid):
    created = nucleus.create(cid, bundle.sh("echo started; sleep 1000"))
    state = nucleus.state(cid)
    assert state["id"] == cid
    assert state["status"] == "created"
    assert state["bundle"] == str(bundle.dir)
    assert re.fullmatch(r"1\.\d+\.\d+\S*", state["ociVersion"])
    assert alive(state["pid"])
    assert created.out == "", "the program ran before start"

    nucleus.start(cid)
    wait_output(created, "started")
    running = nucleus.state(cid)
    assert running["status"] == "running"
    assert running["pid"] == state["pid"]

    nucleus.kill(cid, "KILL")
    stopped = nucleus.wait_status(cid, "stopped") and nucleus.state(cid)
    assert stopped["pid"] == 0
    nucleus.delete(cid)
    nucleus.fails("state", cid, text="does not exist")
    assert nucleus.cgroups(cid) == []


def test_s5_annotations_are_in_the_state(nucleus, bundle, cid):
    bundle.config["annotations"] = {"org.example.who": "me", "empty": ""}
    nucleus.create(cid, bundle.write())
    assert nucleus.state(cid)["annotations"] == {"org.example.who": "me", "empty": ""}
    nucleus.delete(cid, "-f")


def test_s5_process_killed_behind_our_back_is_stopped(nucleus, sleeper, cid):
    os.kill(nucleus.state(cid)["pid"], signal.SIGKILL)
    nucleus.wait_status(cid, "stopped")
    assert nucleus.state(cid)["pid"] == 0
    nucleus.delete(cid)


def test_created_can_be_killed_and_deleted(nucleus, bundle, cid):
    nucleus.create(cid, bundle)
    nucleus.kill(cid, "KILL")
    nucleus.wait_status(cid, "stopped")
    nucleus.delete(cid)
    assert nucleus.list() == []


def test_created_can_be_deleted_as_it_is(nucleus, bundle, cid):
    """As runc does it: what was never started needs no force."""
    nucleus.create(cid, bundle)
    pid = nucleus.state(cid)["pid"]
    nucleus.delete(cid)
    assert not alive(pid)


def test_bundle_defaults_to_the_working_directory(nucleus, bundle, cid):
    nucleus.run("create", cid, cwd=bundle.dir)
    assert nucleus.state(cid)["bundle"] == str(bundle.dir)
    nucleus.delete(cid, "-f")


def test_id_can_be_used_again_after_delete(nucleus, bundle, cid):
    for _ in range(3):
        nucleus.create(cid, bundle)
        nucleus.delete(cid, "-f")


def test_pid_file(nucleus, bundle, cid, tmp_path):
    pid_file = tmp_path / "pid"
    nucleus.create(cid, bundle.sh("sleep 1000"), "--pid-file", pid_file)
    assert pid_file.read_text() == str(nucleus.state(cid)["pid"]), "digits and nothing else"
    nucleus.delete(cid, "-f")


def test_pid_file_of_a_detached_run(nucleus, bundle, cid, tmp_path):
    pid_file = tmp_path / "pid"
    nucleus.run_container(cid, bundle.sh("sleep 1000"), "-d", "--pid-file", pid_file)
    assert int(pid_file.read_text()) == nucleus.state(cid)["pid"]
    nucleus.delete(cid, "-f")


def test_start_twice_is_refused(nucleus, sleeper, cid):
    nucleus.fails("start", cid, text=cid if nucleus.is_nucleus else None)
    assert nucleus.status(cid) == "running"


def test_start_of_a_stopped_one_is_refused(nucleus, bundle, cid):
    nucleus.create(cid, bundle.sh("true"))
    nucleus.start(cid)
    nucleus.wait_status(cid, "stopped")
    nucleus.fails("start", cid)
    nucleus.delete(cid)


@pytest.mark.parametrize("command", ["state", "start", "kill", "delete"])
def test_s11_unknown_container(nucleus, command):
    nucleus.fails(command, "nobody", text=["nobody", "does not exist"]
                  if nucleus.is_nucleus else "does not exist")


def test_delete_force_of_an_unknown_one_is_fine(nucleus):
    nucleus.run("delete", "-f", "nobody")


def test_duplicate_id_is_refused(nucleus, bundle, make_bundle, sleeper, cid):
    pid = nucleus.state(cid)["pid"]
    nucleus.fails("create", "-b", make_bundle().dir, cid, text="already exists"
                  if nucleus.is_nucleus else None)
    nucleus.fails("run", "-b", make_bundle().dir, cid)
    assert nucleus.state(cid)["pid"] == pid and alive(pid)


def test_delete_of_a_running_one_needs_force(nucleus, sleeper, cid):
    nucleus.fails("delete", cid)
    assert nucleus.status(cid) == "running"
    pid = nucleus.state(cid)["pid"]
    nucleus.delete(cid, "-f")
    assert not alive(pid)
    assert nucleus.list() == []


def test_delete_takes_every_process(nucleus, bundle, cid):
    result = nucleus.run_container(
        cid, bundle.sh("sleep 1001 & setsid sleep 1002 & (sleep 1003 &) ; echo up; wait"), "-d")
    wait_output(result, "up")
    nucleus.delete(cid, "-f")  # the leak check sees what stays


# ---- ids


@pytest.mark.parametrize("bad", ["", "-x", ".", "..", "a/b", "../x", "a b", "a\nb", "ä", "a:b",
                                 "a*", "x" * 256, ".hidden", "+x", "a\\b", "%41"])
@pytest.mark.nucleus_only
def test_s10_bad_ids_are_refused(nucleus, bundle, bad):
    nucleus.fails("create", "-b", bundle.dir, "--", bad, text="invalid container id")
    assert nucleus.store() == {}


@pytest.mark.parametrize("form", ["a", "_x", "A.b-c_d+e", "0", "x..y"])
@pytest.mark.nucleus_only
def test_s10_good_ids(nucleus, bundle, form):
    good = form + nucleus.token
    nucleus.create(good, bundle)
    assert nucleus.status(good) == "created"
    nucleus.delete(good, "-f")


@pytest.mark.nucleus_only
def test_s10_longest_id(nucleus, bundle):
    """What a file system can hold with ".json.tmp" behind it; the rest, up to S10's 255, is said."""
    longest = nucleus.token.ljust(246, "x")
    nucleus.create(longest, bundle)
    nucleus.delete(longest, "-f")
    nucleus.fails("create", "-b", bundle.dir, longest.ljust(255, "x"), text="too long")


@pytest.mark.nucleus_only
def test_s11_unique_prefix_is_enough(nucleus, make_bundle):
    one, two = f"aa1-{nucleus.token}", f"aa2-{nucleus.token}"
    nucleus.create(one, make_bundle())
    nucleus.create(two, make_bundle())
    assert nucleus.state("aa1")["id"] == one
    nucleus.fails("state", "aa", text=[one, two])
    nucleus.fails("delete", "aa", "-f", text=[one, two])
    nucleus.fails("state", "ab", text="does not exist")
    for cid in (one, two):
        nucleus.delete(cid, "-f")


@pytest.mark.nucleus_only
def test_s11_exact_id_beats_prefix(nucleus, make_bundle):
    short = nucleus.new_id("p")
    nucleus.create(short, make_bundle())
    nucleus.create(short + "-more", make_bundle())
    assert nucleus.state(short)["id"] == short
    nucleus.delete(short, "-f")
    nucleus.delete(short + "-more", "-f")


# ---- the store as others see it


@pytest.mark.nucleus_only
def test_s2_s3_state_file(nucleus, sleeper, cid, bundle):
    path = nucleus.state_dir / f"{cid}.json"
    record = json.loads(path.read_text())
    pid = nucleus.state(cid)["pid"]
    assert record["id"] == cid
    assert record["pid"] == pid
    assert record["start_ticks"] == process(pid).start
    assert record["status"] == "running"
    assert record["command"] == bundle.process["args"]
    assert record["bundle_path"] == str(bundle.dir)
    assert record["creator_uid"] == 0
    assert record["rootless"] is False and record["using_gvisor"] is False
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.nucleus_only
def test_s4_recycled_pid_is_not_signalled(nucleus, bundle, cid):
    """The record leads to a living process, but of another start time."""
    nucleus.run_container(cid, bundle.sh("sleep 1000"), "-d")
    nucleus.kill(cid, "KILL")
    nucleus.wait_status(cid, "stopped")
    path = nucleus.state_dir / f"{cid}.json"
    record = json.loads(path.read_text())
    stranger = subprocess.Popen(["sleep", "1000"])
    try:
        record.update(pid=stranger.pid, start_ticks=process(stranger.pid).start - 1,
                      status="running")
        path.write_text(json.dumps(record))
        assert nucleus.state(cid)["status"] == "stopped"
        nucleus.fails("kill", cid, "KILL", text="not running")
        nucleus.delete(cid, "-f")
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


@pytest.mark.nucleus_only
def test_s6_root_beats_environment(nucleus, bundle, cid, tmp_path):
    other = tmp_path / "other"
    nucleus.create(cid, bundle, env={"NUCLEUS_STATE_DIR": str(other)})
    assert not other.exists()
    assert [c["id"] for c in nucleus.list()] == [cid]
    assert cid in nucleus.run("list", "-q", root=False).out, "the environment's is used without"
    nucleus.delete(cid, "-f")


@pytest.mark.nucleus_only
def test_s7_state_dir_is_closed_and_no_symlink(nucleus, bundle, cid, tmp_path):
    nucleus.create(cid, bundle)
    assert nucleus.state_dir.stat().st_mode & 0o777 == 0o700
    nucleus.delete(cid, "-f")
    link = tmp_path / "link"
    link.symlink_to(nucleus.state_dir)
    nucleus.fails("list", root=False, env={"NUCLEUS_STATE_DIR": str(link)}, text=str(link))


@pytest.mark.nucleus_only
def test_s14_list_skips_what_it_cannot_read(nucleus, sleeper, cid):
    (nucleus.state_dir / "broken.json").write_text('{"id": ')
    (nucleus.state_dir / "link.json").symlink_to(f"{cid}.json")
    try:
        result = nucleus.run("list", "-q")
        assert result.out.split() == [cid]
        assert "broken.json" in result.err
    finally:
        (nucleus.state_dir / "broken.json").unlink()
        (nucleus.state_dir / "link.json").unlink()


@pytest.mark.nucleus_only
@pytest.mark.parametrize("command", [("kill", "{}", "KILL"), ("delete", "-f", "{}"),
                                     ("start", "{}")])
def test_s18_someone_else_is_refused(nucleus, sleeper, cid, tmp_path, command):
    """A store that uid 1000 can read and write, with a container that root made."""
    for path in [tmp_path, *tmp_path.parents]:
        if path.stat().st_mode & 0o007 == 0:
            path.chmod(path.stat().st_mode | 0o011)
    pid = nucleus.state(cid)["pid"]
    for path in [nucleus.dir, nucleus.state_dir, *nucleus.state_dir.iterdir()]:
        os.chown(path, 1000, 1000)
    try:
        args = [word.format(cid) for word in command]
        result = nucleus.fails(*args, user=1000, group=1000, extra_groups=[])
        assert re.search(r"belongs to uid 0, the caller is uid 1000", result.err), result.err
        assert alive(pid)
    finally:
        for path in [nucleus.dir, nucleus.state_dir, *nucleus.state_dir.iterdir()]:
            os.chown(path, 0, 0)
    assert nucleus.status(cid) == "running"


# ---- run and its exit status


@pytest.mark.parametrize("code", [0, 1, 7, 125, 255])
def test_run_passes_the_exit_code(nucleus, bundle, cid, code):
    assert nucleus.run_container(cid, bundle.sh(f"exit {code}"), check=False).rc == code
    assert nucleus.list() == [], "a foreground run leaves no container"


def test_run_exits_with_128_and_the_signal(nucleus, bundle, cid):
    """KILL: the one signal without a handler that ends PID 1 of a pid namespace."""
    running = nucleus.spawn_container(cid, bundle.sh("echo up; sleep 1000"))
    wait_output(running, "up")
    nucleus.kill(cid, "KILL")
    assert running.wait().rc == 128 + signal.SIGKILL


@pytest.mark.parametrize("sig", ["TERM", "SEGV"])
def test_run_exits_with_128_and_the_signal_without_pid_namespace(nucleus, bundle, cid, sig):
    bundle.namespaces("mount", "ipc", "uts", "network", "cgroup")
    running = nucleus.spawn_container(cid, bundle.sh("echo up; exec sleep 1000"))
    wait_output(running, "up")
    wait_for(lambda: process(nucleus.state(cid)["pid"]).comm == "sleep")
    nucleus.kill(cid, sig)
    assert running.wait().rc == 128 + signal.Signals[f"SIG{sig}"]


def test_run_forwards_signals(nucleus, bundle, cid):
    running = nucleus.spawn_container(cid, bundle.sh(SLEEP))
    wait_output(running, "up")
    os.kill(running.pid, signal.SIGUSR1)
    wait_output(running, "usr1")
    os.kill(running.pid, signal.SIGTERM)
    result = running.wait()
    assert result.rc == 43
    assert "term" in result.out


def test_run_passes_stdin_and_stdout(nucleus, bundle, cid):
    data = os.urandom(200_000).hex()
    bundle.sh("cat; echo to stderr >&2")
    result = nucleus.run_container(cid, bundle, input=data)
    assert result.out == data
    assert result.err == "to stderr\n"


def test_run_passes_pipes(nucleus, bundle, cid):
    running = nucleus.spawn_container(
        cid, bundle.sh("while read line; do echo got $line; done; exit 5"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for word in (b"one", b"two"):
        running.stdin.write(word + b"\n")
        running.stdin.flush()
        assert running.popen.stdout.readline() == b"got " + word + b"\n"
    running.stdin.close()
    assert running.wait().rc == 5
    running.popen.stdout.close()


def test_run_program_that_is_not_there(nucleus, bundle, cid):
    bundle.args("/no/such/program")
    result = nucleus.fails("run", "-b", bundle.dir, cid, text="/no/such/program")
    assert result.rc in (1, 127)
    assert nucleus.list() == []


@pytest.mark.nucleus_only
def test_run_keep_leaves_the_container(nucleus, bundle, cid):
    assert nucleus.run_container(cid, bundle.sh("exit 3"), "--keep", check=False).rc == 3
    assert nucleus.status(cid) == "stopped"
    nucleus.delete(cid)


def test_run_detached(nucleus, sleeper, cid):
    assert nucleus.status(cid) == "running"


# ---- kill


@pytest.mark.parametrize("sig", [(), ("TERM",), ("SIGTERM",), ("15",), ("term",)])
def test_kill_by_name_and_number(nucleus, sleeper, cid, sig):
    """Without a signal it is TERM, as for runc."""
    nucleus.kill(cid, *sig)
    wait_output(sleeper, "term")
    nucleus.wait_status(cid, "stopped")
    nucleus.delete(cid)


@pytest.mark.parametrize("sig", ["NOPE", "SIGNOPE", "0x", "-1", "65", "999"])
def test_kill_with_a_signal_that_is_none(nucleus, sleeper, cid, sig):
    if not nucleus.is_nucleus and sig in ("65", "999", "-1"):
        pytest.skip("runc passes any number on")
    nucleus.fails("kill", "--", cid, sig)
    assert nucleus.status(cid) == "running"


def test_kill_of_a_stopped_one_is_refused(nucleus, bundle, cid):
    nucleus.create(cid, bundle.sh("true"))
    nucleus.start(cid)
    nucleus.wait_status(cid, "stopped")
    nucleus.fails("kill", cid, "KILL", text="not running")
    nucleus.delete(cid)


def test_kill_all(nucleus, bundle, cid):
    """In a container without a pid namespace the death of the first process ends nobody else."""
    bundle.namespaces("mount", "ipc", "uts", "network", "cgroup")
    result = nucleus.run_container(
        cid, bundle.sh("sleep 1001 & sleep 1002 & echo up; exec sleep 1003"), "-d")
    wait_output(result, "up")
    nucleus.kill(cid, "KILL", all=True)
    nucleus.wait_status(cid, "stopped")
    nucleus.delete(cid)


# ---- list and spec


def test_list(nucleus, make_bundle):
    first, second = nucleus.new_id(), nucleus.new_id()
    assert nucleus.list() == []
    assert nucleus.ids_listed() == []
    assert nucleus.run("list").out.splitlines()[0].split()[:3] == ["ID", "PID", "STATUS"]

    one, two = make_bundle(), make_bundle()
    nucleus.create(first, one)
    nucleus.run_container(second, two.sh("sleep 1000"), "-d")
    listed = {c["id"]: c for c in nucleus.list()}
    assert set(listed) == {first, second} == set(nucleus.ids_listed())
    assert listed[first]["status"] == "created"
    assert listed[second]["status"] == "running"
    assert listed[second]["pid"] == nucleus.state(second)["pid"]
    assert listed[second]["bundle"] == str(two.dir)
    assert re.match(r"\d{4}-\d\d-\d\dT", listed[second]["created"])

    table = nucleus.run("list").out
    for word in (first, second, "created", "running", str(one.dir)):
        assert word in table
    for cid in (first, second):
        nucleus.delete(cid, "-f")


def test_list_with_a_format_that_is_none(nucleus):
    nucleus.fails("list", "-f", "xml")


def test_spec_makes_a_bundle_that_runs(nucleus, cid, tmp_path, rootfs_template):
    bundle = Bundle(tmp_path / "fresh", rootfs_template)
    (bundle.dir / "config.json").unlink()
    nucleus.run("spec", "-b", bundle.dir)
    config = json.loads((bundle.dir / "config.json").read_text())
    assert config["process"]["args"] == ["sh"]
    assert config["root"]["path"] == "rootfs"
    assert {n["type"] for n in config["linux"]["namespaces"]} >= {
        "pid", "network", "ipc", "uts", "mount"}
    config["process"]["terminal"] = False
    bundle.config = config
    assert inside(nucleus, cid, bundle, "echo it runs") == "it runs\n"


def test_spec_does_not_overwrite(nucleus, bundle):
    before = (bundle.dir / "config.json").read_text()
    nucleus.fails("spec", "-b", bundle.dir, text="exists")
    assert (bundle.dir / "config.json").read_text() == before


@pytest.mark.nucleus_only
def test_version(nucleus):
    assert re.search(r"\d+\.\d+", nucleus.run("version").out)
    assert nucleus.run("--version").out.startswith("nucleus")


@pytest.mark.parametrize("args", [("nosuchcommand",), ("state",), ("--nosuchflag", "list"),
                                  ("create", "--nosuchflag", "x"), ("state", "a", "b")])
@pytest.mark.nucleus_only
def test_wrong_usage_is_one_line(nucleus, args):
    nucleus.fails(*args)


@pytest.mark.nucleus_only
def test_log_file_in_json_as_engines_read_it(nucleus, tmp_path):
    log = tmp_path / "log"
    result = nucleus.run("--log", log, "--log-format", "json", "state", "nobody", check=False)
    assert result.rc != 0
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    errors = [e for e in entries if e["level"] == "error"]
    assert len(errors) == 1 and "does not exist" in errors[0]["msg"] and "time" in errors[0]


# ---- as seen from inside


def test_inside_args_env_cwd(nucleus, bundle, cid):
    bundle.process.update(args=["/bin/sh", "-c", 'echo "$0|$1|$2|$FOO|$(pwd)"; env', "zero",
                                "a b", "*"],
                          env=["PATH=/bin", "FOO=bar baz", "EMPTY="], cwd="/mnt")
    out = nucleus.run_container(cid, bundle.write()).out.splitlines()
    assert out[0] == "zero|a b|*|bar baz|/mnt"
    assert "EMPTY=" in out
    names = {line.partition("=")[0] for line in out[1:]}
    assert names <= {"PATH", "FOO", "EMPTY", "HOME", "PWD", "SHLVL", "OLDPWD"}, "nothing leaks in"


def test_inside_path_is_searched_in_the_container(nucleus, bundle, cid):
    (bundle.rootfs / "opt").mkdir()
    (bundle.rootfs / "opt" / "own").symlink_to("/bin/busybox")
    bundle.process["env"] = ["PATH=/opt"]
    (bundle.rootfs / "opt" / "hostname").symlink_to("/bin/busybox")
    assert nucleus.run_container(cid, bundle.args("hostname")).out == "zoo\n"


def test_inside_cwd_is_made(nucleus, bundle, cid):
    bundle.process["cwd"] = "/made/for/me"
    assert inside(nucleus, cid, bundle, "pwd") == "/made/for/me\n"


def test_inside_user_and_groups(nucleus, bundle, cid):
    bundle.process["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [2000, 3000],
                              "umask": 0o027}
    out = inside(nucleus, cid, bundle, "id -u; id -g; id -G; umask")
    assert out.split("\n")[:4] == ["1000", "1000", "1000 2000 3000", "0027"]


def test_inside_capabilities(nucleus, bundle, cid):
    bundle.process["capabilities"] = {
        "bounding": ["CAP_KILL", "CAP_CHOWN"], "permitted": ["CAP_KILL", "CAP_CHOWN"],
        "effective": ["CAP_KILL"], "inheritable": [], "ambient": []}
    out = inside(nucleus, cid, bundle, "grep ^Cap /proc/self/status")
    caps = {k: int(v, 16) for k, v in re.findall(r"Cap(\w+):\s*(\w+)", out)}
    chown, kill = 1 << 0, 1 << 5
    # A program run by uid 0 gets what the bounding set allows.
    assert caps == {"Inh": 0, "Prm": chown | kill, "Eff": chown | kill, "Bnd": chown | kill,
                    "Amb": 0}


def test_inside_capabilities_of_a_user_are_gone(nucleus, bundle, cid):
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    out = inside(nucleus, cid, bundle, "grep ^Cap /proc/self/status")
    caps = {k: int(v, 16) for k, v in re.findall(r"Cap(\w+):\s*(\w+)", out)}
    assert caps["Eff"] == caps["Prm"] == caps["Amb"] == 0


def test_inside_ambient_capabilities_reach_a_user(nucleus, bundle, cid):
    caps = ["CAP_NET_BIND_SERVICE"]
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    bundle.process["capabilities"] = {k: caps for k in ("bounding", "permitted", "effective",
                                                        "inheritable", "ambient")}
    out = inside(nucleus, cid, bundle, "grep ^CapEff /proc/self/status")
    assert int(out.split()[1], 16) == 1 << 10


def test_inside_no_capabilities_at_all(nucleus, bundle, cid):
    bundle.process["capabilities"] = {}
    out = inside(nucleus, cid, bundle, "grep -E '^Cap(Eff|Bnd)' /proc/self/status")
    assert [int(line.split()[1], 16) for line in out.splitlines()] == [0, 0]


@pytest.mark.parametrize("wanted", [True, False])
def test_inside_no_new_privileges(nucleus, bundle, cid, wanted):
    bundle.process["noNewPrivileges"] = wanted
    out = inside(nucleus, cid, bundle, "grep NoNewPrivs /proc/self/status")
    assert out.split()[1] == str(int(wanted))


def test_inside_rlimits(nucleus, bundle, cid):
    bundle.process["rlimits"] = [
        {"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]
    out = inside(nucleus, cid, bundle, "ulimit -Sn; ulimit -Hn; ulimit -Hc")
    assert out.split() == ["77", "99", "0"]


def test_inside_oom_score_can_be_raised(nucleus, bundle, cid):
    bundle.process["oomScoreAdj"] = 600
    assert inside(nucleus, cid, bundle, "cat /proc/self/oom_score_adj") == "600\n"


def test_inside_hostname(nucleus, bundle, cid):
    bundle.config["hostname"] = "ark"
    host = os.uname().nodename
    assert inside(nucleus, cid, bundle, "hostname") == "ark\n"
    assert os.uname().nodename == host


@pytest.mark.parametrize("uid, home", [(0, "/root"), (1000, "/home"), (77, "/")])
def test_inside_home_is_that_of_the_user(nucleus, bundle, cid, uid, home):
    """Where config.json has none; engines that leave it out rely on it."""
    bundle.process["user"] = {"uid": uid, "gid": uid}
    assert inside(nucleus, cid, bundle, "echo $HOME") == home + "\n"
    assert nucleus.run_container(nucleus.new_id(), bundle.args("env")).out.count("HOME=") == 1
    bundle.process["env"].append("HOME=/elsewhere")
    assert inside(nucleus, nucleus.new_id(), bundle, "echo $HOME") == "/elsewhere\n"


@pytest.mark.parametrize("passwd", ["fifo", "device", "directory", "garbage", "long", "relative"])
def test_inside_home_of_a_hostile_passwd(nucleus, bundle, cid, passwd):
    path = bundle.rootfs / "etc/passwd"
    path.unlink()
    {"fifo": lambda: os.mkfifo(path), "device": lambda: os.mknod(path, 0o020666, os.makedev(1, 5)),
     "directory": path.mkdir, "garbage": lambda: path.write_bytes(os.urandom(200000)),
     "long": lambda: path.write_text("root:x:0:0::/" + "x" * 5000 + ":/bin/sh\n"),
     "relative": lambda: path.write_text("root:x:0:0::home:/bin/sh\n")}[passwd]()
    assert inside(nucleus, cid, bundle, "echo $HOME") == "/\n"


def test_inside_domainname(nucleus, bundle, cid):
    bundle.config["domainname"] = "ark.example"
    host = Path("/proc/sys/kernel/domainname").read_text()
    assert inside(nucleus, cid, bundle, "cat /proc/sys/kernel/domainname") == "ark.example\n"
    assert Path("/proc/sys/kernel/domainname").read_text() == host


def test_inside_umask(nucleus, bundle, cid):
    bundle.process["user"]["umask"] = 0o027
    assert inside(nucleus, cid, bundle, "umask; touch /tmp/x; stat -c %a /tmp/x") == "0027\n640\n"


def test_inside_pid_one_and_only_own_processes(nucleus, bundle, cid):
    out = inside(nucleus, cid, bundle, "echo $$; ls /proc | grep -c '^[0-9]'; cat /proc/1/comm;:")
    first, count, comm = out.split()
    assert first == "1" and int(count) <= 4 and comm == "sh"


def test_inside_namespaces_are_own_ones(nucleus, bundle, cid):
    kinds = ["pid", "net", "ipc", "uts", "mnt", "cgroup"]
    out = inside(nucleus, cid, bundle, "".join(f"readlink /proc/self/ns/{k};" for k in kinds))
    for kind, seen in zip(kinds, out.split()):
        assert seen.startswith(f"{kind}:[") and seen != os.readlink(f"/proc/self/ns/{kind}")


def test_inside_loopback_is_up(nucleus, bundle, cid):
    out = inside(nucleus, cid, bundle, "cat /sys/class/net/lo/flags; ls /sys/class/net")
    flags, *names = out.split()
    assert int(flags, 16) & 1
    assert names == ["lo"]


def test_inside_no_descriptors_leak(nucleus, bundle, cid):
    with open("/etc/passwd") as held:
        os.set_inheritable(held.fileno(), True)
        out = inside(nucleus, cid, bundle, "ls /proc/self/fd")
    # 0, 1, 2, and the one ls opened the directory with.
    assert out.split() == ["0", "1", "2", "3"]


def test_inside_root_is_the_rootfs_and_nothing_else(nucleus, bundle, cid):
    (bundle.rootfs / "marker").write_text("here")
    out = inside(nucleus, cid, bundle, "cat /marker; ls -d /.. /work /oldroot 2>/dev/null; "
                                       "ls -di / /..")
    lines = out.splitlines()
    assert lines[0].startswith("here") and "/work" not in out and "/oldroot" not in out
    inodes = {line.split()[0] for line in lines if line.endswith((" /", " /..")) and
              line.split()[0].isdigit()}
    assert len(inodes) == 1


def test_inside_host_mounts_are_not_seen(nucleus, bundle, cid):
    out = inside(nucleus, cid, bundle, "cat /proc/self/mountinfo")
    points = {line.split()[4] for line in out.splitlines()}
    assert points <= {"/", "/proc", "/sys", "/sys/fs/cgroup"} | {
        p for p in points if p.startswith(("/dev", "/proc/", "/sys/fs/cgroup/", "/sys/"))}


def test_inside_readonly_root(nucleus, bundle, cid):
    bundle.config["root"]["readonly"] = True
    out = inside(nucleus, cid, bundle, "touch /x 2>&1; touch /etc/x 2>&1; touch /dev/shm/ok && "
                                       "echo shm; true")
    assert out.count("Read-only file system") == 2 and "shm" in out
    assert not (bundle.rootfs / "x").exists()


def test_inside_writable_root_is_written(nucleus, bundle, cid):
    inside(nucleus, cid, bundle, "echo data > /etc/new")
    assert (bundle.rootfs / "etc" / "new").read_text() == "data\n"


def test_inside_masked_and_readonly_paths(nucleus, bundle, cid):
    (bundle.rootfs / "secret").write_text("secret")
    (bundle.rootfs / "hidden").mkdir()
    (bundle.rootfs / "hidden" / "file").write_text("secret")
    (bundle.rootfs / "fixed").mkdir()
    bundle.linux["maskedPaths"] += ["/secret", "/hidden", "/not/there"]
    bundle.linux["readonlyPaths"] += ["/fixed", "/not/there/either"]
    out = inside(nucleus, cid, bundle, "cat /secret; ls /hidden; touch /hidden/x 2>&1; "
                 "touch /fixed/x 2>&1; echo 1 > /proc/sys/kernel/panic; cat /proc/kcore | wc -c",
                 check=False)
    assert "secret" not in out and "file\n" not in out
    assert out.count("Read-only file system") >= 2
    assert out.split()[-1] == "0"


def test_inside_proc_sys_is_read_only(nucleus, bundle, cid):
    out = inside(nucleus, cid, bundle, "(echo x > /proc/sys/kernel/hostname) 2>&1; hostname")
    assert "Read-only file system" in out and out.splitlines()[-1] == "zoo"


def test_inside_devices(nucleus, bundle, cid):
    out = inside(nucleus, cid, bundle,
                 "for d in null zero full random urandom tty; do test -c /dev/$d && echo $d; done;"
                 "for d in fd stdin stdout stderr; do readlink /dev/$d; done;"
                 "echo x > /dev/null; head -c 4 /dev/zero | wc -c; readlink /dev/ptmx;"
                 "touch /dev/shm/x && echo shm; stat -c %a /dev/shm;"
                 "test -d /dev/mqueue && echo mq")
    for word in ("null", "zero", "full", "random", "urandom", "tty", "/proc/self/fd",
                 "/proc/self/fd/0", "4", "shm", "1777", "mq"):
        assert word in out.split(), out


def test_inside_devices_can_not_be_made(nucleus, bundle, cid):
    out = inside(nucleus, cid, bundle,
                 "mknod /tmp/vda b 254 0 2>&1; test -b /tmp/vda || echo none")
    assert out.split()[-1] == "none"


@pytest.mark.nucleus_only
@pytest.mark.parametrize("field, value", [
    ("linux.timeOffsets", {"boottime": {"secs": 5}}),
    ("linux.resources.memory.kernel", 1 << 20),
    ("linux.resources.network.classID", 5),
    ("linux.sysctl", {"kernel.panic": "1"}),
    ("windows", {"layerFolders": ["x"]}),
    ("process.commandLine", "cmd.exe"),
    ("process.user.username", "ContainerUser"),
])
def test_known_field_that_is_not_honoured_is_named(nucleus, bundle, cid, field, value):
    at = bundle.config
    *parents, last = field.split(".")
    for name in parents:
        name, _, index = name.partition("[")
        at = at.setdefault(name, {})
        if index:
            at = at[int(index.rstrip("]"))]
    at[last] = value
    result = nucleus.fails("create", "-b", bundle.write().dir, cid)
    assert f": {field}" in result.err, result.err


@pytest.mark.nucleus_only
@pytest.mark.skipif(os.path.exists("/sys/fs/selinux/enforce"), reason="this host has SELinux")
@pytest.mark.parametrize("field, value", [
    ("linux.mountLabel", "system_u:object_r:x_t:s0"),
    ("process.selinuxLabel", "system_u:system_r:x_t:s0"),
])
def test_what_only_a_selinux_host_has_is_refused(nucleus, bundle, cid, field, value):
    section, name = field.split(".")
    bundle.config[section][name] = value
    nucleus.fails("create", "-b", bundle.write().dir, cid, text=[field, "SELinux"])


@pytest.mark.nucleus_only
@pytest.mark.skipif(os.path.ismount("/sys/fs/resctrl"), reason="this host has resctrl")
def test_rdt_without_resctrl_is_refused(nucleus, bundle, cid):
    bundle.config["linux"]["intelRdt"] = {"closID": "x"}
    nucleus.fails("create", "-b", bundle.write().dir, cid, text=["linux.intelRdt", "resctrl"])


def test_inside_bind_mounts(nucleus, bundle, cid, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("from host")
    bundle.bind(source, "/mnt/rw", "rw")
    bundle.bind(source, "/mnt/ro", "ro")
    bundle.bind(source / "file", "/etc/bound", "ro")
    out = inside(nucleus, cid, bundle, "cat /mnt/rw/file /mnt/ro/file /etc/bound; "
                                       "echo new > /mnt/rw/new; touch /mnt/ro/x 2>&1; true")
    assert out.count("from host") == 3
    assert "Read-only file system" in out
    assert (source / "new").read_text() == "new\n"


def test_inside_mount_options(nucleus, bundle, cid):
    bundle.tmpfs("/mnt", "nosuid", "nodev", "noexec", "size=1m", "mode=750")
    out = inside(nucleus, cid, bundle, "grep ' /mnt ' /proc/self/mountinfo; stat -c %a /mnt")
    for option in ("nosuid", "nodev", "noexec", "size=1024k"):
        assert option in out
    if nucleus.is_nucleus:  # runc 1.1 gives it the mode of the directory below
        assert out.split()[-1] == "750"


def test_inside_mount_onto_a_symlink_stays_inside(nucleus, bundle, cid, tmp_path):
    """The image's symlink means a place in the rootfs, never one of the host's."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (bundle.rootfs / "trap").symlink_to(outside)
    bundle.tmpfs("/trap")
    result = nucleus.run_container(cid, bundle.sh("touch /trap/x"), check=False)
    assert list(outside.iterdir()) == []
    assert result.rc == 0 or result.err


def test_inside_user_namespace(nucleus, bundle, cid, tmp_path):
    bundle.user_namespace(100000)
    running = nucleus.run_container(
        cid, bundle.sh("id -u; cat /proc/self/uid_map; touch /made; echo up; sleep 1000"), "-d")
    wait_output(running, "up")
    uid, *words = running.out.split()
    assert uid == "0" and words[:3] == ["0", "100000", "65536"]
    assert Path(f"/proc/{nucleus.state(cid)['pid']}").stat().st_uid == 100000
    assert (bundle.rootfs / "made").stat().st_uid == 100000
    nucleus.stop(cid)


def test_inside_several_uid_mappings(nucleus, bundle, cid):
    bundle.user_namespace(100000)
    for kind in ("uidMappings", "gidMappings"):
        bundle.linux[kind] = [{"containerID": 0, "hostID": 100000, "size": 1000},
                              {"containerID": 1000, "hostID": 300000, "size": 1}]
    out = inside(nucleus, cid, bundle, "cat /proc/self/uid_map /proc/self/gid_map")
    assert out.split() == ["0", "100000", "1000", "1000", "300000", "1"] * 2


def test_inside_seccomp(nucleus, bundle, cid):
    bundle.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]}
    out = inside(nucleus, cid, bundle, "mkdir /tmp/x 2>&1; grep Seccomp: /proc/self/status")
    assert "No space left on device" in out and out.split()[-1] == "2"


def test_inside_cgroup_namespace_hides_the_path(nucleus, bundle, cid):
    out = inside(nucleus, cid, bundle, "cat /proc/self/cgroup")
    assert cid not in out


@pytest.mark.nucleus_only
def test_cgroup_holds_the_container_and_goes_with_it(nucleus, sleeper, cid):
    groups = nucleus.cgroups(cid)
    assert len(groups) == 1 and groups[0].endswith(f"/nucleus/{cid}"), groups
    pids = Path(groups[0], "cgroup.procs").read_text().split()
    assert str(nucleus.state(cid)["pid"]) in pids
    nucleus.delete(cid, "-f")
    assert nucleus.cgroups(cid) == []


def test_terminal_without_console_socket_is_refused(nucleus, bundle, cid):
    bundle.process["terminal"] = True
    nucleus.fails("create", "-b", bundle.write().dir, cid)
    assert nucleus.list() == []
