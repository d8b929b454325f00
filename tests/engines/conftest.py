"""Frame of the engines' tests: real podman, containerd, dockerd and conmon with $NUCLEUS below.

An engine writes to half of the machine. So the test process, and all it starts, lives in a world
of its own (engines.World): mount, network and cgroup namespaces in which /etc, /opt, /var and /run
are throw-away and /sys/fs/cgroup is a pure cgroup v2. After each test, and after each engine has
ended, the machine must be as it was before.

Any runtime with runc's command line can stand in: NUCLEUS=/usr/sbin/runc. (crun raises
RLIMIT_MEMLOCK, which a host without CAP_SYS_RESOURCE refuses.)
Run with Debian's Python: /usr/bin/python3 -m pytest tests/engines
"""

import os
import shutil
import sys
from pathlib import Path

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]
import engines  # noqa: E402
import harness  # noqa: E402

_world = None


def pytest_configure(config):
    global _world
    config.addinivalue_line("markers", "controllers: needs cgroup v2 controllers, which a host "
                                       "with cgroup v1 in use has not")
    config.addinivalue_line("markers", "systemd: needs systemd as PID 1")
    config.addinivalue_line("markers", "shared_pid: the pod of this test shares its process namespace")
    if config.option.collectonly:
        return
    if os.geteuid() != 0:
        raise pytest.UsageError("must be run as root")
    _world = engines.World(config)


def pytest_sessionfinish(session, exitstatus):
    if _world and exitstatus not in (0, 5):
        _world.keep()


def pytest_collection_modifyitems(items):
    for item in items:
        for name, why in (("controllers", engines.lacks_controllers), ("systemd", engines.lacks_systemd)):
            reason = item.get_closest_marker(name) and why()
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory):
    """A busybox file system."""
    return harness.make_rootfs(tmp_path_factory.mktemp("image") / "rootfs")


@pytest.fixture(scope="session")
def image_tar(rootfs, tmp_path_factory):
    """The same as an OCI image, docker.io/library/box:latest, in a tar archive."""
    return engines.make_image(rootfs, tmp_path_factory.mktemp("image") / "box.tar")


@pytest.fixture(scope="module", autouse=True)
def nothing_left_by_the_engine(rootfs, image_tar):
    """First to be set up in a module and last to be torn down: sees what an engine leaves."""
    yield from _check(engines.Leftovers())


@pytest.fixture(autouse=True)
def nothing_left(request):
    """The same for each test, when its module's engine already runs."""
    for name in ("podman", "containerd", "docker"):
        if name in request.fixturenames:
            request.getfixturevalue(name)
    yield from _check(engines.Leftovers())


def _check(check):
    yield
    left = check.finish()
    if left:
        pytest.fail("left behind:\n  " + "\n  ".join(left), pytrace=False)


def _tool(name):
    path = shutil.which(name, path=engines.PATH)
    if not path:
        pytest.fail(f"{name} is missing: scripts/install-deps engines", pytrace=False)
    return path


@pytest.fixture(scope="module")
def podman(nothing_left_by_the_engine, rootfs, tmp_path_factory):
    _tool("podman")
    yield from engines.Podman(tmp_path_factory.mktemp("podman"), rootfs).serve()


@pytest.fixture(scope="module")
def containerd(nothing_left_by_the_engine, image_tar, tmp_path_factory):
    _tool("containerd")
    yield from engines.Containerd(tmp_path_factory.mktemp("containerd"), image_tar).serve()


@pytest.fixture(scope="module")
def docker(nothing_left_by_the_engine, image_tar, tmp_path_factory):
    _tool("dockerd")
    yield from engines.Docker(tmp_path_factory.mktemp("docker"), image_tar).serve()


@pytest.fixture
def name():
    """A container's name of this test's own."""
    return engines.new_name()


@pytest.fixture
def shared(tmp_path):
    """A directory to be bound into a container, with a file `in` that says hello."""
    directory = Path(tmp_path, "shared")
    directory.mkdir()
    (directory / "in").write_text("hello\n")
    return directory
