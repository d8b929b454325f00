"""Kubernetes' way in: containerd's CRI plugin with the runtime under test, asked over gRPC.

Debian 12 has neither crictl nor CRI-O nor a kubelet; tests/engines/cri.py is the client."""

import json
import os
import re

import pytest

import engines
import harness
from engines import wait_for

cri = pytest.importorskip("cri", reason="python3-grpcio is missing: scripts/install-deps engines")

BOX = engines.Containerd.IMAGE
FOREVER = ["sh", "-c", "trap 'exit 0' TERM; sleep 1000 & wait"]


@pytest.fixture(scope="module")
def containerd(nothing_left_by_the_engine, image_tar, rootfs, tmp_path_factory):
    pause = engines.make_image(rootfs, tmp_path_factory.mktemp("pause") / "pause.tar",
                               engines.CRI.PAUSE, ["sleep", "100000"])
    yield from engines.CRI(tmp_path_factory.mktemp("cri"), image_tar, pause).serve()


@pytest.fixture(scope="module")
def runtime(containerd):
    yield cri.Runtime(containerd.SOCKET)


@pytest.fixture
def pod(containerd, runtime, tmp_path, request):
    """A sandbox: (id, its config)."""
    pid = cri.POD if "shared_pid" in request.keywords else cri.CONTAINER
    made = runtime.run_pod(engines.new_name(), tmp_path / "logs", pid)
    yield made
    runtime.remove_pod(made[0])


def pid_of(runtime, container):
    return json.loads(runtime.status(container)[3])["pid"]


def wait_exited(runtime, container):
    wait_for(lambda: runtime.status(container)[0] == cri.EXITED)
    return runtime.status(container)[1]


def test_container_of_a_pod_runs_logs_and_ends(runtime, pod, tmp_path):
    container = runtime.create(pod, "app", BOX, "sh", "-c", "echo out; echo err >&2; exit 7")
    assert runtime.status(container)[0] == cri.CREATED
    runtime.start(container)
    assert wait_exited(runtime, container) == 7
    lines = re.findall(r"^\S+ (stdout|stderr) F (.*)$", (tmp_path / "logs/app.log").read_text(), re.M)
    assert sorted(lines) == [("stderr", "err"), ("stdout", "out")]
    runtime.remove(container)


def test_containers_of_a_pod_share_what_it_shares(runtime, pod):
    ids = [runtime.create(pod, name, BOX, *FOREVER) for name in ("one", "two")]
    for container in ids:
        runtime.start(container)
    one, two = ({kind: os.readlink(f"/proc/{pid_of(runtime, c)}/ns/{kind}")
                 for kind in ("ipc", "net", "mnt", "pid")} for c in ids)
    assert one["ipc"] == two["ipc"] != os.readlink("/proc/self/ns/ipc")
    assert one["net"] == two["net"] == os.readlink("/proc/self/ns/net")
    assert one["mnt"] != two["mnt"] and one["pid"] != two["pid"]
    for container in ids:
        runtime.stop(container)
        runtime.remove(container)


@pytest.mark.shared_pid
def test_process_namespace_of_a_pod_is_shared(runtime, pod):
    container = runtime.create(pod, "app", BOX, *FOREVER, pid=cri.POD)
    runtime.start(container)
    assert "sleep 100000" in runtime.execute(container, "ps", "-o", "args")[0]
    runtime.stop(container, 5)
    runtime.remove(container)


def test_exec_gives_output_and_status(runtime, pod):
    container = runtime.create(pod, "app", BOX, *FOREVER, envs=[{1: "A", 2: "b"}], working_dir="/tmp")
    runtime.start(container)
    assert runtime.execute(container, "sh", "-c", "echo $A; pwd; echo err >&2; exit 3") == \
        ("b\n/tmp\n", "err\n", 3)
    runtime.stop(container)
    runtime.remove(container)


