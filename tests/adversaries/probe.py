"""One way out, tried once: probe.py WAY HOST PORT WORD [MORE].

Says `sent` where the word was handed to the system and `refused: WHY` where the system said no; what
came of it is for the other end to tell.
"""

import array
import errno
import os
import socket
import struct
import sys
import time

MPTCP = 262


def mapped(host):
    return "::ffff:" + host


def heard(stream, word):
    """The word goes, and whoever takes it says so."""
    stream.settimeout(20)
    stream.sendall(word)
    assert stream.recv(99) == b"heard\n", "the other end hung up"


def tcp(host, port, word):
    with socket.create_connection((host, port), 20) as stream:
        heard(stream, word)


def tcp_mapped(host, port, word):
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as stream:
        stream.settimeout(20)
        stream.connect((mapped(host), port))
        heard(stream, word)


def fast_open(host, port, word):
    """The connection and its first bytes by one call, which is no connect."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
        # Not before, or the system makes the connection beside the call.
        stream.sendto(word, socket.MSG_FASTOPEN, (host, port))
        stream.settimeout(20)
        assert stream.recv(99) == b"heard\n", "the other end hung up"


def multipath(host, port, word):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, MPTCP) as stream:
        stream.settimeout(20)
        stream.connect((host, port))
        heard(stream, word)


def device():
    """The one that leads to the target."""
    return next((number, name) for number, name in socket.if_nameindex() if name.startswith("v10n"))


def tcp_by_device(host, port, word):
    """A socket that sends by a device of its choice, wherever it is led."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device()[1].encode())
        stream.settimeout(20)
        stream.connect((host, port))
        heard(stream, word)


def tcp_then_by_device(host, port, word):
    """The same, chosen once it is connected; who may not choose goes on as he is."""
    with socket.create_connection((host, port), 20) as stream:
        try:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device()[1].encode())
        except PermissionError:
            pass
        heard(stream, word)


IP_UNICAST_IF = 50


def udp_by_device(host, port, word):
    """A datagram that leaves by a device, even for an address of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IP, IP_UNICAST_IF, struct.pack("!I", device()[0]))
        sender.sendto(word, (host, port))


def udp(host, port, word):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(word, (host, port))


def udp_connected(host, port, word):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((host, port))
        sender.send(word)


def udp_mapped(host, port, word):
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.sendto(word, (mapped(host), port))


def quic(host, _port, word):
    """A datagram as long as QUIC's first one, and with its first bits."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((host, 443))
        sender.send(b"\xc3\x00\x00\x00\x01" + word.ljust(1195, b" "))


def checksum(header):
    total = sum(struct.unpack(f"!{len(header) // 2}H", header))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def packet_of(source, host, port, word):
    """A whole packet: IPv4 around UDP, whose checksum may be left out."""
    inner = struct.pack("!HHHH", 40000, port, 8 + len(word), 0) + word
    def head(sum_of_it):
        return struct.pack(
            "!BBHHHBBH4s4s", 0x45, 0, 20 + len(inner), 7, 0, 64, socket.IPPROTO_UDP, sum_of_it,
            socket.inet_aton(source), socket.inet_aton(host),
        )
    return head(checksum(head(0))) + inner


def own_address(host):
    """Which address leads there, without a packet: asked of the system's table of routes."""
    lines = os.popen(f"ip -o route get {host}").read().split()
    return lines[lines.index("src") + 1]


def raw(host, port, word):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as sender:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
        sender.sendto(packet_of(own_address(host), host, port, word), (host, 0))


def frame(host, port, word):
    """A frame, laid on the wire below every protocol."""
    lines = os.popen(f"ip -o route get {host}").read().split()
    device = lines[lines.index("dev") + 1]
    neighbour = os.popen(f"ip -o neigh show {host} dev {device}").read().split()
    to = bytes.fromhex(neighbour[neighbour.index("lladdr") + 1].replace(":", ""))
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((device, 0x0800))
        own = sender.getsockname()[4]
        packet = packet_of(own_address(host), host, port, word)
        sender.send(to + own + struct.pack("!H", 0x0800) + packet)


