"""What the Python clients share: each case is one line of JSON on standard output."""

import asyncio
import hashlib
import inspect
import json
import os
import sys

# Where the server is: the only thing that differs between a direct call and one through a door.
BASE = sys.argv[1] if len(sys.argv) > 1 else ""
# The question that each server of models answers in words, with a tool call, and with an error.
WORDS, TOOL, REFUSED = "say it in words", "use the tool", "be refused"
CITY = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"]}


def pattern(size):
    """Bytes of every value, the same each time."""
    return bytes((index * 31 + index // 256) % 256 for index in range(size))


def digest(data):
    return [len(data), hashlib.sha256(data).hexdigest()]


def plain(value):
    """A model object as plain values."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, bytes):
        return digest(value)
    return str(value)


def run(*cases):
    """Runs the cases in order; those named on the command line behind the base, if any are."""
    named = sys.argv[2:]
    for case in cases:
        if named and case.__name__ not in named:
            continue
        line = {"case": case.__name__}
        try:
            result = asyncio.run(case()) if inspect.iscoroutinefunction(case) else case()
            line["result"] = result
        except Exception as error:  # The driver wants to hear of it as the failure of this case.
            line["failed"] = f"{type(error).__name__}: {error}"
        print(json.dumps(line, default=plain, sort_keys=True), flush=True)
    # No client may keep the process alive.
    sys.stdout.flush()
    os._exit(0)
