"""Connections that stand: held.py BASE EACH PORT...

One process for each port, and each makes so many connections there, every one to an address of the loopback of its own,
counted from the address of number BASE. Over each it says its own process and where it meant to go, in ten bytes, and waits until it
is told by one that this came to where it was meant. Says "there" once all of them stand, and gives them up when
it is told by a line.
"""

import os
import socket
import struct
import sys

base, each = int(sys.argv[1]), int(sys.argv[2])
ports = [int(port) for port in sys.argv[3:]]


def hold(first, port):
    standing = []
    for number in range(first, first + each):
        address = struct.pack("!I", (127 << 24) + (1 << 16) + number)
        stream = socket.create_connection((socket.inet_ntoa(address), port), 120)
        stream.sendall(struct.pack("!I4sH", os.getpid(), address, port))
        standing.append(stream)
    return standing, all(stream.recv(1) == b"+" for stream in standing)


def main():
    told, tell = os.pipe()
    stands, stood = os.pipe()
    for worker, port in enumerate(ports):
        if os.fork() == 0:
            os.close(tell)
            standing, right = hold(base + worker * each, port)
            os.write(stood, b"+" if right else b"-")
            os.read(told, 1)
            os._exit(0 if right else 1)
    os.close(told)
    os.close(stood)
    answers = b""
    while len(answers) < len(ports) and (more := os.read(stands, 16)):
        answers += more
    print("there" if answers == b"+" * len(ports) else f"wrong: {answers}", flush=True)
    sys.stdin.readline()
    os.close(tell)
    ended = [os.waitstatus_to_exitcode(os.wait()[1]) for _ in ports]
    sys.exit(any(ended))


main()
