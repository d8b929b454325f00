"""What config.json asks of the kernel for a process beside its rights: scheduler, I/O priority, CPUs of an
exec, personality, NUMA policy; sysctls, network devices of the host, cache classes, labels of security modules."""

import ctypes
import json
import os
import subprocess

import pytest

from harness import _libc, reap_orphans

pytestmark = pytest.mark.nucleus_only

FOREVER = "trap 'exit 0' TERM; while :; do sleep 0.1; done"
SCHED = {"SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_IDLE": 5,
         "SCHED_DEADLINE": 6}
SYS_IOPRIO_GET = {"x86_64": 252, "aarch64": 31}[os.uname().machine]
IOPRIO_CLASS = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}


@pytest.fixture
def bundle(bundle):
    bundle.linux.pop("resources", None)
    return bundle.sh(FOREVER)


@pytest.fixture
def up(nucleus, bundle, cid):
    """Starts the bundle as it is now; its first process."""
    started = []

    def start():
        bundle.write()
        nucleus.create(cid, bundle)
        started.append(cid)
        nucleus.start(cid)
        return nucleus.state(cid)["pid"]

    yield start
    for one in started:
        # The first of a pid namespace ends last, and what `exec -d` added is this process's to reap.
        delete = nucleus.spawn("delete", "-f", one)
        while delete.popen.poll() is None:
            reap_orphans()
        assert delete.wait().rc == 0


def printed(nucleus, bundle, cid, script):
    """What a container's shell prints."""
    return nucleus.run_container(cid, bundle.sh(script)).out


# ---- scheduler and I/O priority


@pytest.mark.parametrize("asked, nice, priority", [
    ({"policy": "SCHED_BATCH", "nice": 7}, 7, 0),
    ({"policy": "SCHED_OTHER", "nice": -3}, -3, 0),
    ({"policy": "SCHED_IDLE"}, None, 0),
    ({"policy": "SCHED_FIFO", "priority": 5}, None, 5),
    ({"policy": "SCHED_RR", "priority": 9, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}, None, 9),
])
@pytest.mark.parametrize("userns", [False, True], ids=["", "userns"])
def test_scheduler(up, bundle, asked, nice, priority, userns):
    """In a user namespace, too, where the process itself might not."""
    bundle.process["scheduler"] = asked
    if userns:
        bundle.user_namespace()
    pid = up()
    policy = os.sched_getscheduler(pid)
    assert policy & ~os.SCHED_RESET_ON_FORK == SCHED[asked["policy"]]
    assert bool(policy & os.SCHED_RESET_ON_FORK) == ("flags" in asked)
    assert os.sched_getparam(pid).sched_priority == priority
    if nice is not None:
        assert os.getpriority(os.PRIO_PROCESS, pid) == nice


def test_deadline_scheduler(nucleus, up, bundle, cid):
    bundle.process["scheduler"] = {"policy": "SCHED_DEADLINE", "runtime": 1000000,
                                   "deadline": 20000000, "period": 40000000}
    # Such a process may not fork: hooks of the child would not run if it were one too early.
    bundle.config["hooks"] = {"createContainer": [{"path": "/bin/true"}]}
    bundle.args("sleep", "1000")  # it may not fork
    pid = up()
    assert os.sched_getscheduler(pid) == SCHED["SCHED_DEADLINE"]


def test_scheduler_that_the_kernel_refuses(nucleus, bundle, cid):
    bundle.process["scheduler"] = {"policy": "SCHED_DEADLINE", "runtime": 100, "deadline": 200,
                                   "period": 300}  # below the kernel's granularity
    bundle.write()
    nucleus.fails("create", "-b", bundle.dir, cid, text="process.scheduler")
    assert nucleus.ids_listed() == []


def io_priority(pid):
    value = ctypes.CDLL(None).syscall(SYS_IOPRIO_GET, 1, pid)
    return value >> 13, value & 7


@pytest.mark.parametrize("asked", [
    {"class": "IOPRIO_CLASS_RT", "priority": 2},
    {"class": "IOPRIO_CLASS_BE", "priority": 6},
    {"class": "IOPRIO_CLASS_IDLE", "priority": 0},
])
@pytest.mark.parametrize("userns", [False, True], ids=["", "userns"])
def test_io_priority(up, bundle, asked, userns):
    bundle.process["ioPriority"] = asked
    if userns:
        bundle.user_namespace()
    assert io_priority(up()) == (IOPRIO_CLASS[asked["class"]], asked["priority"])