def between_machines(_host, port, word):
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as stream:
        stream.settimeout(5)
        # To this machine itself, where the family has a loopback.
        stream.connect((1, port))
        heard(stream, word)


def helper(path, _port, word):
    """Somebody outside sends it on."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(20)
        stream.connect(path)
        heard(stream, word)


def given(path, what):
    """A socket that somebody outside gives away."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(20)
        stream.connect(path)
        stream.sendall(what)
        _, handed, _, _ = stream.recvmsg(16, socket.CMSG_SPACE(4))
        descriptors = array.array("i")
        descriptors.frombytes(handed[0][2][:4])
        return socket.socket(fileno=descriptors[0])


def made_outside(path, _port, word, host, port):
    with given(path, b"a socket, please") as stream:
        stream.settimeout(20)
        stream.connect((host, int(port)))
        heard(stream, word)


def handed_over(path, _port, word, _host, _other):
    with given(path, b"a connection, please") as stream:
        heard(stream, word)


def older(_host, _port, word):
    """A connection that stands already, as standard input."""
    with socket.socket(fileno=os.dup(0)) as stream:
        heard(stream, word)


def moved(cgroup, _port, word, host, port):
    """Leaves for another cgroup, with a socket made before, and connects from there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as stream:
        with open(os.path.join(cgroup, "cgroup.procs"), "w") as processes:
            processes.write("0")
        stream.settimeout(20)
        stream.connect((host, int(port)))
        heard(stream, word)


def left(cgroup, port, word, host, target):
    """Leaves for another cgroup, makes a socket and connects from there; where cgroups are read-only, from here."""
    try:
        with open(os.path.join(cgroup, "cgroup.procs"), "w") as processes:
            processes.write("0")
    except OSError as error:
        if error.errno != errno.EROFS:
            raise
    tcp(host, int(target), word)


def fence(host, port, word):
    """A word of its own by each way of the target's."""
    udp(host, port, word + b"udp")
    quic(host, port, word + b"quic")
    tcp(host, port, word + b"tcp")


class Tally:
    """How often something was let go, and how often it was denied."""

    def __init__(self):
        self.passed = self.denied = 0

    def count(self, does, *arguments):
        try:
            does(*arguments)
            self.passed += 1
        except PermissionError:
            self.denied += 1

    def say(self, what):
        # In one piece: others of the command say theirs.
        sys.stdout.write(f"{what} {self.passed} {self.denied}\n")
        sys.stdout.flush()


def connected_outside(path):
    """A socket of one's own that somebody outside connected: what it sends, no hook but that of packets sees."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(20)
        stream.connect(path)
        descriptor = array.array("i", [sender.fileno()])
        stream.sendmsg([b"connect this, please"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptor)])
        assert stream.recv(99) == b"done", "the other end hung up"
    return sender


def connected_by_helper(path, _port, word):
    with connected_outside(path) as sender:
        sender.send(word)


def flood(host, port, word, rounds, each, pause, helper=""):
    """Datagrams, in rounds; where a helper is named, as many by a socket that it connected."""
    sends, packets = Tally(), Tally()
    connected = connected_outside(helper) if helper else None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(int(rounds)):
            if number:
                time.sleep(float(pause))
            for _ in range(int(each)):
                sends.count(sender.sendto, word, (host, port))
                if connected:
                    packets.count(connected.send, word)
    sends.say("sends")
    packets.say("packets")


def load(host, port, word, enough):
    """Connections and datagrams, one after the other, until there is a file of that name."""
    connections, sends = Tally(), Tally()
    while not os.path.exists(enough):
        try:
            connections.count(tcp, host, port, word)
        except (OSError, AssertionError):
            pass
        sends.count(udp, host, port, word)
    connections.say("connections")
    sends.say("sends")


def main():
    way, host, port, word, *more = sys.argv[1:]
    try:
        globals()[way](host, int(port), word.encode(), *more)
        print("sent", flush=True)
    except (OSError, AssertionError) as error:
        print(f"refused: {error}", flush=True)


main()
