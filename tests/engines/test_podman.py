"""podman, with conmon, on the runtime under test: what people type."""

import json
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


# ---- run: status, streams, what the process gets ----

def test_output_and_error_stream_arrive(podman):
    result = podman.run(BOX, "sh", "-c", "echo out; echo err >&2")
    assert (result.out, result.err) == ("out\n", "err\n")


@pytest.mark.parametrize("status", [1, 77, 255])
def test_exit_status_is_the_programs(podman, status):
    podman.run(BOX, "sh", "-c", f"exit {status}", check=status)


def test_death_by_signal_is_128_and_its_number(podman):
    podman.run("--init", BOX, "sh", "-c", "kill -KILL $$", check=137)


def test_program_that_is_not_there_is_127(podman):
    result = podman.run(BOX, "no-such-program", check=127)
    assert "executable file not found in $PATH" in result.err


def test_program_that_cannot_be_executed_is_126(podman):
    result = podman.run(BOX, "/etc/passwd", check=126)
    assert "permission denied" in result.err


def test_stdin_is_passed_on(podman):
    assert podman.run("-i", BOX, "cat", input="some\ntext").out == "some\ntext"


def test_much_output_arrives_whole(podman):
    assert len(podman.run(BOX, "sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x").out) == 1000000


def test_env_workdir_and_hostname(podman):
    out = podman.run("-e", "A=1 2", "-w", "/tmp", "--hostname", "there", BOX,
                     "sh", "-c", 'echo "$A"; pwd; hostname').out
    assert out == "1 2\n/tmp\nthere\n"


def test_entrypoint(podman):
    assert podman.run("--entrypoint", "/bin/echo", BOX, "a", "b").out == "a b\n"


@pytest.mark.parametrize("user, ids", [
    ("1000", "uid=1000(user) gid=1000(user)"),
    ("1000:5", "uid=1000(user) gid=5(tty)"),
    ("user", "uid=1000(user) gid=1000(user)"),
    ("4321:4322", "uid=4321(4321) gid=4322(4322)"),  # podman adds an entry to passwd
])
def test_user(podman, user, ids):
    assert podman.run("-u", user, BOX, "id").out.startswith(ids)


def test_group_add(podman):
    assert "2000(extra)" in podman.run("--group-add", "2000", BOX, "id").out


def test_init_reaps_and_forwards(podman):
    out = podman.run("--init", BOX, "sh", "-c", "cat /proc/1/comm").out
    assert re.match("catatonit|tini|podman-init", out), out


# ---- run: mounts ----

def test_volume_is_shared_both_ways(podman, shared):
    podman.run("-v", f"{shared}:/shared", BOX, "cp", "/shared/in", "/shared/out")
    assert (shared / "out").read_text() == "hello\n"


def test_read_only_volume(podman, shared):
    result = podman.run("-v", f"{shared}:/shared:ro", BOX, "touch", "/shared/out", check=1)
    assert "Read-only file system" in result.err


def test_named_volume_keeps_its_content(podman, name):
    podman.run("-v", f"{name}:/data", BOX, "sh", "-c", "echo kept >/data/file")
    assert podman.run("-v", f"{name}:/data", BOX, "cat", "/data/file").out == "kept\n"
    podman("volume", "rm", name)


def test_read_only_root_with_tmpfs(podman):
    out = podman.run("--read-only", "--tmpfs", "/scratch:size=1m,mode=1777", BOX, "sh", "-c",
                     "touch /scratch/a && echo yes; touch /a || echo no; "
                     "grep ' /scratch ' /proc/mounts").out
    assert out.startswith("yes\nno\n")
    assert "size=1024k" in out and "nosuid" in out


def test_mount_option_bind_with_propagation(podman, shared):
    out = podman.run("--mount", f"type=bind,src={shared},dst=/s,ro=true,bind-propagation=rslave", BOX,
                     "grep", " /s ", "/proc/self/mountinfo").out
    assert " ro," in out and "master:" in out or " ro," in out


def test_shm_size(podman):
    assert "size=2048k" in podman.run("--shm-size", "2m", BOX, "grep", "/dev/shm", "/proc/mounts").out


def test_device(podman):
    out = podman.run("--device", "/dev/null:/dev/nil:r", BOX, "sh", "-c",
                     "stat -c %t:%T /dev/nil; cat /dev/nil && echo ok").out
    assert out == "1:3\nok\n"


