"""The place that nobody must reach unseen: says what came to it, one JSON line each.

Listens on a free port for TCP and UDP, in both families, and on 443 for UDP; says first which. Ends
when standard input does.
"""

import json
import socket
import sys
import threading


def say(**what):
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def answer(stream, peer):
    with stream:
        stream.settimeout(20)
        try:
            data = stream.recv(200)
            say(by="tcp", peer=peer[0], data=data.decode("ascii", "replace"))
            stream.sendall(b"heard\n")
            while more := stream.recv(200):
                say(by="tcp", peer=peer[0], data=more.decode("ascii", "replace"))
                stream.sendall(b"heard\n")
        except OSError as error:
            say(by="tcp", peer=peer[0], error=str(error))


def accept(listener):
    while True:
        stream, peer = listener.accept()
        threading.Thread(target=answer, args=(stream, peer), daemon=True).start()


def receive(by, receiver):
    while True:
        data, peer = receiver.recvfrom(2000)
        say(by=by, peer=peer[0], data=data.decode("ascii", "replace"))


def machine(listener):
    while True:
        stream, peer = listener.accept()
        threading.Thread(target=answer, args=(stream, ("vsock",)), daemon=True).start()


def main():
    listener = socket.create_server(
        ("::", 0), family=socket.AF_INET6, dualstack_ipv6=True, backlog=512
    )
    port = listener.getsockname()[1]
    threads = [threading.Thread(target=accept, args=(listener,), daemon=True)]
    for by, number in (("udp", port), ("udp443", 443)):
        receiver = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        receiver.bind(("::", number))
        threads.append(threading.Thread(target=receive, args=(by, receiver), daemon=True))
    try:
        between = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        between.bind((socket.VMADDR_CID_ANY, port))
        between.listen()
        threads.append(threading.Thread(target=machine, args=(between,), daemon=True))
    except OSError:
        # No such family here.
        pass
    for thread in threads:
        thread.start()
    say(port=port)
    sys.stdin.read()


main()
