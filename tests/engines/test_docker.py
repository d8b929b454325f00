"""dockerd with the runtime under test as its own (--add-runtime), driven by docker."""

import os
import re
import signal
from pathlib import Path

import pytest

import engines
import harness
from engines import wait_for

BOX = "box"
FOREVER = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"]


# ---- run ----

def test_containers_run_on_the_runtime_under_test(docker, name):
    docker.start(name, BOX, *FOREVER)
    assert docker.inspect(name, "{{.HostConfig.Runtime}}") == "under-test"
    assert engines.runtime() in docker("info", "-f", "{{json .Runtimes}}").out
    assert engines.Leftovers().states, "no state of a runtime where it should be"
    docker.remove(name)


def test_output_and_error_stream_arrive(docker):
    result = docker.run(BOX, "sh", "-c", "echo out; echo err >&2")
    assert (result.out, result.err) == ("out\n", "err\n")


@pytest.mark.parametrize("status", [1, 77, 255])
def test_exit_status_is_the_programs(docker, status):
    docker.run(BOX, "sh", "-c", f"exit {status}", check=status)


def test_program_that_is_not_there_is_127(docker):
    assert "executable file not found in $PATH" in docker.run(BOX, "no-such-program", check=127).err


def test_program_that_cannot_be_executed_is_126(docker):
    assert "permission denied" in docker.run(BOX, "/etc/passwd", check=126).err.lower()


def test_stdin_is_passed_on(docker):
    assert docker.run("-i", BOX, "cat", input="some\ntext").out == "some\ntext"


def test_env_workdir_user_and_hostname(docker):
    out = docker.run("-e", "A=1 2", "-w", "/not/there", "-u", "1000:5", "--hostname", "there", BOX,
                     "sh", "-c", 'echo "$A"; pwd; id; hostname').out
    assert out == "1 2\n/not/there\nuid=1000(user) gid=5(tty)\nthere\n" or \
        out == "1 2\n/not/there\nuid=1000(user) gid=5(tty) groups=5(tty)\nthere\n"


def test_entrypoint(docker):
    assert docker.run("--entrypoint", "/bin/echo", BOX, "a", "b").out == "a b\n"


def test_init_is_the_first_process(docker):
    assert "docker-init" in docker.run("--init", BOX, "cat", "/proc/1/cmdline").out


def test_volume_is_shared_both_ways(docker, shared):
    docker.run("-v", f"{shared}:/shared", BOX, "cp", "/shared/in", "/shared/out")
    assert (shared / "out").read_text() == "hello\n"
    result = docker.run("-v", f"{shared}:/shared:ro", BOX, "touch", "/shared/out", check=1)
    assert "Read-only file system" in result.err


def test_named_volume_keeps_its_content(docker, name):
    docker.run("-v", f"{name}:/data", BOX, "sh", "-c", "echo kept >/data/file")
    assert docker.run("-v", f"{name}:/data", BOX, "cat", "/data/file").out == "kept\n"
    docker("volume", "rm", name)


def test_file_mounted_over_a_file(docker, shared):
    assert docker.run("-v", f"{shared}/in:/etc/passwd:ro", BOX, "cat", "/etc/passwd").out == "hello\n"


def test_read_only_root_with_tmpfs(docker):
    out = docker.run("--read-only", "--tmpfs", "/scratch:size=1m", BOX, "sh", "-c",
                     "touch /scratch/a && echo yes; touch /a || echo no; grep ' /scratch ' /proc/mounts").out
    assert out.startswith("yes\nno\n") and "size=1024k" in out


def test_device(docker):
    out = docker.run("--device", "/dev/null:/dev/nil:r", BOX, "sh", "-c",
                     "stat -c %t:%T /dev/nil; cat /dev/nil && echo ok").out
    assert out == "1:3\nok\n"


def bits(text, field):
    return int(re.search(rf"^{field}:\s*(\w+)$", text, re.M).group(1), 16)