def test_exec_that_takes_too_long_is_ended(runtime, pod):
    container = runtime.create(pod, "app", BOX, *FOREVER)
    runtime.start(container)
    with pytest.raises(cri.grpc.RpcError, match="(?i)timeout|deadline"):
        runtime.execute(container, "sleep", "1001", timeout=1)
    assert "1001" not in runtime.execute(container, "ps", "-o", "args")[0]
    runtime.stop(container)
    runtime.remove(container)


def test_exec_of_a_program_that_is_not_there(runtime, pod):
    container = runtime.create(pod, "app", BOX, *FOREVER)
    runtime.start(container)
    with pytest.raises(cri.grpc.RpcError, match="executable file not found in \\$PATH"):
        runtime.execute(container, "no-such-program")
    runtime.stop(container)
    runtime.remove(container)


def test_program_that_is_not_there_fails_the_start(runtime, pod):
    container = runtime.create(pod, "app", BOX, "no-such-program")
    with pytest.raises(cri.grpc.RpcError, match="executable file not found in \\$PATH"):
        runtime.start(container)
    runtime.remove(container)


def test_stop_asks_first_and_kills_then(runtime, pod):
    polite = runtime.create(pod, "polite", BOX, "sh", "-c", "trap 'exit 5' TERM; touch /ready; sleep 1000 & wait")
    deaf = runtime.create(pod, "deaf", BOX, "sleep", "1000")
    for container, status in ((polite, 5), (deaf, 137)):
        runtime.start(container)
        if container is polite:
            wait_for(lambda: runtime.execute(polite, "test", "-e", "/ready")[2] == 0)
        runtime.stop(container, 10 if container is polite else 1)
        assert wait_exited(runtime, container) == status
        runtime.remove(container)


def test_security_context(runtime, pod):
    container = runtime.create(pod, "app", BOX, *FOREVER, linux={2: {
        5: {1: 1000}, 7: True, 11: True, 15: {1: cri.RUNTIME_DEFAULT}, 13: ["/proc/meminfo"],
        1: {1: ["NET_ADMIN"], 2: ["ALL"]}}})
    runtime.start(container)
    out = runtime.execute(container, "sh", "-c",
                          "id -u; cat /proc/meminfo; touch /a; grep -E 'NoNew|Seccomp:|CapBnd' /proc/self/status")
    assert out[0].startswith("1000\n") and "MemTotal" not in out[0] and "Read-only file system" in out[1]
    assert re.search(r"NoNewPrivs:\s1\n", out[0]) and re.search(r"Seccomp:\s2\n", out[0])
    assert int(re.search(r"CapBnd:\s(\w+)", out[0]).group(1), 16) == 1 << 12
    runtime.stop(container)
    runtime.remove(container)


def test_volume(runtime, pod, shared):
    container = runtime.create(pod, "app", BOX, "cp", "/shared/in", "/shared/out",
                               mounts=[{1: "/shared", 2: str(shared)}])
    runtime.start(container)
    assert wait_exited(runtime, container) == 0
    assert (shared / "out").read_text() == "hello\n"
    runtime.remove(container)


def test_pod_takes_its_containers_along(runtime, tmp_path):
    pod = runtime.run_pod(engines.new_name(), tmp_path / "logs")
    container = runtime.create(pod, "app", BOX, *FOREVER)
    runtime.start(container)
    pid = pid_of(runtime, container)
    runtime.remove_pod(pod[0])
    assert not harness.alive(pid)


@pytest.mark.controllers
def test_resources_are_set_and_updated(runtime, pod):
    container = runtime.create(pod, "app", BOX, *FOREVER, linux={1: {1: 100000, 2: 50000, 4: 64 << 20}})
    runtime.start(container)
    now = engines.limits(pid_of(runtime, container))
    assert (now["memory.max"], now["cpu.max"]) == (str(64 << 20), "50000 100000")
    runtime.call("UpdateContainerResources", {1: container, 2: {1: 100000, 2: 25000, 4: 48 << 20}})
    now = engines.limits(pid_of(runtime, container))
    assert (now["memory.max"], now["cpu.max"]) == (str(48 << 20), "25000 100000")
    runtime.stop(container)
    runtime.remove(container)