# ---- run: security ----

def bits(text, field):
    return int(re.search(rf"^{field}:\s*(\w+)$", text, re.M).group(1), 16)


def test_capabilities_dropped_and_added(podman):
    text = podman.run("--cap-drop", "all", "--cap-add", "net_admin", BOX, "cat", "/proc/self/status").out
    assert bits(text, "CapBnd") == bits(text, "CapEff") == 1 << 12


def test_privileged_has_all_capabilities(podman):
    text = podman.run("--privileged", BOX, "cat", "/proc/self/status").out
    full = bits(Path("/proc/self/status").read_text(), "CapBnd")
    assert bits(text, "CapEff") == full


def test_no_new_privileges(podman):
    out = podman.run("--security-opt", "no-new-privileges", BOX, "grep", "NoNewPrivs", "/proc/self/status").out
    assert out.split() == ["NoNewPrivs:", "1"]


def test_default_seccomp_filter_is_loaded(podman):
    text = podman.run(BOX, "cat", "/proc/self/status").out
    assert re.search(r"^Seccomp:\s*2$", text, re.M)
    text = podman.run("--security-opt", "seccomp=unconfined", BOX, "cat", "/proc/self/status").out
    assert re.search(r"^Seccomp:\s*0$", text, re.M)


def test_own_seccomp_profile(podman, tmp_path):
    profile = tmp_path / "seccomp.json"
    profile.write_text(json.dumps({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}]}))
    result = podman.run("--security-opt", f"seccomp={profile}", BOX, "mkdir", "/d", check=1)
    assert "77" in result.err or os.strerror(77) in result.err


def test_masked_and_read_only_paths(podman):
    out = podman.run(BOX, "sh", "-c", "cat /proc/kcore | head -c 1; echo; "
                     "echo 1 >/proc/sys/kernel/domainname || echo denied").out
    assert out == "\ndenied\n"


def test_ulimit(podman):
    out = podman.run("--ulimit", "nofile=77:88", "--ulimit", "nproc=99", BOX, "sh", "-c", "ulimit -Sn; ulimit -Hn; grep processes /proc/self/limits").out.split()
    assert out[:2] == ["77", "88"] and out[-3:-1] == ["99", "99"]


def test_sysctl(podman):
    assert podman.run("--sysctl", "net.ipv4.ip_unprivileged_port_start=77", BOX, "cat",
                      "/proc/sys/net/ipv4/ip_unprivileged_port_start").out == "77\n"


def test_oom_score_adj(podman):
    assert podman.run("--oom-score-adj", "500", BOX, "cat", "/proc/self/oom_score_adj").out == "500\n"


# ---- run: namespaces ----

def test_user_namespace_auto(podman):
    out = podman.run("--uidmap", "0:100000:5000", "--gidmap", "0:100000:5000", BOX, "sh", "-c",
                     "id -u; cat /proc/self/uid_map").out.split()
    assert out == ["0", "0", "100000", "5000"]


def test_user_namespace_with_volume_and_exec(podman, name, shared):
    os.chmod(shared, 0o777)
    podman.start(name, "--uidmap", "0:100000:5000", "--gidmap", "0:100000:5000",
                 "-v", f"{shared}:/shared", BOX, *FOREVER)
    podman("exec", name, "touch", "/shared/made")
    assert (shared / "made").stat().st_uid == 100000
    podman.remove(name)


@pytest.mark.parametrize("option, kind", [("--pid=host", "pid"), ("--ipc=host", "ipc"), ("--uts=host", "uts"),
                                          ("--network=host", "net"), ("--cgroupns=host", "cgroup")])
def test_namespace_of_the_host(podman, option, kind):
    out = podman("run", "--rm", option, BOX, "readlink", f"/proc/self/ns/{kind}").out.strip()
    assert out == os.readlink(f"/proc/self/ns/{kind}")


def test_namespaces_of_another_container(podman, name):
    podman.start(name, "--ipc=shareable", BOX, *FOREVER)
    script = "readlink /proc/self/ns/net; readlink /proc/self/ns/ipc; readlink /proc/self/ns/pid; " \
             "readlink /proc/1/comm; cat /proc/1/comm"
    theirs = podman("run", "--rm", f"--network=container:{name}", f"--ipc=container:{name}",
                    f"--pid=container:{name}", BOX, "sh", "-c", script).out
    ours = podman("exec", name, "sh", "-c", script).out
    assert theirs == ours
    podman.remove(name)


