"""Has nobody told any more when connections to a port end: `deaf.py CGROUP PORT`.

Attaches a program to the cgroup that turns off what others asked to be told of these sockets. Says `there`, and
takes it away when its standard input ends.
"""

import ctypes
import os
import struct
import sys

BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]
PROG_LOAD, LINK_CREATE = 5, 28
SOCK_OPS, AT_SOCK_OPS = 13, 3
# Where the context has the other end's port, and the helper that sets which calls are wanted.
REMOTE_PORT, CB_FLAGS_SET = 64, 59

libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes, 128)
    made = libc.syscall(BPF, command, buffer, 128)
    if made < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return made


def instruction(code, to=0, of=0, offset=0, number=0):
    return struct.pack("<BBhI", code, to | of << 4, offset, number)


cgroup, port = sys.argv[1], int(sys.argv[2])
program = b"".join([
    instruction(0x61, to=2, of=1, offset=REMOTE_PORT),
    # By words, as the context has it: in network byte order.
    instruction(0x56, to=2, offset=2, number=struct.unpack("<I", struct.pack(">I", port))[0]),
    instruction(0xB7, to=2, number=0),
    instruction(0x85, number=CB_FLAGS_SET),
    instruction(0xB7, to=0, number=1),
    instruction(0x95),
])
code, licence = ctypes.create_string_buffer(program), ctypes.create_string_buffer(b"GPL")
log = ctypes.create_string_buffer(4096)
loaded = bpf(PROG_LOAD, struct.pack(
    "<IIQQIIQII16sII", SOCK_OPS, len(program) // 8, ctypes.addressof(code),
    ctypes.addressof(licence), 1, len(log), ctypes.addressof(log), 0, 0, b"deaf", 0, AT_SOCK_OPS))
folder = os.open(cgroup, os.O_RDONLY)
link = bpf(LINK_CREATE, struct.pack("<IIII", loaded, folder, AT_SOCK_OPS, 0))
print("there", flush=True)
sys.stdin.read()