def exec_process(nucleus, bundle, cid, tmp_path, args, *options, **more):
    process = {k: v for k, v in bundle.process.items() if k not in ("scheduler", "ioPriority")}
    path = tmp_path / "process.json"
    path.write_text(json.dumps({**process, "args": args, **more}))
    return nucleus.run("exec", "-p", path, *options, cid)


def test_an_exec_has_its_own(nucleus, up, bundle, cid, tmp_path):
    bundle.process["scheduler"] = {"policy": "SCHED_BATCH", "nice": 4}
    bundle.process["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 1}
    up()

    def added(**more):
        file = tmp_path / "pid"
        exec_process(nucleus, bundle, cid, tmp_path, ["sleep", "1000"], "-d", "--pid-file", file,
                     **more)
        return int(file.read_text())

    pid = added(scheduler={"policy": "SCHED_IDLE"},
                ioPriority={"class": "IOPRIO_CLASS_IDLE", "priority": 0})
    assert os.sched_getscheduler(pid) == SCHED["SCHED_IDLE"]
    assert io_priority(pid)[0] == IOPRIO_CLASS["IOPRIO_CLASS_IDLE"]
    # What it does not say is as the container's first process has it.
    pid = added()
    assert os.sched_getscheduler(pid) == SCHED["SCHED_BATCH"]
    assert os.getpriority(os.PRIO_PROCESS, pid) == 4
    assert io_priority(pid) == (IOPRIO_CLASS["IOPRIO_CLASS_BE"], 1)


# ---- CPUs of an exec

ALLOWED = ["sh", "-c", "sed -n 's/^Cpus_allowed_list:\\t//p' /proc/self/status"]


def as_set(text):
    cpus = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        cpus |= set(range(int(first), int(last or first) + 1))
    return cpus


def test_exec_cpu_affinity(nucleus, up, bundle, cid, tmp_path):
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        pytest.skip("one CPU only")
    up()

    def allowed(**affinity):
        more = {"execCPUAffinity": affinity} if affinity else {}
        return as_set(exec_process(nucleus, bundle, cid, tmp_path, ALLOWED, **more).out)

    everything = allowed()
    assert set(cpus) <= everything
    assert allowed(final=str(cpus[1])) == {cpus[1]}
    assert allowed(initial=str(cpus[0]), final=str(cpus[1])) == {cpus[1]}
    # Without a final set: where the cgroup lets it, not where it came in.
    assert allowed(initial=str(cpus[0])) == everything


def test_exec_cpu_affinity_of_the_container(nucleus, up, bundle, cid):
    """The process of config.json has it for those that exec adds, as its defaults."""
    cpus = sorted(os.sched_getaffinity(0))
    bundle.process["execCPUAffinity"] = {"final": str(cpus[-1])}
    pid = up()
    assert os.sched_getaffinity(pid) >= set(cpus)
    assert as_set(nucleus.run("exec", cid, *ALLOWED).out) == {cpus[-1]}


def test_exec_on_cpus_that_are_not_there(nucleus, up, bundle, cid, tmp_path):
    up()
    path = tmp_path / "process.json"
    for which in ("initial", "final"):
        path.write_text(json.dumps({**bundle.process, "args": ["true"],
                                    "execCPUAffinity": {which: "4000"}}))
        nucleus.fails("exec", "-p", path, cid, text=f"process.execCPUAffinity.{which}")


# ---- personality and NUMA policy


def test_personality(nucleus, bundle, cid):
    bundle.linux["personality"] = {"domain": "LINUX32"}
    assert printed(nucleus, bundle, cid, "uname -m; cat /proc/self/personality") == \
        "i686\n00000008\n"
    bundle.linux["personality"] = {"domain": "LINUX"}
    assert printed(nucleus, bundle, nucleus.new_id(), "cat /proc/self/personality") == "00000000\n"


def test_personality_of_an_exec_is_the_containers(nucleus, up, bundle, cid):
    bundle.linux["personality"] = {"domain": "LINUX32"}
    up()
    assert nucleus.run("exec", cid, "uname", "-m").out == "i686\n"


@pytest.mark.parametrize("policy, seen", [
    ({"mode": "MPOL_BIND", "nodes": "0"}, "bind:0"),
    ({"mode": "MPOL_INTERLEAVE", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]},
     "interleave=static:0"),
    ({"mode": "MPOL_PREFERRED", "nodes": "0"}, "prefer:0"),
    ({"mode": "MPOL_LOCAL"}, "local"),
    ({"mode": "MPOL_DEFAULT"}, "default"),
])
@pytest.mark.parametrize("userns", [False, True], ids=["", "userns"])
def test_memory_policy(nucleus, bundle, cid, policy, seen, userns):
    bundle.linux["memoryPolicy"] = policy
    if userns:
        bundle.user_namespace()
    # The heap has the process's policy, as numa_maps shows it.
    out = printed(nucleus, bundle, cid, "grep heap /proc/self/numa_maps | cut -d' ' -f2")
    assert out == seen + "\n"


