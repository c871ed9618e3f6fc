"""The least that counts: counting.py CGROUP.

A program at the same hook as the gateway's for packets, at that cgroup, which adds one for each and does no more.
Says "there" once it is attached; answers each line with what it took so far, in nanoseconds and in packets, as the
kernel measured while it was asked to; ends with its input.
"""

import ctypes
import os
import platform
import struct
import sys

BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
MAP_CREATE, PROG_LOAD, LINK_CREATE = 0, 5, 28
PER_CPU_ARRAY, CGROUP_SKB, EGRESS = 6, 8, 1
libc = ctypes.CDLL(None, use_errno=True)


def bpf(command, attributes):
    room = ctypes.create_string_buffer(attributes, 128)
    done = libc.syscall(BPF, command, room, len(attributes))
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


def instruction(code, to=0, source=0, offset=0, value=0):
    return struct.pack("=BBhi", code, to | source << 4, offset, value)


def load(numbers):
    code = b"".join([
        instruction(0x62, 10, 0, -4, 0),
        instruction(0x18, 1, 1, 0, numbers),
        instruction(0),
        instruction(0xBF, 2, 10),
        instruction(0x07, 2, 0, 0, -4),
        instruction(0x85, value=1),
        instruction(0x15, 0, 0, 2, 0),
        instruction(0xB7, 1, 0, 0, 1),
        instruction(0xDB, 0, 1),
        instruction(0xB7, 0, 0, 0, 1),
        instruction(0x95),
    ])
    kept, licence = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"Dual MIT/GPL")
    name = b"count_only".ljust(16, b"\0")
    places = ctypes.addressof(kept), ctypes.addressof(licence)
    attributes = struct.pack("=IIQQIIQII", CGROUP_SKB, len(code) // 8, *places, 0, 0, 0, 0, 0)
    return bpf(PROG_LOAD, attributes + name + struct.pack("=II", 0, EGRESS))


def took(program):
    with open(f"/proc/self/fdinfo/{program}") as told:
        fields = dict(line.split(":") for line in told)
    return int(fields["run_time_ns"]), int(fields["run_cnt"])


def main():
    program = load(bpf(MAP_CREATE, struct.pack("=IIII", PER_CPU_ARRAY, 4, 8, 1)))
    cgroup = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
    bpf(LINK_CREATE, struct.pack("=IIII", program, cgroup, EGRESS, 0))
    print("there", flush=True)
    for _ in sys.stdin:
        print(*took(program), flush=True)


main()
