"""Somebody outside of what is watched, reached without IP: helper.py PATH HOST PORT.

Sends on what it is told, gives away a socket where it is asked for one, and connects one that it is
given. Says `ready`, and ends when standard input does.
"""

import array
import os
import socket
import sys
import threading

path, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])


def give(stream, given):
    """A copy of a socket to whoever asked."""
    with given:
        descriptor = array.array("i", [given.fileno()])
        stream.sendmsg([b"here"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptor)])


def connect(stream, handed):
    """Somebody else's socket."""
    descriptors = array.array("i")
    descriptors.frombytes(handed[0][2][:4])
    with socket.socket(fileno=descriptors[0]) as of_another:
        of_another.connect((host, port))
    stream.sendall(b"done")


def serve(listener):
    while True:
        stream, _ = listener.accept()
        with stream:
            word, handed, _, _ = stream.recvmsg(200, socket.CMSG_SPACE(4))
            if word == b"a socket, please":
                give(stream, socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            elif word == b"a connection, please":
                give(stream, socket.create_connection((host, port), 20))
            elif word == b"connect this, please":
                connect(stream, handed)
            else:
                with socket.create_connection((host, port), 20) as onwards:
                    onwards.sendall(word)
                    stream.sendall(onwards.recv(99))


listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(path)
os.chmod(path, 0o666)
listener.listen()
threading.Thread(target=serve, args=(listener,), daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
