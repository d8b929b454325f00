#!/usr/bin/python3
"""Counts, and holds one of each thing a checkpoint has to carry, checking all of them every tick.

    counter.py [MB] [--interval S] [--dir DIR] [--without tcp,unix,...]

Prints one line a tick, `tick 17 ok memory=32M tcp=ok ...`. The first thing found broken prints
`FAIL <what>: <why>` and ends the program with 1. SIGTERM prints `bye N` and ends it with 0.

It runs as PID 1 as well as anywhere, needs nothing but the standard library, and does not mind
when time jumps: what has to happen is waited for in short polls that are counted, so that minutes
spent frozen are not a delay.
"""

import argparse
import ctypes
import fcntl
import hashlib
import os
import select
import signal
import socket
import struct
import sys
import threading
import zlib

MIB = 1 << 20
POLLS, POLL = 100, 0.05  # wait for 5 s of own time at most


class Broken(Exception):
    """One of the things held is not as it was."""

    def __init__(self, what, why):
        super().__init__(f"{what}: {why}")
        self.what, self.why = what, why


def expect(what, got, want):
    if got != want:
        if isinstance(got, bytes) and len(got) > 40:
            got, want = f"{len(got)} bytes {got[:16]!r}", f"{len(want)} bytes {want[:16]!r}"
        raise Broken(what, f"got {got!r}, not {want!r}")


