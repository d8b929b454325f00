"""The six hooks: when each runs, where, with what, and what happens when one fails."""

import json
import os
import signal

import pytest

from harness import alive, reap_orphans, wait_for

pytestmark = pytest.mark.nucleus_only

BEFORE_START = ["prestart", "createRuntime", "createContainer"]
KINDS = [*BEFORE_START, "startContainer", "poststart", "poststop"]
STATUS = {"startContainer": "created", "poststart": "running", "poststop": "stopped"}
FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"


def hook(script, directory, **more):
    """A shell script with $D for a directory and $STATE for what came on standard input."""
    return {"path": "/bin/sh",
            "args": ["sh", "-c", f"STATE=$(cat); {script}"],
            "env": [f"D={directory}", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"], **more}


@pytest.fixture
def log(tmp_path):
    """A directory that hooks write into; the container has it at /log."""
    directory = tmp_path / "log"
    directory.mkdir(mode=0o777)
    directory.chmod(0o777)
    (directory / "order").touch()
    (directory / "order").chmod(0o666)
    return directory


@pytest.fixture
def bundle(bundle, log):
    bundle.linux.pop("resources", None)
    bundle.bind(log, "/log", "rw")
    bundle.config["hooks"] = {}
    return bundle.sh(FOREVER)


def add(bundle, kind, script, log, **more):
    directory = "/log" if kind == "startContainer" else log
    bundle.config["hooks"].setdefault(kind, []).append(hook(script, directory, **more))
    return bundle.write()


def order(log):
    return (log / "order").read_text().split()


def all_noted(bundle, log):
    for kind in KINDS:
        add(bundle, kind, f"echo {kind} >>$D/order; echo \"$STATE\" >$D/{kind}.json", log)


def state_of(log, kind):
    return json.loads((log / f"{kind}.json").read_text())


def test_order_and_state(nucleus, bundle, cid, log):
    all_noted(bundle, log)
    bundle.config["annotations"] = {"org.example.key": "a \"quoted\" value"}
    bundle.write()
    nucleus.create(cid, bundle)
    assert order(log) == BEFORE_START
    pid = nucleus.state(cid)["pid"]
    nucleus.start(cid)
    assert order(log) == KINDS[:-1]
    assert nucleus.status(cid) == "running"
    nucleus.kill(cid, "KILL")
    nucleus.wait_status(cid, "stopped")
    assert order(log) == KINDS[:-1]
    nucleus.delete(cid)
    assert order(log) == KINDS
    for kind in KINDS:
        state = state_of(log, kind)
        assert state["id"] == cid
        assert state["status"] == STATUS.get(kind, "creating"), kind
        assert state["bundle"] == str(bundle.dir)
        assert state["annotations"] == {"org.example.key": "a \"quoted\" value"}
        assert state["ociVersion"].startswith("1.")
        if kind != "poststop":
            assert state["pid"] == pid, kind


def test_run_in_the_foreground_runs_them_all(nucleus, bundle, cid, log):
    all_noted(bundle, log)
    result = nucleus.run_container(cid, bundle.sh("exit 7"), check=False)
    assert result.rc == 7
    # The program may end before poststart hooks do.
    assert sorted(order(log)) == sorted(KINDS)
    assert order(log)[:4] == KINDS[:4]
    assert order(log)[-1] == "poststop"
    assert nucleus.ids_listed() == []


def test_several_of_a_kind_in_order(nucleus, bundle, cid, log):
    for kind in KINDS:
        for i in range(3):
            add(bundle, kind, f"echo {kind}{i} >>$D/order", log)
    nucleus.create(cid, bundle)
    nucleus.start(cid)
    nucleus.stop(cid)
    assert order(log) == [f"{kind}{i}" for kind in KINDS for i in range(3)]


def test_where_they_run(nucleus, bundle, cid, log):
    spaces = ("pid", "net", "ipc", "uts", "mnt", "cgroup")
    for kind in KINDS:
        # Before the pivot /proc is the host's, where a process of the container is seen, too.
        add(bundle, kind, f"for n in {' '.join(spaces)}; do readlink /proc/self/ns/$n; done"
                          f" >$D/{kind}.ns; pwd >$D/{kind}.cwd", log)
    nucleus.create(cid, bundle)
    nucleus.start(cid)
    pid = nucleus.state(cid)["pid"]
    inside = [os.readlink(f"/proc/{pid}/ns/{n}") for n in spaces]
    outside = [os.readlink(f"/proc/self/ns/{n}") for n in spaces]
    nucleus.stop(cid)
    assert not set(inside) & set(outside)
    for kind in KINDS:
        seen = (log / f"{kind}.ns").read_text().split()
        assert seen == (inside if kind in ("createContainer", "startContainer") else outside), kind
    for kind in ("prestart", "createRuntime", "poststart", "poststop"):
        assert (log / f"{kind}.cwd").read_text().strip() == str(bundle.dir)


def test_mounts_are_there_before_the_pivot(nucleus, bundle, cid, log):
    """A createContainer hook works in the container's mounts, by paths of the host."""
    bundle.tmpfs("/mnt", "mode=1777")
    add(bundle, "prestart", f"ls -A {bundle.rootfs}/mnt >$D/before", log)
    add(bundle, "createContainer", f"echo from the hook >{bundle.rootfs}/mnt/file", log)
    nucleus.create(cid, bundle.sh("cat /mnt/file"))
    assert list((bundle.rootfs / "mnt").iterdir()) == []
    result = nucleus.spawn("start", cid).wait()
    assert result.rc == 0, str(result)
    nucleus.wait_status(cid, "stopped")
    created = next(p for p in sorted(nucleus.logs.iterdir()) if p.name.endswith("create.out"))
    assert created.read_text() == "from the hook\n"
    assert (log / "before").read_text() == ""
    nucleus.delete(cid)


def test_a_runtime_hook_reaches_the_network_namespace(nucleus, bundle, cid, log):
    """What prestart and createRuntime are for: the network, from outside, by the pid of the state."""
    add(bundle, "createRuntime",
        "pid=$(echo \"$STATE\" | sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p');"
        "readlink /proc/$pid/ns/net >$D/net; nsenter -t $pid -n ip link set lo mtu 1280", log)
    nucleus.create(cid, bundle.sh("cat /sys/class/net/lo/mtu"))
    assert (log / "net").read_text() != os.readlink("/proc/self/ns/net") + "\n"
    nucleus.start(cid)
    nucleus.wait_status(cid, "stopped")
    created = next(p for p in sorted(nucleus.logs.iterdir()) if p.name.endswith("create.out"))
    assert created.read_text() == "1280\n"
    nucleus.delete(cid)


def test_start_hooks_are_the_containers(nucleus, bundle, cid, log):
    """Their path is one inside, and they have no more rights than the program."""
    bundle.process["user"] = {"uid": 1000, "gid": 1000}
    add(bundle, "startContainer",
        "id -u >$D/uid; ls / >$D/root; grep -E 'NoNewPrivs|CapBnd' /proc/self/status >$D/rights;"
        "hostname >$D/name; ls /proc/self/fd >$D/fds; umask >$D/umask", log)
    nucleus.create(cid, bundle)
    nucleus.start(cid)
    nucleus.stop(cid)
    assert (log / "uid").read_text() == "1000\n"
    assert "zoo" in (log / "root").read_text().split()
    assert "NoNewPrivs:\t1" in (log / "rights").read_text()
    assert (log / "name").read_text() == "zoo\n"
    assert (log / "fds").read_text().split() == ["0", "1", "2", "3"]  # 3: the directory listed
    assert (log / "umask").read_text() == "0022\n"


def test_environment_is_the_hooks_own(nucleus, bundle, cid, log):
    for kind in KINDS:
        add(bundle, kind, f"env | sed 's/=.*//' | grep -v '^_$' | sort >$D/{kind}.env", log)
    nucleus.create(cid, bundle, env={"RUNTIMES_OWN": "secret"})
    nucleus.start(cid, env={"RUNTIMES_OWN": "secret"})
    nucleus.kill(cid, "KILL")
    nucleus.wait_status(cid, "stopped")
    nucleus.delete(cid, env={"RUNTIMES_OWN": "secret"})
    for kind in KINDS:
        names = (log / f"{kind}.env").read_text().split()
        assert set(names) - {"PWD", "SHLVL", "OLDPWD"} == {"D", "PATH"}, kind


# ---- failure


def expect_poststop(bundle, log):
    add(bundle, "poststop", "echo poststop >>$D/order", log)


@pytest.mark.parametrize("kind", BEFORE_START)
def test_a_failure_before_start(nucleus, bundle, cid, log, kind):
    """Lifecycle steps 3 to 5: an error, the container is stopped and destroyed, poststop hooks run."""
    add(bundle, kind, "echo one >>$D/order", log)
    add(bundle, kind, "echo two >>$D/order; echo no such luck >&2; exit 3", log)
    add(bundle, kind, "echo three >>$D/order", log)
    add(bundle, "startContainer", "echo never >>$D/order", log)
    expect_poststop(bundle, log)
    nucleus.fails("create", "-b", bundle.dir, cid,
                  text=[f"hooks.{kind}[1] (/bin/sh)", "ended with status 3", "no such luck"])
    assert order(log) == ["one", "two", "poststop"]
    assert nucleus.ids_listed() == []
    assert nucleus.cgroups(cid) == []


@pytest.mark.parametrize("kind", ["startContainer", "poststart"])
def test_a_failure_in_start(nucleus, bundle, cid, log, kind):
    """Steps 7 and 9: an error of `start`, and the container is stopped."""
    add(bundle, kind, "echo no such luck >&2; exit 3", log)
    expect_poststop(bundle, log)
    nucleus.create(cid, bundle.sh(f"echo program >>/log/order; {FOREVER}"))
    nucleus.fails("start", cid, text=[f"hooks.{kind}[0] (/bin/sh)", "status 3", "no such luck"])
    nucleus.wait_status(cid, "stopped")
    assert ("program" in order(log)) <= (kind == "poststart")
    nucleus.delete(cid)
    assert order(log)[-1] == "poststop"


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_a_failure_in_run(nucleus, bundle, cid, log, kind):
    add(bundle, kind, "exit 3", log)
    expect_poststop(bundle, log)
    result = nucleus.run_container(cid, bundle, check=False)
    assert result.rc != 0
    assert f"hooks.{kind}[0]" in result.err
    assert order(log) == ["poststop"]
    assert nucleus.ids_listed() == []


def test_a_failure_in_poststop_is_a_warning(nucleus, bundle, cid, log):
    add(bundle, "poststop", "exit 3", log)
    add(bundle, "poststop", "kill -9 $$", log)
    add(bundle, "poststop", "echo last >>$D/order", log)
    nucleus.create(cid, bundle)
    result = nucleus.delete(cid, "-f")
    assert "hooks.poststop[0]" in result.err and "status 3" in result.err
    assert "hooks.poststop[1]" in result.err and "SIGKILL" in result.err
    assert order(log) == ["last"]
    assert nucleus.ids_listed() == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_hook_that_is_not_there(nucleus, bundle, cid, log, kind):
    bundle.config["hooks"][kind] = [{"path": "/nonexistent/hook"}]
    bundle.write()
    result = nucleus.run_container(cid, bundle.sh("true"), check=False)
    assert f"hooks.{kind}[0] (/nonexistent/hook)" in result.err
    assert "No such file or directory" in result.err
    assert (result.rc == 0) == (kind == "poststop")
    assert nucleus.ids_listed() == []


def test_what_a_hook_says_cannot_play_tricks(nucleus, bundle, cid, log):
    add(bundle, "prestart", r"printf 'fine\033[2J\033[31m\r\n\nlast'; exit 1", log)
    result = nucleus.fails("create", "-b", bundle.dir, cid, text="last")
    assert "\x1b" not in result.err and "\r" not in result.err


# ---- time


@pytest.mark.parametrize("kind", KINDS)
def test_a_timeout(nucleus, bundle, cid, log, kind):
    add(bundle, kind, "echo $$ >$D/pid; sleep 1000 & echo waiting; wait", log, timeout=1)
    result = nucleus.run_container(cid, bundle.sh("exec sleep 0.3"), check=False)
    assert f"hooks.{kind}[0]" in result.err
    assert "timed out after 1 s" in result.err
    assert (result.rc == 0) == (kind == "poststop")
    # The leak check would find the shell, and what it had started.
    reap_orphans()
    assert nucleus.ids_listed() == []


@pytest.mark.parametrize("kind", ["prestart", "createContainer"])
def test_a_hook_that_never_returns_goes_with_a_killed_create(nucleus, bundle, cid, log, kind):
    add(bundle, kind, "echo $$ >$D/pid; exec sleep 1000", log)
    create = nucleus.spawn("create", "-b", bundle.dir, cid)
    wait_for(lambda: (log / "pid").exists() and (log / "pid").read_text().strip(), what="the hook")
    create.popen.send_signal(signal.SIGKILL)
    create.wait()
    # Nothing of it is left, the leak check says; and the container can be deleted.
    wait_for(lambda: nucleus.status(cid) == "stopped")
    nucleus.delete(cid)
    assert nucleus.ids_listed() == []


def test_a_poststop_hook_that_never_returns_goes_with_a_killed_delete(nucleus, bundle, cid, log):
    add(bundle, "poststop", "echo $$ >$D/pid; exec sleep 1000", log)
    nucleus.create(cid, bundle)
    delete = nucleus.spawn("delete", "-f", cid)
    wait_for(lambda: (log / "pid").exists() and (log / "pid").read_text().strip(), what="the hook")
    pid = int((log / "pid").read_text())
    assert alive(pid)
    delete.popen.send_signal(signal.SIGKILL)
    delete.wait()
    wait_for(lambda: not alive(pid), what="the hook's end")
    nucleus.delete(cid, "-f")
    assert nucleus.ids_listed() == []


# ---- the bundle changes


def test_hooks_are_those_of_creation(nucleus, bundle, cid, log):
    """"Any changes made to the config.json file after this operation will not have an effect"."""
    for kind in KINDS:
        add(bundle, kind, f"echo {kind} >>$D/order", log)
    nucleus.create(cid, bundle)
    for kind in KINDS:
        bundle.config["hooks"][kind] = [hook("echo changed >>$D/order", log)]
    bundle.write()
    nucleus.start(cid)
    nucleus.stop(cid)
    assert order(log) == KINDS


def test_exec_runs_none(nucleus, bundle, cid, log):
    all_noted(bundle, log)
    nucleus.create(cid, bundle)
    nucleus.start(cid)
    before = order(log)
    assert nucleus.run("exec", cid, "echo", "hello").out == "hello\n"
    assert order(log) == before
    nucleus.stop(cid)


def test_in_a_user_namespace(nucleus, bundle, cid, log):
    all_noted(bundle, log)
    bundle.user_namespace()
    nucleus.create(cid, bundle)
    nucleus.start(cid)
    pid = nucleus.state(cid)["pid"]
    nucleus.stop(cid)
    assert order(log) == KINDS
    assert state_of(log, "createContainer")["pid"] == pid