def test_default_network_has_an_address(podman):
    out = podman("run", "--rm", BOX, "ip", "-o", "-4", "addr", "show", "eth0").out
    assert "10.88." in out
    engines.run("ip", "link", "del", "cni-podman0")


# ---- a container's life ----

def test_create_start_attach_in_steps(podman, name):
    podman("create", "--name", name, "--network=none", BOX, "echo", "hello")
    assert podman.status(name) == "created"
    assert podman("start", "-a", name).out == "hello\n"
    assert podman.status(name) == "exited"
    podman.remove(name)


def test_ps_and_inspect_follow_the_state(podman, name):
    podman.start(name, BOX, *FOREVER)
    listed = json.loads(podman("ps", "--format", "json").out)
    assert [(c["Names"], c["State"]) for c in listed] == [([name], "running")]
    pid = int(podman.inspect(name, "{{.State.Pid}}"))
    assert harness.alive(pid)
    assert podman.inspect(name, "{{.OCIRuntime}}") == engines.runtime()
    podman.remove(name)
    assert not harness.alive(pid)


def test_logs_are_kept_and_followed(podman, name):
    podman.start(name, BOX, "sh", "-c", "echo one; echo two >&2; sleep 0.3; echo three")
    result = podman("logs", "-f", name)
    assert (result.out, result.err) == ("one\nthree\n", "two\n")
    podman.remove(name)


def test_wait_returns_the_status(podman, name):
    podman.start(name, BOX, "sh", "-c", "exit 42")
    assert podman("wait", name).out == "42\n"
    podman.remove(name)


def test_stop_sends_the_stop_signal(podman, name):
    podman.start(name, "--stop-signal", "USR1", BOX, "sh", "-c",
                 "trap 'echo got it; exit 5' USR1; echo ready; while :; do sleep 0.1; done")
    wait_for(lambda: "ready" in podman("logs", name).out)
    podman("stop", "-t", "10", name)
    assert podman("logs", name).out == "ready\ngot it\n"
    assert podman.inspect(name, "{{.State.ExitCode}}") == "5"
    podman.remove(name)


def test_stop_kills_what_does_not_listen(podman, name):
    podman.start(name, BOX, "sleep", "1000")
    podman("stop", "-t", "0", name)
    assert podman.inspect(name, "{{.State.Status}} {{.State.ExitCode}}") == "exited 137"
    podman.remove(name)


def test_kill_with_a_signal(podman, name):
    podman.start(name, BOX, "sh", "-c", "trap 'echo hup' HUP; echo ready; while :; do sleep 0.1; done")
    wait_for(lambda: "ready" in podman("logs", name).out)
    podman("kill", "-s", "HUP", name)
    wait_for(lambda: "hup" in podman("logs", name).out)
    podman("kill", name)
    assert podman("wait", name).out == "137\n"
    podman.remove(name)


def test_kill_of_a_stopped_container_is_refused(podman, name):
    podman.start(name, BOX, "true")
    podman("wait", name)
    result = podman("kill", name, check=125)
    assert "can only kill running containers" in result.err
    podman.remove(name)


def test_restart_runs_it_again(podman, name):
    podman.start(name, BOX, "sh", "-c", "echo start; trap 'exit 0' TERM; while :; do sleep 0.1; done")
    wait_for(lambda: "start" in podman("logs", name).out)
    first = podman.inspect(name, "{{.State.Pid}}")
    podman("restart", "-t", "5", name)
    wait_for(lambda: podman("logs", name).out.count("start") == 2)
    assert podman.inspect(name, "{{.State.Pid}}") != first
    podman.remove(name)


def test_pause_stops_it_and_unpause_goes_on(podman, name):
    podman.start(name, BOX, "sh", "-c", "while :; do echo x; sleep 0.05; done")
    wait_for(lambda: podman("logs", name).out)
    podman("pause", name)
    assert podman.status(name) == "paused"
    before = podman("logs", name).out
    assert podman("logs", name).out == before
    assert "container state improper" in podman("exec", name, "true", check=False).err
    podman("unpause", name)
    wait_for(lambda: len(podman("logs", name).out) > len(before))
    assert podman.status(name) == "running"
    podman.remove(name)