def test_memory_policy_on_nodes_that_are_not_there(nucleus, bundle, cid):
    bundle.linux["memoryPolicy"] = {"mode": "MPOL_BIND", "nodes": "63"}
    bundle.write()
    nucleus.fails("create", "-b", bundle.dir, cid, text="linux.memoryPolicy")


# ---- sysctl


def read(path):
    with open(path) as f:
        return f.read()


SYSCTLS = {"net.ipv4.ip_forward": "1", "net.core.somaxconn": "4242",
           "kernel.shm_rmid_forced": "1", "kernel.msgmax": "4096", "fs.mqueue.msg_max": "77"}


def test_sysctl(nucleus, bundle, cid):
    paths = ["/proc/sys/" + key.replace(".", "/") for key in SYSCTLS]
    before = [read(p) for p in paths]
    bundle.linux["sysctl"] = SYSCTLS
    out = printed(nucleus, bundle, cid, "cat " + " ".join(paths))
    assert out.split() == list(SYSCTLS.values())
    assert [read(p) for p in paths] == before


def test_sysctl_in_a_user_namespace(nucleus, bundle, cid):
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1", "net/ipv4/ping_group_range": "0 0"}
    bundle.user_namespace()
    assert printed(nucleus, bundle, cid,
                   "cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/ping_group_range") == \
        "1\n0\t0\n"


def test_sysctl_that_fails(nucleus, bundle, cid):
    for key, value in (("net.ipv4.no_such_thing", "1"), ("net.ipv4.ip_forward", "perhaps")):
        bundle.linux["sysctl"] = {key: value}
        bundle.write()
        nucleus.fails("create", "-b", bundle.dir, cid, text=key)
        assert nucleus.ids_listed() == []


@pytest.mark.parametrize("key", ["net.//.kernel.panic", "net/../kernel/panic", "net..ipv4.x",
                                 "net./.ipv4.x", "kernel.panic", "vm.swappiness"])
def test_sysctl_of_the_host_is_refused(nucleus, bundle, cid, key):
    before = read("/proc/sys/kernel/panic")
    bundle.linux["sysctl"] = {key: "77"}
    bundle.write()
    nucleus.fails("create", "-b", bundle.dir, cid, text="linux.sysctl")
    assert read("/proc/sys/kernel/panic") == before


def test_sysctl_is_not_written_through_the_rootfs(nucleus, up, bundle, cid):
    """CVE-2025-52881: a /proc/sys of the container's making takes no write."""
    fake = bundle.rootfs / "proc/sys/net/ipv4"
    fake.mkdir(parents=True)
    (fake / "ip_forward").write_text("fake\n")
    bundle.config["mounts"] = [m for m in bundle.config["mounts"] if m["destination"] != "/proc"]
    bundle.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    bundle.linux["maskedPaths"] = bundle.linux["readonlyPaths"] = []
    pid = up()
    assert (fake / "ip_forward").read_text() == "fake\n"
    out = subprocess.run(["nsenter", "-t", str(pid), "-n", "cat", "/proc/sys/net/ipv4/ip_forward"],
                         capture_output=True, text=True).stdout
    assert out == "1\n"


