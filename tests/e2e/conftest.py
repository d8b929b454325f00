"""Fixtures of the end-to-end tests, and the frame that no test gets around:

- This process is a subreaper, so that every process a test causes stays below it.
- As root it lives in a mount namespace of its own, with its own /tmp and a tmpfs at /run. What
  appears there was made by the test, what other sessions do is not seen, and a mount that is
  forgotten harms nobody. NUCLEUS_E2E_PRIVATE=0 turns this off.
- After each test the machine must be as it was before (harness.LeakCheck). What is left is an
  error of that test, and is then removed, so that the next one starts clean.

Run with Debian's Python: /usr/bin/python3 -m pytest tests/e2e
"""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))
import harness  # noqa: E402

_private = False
_outside_tmp = None
_keep_tmp = False


def _needs_real_tmp(config):
    """Whether something given to us lies in the /tmp that we would hide."""
    given = [harness.binary(), str(config.rootpath), str(config.invocation_params.dir),
             str(config.option.basetemp or ""), str(harness.ROOT), *config.args,
             *os.environ.get("PYTHONPATH", "").split(":")]
    return any(os.path.realpath(path).startswith(("/tmp/", "/run/")) for path in given if path)


def pytest_configure(config):
    global _private, _outside_tmp
    config.addinivalue_line(
        "markers", "nucleus_only: about what other runtimes do not do; skipped when one stands in")
    harness.become_subreaper()
    wanted = os.environ.get("NUCLEUS_E2E_PRIVATE", "1") != "0" and os.geteuid() == 0
    if wanted and not _needs_real_tmp(config):
        _outside_tmp = tempfile.mkdtemp(prefix="nucleus-e2e-", dir="/tmp")
        os.chmod(_outside_tmp, 0o1777)
        harness.unshare_mounts()
        harness.mount(_outside_tmp, "/tmp", flags=harness.MS_BIND)
        harness.mount("tmpfs", "/run", "tmpfs", data="mode=0755")
        os.mkdir("/run/lock", 0o1777)
        tempfile.tempdir = None
        _private = True
        atexit.register(_remove_tmp)


def _remove_tmp():
    """At exit, for pytest itself has something to do in its /tmp until then."""
    harness.umount("/tmp")
    if _keep_tmp:
        print(f"the tests' /tmp was {_outside_tmp}; remove it when done")
    else:
        shutil.rmtree(_outside_tmp, ignore_errors=True)


def pytest_sessionfinish(session, exitstatus):
    global _keep_tmp
    _keep_tmp = exitstatus not in (0, 5)


def pytest_collection_modifyitems(items):
    if os.path.basename(harness.binary()) in ("runc", "crun"):
        for item in items:
            if item.get_closest_marker("nucleus_only"):
                item.add_marker(pytest.mark.skip(reason="another runtime stands in for nucleus"))


@pytest.fixture(scope="session", autouse=True)
def _session_dir(tmp_path_factory):
    harness.set_session_dir(tmp_path_factory.mktemp("session"))


@pytest.fixture(autouse=True)
def leak_check(_session_dir):
    """First to be set up and last to be torn down, so that it sees all that is left."""
    check = harness.LeakCheck(_private)
    yield check
    left = check.finish()
    if left:
        pytest.fail("left behind:\n  " + "\n  ".join(left), pytrace=False)


@pytest.fixture(scope="session")
def rootfs_template(tmp_path_factory):
    return harness.make_rootfs(tmp_path_factory.mktemp("template") / "rootfs")


@pytest.fixture
def make_nucleus(leak_check, tmp_path):
    """Makes drivers, each with a state directory and a key of its own."""

    def make(name="nucleus"):
        if not os.access(harness.binary(), os.X_OK):
            pytest.fail(f"no binary at {harness.binary()}: build it, or set NUCLEUS", pytrace=False)
        driver = harness.Nucleus(tmp_path / name)
        leak_check.drivers.append(driver)
        return driver

    return make


@pytest.fixture
def nucleus(make_nucleus):
    """The driver of a test. What it makes, the test has to delete."""
    return make_nucleus()


@pytest.fixture
def cid(nucleus):
    """An id of this test's own."""
    return nucleus.new_id()


@pytest.fixture
def make_bundle(tmp_path, rootfs_template):
    """Makes bundles: make_bundle("name")."""
    made = []

    def make(name=None):
        made.append(harness.Bundle(Path(tmp_path, name or f"bundle{len(made)}"), rootfs_template))
        return made[-1]

    return make


@pytest.fixture
def bundle(make_bundle):
    """A bundle that runs a shell; see harness.Bundle for how to change it."""
    return make_bundle("bundle")


@pytest.fixture
def counting(nucleus, make_bundle):
    """Makes containers that count; they are removed at the end."""
    made = []

    def make(*options, bundle=None, **kwargs):
        made.append(harness.Counting(nucleus, bundle or make_bundle(), *options, **kwargs))
        made[-1].more()
        return made[-1]

    yield make
    for cid in nucleus.ids_listed():
        nucleus.delete(cid, "-f")
