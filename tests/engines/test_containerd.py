"""containerd and its shim (io.containerd.runc.v2) on the runtime under test, driven by ctr."""

import json
import os
import re
import shutil
import signal
from pathlib import Path

import pytest

import engines
import harness
from engines import wait_for

FOREVER = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"]


@pytest.fixture
def task(containerd, name):
    """A running task."""
    containerd.start(name, *FOREVER)
    yield name
    containerd.remove(name)


# ---- run ----

def test_output_and_error_stream_arrive(containerd, name):
    result = containerd.run(name, "sh", "-c", "echo out; echo err >&2")
    assert (result.out, result.err) == ("out\n", "err\n")


@pytest.mark.parametrize("status", [1, 77, 255])
def test_exit_status_is_the_programs(containerd, name, status):
    containerd.run(name, "sh", "-c", f"exit {status}", check=status)


def test_program_that_is_not_there(containerd, name):
    result = containerd.run(name, "no-such-program", check=1)
    assert "OCI runtime create failed" in result.err
    assert "executable file not found in $PATH" in result.err


def test_program_that_cannot_be_executed(containerd, name):
    assert "permission denied" in containerd.run(name, "/etc/passwd", check=1).err.lower()


def test_stdin_is_passed_on(containerd, name):
    # ctr 1.6 does not pass the end of its input on, so nothing here may wait for that.
    assert containerd.run(name, "head", "-n", "1", input="text\n").out == "text\n"


def test_env_and_directory(containerd, name):
    out = containerd.run(name, "sh", "-c", "echo $A; pwd", options=["--env", "A=b", "--cwd", "/tmp"]).out
    assert out == "b\n/tmp\n"


def test_bind_mount(containerd, name, shared):
    containerd.run(name, "cp", "/shared/in", "/shared/out", options=[
        "--mount", f"type=bind,src={shared},dst=/shared,options=rbind:rw"])
    assert (shared / "out").read_text() == "hello\n"


def test_read_only_root(containerd, name):
    result = containerd.run(name, "touch", "/a", options=["--read-only"], check=1)
    assert "Read-only file system" in result.err


def test_host_network(containerd, name):
    out = containerd.run(name, "readlink", "/proc/self/ns/net", options=["--net-host"]).out
    assert out.strip() == os.readlink("/proc/self/ns/net")


def test_joined_namespace(containerd, task, name):
    pid = containerd.tasks()[task][0]
    other = engines.new_name()
    out = containerd.run(other, "readlink", "/proc/self/ns/net",
                         options=["--with-ns", f"network:/proc/{pid}/ns/net"]).out
    assert out.strip() == os.readlink(f"/proc/{pid}/ns/net")


def test_privileged(containerd, name):
    text = containerd.run(name, "cat", "/proc/self/status", options=["--privileged"]).out
    want = re.search(r"^CapBnd:.*", Path("/proc/self/status").read_text(), re.M).group()
    assert want.replace("CapBnd", "CapEff") in text


def test_seccomp_profile(containerd, name):
    text = containerd.run(name, "cat", "/proc/self/status", options=["--seccomp"]).out
    assert re.search(r"^Seccomp:\s*2$", text, re.M)


def test_no_new_privileges_is_left_out_on_request(containerd, name):
    text = containerd.run(name, "cat", "/proc/self/status", options=["--allow-new-privs"]).out
    assert re.search(r"^NoNewPrivs:\s*0$", text, re.M)


