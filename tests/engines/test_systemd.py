"""Engines that leave cgroups to systemd (runc's --systemd-cgroup): scopes in slices. Only where PID 1
is systemd; a virtual machine is, where a start takes long, so one container shows all."""

from pathlib import Path

import pytest

import engines

pytestmark = pytest.mark.systemd
BOX = "box"


def unit(pid, name):
    """The scope that a process is in, and a property of it."""
    scope = Path(f"/proc/{pid}/cgroup").read_text().strip().split("/")[-1]
    return scope, engines.run("systemctl", "show", "-P", name, scope).out.strip()


@pytest.fixture(scope="module")
def podman(nothing_left_by_the_engine, rootfs, tmp_path_factory):
    yield from engines.Podman(tmp_path_factory.mktemp("podman"), rootfs, "systemd").serve()


@pytest.fixture(scope="module")
def docker(nothing_left_by_the_engine, image_tar, tmp_path_factory):
    yield from engines.Docker(tmp_path_factory.mktemp("docker"), image_tar, "systemd").serve()


def test_podman_container_is_a_scope_with_its_limits(podman, name):
    podman.start(name, "--memory", "64m", "--pids-limit", "77", BOX, "sleep", "1000")
    pid = podman.inspect(name, "{{.State.Pid}}")
    scope, memory = unit(pid, "MemoryMax")
    assert (scope, memory) == (f"libpod-{podman.inspect(name, '{{.Id}}')}.scope", str(64 << 20))
    assert unit(pid, "Slice")[1] == "machine.slice"
    now = engines.limits(pid)
    assert (now["memory.max"], now["pids.max"]) == (str(64 << 20), "77")
    podman("update", "--memory", "48m", name)
    assert unit(pid, "MemoryMax")[1] == str(48 << 20)
    assert podman("exec", name, "cat", "/proc/self/cgroup").out == podman("exec", name, "cat", "/proc/1/cgroup").out
    podman.remove(name)
    assert engines.run("systemctl", "show", "-P", "ActiveState", scope).out.strip() == "inactive"


def test_docker_container_is_a_scope_with_its_limits(docker, name):
    docker.start(name, "--memory", "64m", "--pids-limit", "77", BOX, "sleep", "1000")
    pid = docker.inspect(name, "{{.State.Pid}}")
    scope, memory = unit(pid, "MemoryMax")
    assert (scope, memory) == (f"docker-{docker.inspect(name, '{{.Id}}')}.scope", str(64 << 20))
    assert unit(pid, "Slice")[1] == "system.slice"
    docker("update", "--memory", "48m", "--memory-swap", "48m", name)
    assert unit(pid, "MemoryMax")[1] == str(48 << 20)
    docker.remove(name)
    assert engines.run("systemctl", "show", "-P", "ActiveState", scope).out.strip() == "inactive"
