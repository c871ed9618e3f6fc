"""Connects first, then becomes another program that has the connection as standard input:
with_connection.py HOST PORT COMMAND...
"""

import os
import socket
import sys

stream = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
stream.settimeout(None)
os.dup2(stream.fileno(), 0)
os.execvp(sys.argv[3], sys.argv[3:])