def test_config_file_instead_of_an_image(containerd, name, rootfs, tmp_path):
    """The shim gets a bundle as it is."""
    config = harness.default_config()
    config["root"]["path"] = str(rootfs)
    config["process"]["args"] = ["echo", "own config"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    result = containerd(*containerd.arguments("--rm", "--config", tmp_path / "config.json"), name)
    assert result.out == "own config\n"


# ---- a task's life ----

def test_states_are_reported(containerd, task):
    pid, status = containerd.tasks()[task]
    assert status == "RUNNING" and harness.alive(pid)
    assert Path(f"/proc/{pid}/root/etc/passwd").exists()


def test_pause_and_resume(containerd, task):
    containerd("task", "pause", task)
    assert containerd.status(task) == "PAUSED"
    containerd("task", "resume", task)
    assert containerd.status(task) == "RUNNING"


def test_paused_task_can_be_killed_and_removed(containerd, name):
    containerd.start(name, *FOREVER)
    containerd("task", "pause", name)
    containerd.remove(name)


def test_kill_with_a_signal(containerd, name):
    containerd.start(name, *FOREVER)
    containerd("task", "kill", "-s", "TERM", name)
    wait_for(lambda: containerd.status(name) == "STOPPED")
    containerd("task", "delete", name)
    containerd("container", "delete", name)


def test_kill_of_a_stopped_task_says_it_is_gone(containerd, name):
    containerd.start(name, "true")
    wait_for(lambda: containerd.status(name) == "STOPPED")
    result = containerd("task", "kill", "-s", "KILL", name, check=False)
    assert result.rc == 0 or "not found" in result.err or "already finished" in result.err
    containerd.remove(name)


def test_kill_all_reaches_every_process(containerd, name):
    containerd.start(name, "sh", "-c", "trap '' TERM; sleep 1000 & sleep 1001 & wait")
    pid = containerd.tasks()[name][0]
    containerd("task", "kill", "--all", "-s", "KILL", name)
    wait_for(lambda: containerd.status(name) == "STOPPED")
    assert not harness.alive(pid)
    containerd.remove(name)


def test_death_of_the_first_process_takes_the_others_along(containerd, name):
    containerd.start(name, *FOREVER)
    os.kill(containerd.tasks()[name][0], signal.SIGKILL)
    wait_for(lambda: containerd.status(name) == "STOPPED")
    containerd.remove(name)


def test_shared_pid_namespace_leaves_no_process(containerd, name):
    """Without a pid namespace the shim asks for all processes to be killed (kill --all)."""
    containerd.start(name, "sh", "-c", "sleep 1000 & sleep 1001", options=[
        "--with-ns", f"pid:/proc/{os.getpid()}/ns/pid"])
    containerd("task", "kill", "-s", "KILL", name)
    wait_for(lambda: containerd.status(name) == "STOPPED")
    containerd.remove(name)


def test_delete_of_a_running_task_needs_force(containerd, task):
    result = containerd("task", "delete", task, check=1)
    assert "must be stopped before deletion" in result.err
    containerd("task", "delete", "--force", task, check=False)
    assert containerd.status(task) is None


def test_task_ps_lists_the_processes(containerd, name):
    containerd.start(name, "sh", "-c", "sleep 1000 & echo; wait")
    wait_for(lambda: len(containerd("task", "ps", name).out.splitlines()) == 3)
    pids = {int(line.split()[0]) for line in containerd("task", "ps", name).out.splitlines()[1:]}
    assert containerd.tasks()[name][0] in pids and all(map(harness.alive, pids))
    containerd.remove(name)


def test_metrics_are_read_from_the_cgroup(containerd, task):
    out = containerd("task", "metrics", task).out
    assert "cpu.usage_usec" in out


def test_pid_file(containerd, name, tmp_path):
    containerd.start(name, *FOREVER, options=["--pid-file", tmp_path / "pid"])
    assert int((tmp_path / "pid").read_text()) == containerd.tasks()[name][0]
    containerd.remove(name)


def test_events_are_published(containerd, name, tmp_path):
    events = engines.Daemon(tmp_path / "events", "ctr", "events")
    try:
        wait_for(lambda: containerd.run(engines.new_name(), "true").rc == 0 and
                 "/tasks/exit" in (tmp_path / "events").read_text())
        containerd.run(name, "sh", "-c", "exit 5", check=5)
        wait_for(lambda: re.search(rf'/tasks/exit .*"container_id":"{name}".*"exit_status":5',
                                   (tmp_path / "events").read_text()))
    finally:
        events.stop()
    for event in ("create", "start", "exit", "delete"):
        assert re.search(rf'/tasks/{event} .*"{name}"', (tmp_path / "events").read_text())


# ---- exec ----

def execute(containerd, task, *args, **options):
    return containerd("task", "exec", "--exec-id", engines.new_name(), *args[:-1], task, *args[-1], **options)


def test_exec_output_and_status(containerd, task):
    result = execute(containerd, task, ["sh", "-c", "echo out; echo err >&2; exit 3"], check=3)
    assert (result.out, result.err) == ("out\n", "err\n")


def test_exec_user_and_directory(containerd, task):
    out = execute(containerd, task, "--user", "1000", "--cwd", "/tmp", ["sh", "-c", "id -u; pwd"]).out
    assert out == "1000\n/tmp\n"


def test_exec_is_in_the_tasks_namespaces(containerd, task):
    out = execute(containerd, task, ["sh", "-c", "for n in net mnt pid; do readlink "
                                     "/proc/self/ns/$n; done"]).out.split()
    pid = containerd.tasks()[task][0]
    assert out == [os.readlink(f"/proc/{pid}/ns/{n}") for n in ("net", "mnt", "pid")]


def test_exec_of_a_program_that_is_not_there(containerd, task):
    result = execute(containerd, task, ["no-such-program"], check=1)
    assert "executable file not found in $PATH" in result.err


def test_exec_in_a_stopped_task_is_refused(containerd, name):
    containerd.start(name, "true")
    wait_for(lambda: containerd.status(name) == "STOPPED")
    result = execute(containerd, name, ["true"], check=1)
    assert "stopped" in result.err
    containerd.remove(name)


def test_exec_detached_can_be_killed(containerd, task):
    containerd("task", "exec", "-d", "--exec-id", "sleeper", task, "sleep", "1000")
    wait_for(lambda: len(containerd("task", "ps", task).out.splitlines()) == 4)
    containerd("task", "kill", "-s", "KILL", "--exec-id", "sleeper", task)
    wait_for(lambda: len(containerd("task", "ps", task).out.splitlines()) == 3)
    containerd("task", "delete", "--exec-id", "sleeper", task, check=137)


# ---- terminals ----

# ctr sets the size after the start.
SIZE_ONCE_SET = "until stty size 2>&1 | grep '^[1-9]'; do sleep 0.1; done; tty\n"


def test_run_on_a_terminal(containerd, name):
    with containerd.terminal(*containerd.arguments("--rm", "-t"), containerd.IMAGE, name, "sh") as t:
        t.type(SIZE_ONCE_SET)
        t.expect(r"\n33 101\r+\n/dev/(pts/0|console)\r+\n")
        t.type("exit 6\n")
        assert t.wait() == 6


def test_exec_on_a_terminal(containerd, task):
    with containerd.terminal("task", "exec", "-t", "--exec-id", "shell", task, "sh") as t:
        t.type(SIZE_ONCE_SET)
        t.expect(r"\n33 101\r+\n/dev/pts/\d+\r+\n")
        t.type("exit 4\n")
        assert t.wait() == 4


def test_attach_to_a_terminal(containerd, name):
    with containerd.terminal(*containerd.arguments("-d", "-t"), containerd.IMAGE, name, "sh") as t:
        assert t.wait() == 0
    with containerd.terminal("task", "attach", name) as t:
        t.type("echo he''re; exit 5\n")
        t.expect("here")
        assert t.wait() == 5
    containerd.remove(name)


# ---- checkpoint ----

@pytest.fixture
def criu():
    if not shutil.which("criu", path=engines.PATH):
        pytest.skip("no CRIU here: scripts/install-criu")


def test_checkpoint_and_restore(containerd, name, criu):
    containerd.start(name, "sh", "-c", "n=0; while :; do n=$((n+1)); echo $n >/count; sleep 0.02; done")
    reference = f"checkpoint/{name}"
    root = Path(f"/proc/{containerd.tasks()[name][0]}/root")
    wait_for(lambda: (root / "count").exists())
    containerd("container", "checkpoint", "--rw", "--image", "--task", name, reference)
    containerd.remove(name)
    containerd("container", "restore", "--rw", "--live", name, reference)
    root = Path(f"/proc/{containerd.tasks()[name][0]}/root")
    before = int((root / "count").read_text() or 0)
    wait_for(lambda: int((root / "count").read_text() or 0) > before > 0)
    containerd.remove(name)
    containerd("image", "rm", reference)


# ---- limits (in a virtual machine, where a start takes long: many in one container) ----

@pytest.mark.controllers
def test_limits_are_set_and_counted(containerd, name):
    containerd.start(name, "sleep", "1000", options=["--memory-limit", "33554432", "--cpus", "0.5"])
    now = engines.limits(containerd.tasks()[name][0])
    assert (now["memory.max"], now["cpu.max"]) == ("33554432", "50000 100000")
    out = containerd("task", "metrics", name).out
    assert re.search(r"^pids.current +1 *$", out, re.M), out
    assert int(re.search(r"^memory.usage +(\d+) *$", out, re.M).group(1)) > 0
    containerd.remove(name)


@pytest.mark.controllers
def test_out_of_memory_is_an_event(containerd, name, tmp_path):
    events = engines.Daemon(tmp_path / "events", "ctr", "events")
    try:
        containerd.run(name, "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1", check=137,
                       options=["--memory-limit", "16777216"])
        wait_for(lambda: "/tasks/oom" in (tmp_path / "events").read_text())
    finally:
        events.stop()