def all_capabilities():
    """Of this host, as far as dockerd 20.10 has heard of them (up to CAP_AUDIT_READ). It asks for
    them all, even those that nobody here has: runc refuses then."""
    here = bits(Path("/proc/self/status").read_text(), "CapBnd") & ((1 << 38) - 1)
    if here != (1 << 38) - 1 and not engines.is_nucleus():
        pytest.skip("this host has not all capabilities, which another runtime may refuse")
    return here


def test_capabilities_dropped_and_added(docker):
    text = docker.run("--cap-drop", "all", "--cap-add", "net_admin", BOX, "cat", "/proc/self/status").out
    assert bits(text, "CapBnd") == bits(text, "CapEff") == 1 << 12


def test_privileged(docker):
    text = docker.run("--privileged", BOX, "cat", "/proc/self/status").out
    assert bits(text, "CapEff") == all_capabilities()
    assert re.search(r"^Seccomp:\s*0$", text, re.M)


def test_default_seccomp_filter_is_loaded(docker):
    text = docker.run("--security-opt", "no-new-privileges", BOX, "cat", "/proc/self/status").out
    assert re.search(r"^Seccomp:\s*2$", text, re.M)
    assert re.search(r"^NoNewPrivs:\s*1$", text, re.M)


def test_masked_and_read_only_paths(docker):
    out = docker.run(BOX, "sh", "-c", "cat /proc/kcore | head -c 1; echo; "
                     "echo 1 >/proc/sys/kernel/domainname || echo denied").out
    assert out == "\ndenied\n"


def test_ulimit_sysctl_and_shm_size(docker):
    out = docker.run("--ulimit", "nofile=77:88", "--sysctl", "net.ipv4.ip_unprivileged_port_start=77",
                     "--shm-size", "2m", BOX, "sh", "-c",
                     "ulimit -Sn; ulimit -Hn; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; "
                     "grep -o size=2048k /proc/mounts").out
    assert out.split() == ["77", "88", "77", "size=2048k"]


@pytest.mark.parametrize("option, kind", [("--pid=host", "pid"), ("--ipc=host", "ipc"), ("--uts=host", "uts"),
                                          ("--network=host", "net"), ("--cgroupns=host", "cgroup")])
def test_namespace_of_the_host(docker, option, kind):
    network = [] if kind == "net" else ["--network=none"]
    out = docker("run", "--rm", option, *network, BOX, "readlink", f"/proc/self/ns/{kind}").out.strip()
    assert out == os.readlink(f"/proc/self/ns/{kind}")


def test_namespaces_of_another_container(docker, name):
    docker.start(name, "--ipc=shareable", BOX, *FOREVER)
    script = "for n in net ipc pid; do readlink /proc/self/ns/$n; done"
    theirs = docker("run", "--rm", f"--network=container:{name}", f"--ipc=container:{name}",
                    f"--pid=container:{name}", BOX, "sh", "-c", script).out
    assert theirs == docker("exec", name, "sh", "-c", script).out
    docker.remove(name)


# ---- a container's life ----

def test_create_start_attach_in_steps(docker, name):
    docker("create", "--name", name, "--network=none", BOX, "echo", "hello")
    assert docker.status(name) == "created"
    assert docker("start", "-a", name).out == "hello\n"
    assert docker.status(name) == "exited"
    docker.remove(name)


def test_ps_and_inspect_follow_the_state(docker, name):
    docker.start(name, BOX, *FOREVER)
    assert docker("ps", "--format", "{{.Names}} {{.State}}").out == f"{name} running\n"
    pid = int(docker.inspect(name, "{{.State.Pid}}"))
    assert harness.alive(pid)
    docker.remove(name)
    assert not harness.alive(pid)


def test_logs_are_kept_and_followed(docker, name):
    docker.start(name, BOX, "sh", "-c", "echo one; echo two >&2; sleep 0.3; echo three")
    result = docker("logs", "-f", name)
    assert (result.out, result.err) == ("one\nthree\n", "two\n")
    docker.remove(name)


