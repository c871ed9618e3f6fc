"""Somebody outside of what is watched, reached without IP: helper.py PATH HOST PORT.

Sends on what it is told, and gives away a socket where it is asked for one. Says `ready`, and ends
when standard input does.
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


def serve(listener):
    while True:
        stream, _ = listener.accept()
        with stream:
            word = stream.recv(200)
            if word == b"a socket, please":
                give(stream, socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            elif word == b"a connection, please":
                give(stream, socket.create_connection((host, port), 20))
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