def pattern(label, size):
    """Bytes that anyone can compute again."""
    block = b"".join(hashlib.sha256(f"{label} {i}".encode()).digest() for i in range(2048))
    return (block * (size // len(block) + 1))[:size]


def readable(what, fd):
    for _ in range(POLLS):
        if select.select([fd], [], [], POLL)[0]:
            return
    raise Broken(what, "nothing came within 5 s")


def read_exactly(what, fd, size):
    data = b""
    while len(data) < size:
        readable(what, fd)
        more = os.read(fd, size - len(data))
        if not more:
            raise Broken(what, f"end of file after {len(data)} of {size} bytes")
        data += more
    return data


class Memory:
    """Slices of 1 MiB, each with content of its own. A second thread keeps verifying them all,
    the main thread a few each tick, and one page changes each tick so that it is never clean."""

    PER_TICK = 4

    def __init__(self, size_mb, _dir):
        base = bytearray(pattern("memory", MIB))
        self.slices, self.sums = [], []
        for i in range(size_mb):
            base[:8] = struct.pack("<Q", i * 0x9E3779B97F4A7C15 % 2**64)
            self.slices.append(bytearray(base))
            self.sums.append(zlib.crc32(base))
        self.size_mb = size_mb
        self.next = 0
        self.page = bytearray(4096)
        self.broken = None
        self.rounds = 0
        self.alive = threading.Event()
        self.stop = threading.Event()
        self.thread = None

    def start(self):
        self.thread = threading.Thread(target=self.keep_verifying, name="verifier", daemon=True)
        self.thread.start()

    def verify(self, i):
        if zlib.crc32(self.slices[i]) != self.sums[i]:
            raise Broken("memory", f"MiB {i} of {self.size_mb} changed")

    def keep_verifying(self):
        i = 0
        while not self.stop.wait(0.01):
            try:
                if self.slices:
                    self.verify(i)
            except Broken as broken:
                self.broken = broken
                return
            i += 1
            if i >= self.size_mb:
                i = 0
                self.rounds += 1
            self.alive.set()

    def check(self, tick):
        expect("memory page", bytes(self.page[:8]), struct.pack("<Q", tick - 1))
        self.page[:8] = struct.pack("<Q", tick)
        for _ in range(min(self.PER_TICK, self.size_mb)):
            self.verify(self.next)
            self.next = (self.next + 1) % self.size_mb
        if self.broken:
            raise self.broken
        for _ in range(POLLS):
            if self.alive.wait(POLL):
                break
        else:
            raise Broken("thread", "the verifying thread does nothing")
        self.alive.clear()
        return f"{self.size_mb}M"


class Tcp:
    """A connection to itself over 127.0.0.1; every tick goes there and back."""

    def __init__(self, _size, _dir):
        listener = socket.create_server(("127.0.0.1", 0))
        try:
            self.client = socket.create_connection(listener.getsockname())
        except OSError:
            loopback_up(listener)
            self.client = socket.create_connection(listener.getsockname())
        self.server, _ = listener.accept()
        listener.close()
        self.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def check(self, tick):
        ask = struct.pack("<Q", tick) * 64
        self.client.sendall(ask)
        expect("tcp", read_exactly("tcp", self.server.fileno(), len(ask)), ask)
        self.server.sendall(ask[::-1])
        expect("tcp back", read_exactly("tcp back", self.client.fileno(), len(ask)), ask[::-1])
        return "ok"


class Unix:
    """A socket pair; what was sent at one tick is received at the next."""

    def __init__(self, _size, _dir):
        self.a, self.b = socket.socketpair()
        self.a.sendall(pattern("unix 0", 300))

    def check(self, tick):
        want = pattern(f"unix {tick - 1}", 300)
        expect("unix", read_exactly("unix", self.b.fileno(), 300), want)
        self.a.sendall(pattern(f"unix {tick}", 300))
        return "ok"


class Pipe:
    """A pipe that is never empty but while it is being checked."""

    SIZE = 5000

    def __init__(self, _size, _dir):
        self.r, self.w = os.pipe()
        os.write(self.w, pattern("pipe 0", self.SIZE))

    def check(self, tick):
        want = pattern(f"pipe {tick - 1}", self.SIZE)
        expect("pipe", read_exactly("pipe", self.r, self.SIZE), want)
        os.write(self.w, pattern(f"pipe {tick}", self.SIZE))
        return "ok"


class Child:
    """A forked process that answers, and keeps a count of its own."""

    def __init__(self, _size, _dir):
        ask_r, self.ask = os.pipe()
        self.reply, reply_w = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.ask)
            os.close(self.reply)
            self.serve(ask_r, reply_w)
        os.close(ask_r)
        os.close(reply_w)

    @staticmethod
    def serve(ask, reply):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        count = 0
        while True:
            data = os.read(ask, 8)
            if len(data) != 8:
                os._exit(0)
            count += 1
            os.write(reply, struct.pack("<QQQ", struct.unpack("<Q", data)[0], count, os.getpid()))

    def check(self, tick):
        try:
            os.write(self.ask, struct.pack("<Q", tick))
        except BrokenPipeError:
            raise Broken("child", "it is gone") from None
        answer = struct.unpack("<QQQ", read_exactly("child", self.reply, 24))
        expect("child", answer, (tick, tick, self.pid))
        return "ok"


class File:
    """An open file, read on from where the offset was held."""

    SIZE, STEP = 65536, 96

    def __init__(self, _size, directory):
        self.path = os.path.join(directory, f"counter-{os.getpid()}")
        self.content = pattern("file", self.SIZE)
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(self.fd, self.content)
        self.offset = os.lseek(self.fd, 1234, os.SEEK_SET)

    def check(self, _tick):
        expect("file offset", os.lseek(self.fd, 0, os.SEEK_CUR), self.offset)
        want = self.content[self.offset : self.offset + self.STEP]
        expect("file", os.read(self.fd, self.STEP), want)
        self.offset += len(want)
        if self.offset >= self.SIZE:
            self.offset = os.lseek(self.fd, 0, os.SEEK_SET)
        opened, named = os.fstat(self.fd), os.stat(self.path)
        expect("file name", (named.st_dev, named.st_ino), (opened.st_dev, opened.st_ino))
        return "ok"

    def close(self):
        os.unlink(self.path)


class Deleted:
    """A file that has no name any more, rewritten in part each tick."""

    SIZE = 20000

    def __init__(self, _size, directory):
        path = os.path.join(directory, f"counter-deleted-{os.getpid()}")
        self.content = bytearray(pattern("deleted", self.SIZE))
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.write(self.fd, self.content)
        os.unlink(path)

    def check(self, tick):
        expect("deleted", os.pread(self.fd, self.SIZE + 1, 0), bytes(self.content))
        expect("deleted links", os.fstat(self.fd).st_nlink, 0)
        self.content[100:108] = struct.pack("<Q", tick)
        os.pwrite(self.fd, self.content[100:108], 100)
        return "ok"


class Timer:
    """A timerfd that fires every 50 ms (by ctypes: Python has it from 3.13 on), and ITIMER_REAL."""

    CLOCK_MONOTONIC = 1

    def __init__(self, _size, _dir):
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = libc.timerfd_create(self.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            raise Broken("timer", os.strerror(ctypes.get_errno()))
        spec = (ctypes.c_long * 4)(0, 50_000_000, 0, 50_000_000)
        if libc.timerfd_settime(self.fd, 0, spec, None) < 0:
            raise Broken("timer", os.strerror(ctypes.get_errno()))
        self.alarms = 0
        signal.signal(signal.SIGALRM, self.on_alarm)
        signal.setitimer(signal.ITIMER_REAL, 0.07, 0.07)

    def on_alarm(self, _sig, _frame):
        self.alarms += 1

    def check(self, _tick):
        read_exactly("timer", self.fd, 8)
        for _ in range(POLLS):
            if self.alarms:
                break
            select.select([], [], [], POLL)
        else:
            raise Broken("timer", "ITIMER_REAL does not fire any more")
        self.alarms = 0
        return "ok"


class Epoll:
    """An epoll instance over a pipe, a socket and a timer; exactly what happened is reported."""

    def __init__(self, _size, _dir):
        self.r, self.w = os.pipe()
        self.a, self.b = socket.socketpair()
        self.epoll = select.epoll()
        self.epoll.register(self.r, select.EPOLLIN)
        self.epoll.register(self.a.fileno(), select.EPOLLIN | select.EPOLLET)

    def wait(self, want):
        seen = set()
        for _ in range(POLLS):
            seen |= {fd for fd, _ in self.epoll.poll(POLL)}
            if seen >= want:
                break
        expect("epoll", seen, want)

    def check(self, _tick):
        expect("epoll at rest", self.epoll.poll(0), [])
        os.write(self.w, b"p")
        self.wait({self.r})
        self.b.send(b"s")
        self.wait({self.r, self.a.fileno()})
        expect("epoll pipe", os.read(self.r, 9), b"p")
        expect("epoll socket", self.a.recv(9), b"s")
        return "ok"


# In the order they are made: the child is forked before there is a second thread.
PARTS = {
    "child": Child,
    "memory": Memory,
    "tcp": Tcp,
    "unix": Unix,
    "pipe": Pipe,
    "file": File,
    "deleted": Deleted,
    "epoll": Epoll,
    "timer": Timer,
}


def loopback_up(sock):
    """A fresh network namespace may come with its loopback down."""
    siocgifflags, siocsifflags, iff_up = 0x8913, 0x8914, 1
    request = bytearray(struct.pack("16sH22x", b"lo", 0))
    fcntl.ioctl(sock.fileno(), siocgifflags, request)
    flags = struct.unpack_from("H", request, 16)[0]
    struct.pack_into("H", request, 16, flags | iff_up)
    fcntl.ioctl(sock.fileno(), siocsifflags, request)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("mb", nargs="?", type=int, default=32, help="memory to hold, in MiB")
    parser.add_argument("--interval", type=float, default=0.2, help="seconds from tick to tick")
    parser.add_argument("--dir", default="/tmp", help="where its files are made")
    parser.add_argument("--without", default="", help=f"comma list out of {','.join(PARTS)}")
    args = parser.parse_args()
    without = set(filter(None, args.without.split(",")))
    if without - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(without - set(PARTS)))}")

    stopping = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    signal.signal(signal.SIGINT, lambda *_: stopping.append(True))

    tick = 0
    try:
        parts = {n: make(args.mb, args.dir) for n, make in PARTS.items() if n not in without}
        if "memory" in parts:
            parts["memory"].start()
        while not stopping:
            tick += 1
            words = [f"{name}={part.check(tick)}" for name, part in parts.items()]
            print(f"tick {tick} ok {' '.join(words)}", flush=True)
            # In steps: one long sleep would be continued after a signal.
            for _ in range(max(1, round(args.interval / 0.02))):
                if stopping:
                    break
                select.select([], [], [], 0.02)
    except Broken as broken:
        print(f"FAIL {broken.what}: {broken.why}", flush=True)
        return 1
    except OSError as error:
        print(f"FAIL system: {error}", flush=True)
        return 1

    if "memory" in parts:
        parts["memory"].stop.set()
    if "file" in parts:
        parts["file"].close()
    print(f"bye {tick}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