def test_remove_of_a_paused_container(podman, name):
    podman.start(name, BOX, *FOREVER)
    podman("pause", name)
    podman.remove(name)


def test_remove_of_a_running_container_needs_force(podman, name):
    podman.start(name, BOX, *FOREVER)
    assert "cannot remove container" in podman("rm", name, check=2).err
    podman.remove(name)
    assert podman("container", "exists", name, check=False).rc == 1


def test_rm_flag_removes_it_after_its_death(podman, name):
    podman.start(name, "--rm", BOX, "sleep", "1000")
    podman("kill", name)
    wait_for(lambda: podman("container", "exists", name, check=False).rc == 1)


def test_runtime_process_killed_from_outside_is_noticed(podman, name):
    podman.start(name, BOX, *FOREVER)
    os.kill(int(podman.inspect(name, "{{.State.Pid}}")), signal.SIGKILL)
    assert podman("wait", name).out == "137\n"
    podman.remove(name)


def test_copy_into_and_out_of_a_running_container(podman, name, tmp_path):
    (tmp_path / "file").write_text("content\n")
    podman.start(name, BOX, *FOREVER)
    podman("cp", tmp_path / "file", f"{name}:/tmp/")
    assert podman("exec", name, "cat", "/tmp/file").out == "content\n"
    podman("cp", f"{name}:/tmp/file", tmp_path / "back")
    assert (tmp_path / "back").read_text() == "content\n"
    podman.remove(name)


def test_top_lists_the_processes(podman, name):
    podman.start(name, BOX, "sleep", "1000")
    assert "sleep 1000" in podman("top", name, "pid", "args").out
    # With options of ps it is the runtime's namespaces that ps is run in, or the host's list.
    podman.remove(name)


def test_stats_reads_the_containers_cgroup(podman, name):
    podman.start(name, BOX, "sh", "-c", "while :; do :; done")
    [stats] = json.loads(podman("stats", "--no-stream", "--format", "json", name).out)
    assert stats["name"] == name and stats["cpu_time"] != "0s"
    podman.remove(name)


def test_healthcheck(podman, name):
    podman.start(name, "--health-cmd", "test -e /tmp/well", "--health-interval", "disable",
                 "--health-retries", "1", BOX, *FOREVER)
    podman("healthcheck", "run", name, check=1)
    podman("exec", name, "touch", "/tmp/well")
    podman("healthcheck", "run", name)
    podman.remove(name)


# ---- exec ----

@pytest.fixture(scope="module")
def running(podman):
    """One container for the tests of exec."""
    name = engines.new_name()
    podman.start(name, "-e", "FROM=container", BOX, "sleep", "1000")
    yield name
    podman.remove(name)


def test_exec_output_status_and_stdin(podman, running):
    result = podman("exec", "-i", running, "sh", "-c", "cat; echo err >&2; exit 3", input="in", check=3)
    assert (result.out, result.err) == ("in", "err\n")


def test_exec_env_user_and_workdir(podman, running):
    out = podman("exec", "-e", "A=b", "-u", "1000:5", "-w", "/tmp", running, "sh", "-c",
                 "echo $A $FROM; pwd; id").out
    assert out.startswith("b container\n/tmp\nuid=1000(user) gid=5(tty)")


def test_exec_is_in_the_containers_namespaces_and_cgroup(podman, running):
    script = "for n in mnt pid net ipc uts cgroup; do readlink /proc/$P/ns/$n; done; cat /proc/$P/cgroup"
    inside = podman("exec", running, "sh", "-c", f"P=self; {script}").out
    first = podman("exec", running, "sh", "-c", f"P=1; {script}").out
    assert inside == first


def test_exec_has_the_containers_limits(podman, running):
    """Capabilities, filter and rlimits of the container, not of the host."""
    want = r"^(Cap\w+|Seccomp|NoNewPrivs):.*"

    def fields(pid):
        return re.findall(want, podman("exec", running, "cat", f"/proc/{pid}/status").out, re.M), \
            [line for line in podman("exec", running, "cat", f"/proc/{pid}/status").out.splitlines()
             if re.match(want, line)]

    assert fields("self") == fields("1")
    assert podman("exec", running, "sh", "-c", "ulimit -n").out == f"{engines.NOFILE}\n"