def test_sysctl_of_an_interface_that_a_hook_makes(nucleus, bundle, cid):
    """Engines make interfaces in createRuntime hooks, and name them in sysctls (docker run --sysctl)."""
    bundle.config["hooks"] = {"createRuntime": [{
        "path": "/bin/sh",
        "args": ["sh", "-c", "pid=$(sed -n 's/.*\"pid\": *\\([0-9]*\\).*/\\1/p');"
                             "nsenter -t $pid -n ip link add veth.7 type veth peer name peer7"],
        "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}]}
    bundle.linux["sysctl"] = {"net.ipv4.conf.veth/7.forwarding": "1"}
    assert printed(nucleus, bundle, cid, "cat /proc/sys/net/ipv4/conf/veth.7/forwarding") == "1\n"


# ---- network devices


@pytest.fixture
def host_device():
    """A veth in a network namespace that this process has as its own until the end of the test."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY)
    _libc("unshare", 0x40000000)
    subprocess.run(["ip", "link", "add", "host7", "type", "veth", "peer", "name", "peer7"],
                   check=True)
    subprocess.run(["ip", "addr", "add", "192.0.2.7/24", "dev", "host7"], check=True)
    subprocess.run(["ip", "addr", "add", "2001:db8::7/64", "dev", "host7", "nodad"], check=True)
    yield "host7"
    _libc("setns", own, 0x40000000)
    os.close(own)


def test_net_device_moves(nucleus, bundle, cid, host_device):
    bundle.linux["netDevices"] = {host_device: {"name": "eth0"}}
    out = printed(nucleus, bundle, cid, "ip -o addr show dev eth0; ip link show dev eth0")
    assert "192.0.2.7/24" in out and "2001:db8::7/64" in out
    assert "UP" in out.split("mtu")[0].split("<")[1].split(">")[0].split(",")


def test_net_device_keeps_its_name(nucleus, up, bundle, cid, host_device):
    bundle.linux["netDevices"] = {host_device: {}}
    up()
    assert "192.0.2.7/24" in nucleus.run("exec", cid, "ip", "-o", "addr", "show", host_device).out
    assert host_device not in subprocess.run(["ip", "link"], capture_output=True, text=True).stdout


def test_net_device_named_by_a_template(nucleus, bundle, cid, host_device):
    """"unless the user has provided a template by appending %d" (config-linux.md)"""
    bundle.linux["netDevices"] = {host_device: {"name": "net%d"}}
    assert "192.0.2.7/24" in printed(nucleus, bundle, cid, "ip -o addr show dev net0")


def test_net_devices_that_cannot_move(nucleus, bundle, cid, host_device):
    for devices, text in (({"nothing7": {}}, "nothing7"), ({host_device: {"name": "lo"}}, "'lo'")):
        bundle.linux["netDevices"] = devices
        bundle.write()
        nucleus.fails("create", "-b", bundle.dir, cid, text=text)
        assert nucleus.ids_listed() == []
    out = subprocess.run(["ip", "-o", "addr", "show", host_device], capture_output=True, text=True)
    assert "192.0.2.7/24" in out.stdout


def test_net_device_without_a_network_namespace(nucleus, bundle, cid, host_device):
    bundle.linux["netDevices"] = {host_device: {}}
    bundle.namespaces("pid", "ipc", "uts", "mount", "cgroup")
    nucleus.fails("create", "-b", bundle.dir, cid, text="netDevices")
    assert host_device in subprocess.run(["ip", "link"], capture_output=True, text=True).stdout


# ---- what this host does not have


def test_intel_rdt_where_there_is_none(nucleus, bundle, cid):
    if os.path.ismount("/sys/fs/resctrl"):
        pytest.skip("this host has it")
    bundle.linux["intelRdt"] = {"closID": "gold", "schemata": ["L3:0=1"]}
    bundle.write()
    nucleus.fails("create", "-b", bundle.dir, cid,
                  text=["linux.intelRdt", "/sys/fs/resctrl", "mount -t resctrl"])
    assert nucleus.ids_listed() == []
    assert nucleus.cgroups(cid) == []


def has_apparmor():
    try:
        return read("/sys/module/apparmor/parameters/enabled").startswith("Y")
    except OSError:
        return False


@pytest.mark.skipif(has_apparmor(), reason="this host has it")
def test_apparmor_where_there_is_none(nucleus, bundle, cid):
    bundle.process["apparmorProfile"] = "web"
    bundle.write()
    nucleus.fails("create", "-b", bundle.dir, cid, text=["process.apparmorProfile", "AppArmor"])
    assert nucleus.ids_listed() == []
    # That nothing confines it is what it asks for.
    bundle.process["apparmorProfile"] = "unconfined"
    assert printed(nucleus, bundle, cid, "echo fine") == "fine\n"


@pytest.mark.skipif(os.path.exists("/sys/fs/selinux/enforce"), reason="this host has it")
def test_selinux_where_there_is_none(nucleus, bundle, cid):
    bundle.process["selinuxLabel"] = "system_u:system_r:container_t:s0:c1,c2"
    bundle.write()
    nucleus.fails("create", "-b", bundle.dir, cid, text=["process.selinuxLabel", "SELinux"])
    assert nucleus.ids_listed() == []


@pytest.mark.skipif(has_apparmor(), reason="this host has it")
def test_labels_of_an_exec(nucleus, up, bundle, cid, tmp_path):
    up()
    path = tmp_path / "process.json"
    path.write_text(json.dumps({**bundle.process, "args": ["true"], "apparmorProfile": "web"}))
    nucleus.fails("exec", "-p", path, cid, text="process.apparmorProfile")
