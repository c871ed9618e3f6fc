"""Places to be reached: places.py FILE.

Listens on every address and says on which port. Whoever connects says in ten bytes which process it is and where it meant
to go, and is told by one whether it has come there. Answers each line of its input with how many connections stand
and how many were meant for elsewhere; at the end of its input it writes what it was told, a line each, to FILE.
"""

import selectors
import socket
import struct
import sys

listener = socket.create_server(("0.0.0.0", 0), backlog=4096)
listener.setblocking(False)
selector = selectors.DefaultSelector()
selector.register(listener, selectors.EVENT_READ)
selector.register(sys.stdin, selectors.EVENT_READ)
print(listener.getsockname()[1], flush=True)

said, standing, wrong = [], set(), 0


def arrives(stream):
    global wrong
    try:
        words = stream.recv(64)
    except BlockingIOError:
        return
    except ConnectionError:
        words = b""
    if len(words) != 10:
        # The end, or nothing that one of ours would say.
        wrong += bool(words)
        standing.discard(stream)
        selector.unregister(stream)
        stream.close()
        return
    process, address, port = struct.unpack("!I4sH", words)
    meant, reached = (socket.inet_ntoa(address), port), stream.getsockname()
    wrong += meant != reached
    said.append((meant, process))
    standing.add(stream)
    stream.sendall(b"+" if meant == reached else b"-")


while True:
    for key, _ in selector.select():
        if key.fileobj is listener:
            try:
                stream, _ = listener.accept()
            except BlockingIOError:
                continue
            stream.setblocking(False)
            selector.register(stream, selectors.EVENT_READ)
        elif key.fileobj is sys.stdin:
            if not sys.stdin.readline():
                with open(sys.argv[1], "w") as file:
                    file.writelines(f"{place}:{port} {process}\n" for (place, port), process in said)
                sys.exit()
            print(len(standing), wrong, flush=True)
        else:
            arrives(key.fileobj)