def test_wait_returns_the_status(docker, name):
    docker.start(name, BOX, "sh", "-c", "exit 42")
    assert docker("wait", name).out == "42\n"
    docker.remove(name)


def test_stop_sends_the_stop_signal(docker, name):
    docker.start(name, "--stop-signal", "USR1", BOX, "sh", "-c",
                 "trap 'echo got it; exit 5' USR1; echo ready; while :; do sleep 0.1; done")
    wait_for(lambda: "ready" in docker("logs", name).out)
    docker("stop", "-t", "10", name)
    assert docker("logs", name).out == "ready\ngot it\n"
    assert docker.inspect(name, "{{.State.ExitCode}}") == "5"
    docker.remove(name)


def test_stop_kills_what_does_not_listen(docker, name):
    docker.start(name, BOX, "sleep", "1000")
    docker("stop", "-t", "0", name)
    assert docker.inspect(name, "{{.State.Status}} {{.State.ExitCode}}") == "exited 137"
    docker.remove(name)


def test_kill_with_a_signal(docker, name):
    docker.start(name, BOX, "sh", "-c", "trap 'echo hup' HUP; echo ready; while :; do sleep 0.1; done")
    wait_for(lambda: "ready" in docker("logs", name).out)
    docker("kill", "-s", "HUP", name)
    wait_for(lambda: "hup" in docker("logs", name).out)
    docker("kill", name)
    assert docker("wait", name).out == "137\n"
    docker.remove(name)


def test_kill_of_a_stopped_container_is_refused(docker, name):
    docker.start(name, BOX, "true")
    docker("wait", name)
    assert "is not running" in docker("kill", name, check=1).err
    docker.remove(name)


def test_restart_runs_it_again(docker, name):
    docker.start(name, BOX, "sh", "-c", "echo start; trap 'exit 0' TERM; sleep 1000 & wait")
    wait_for(lambda: "start" in docker("logs", name).out)
    docker("restart", "-t", "5", name)
    wait_for(lambda: docker("logs", name).out.count("start") == 2)
    docker.remove(name)


def test_restart_policy_starts_it_again_after_its_death(docker, name):
    docker.start(name, "--restart=always", BOX, *FOREVER)
    first = int(docker.inspect(name, "{{.State.Pid}}"))
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: int(docker.inspect(name, "{{.State.Pid}}")) not in (0, first))
    assert docker.inspect(name, "{{.RestartCount}}") == "1"
    docker.remove(name)


def test_pause_stops_it_and_unpause_goes_on(docker, name):
    docker.start(name, BOX, "sh", "-c", "while :; do echo x; sleep 0.05; done")
    wait_for(lambda: docker("logs", name).out)
    docker("pause", name)
    assert docker.status(name) == "paused"
    before = docker("logs", name).out
    assert docker("logs", name).out == before
    assert "is paused" in docker("exec", name, "true", check=1).err
    docker("unpause", name)
    wait_for(lambda: len(docker("logs", name).out) > len(before))
    docker.remove(name)


def test_remove_of_a_paused_container(docker, name):
    docker.start(name, BOX, *FOREVER)
    docker("pause", name)
    docker.remove(name)


def test_remove_of_a_running_container_needs_force(docker, name):
    docker.start(name, BOX, *FOREVER)
    assert "cannot remove a running container" in docker("rm", name, check=1).err
    docker.remove(name)


