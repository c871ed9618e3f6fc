"""Many connections at once, each to a place of its own: many.py PORTS PROCESSES EACH WAVES SEEN.

Each process makes so many connections per wave, one to each of as many addresses of the loopback that
nobody else is sent to; all of them stand before any is given up. Whoever is reached says where that is.
Nobody ends before the file SEEN is there, or ten minutes have passed: who is gone cannot be looked at. Says at the end how many there were and how many were answered by another place than was asked for.
"""

import multiprocessing
import os
import socket
import struct
import sys
import time

ports = [int(port) for port in sys.argv[1].split(",")]
processes, each, waves = (int(number) for number in sys.argv[2:5])
seen = sys.argv[5]


def place(number):
    """The address and port of a connection, by its number: 16 million of them are apart."""
    address = struct.pack("!I", (127 << 24) + (1 << 16) + number)
    return socket.inet_ntoa(address), ports[number % len(ports)]


def work(worker, together, results):
    made, wrong = 0, []
    for wave in range(waves):
        streams = []
        for number in range(each):
            to = place((wave * processes + worker) * each + number)
            stream = socket.create_connection(to, 60)
            streams.append((to, stream))
        for to, stream in streams:
            answer = b""
            while more := stream.recv(6 - len(answer)):
                answer += more
            made += 1
            if answer != socket.inet_aton(to[0]) + struct.pack("!H", to[1]):
                wrong.append((to, answer))
        together.wait(300)
        for _, stream in streams:
            stream.close()
        together.wait(300)
    until = time.monotonic() + 600
    while not os.path.exists(seen) and time.monotonic() < until:
        time.sleep(0.01)
    results.put((made, len(wrong), wrong[:3]))


def main():
    together, results = multiprocessing.Barrier(processes), multiprocessing.Queue()
    workers = [
        multiprocessing.Process(target=work, args=(worker, together, results))
        for worker in range(processes)
    ]
    for worker in workers:
        worker.start()
    told = [results.get(timeout=900) for _ in workers]
    for worker in workers:
        worker.join()
    print(sum(made for made, _, _ in told), sum(wrong for _, wrong, _ in told))
    for made, wrong, first in told:
        for one in first:
            print(one)


main()
