import pytest, engines, os
from pathlib import Path
@pytest.mark.parametrize("i", range(10))
def test_x(podman, name, i):
    podman.start(name, "--uidmap", "0:100000:5000", "--gidmap", "0:100000:5000", "box", "sleep", "1000")
    podman("exec", name, "true")
    print(Path("/proc/self/mountinfo").read_text())
    r = podman("--log-level=debug", "rm", "-f", "-t", "0", name, check=False)
    print(Path("/proc/self/mountinfo").read_text())
    print(r)
    r2 = podman("rm", "-f", "-t", "0", name, check=False)
    assert r.rc == 0