def test_copy_into_and_out_of_a_running_container(docker, name, tmp_path):
    (tmp_path / "file").write_text("content\n")
    docker.start(name, BOX, *FOREVER)
    docker("cp", tmp_path / "file", f"{name}:/tmp/")
    assert docker("exec", name, "cat", "/tmp/file").out == "content\n"
    docker("cp", f"{name}:/tmp/file", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "content\n"
    docker.remove(name)


def test_top_lists_the_processes(docker, name):
    docker.start(name, BOX, "sleep", "1000")
    assert "sleep 1000" in docker("top", name).out
    assert "sleep" in docker("top", name, "-o", "pid,comm").out
    docker.remove(name)


def test_stats_are_answered(docker, name):
    docker.start(name, BOX, *FOREVER)
    line = docker("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", name).out
    assert line.startswith(name)
    docker.remove(name)


def test_healthcheck_turns_healthy(docker, name):
    docker.start(name, "--health-cmd", "test -e /tmp/well", "--health-interval", "200ms",
                 "--health-retries", "1", BOX, *FOREVER)
    wait_for(lambda: docker.inspect(name, "{{.State.Health.Status}}") == "unhealthy", 20)
    docker("exec", name, "touch", "/tmp/well")
    wait_for(lambda: docker.inspect(name, "{{.State.Health.Status}}") == "healthy", 20)
    docker.remove(name)


def test_commit_and_diff_see_what_a_container_wrote(docker, name):
    docker.start(name, BOX, "sh", "-c", "echo new >/new")
    docker("wait", name)
    assert "A /new" in docker("diff", name).out
    docker("commit", name, f"image-{name}")
    assert docker.run(f"image-{name}", "cat", "/new").out == "new\n"
    docker.remove(name)
    docker("rmi", f"image-{name}")


def test_build_from_scratch(docker, rootfs, name, tmp_path):
    """The classic builder runs each step in a container."""
    engines.run("tar", "-C", rootfs, "-cf", tmp_path / "box.tar", ".")
    (tmp_path / "Dockerfile").write_text("""
        FROM scratch
        ADD box.tar /
        ENV PATH=/bin
        RUN echo built >/etc/built
        CMD ["cat", "/etc/built"]
        """)
    docker("build", "--network=none", "-q", "-t", name, tmp_path)
    assert docker.run(name).out == "built\n"
    docker("rmi", name)


# ---- exec ----

@pytest.fixture(scope="module")
def running(docker):
    """One container for the tests of exec."""
    name = engines.new_name()
    docker.start(name, "-e", "FROM=container", BOX, "sleep", "1000")
    yield name
    docker.remove(name)


def test_exec_output_status_and_stdin(docker, running):
    result = docker("exec", "-i", running, "sh", "-c", "cat; echo err >&2; exit 3", input="in", check=3)
    assert (result.out, result.err) == ("in", "err\n")


def test_exec_env_user_and_workdir(docker, running):
    out = docker("exec", "-e", "A=b", "-u", "1000:5", "-w", "/tmp", running, "sh", "-c",
                 "echo $A $FROM; pwd; id").out
    assert out.startswith("b container\n/tmp\nuid=1000(user) gid=5(tty)")


def test_exec_is_in_the_containers_namespaces_and_cgroup(docker, running):
    script = "for n in mnt pid net ipc uts cgroup; do readlink /proc/$P/ns/$n; done; cat /proc/$P/cgroup"
    inside = docker("exec", running, "sh", "-c", f"P=self; {script}").out
    assert inside == docker("exec", running, "sh", "-c", f"P=1; {script}").out


def test_exec_of_a_program_that_is_not_there_is_127(docker, running):
    result = docker("exec", running, "no-such-program", check=(126, 127))
    assert "executable file not found in $PATH" in result.out + result.err


def test_exec_of_what_cannot_be_executed_is_126(docker, running):
    result = docker("exec", running, "/etc/passwd", check=126)
    assert "permission denied" in (result.out + result.err).lower()


def test_exec_privileged_has_all_capabilities(docker, running):
    text = docker("exec", "--privileged", running, "cat", "/proc/self/status").out
    assert bits(text, "CapEff") == all_capabilities()


def test_exec_detached(docker, running):
    docker("exec", "-d", running, "sh", "-c", "echo done >/tmp/detached")
    wait_for(lambda: docker("exec", running, "sh", "-c", "cat /tmp/detached || true").out == "done\n")


def test_exec_in_a_container_that_stopped_is_refused(docker, name):
    docker.start(name, BOX, "true")
    docker("wait", name)
    assert "is not running" in docker("exec", name, "true", check=1).err
    docker.remove(name)


def test_stop_ends_a_running_exec(docker, name):
    docker.start(name, BOX, *FOREVER)
    docker("exec", "-d", name, "sleep", "1001")
    docker("stop", "-t", "5", name)
    assert docker.status(name) == "exited"
    docker.remove(name)


# ---- terminals ----

def test_run_on_a_terminal(docker):
    with docker.terminal("run", "--rm", "-it", "--network=none", BOX, "sh") as t:
        t.type("tty\n")
        t.expect(r"/dev/(pts/0|console)\r\n")
        t.type("exit 6\n")
        assert t.wait() == 6


def test_resize_of_the_terminal_is_passed_on(docker):
    with docker.terminal("run", "--rm", "-it", "--network=none", BOX, "sh", "-c",
                         "trap 'stty size' WINCH; trap 'exit 7' INT; echo ready; while :; do sleep 0.1; done") as t:
        t.expect("ready")
        t.resized(44, 111, "44 111")
        t.type("\x03")
        assert t.wait() == 7


def test_interrupt_from_the_terminal_reaches_the_program(docker):
    with docker.terminal("run", "--rm", "-it", "--network=none", BOX, "sh", "-c",
                         "trap 'echo int; exit 9' INT; echo ready; while :; do sleep 0.1; done") as t:
        t.expect("ready")
        t.type("\x03")
        t.expect("int")
        assert t.wait() == 9


def test_exec_on_a_terminal(docker, running):
    with docker.terminal("exec", "-it", running, "sh") as t:
        t.type("tty; id -u\n")
        t.expect(r"/dev/pts/\d+\r\n0\r\n")
        t.type("exit 4\n")
        assert t.wait() == 4


def test_detach_and_attach(docker, name):
    with docker.terminal("run", "-it", "--name", name, "--network=none", "--detach-keys=ctrl-e", BOX,
                         "sh") as t:
        t.type("echo fir''st\n")
        t.expect("first\r\n")
        t.type("\x05")
        t.wait()
    assert docker.status(name) == "running"
    with docker.terminal("attach", name) as t:
        t.type("echo sec''ond\n")
        t.expect("second\r\n")
        t.type("exit 3\n")
        assert t.wait() == 3
    docker.remove(name)


# ---- limits (in a virtual machine, where a start takes long: many in one container) ----

@pytest.mark.controllers
def test_limits_are_set_counted_and_updated(docker, name):
    docker.start(name, "--memory", "64m", "--memory-swap", "96m", "--memory-reservation", "32m",
                 "--pids-limit", "77", "--cpus", "0.5", "--cpuset-cpus", "1", BOX, "sleep", "1000")
    assert engines.limits(docker.inspect(name, "{{.State.Pid}}")) == {
        "memory.max": "67108864", "memory.swap.max": "33554432", "memory.low": "33554432",
        "pids.max": "77", "cpu.max": "50000 100000", "cpuset.cpus": "1"}
    line = docker("stats", "--no-stream", "--format", "{{.PIDs}} {{.MemUsage}}", name).out
    assert line.startswith("1 ") and not line.startswith("1 0B")
    docker("update", "--memory", "48m", "--memory-swap", "48m", "--cpus", "0.25", "--pids-limit", "55", name)
    now = engines.limits(docker.inspect(name, "{{.State.Pid}}"))
    assert (now["memory.max"], now["memory.swap.max"], now["cpu.max"], now["pids.max"]) == \
        ("50331648", "0", "25000 100000", "55")
    docker.remove(name)


@pytest.mark.controllers
def test_out_of_memory_is_reported(docker, name):
    docker("run", "--name", name, "--network=none", "--memory", "16m", "--memory-swap", "16m", BOX, "dd",
           "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1", check=137)
    wait_for(lambda: docker.inspect(name, "{{.State.OOMKilled}}") == "true")
    docker.remove(name)