def test_exec_privileged_has_all_capabilities(podman, running):
    text = podman("exec", "--privileged", running, "cat", "/proc/self/status").out
    assert bits(text, "CapEff") == bits(Path("/proc/self/status").read_text(), "CapBnd")


def test_exec_of_a_program_that_is_not_there_is_127(podman, running):
    result = podman("exec", running, "no-such-program", check=127)
    assert "executable file not found in $PATH" in result.err


def test_exec_of_what_cannot_be_executed_is_126(podman, running):
    assert "permission denied" in podman("exec", running, "/etc/passwd", check=126).err


def test_exec_in_a_directory_that_is_not_there(podman, running):
    result = podman("exec", "-w", "/no/such", running, "true", check=False)
    assert result.rc in (126, 127)
    assert "/no/such" in result.err


def test_exec_detached(podman, running):
    podman("exec", "-d", running, "sh", "-c", "echo done >/tmp/detached")
    wait_for(lambda: podman("exec", running, "sh", "-c", "cat /tmp/detached || true").out == "done\n")


def test_exec_preserves_descriptors(podman, running, tmp_path):
    engines.run("sh", "-c", 'exec "$@" 3>"$0"', tmp_path / "three", *podman.command, "exec",
                "--preserve-fds", "1", running, "sh", "-c", "echo three >&3", env=podman.env)
    assert (tmp_path / "three").read_text() == "three\n"


def test_exec_died_by_signal(podman, running):
    podman("exec", running, "sh", "-c", "kill -9 $$", check=137)


def test_exec_in_a_container_that_stopped_is_refused(podman, name):
    podman.start(name, BOX, "true")
    podman("wait", name)
    result = podman("exec", name, "true", check=255)
    assert "container state improper" in result.err
    podman.remove(name)


def test_many_execs_at_once(podman, running):
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda n: podman("exec", running, "echo", str(n)).out, range(8)))
    assert results == [f"{n}\n" for n in range(8)]


# ---- terminals ----

def test_run_on_a_terminal(podman):
    with podman.terminal("run", "--rm", "-it", "--network=none", BOX, "sh") as t:
        t.type("tty; stty size\n")
        t.expect(r"/dev/(pts/0|console)\r\n33 101\r\n")
        t.type("exit 6\n")
        assert t.wait() == 6


def test_resize_of_the_terminal_is_passed_on(podman):
    with podman.terminal("run", "--rm", "-it", "--network=none", BOX, "sh", "-c",
                         "trap 'stty size' WINCH; echo ready; while :; do sleep 0.1; done") as t:
        t.expect("ready")
        t.resized(44, 111, "44 111")
        t.type("\x03")
        t.wait()


def test_interrupt_from_the_terminal_reaches_the_program(podman):
    with podman.terminal("run", "--rm", "-it", "--network=none", BOX, "sh", "-c",
                         "trap 'echo int; exit 9' INT; echo ready; while :; do sleep 0.1; done") as t:
        t.expect("ready")
        t.type("\x03")
        t.expect("int")
        assert t.wait() == 9


def test_exec_on_a_terminal(podman, running):
    with podman.terminal("exec", "-it", running, "sh") as t:
        t.type("tty; stty size; id -u\n")
        t.expect(r"/dev/pts/\d+\r\n33 101\r\n0\r\n")
        t.type("exit 4\n")
        assert t.wait() == 4


def test_detach_and_attach(podman, name):
    with podman.terminal("run", "-it", "--name", name, "--network=none", "--detach-keys=ctrl-e", BOX,
                         "sh") as t:
        t.type("echo fir''st\n")
        t.expect("first\r\n")
        t.type("\x05")
        assert t.wait() == 0
    assert podman.status(name) == "running"
    with podman.terminal("attach", name) as t:
        t.type("echo sec''ond\n")
        t.expect("second\r\n")
        t.type("exit 3\n")
        t.wait()
    assert podman("wait", name).out == "3\n"
    podman.remove(name)


# ---- pods, builds, checkpoints ----

@pytest.fixture
def pod(podman, request):
    """A pod whose containers share namespaces. Not a cgroup: podman 4.3 with the cgroupfs driver puts a
    device program on the pod's, in which no runtime can open /dev/null (seen with runc, too)."""
    name = engines.new_name()
    podman("pod", "create", "--name", name, "--network=none", "--infra-image", BOX,
           "--infra-command", "sleep 1000", "--share-parent=false")
    yield name
    podman("pod", "rm", "-f", "-t", "0", name)


