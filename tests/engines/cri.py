"""A client of Kubernetes' CRI (runtime.v1, k8s.io/cri-api), as small as the tests' need of it.

Debian 12 has no crictl. gRPC is python3-grpcio's; the few messages are written and read here by their
field numbers, without a schema."""

import grpc


def _varint(number):
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def message(fields):
    """Bytes of a message: {number: value}, where a value is a text, a number, a bool, a message (a
    dict) or a list of these."""
    out = b""
    for number, value in fields.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, (bool, int)):
                out += _varint(number << 3) + _varint(int(item))
                continue
            data = message(item) if isinstance(item, dict) else item.encode()
            out += _varint(number << 3 | 2) + _varint(len(data)) + data
    return out


def fields(data):
    """{number: [values]} of a message; nested ones stay bytes."""
    found, at = {}, 0

    def varint():
        nonlocal at
        number = shift = 0
        while True:
            byte = data[at]
            at += 1
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            value = varint()
        else:
            assert key & 7 == 2, f"wire type {key & 7}"
            length = varint()
            value = data[at:at + length]
            at += length
        found.setdefault(key >> 3, []).append(value)
    return found


def text(found, number):
    return found.get(number, [b""])[0].decode()


def number(found, number):
    return found.get(number, [0])[0]


POD, CONTAINER, NODE = 0, 1, 2  # NamespaceMode
CREATED, RUNNING, EXITED = 0, 1, 2  # ContainerState
RUNTIME_DEFAULT, UNCONFINED = 0, 1  # SecurityProfile.ProfileType


class Runtime:
    """The RuntimeService behind a socket."""

    def __init__(self, socket):
        self.channel = grpc.insecure_channel(f"unix://{socket}")

    def call(self, method, request, timeout=30):
        call = self.channel.unary_unary(f"/runtime.v1.RuntimeService/{method}",
                                        request_serializer=message, response_deserializer=fields)
        return call(request, timeout=timeout)

    def ready(self):
        try:
            return self.call("Version", {}, 2)
        except grpc.RpcError:
            return None

    def run_pod(self, name, logs, pid=CONTAINER):
        """Network and host name are the node's, so no CNI is needed. Returns (id, config)."""
        config = {1: {1: name, 2: f"uid-{name}", 3: "default"}, 3: str(logs),
                  8: {2: {1: {1: NODE, 2: pid, 3: POD}}}}
        return text(self.call("RunPodSandbox", {1: config}), 1), config

    def remove_pod(self, pod):
        self.call("StopPodSandbox", {1: pod})
        self.call("RemovePodSandbox", {1: pod})

    def create(self, pod, name, image, *command, pid=CONTAINER, linux=None, **members):
        """members: fields of ContainerConfig by name; linux: LinuxContainerConfig's by number."""
        names = {"working_dir": 5, "envs": 6, "mounts": 7, "tty": 14}
        linux = {**(linux or {})}
        linux[2] = {3: {1: NODE, 2: pid, 3: POD}, **linux.get(2, {})}
        config = {1: {1: name}, 2: {1: image}, 3: list(command), 11: f"{name}.log", 15: linux,
                  **{names[k]: v for k, v in members.items()}}
        return text(self.call("CreateContainer", {1: pod[0], 2: config, 3: pod[1]}), 1)

    def start(self, container):
        self.call("StartContainer", {1: container})

    def stop(self, container, timeout=0):
        self.call("StopContainer", {1: container, 2: timeout})

    def remove(self, container):
        self.call("RemoveContainer", {1: container})

    def status(self, container):
        """(state, exit code, reason, info as JSON text)"""
        answer = self.call("ContainerStatus", {1: container, 2: True})
        status = fields(answer[1][0])
        info = {text(fields(e), 1): text(fields(e), 2) for e in answer.get(2, [])}
        return number(status, 3), number(status, 7), text(status, 10), info.get("info", "")

    def execute(self, container, *command, timeout=10):
        """(output, error stream, status)"""
        answer = self.call("ExecSync", {1: container, 2: list(command), 3: timeout})
        return text(answer, 1), text(answer, 2), number(answer, 3)
