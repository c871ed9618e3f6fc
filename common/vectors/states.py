"""What is said of channels: the second implementation of what rule 9.14 asks of it, and what is shown."""

# What a state rests on: programs at one cgroup, and whether at a device too. A state that is not here can
# be brought about by no program.
TCP = {"asked", "connect4", "connect6", "packets", "socket"}
UDP = {"connect4", "connect6", "packets", "sendmsg4", "sendmsg6"}
RESTS = {("tcp", "closed_by_hook"): TCP, ("tcp", "observed_only"): TCP,
         ("udp", "closed_by_hook"): UDP, ("udp", "observed_only"): UDP, ("names", "observed_only"): UDP,
         ("raw", "closed_by_hook"): {"packets"}, ("raw", "observed_only"): {"packets"},
         ("packet", "observed_only"): {"option", "uplink"}, ("namespace", "closed_by_hook"): TCP | UDP}
# The ways of a canary that lead through a channel.
WAYS = {"tcp": {"tcp4", "tcp6", "tcp_mapped", "fast_open", "multipath"},
        "udp": {"udp4_connected", "udp4", "udp6", "udp_mapped"}, "raw": {"raw4"}}


def founded(require, armed):
    """That the programs, in that mode, do what is said of each channel."""
    cgroups = {}
    for one in armed["programs"]:
        if one["cgroup"] is not None:
            cgroups.setdefault(one["cgroup"], set()).add(one["program"])
    devices = {one["program"] for one in armed["programs"] if one["device"] is not None}
    for listed in armed["channels"]:
        channel, state = listed["channel"], listed["state"]
        if state in ("not_covered", "denied_by_launch_policy"):
            continue
        require((channel, state) in RESTS, f"{channel} is {state} by no program")
        # Of TCP gateways said that, and it is shown as less.
        require(state != "closed_by_hook" or armed["mode"] == "enforce" or channel == "tcp",
                f"{channel} is closed, and let go")
        needs = RESTS[channel, state]
        there = any(needs - {"uplink"} <= programs for programs in cgroups.values())
        there = there and needs & {"uplink"} <= devices
        require(there or armed["programs_more"], f"{channel} is {state} without its programs")


def kept_in(require, mode, statement):
    """That nothing was let around where all of it is denied."""
    passed = max(statement[unit]["bypass_passed"] for unit in ("connections", "packets"))
    require(mode == "observe" or not passed, "let around, and all of it is denied")


def shown(mode, armed, canaries, late):
    """The state that a verifier shows of each channel of a log, by what all canaries found, in their order."""
    last = {tried["way"]: tried["outcome"] for tried in canaries[-1]} if canaries else {}
    passed = {tried["way"] for canary in canaries for tried in canary if tried["outcome"] == "passed"}
    states = {listed["channel"]: listed["state"] for listed in armed}
    for channel, ways in WAYS.items():
        found = {last.get(way, "unavailable") for way in ways} - {"unavailable"}
        if states[channel] != "closed_by_hook":
            continue
        if late or mode == "observe":
            states[channel] = "observed_only"
        elif found and found <= {"led", "denied"} and not passed & ways:
            states[channel] = "canary_tested"
    return states