def test_pod_shares_namespaces(podman, pod, name):
    script = "for n in net ipc uts; do readlink /proc/self/ns/$n; done"
    podman("run", "-d", "--pod", pod, "--name", name, BOX, *FOREVER)
    first = podman("exec", name, "sh", "-c", script).out
    second = podman("run", "--rm", "--pod", pod, BOX, "sh", "-c", script).out
    assert first == second
    assert os.readlink("/proc/self/ns/net") not in first


def test_pod_stop_start_and_kill(podman, pod, name):
    podman("run", "-d", "--pod", pod, "--name", name, BOX, *FOREVER)
    podman("pod", "stop", "-t", "0", pod)
    assert podman.status(name) == "exited"
    podman("pod", "start", pod)
    assert podman.status(name) == "running"
    podman("pod", "pause", pod)
    assert podman.status(name) == "paused"
    podman("pod", "unpause", pod)
    podman("pod", "kill", pod)
    wait_for(lambda: podman.status(name) == "exited")


def test_build_from_scratch(podman, rootfs, name, tmp_path):
    engines.run("tar", "-C", rootfs, "-cf", tmp_path / "box.tar", ".")
    (tmp_path / "Containerfile").write_text("""
        FROM scratch
        ADD box.tar /
        ENV PATH=/bin
        RUN echo built >/etc/built && id -u >>/etc/built
        USER 1000
        RUN id -u >/tmp/user
        CMD ["cat", "/etc/built", "/tmp/user"]
        """)
    podman("build", "-q", "--network=none", "--isolation=oci", "-t", name, tmp_path, timeout=120)
    assert podman.run(name).out == "built\n0\n1000\n"
    podman("rmi", name)


def test_failing_build_step_fails_the_build(podman, name, tmp_path):
    (tmp_path / "Containerfile").write_text(f"FROM localhost/{BOX}\nRUN exit 9\n")
    result = podman("build", "--network=none", "--isolation=oci", "-t", name, tmp_path, check=9)
    assert "exit status 9" in result.err


# ---- limits (in a virtual machine, where a start takes long: many in one container) ----

@pytest.mark.controllers
def test_limits_are_set_counted_and_updated(podman, name):
    podman.start(name, "--memory", "64m", "--memory-swap", "96m", "--memory-reservation", "32m",
                 "--pids-limit", "77", "--cpus", "0.5", "--cpuset-cpus", "1", BOX, "sleep", "1000")
    assert engines.limits(podman.inspect(name, "{{.State.Pid}}")) == {
        "memory.max": "67108864", "memory.swap.max": "33554432", "memory.low": "33554432",
        "pids.max": "77", "cpu.max": "50000 100000", "cpuset.cpus": "1"}
    [stats] = json.loads(podman("stats", "--no-stream", "--format", "json", name).out)
    assert stats["pids"] == "1" and not stats["mem_usage"].startswith("0B")
    podman("update", "--memory", "48m", "--cpus", "0.25", name)
    now = engines.limits(podman.inspect(name, "{{.State.Pid}}"))
    assert (now["memory.max"], now["cpu.max"], now["pids.max"]) == ("50331648", "25000 100000", "77")
    podman.remove(name)


@pytest.mark.controllers
def test_out_of_memory_is_reported(podman, name):
    """By the status, and by the counters of the cgroup, which the container sees as its own. Not by
    podman's OOMKilled: podman 4.3 says false, with runc just the same, although conmon 2.1.6 sees
    memory.events change and makes the file "oom"."""
    limits = ("--memory", "16m", "--memory-swap", "16m")
    hog = "dd if=/dev/zero of=/dev/null bs=64M count=1"
    podman("run", "--name", name, "--network=none", *limits, BOX, *hog.split(), check=137)
    assert podman.inspect(name, "{{.State.ExitCode}}") == "137"
    podman.remove(name)
    script = f"{hog}; echo status $?; cat /sys/fs/cgroup/memory.events"
    lines = podman.run(*limits, BOX, "sh", "-c", script).out.splitlines()
    assert "status 137" in lines and "oom_kill 1" in lines, lines
