"""Bundles that each say one thing of a coverage that cannot be so.

Each is one of the good bundles with leaves edited, in a log of its own: the entries that the bundle does not
hold are there as hashes of 32 zeroes, which nobody who has the bundle alone can tell. `leaf` says where it is
found: null where only the bundle as a whole shows it.
"""

import covered_log
import run_format
import sample_log
import sealtap_format as form
from covered_log import both, deep, edited


def vectors():
    entries = covered_log.log(closes_run=True).entries
    at = lambda kind, nth=1: covered_log.place(entries, kind, nth)
    armed, canary, said = at("coverage-armed"), at("coverage-canary"), at("coverage-heartbeat")
    over, way, carrying, split = at("coverage-closed"), at("bypass"), at("connection"), at("connection", 5)
    # Places of leaves that the bundle leaves out.
    free, behind = at("connection", 2), over + 1
    change = lambda leaf, changes: edited(entries[leaf], both(*changes)).decode()
    replace = lambda index, *changes: {"replace": index, "leaf": change(index, changes)}
    insert = lambda index, leaf, *changes: {"insert": index, "leaf": change(leaf, changes)}
    late = deep(("sealed",), form.parse(entries[over])["sealed"])
    first, later = "covered.tar", "later.tar"
    made = [
        ("a coverage that is armed twice", first, free, [insert(free, armed)]),
        ("a coverage whose beginning is not here", first, said,
         [replace(said, deep(("coverage",), "ff" * 16))]),
        ("udp that is closed, and let go", first, armed,
         [replace(armed, deep(("channels", 1, "state"), "closed_by_hook"))]),
        ("states without a program", first, armed,
         [replace(armed, lambda value: value["programs"].pop(0))]),
        ("a way around that was let go, and all are denied", first, way,
         [replace(armed, deep(("mode",), "enforce"))]),
        ("packets let around, and all are denied", later, said + 1,
         [replace(armed, deep(("mode",), "enforce"))]),
        ("a statement of another boot", first, said, [replace(said, deep(("boot",), "ff" * 16))]),
        ("a way around behind the end", later, behind,
         [insert(behind, at("bypass", 4), deep(("number",), 5), deep(("statement",), 4), late)]),
        ("a way around under another statement", first, way, [replace(way, deep(("statement",), 2))]),
        ("a way around under a number that does not follow", first, way + 1,
         [replace(way + 1, deep(("number",), 3))]),
        ("the first way around under another number", first, way, [replace(way, deep(("number",), 2))]),
        ("a canary to which more was led than it sent", first, canary, [replace(canary, deep(("led",), 11))]),
        ("a statement that is left out", first, said + 1, [replace(said + 1, deep(("number",), 3))]),
        ("fewer that came than before", first, said + 1,
         [replace(said + 1, deep(("arrived", "known"), 1))]),
        ("ways around in front of all statements", later, said + 1,
         [insert(said, way)]),
        ("more with a process than came", first, said, [replace(said, deep(("arrived", "attributed"), 3))]),
        ("more led and refused than refused", first, said, [replace(said, deep(("arrived", "refused"), 0))]),
        ("more connections than were led", first, said, [replace(said, deep(("arrived", "known"), 7))]),
        ("canaries to which more was led than the kernel led here", first, said,
         [replace(said, deep(("connections", "via_gateway"), 4), deep(("connections", "seen"), 79))]),
        ("fewer sockets from before than before", later, over, [replace(over, deep(("older",), 2))]),
        ("fewer cgroups that came late than before", later, over, [replace(over, deep(("late",), 0))]),
        ("connections that do not add up", first, said, [replace(said, deep(("connections", "seen"), 82))]),
        ("events that do not add up", first, said, [replace(said, deep(("connections", "events_read"), 70))]),
        ("packets that do not add up, in the first statement that is here", later, said + 1,
         [replace(said + 1, deep(("packets", "seen"), 1))]),
        ("a number that became smaller", later, over,
         [replace(over, deep(("packets", "loopback"), 1), deep(("packets", "seen"), 76))]),
        ("ways around that nobody counted", first, said, [replace(way + 1, deep(("count",), 71))]),
        ("packets that were stopped, and the kernel stopped none", first, said,
         [replace(way + 2, deep(("verdict",), "denied"))]),
        ("a connection that belongs to a later statement", first, said + 1,
         [replace(carrying, deep(("first",), 2), deep(("last",), 2))]),
        ("a connection that had not come by its first statement", first, at("connection", 4),
         [replace(at("connection", 4), deep(("number",), 3))]),
        ("a connection that carried nothing of the run", first, carrying,
         [replace(carrying, deep(("connection",), "ff" * 16))]),
        ("a connection that was refused", first, carrying,
         [replace(carrying, deep(("end",), "refused"), deep(("exchanges",), []))]),
        ("a connection with two leaves", first, free, [insert(free, carrying)]),
        ("a part without the first one", later, split + 1, [{"remove": split}]),
        ("a part that does not follow", later, split + 1, [replace(split + 1, deep(("number",), 2))]),
        ("parts without a hole between", later, split + 1,
         [replace(split + 1, deep(("exchanges",), [[5, 6]]))]),
        ("a part that is missing", later, None, [{"remove": split + 1}]),
        ("an exchange that came over another connection", first, carrying,
         [replace(carrying, deep(("exchanges",), [[1, 3]]))]),
        ("an exchange that its connection does not name", first, carrying,
         [replace(carrying, deep(("exchanges",), [[1, 1]]))]),
        ("a coverage that carried nothing of the run", first, None,
         [{"remove": carrying}, {"remove": at("connection", 4)}]),
        ("statements that begin behind a connection", later, None,
         [{"remove": said + 1}, {"remove": at("bypass", 4)}]),
    ]
    return [dict(zip(("name", "bundle", "leaf", "edits"), one)) for one in made]


def apply(data, edits):
    """The bundle that edits make of a good one."""
    files = dict(run_format.unarchive(data))
    size = int(files["checkpoint"].split(b"\n")[1])
    leaves = {int(name.split("/")[1]): content for name, content in files.items()
              if name.startswith("leaves/") and name.endswith("/leaf")}
    for edit in edits:
        if "remove" in edit:
            del leaves[edit["remove"]]
        else:
            place = edit.get("replace", edit.get("insert"))
            assert (place in leaves) == ("replace" in edit) and place < size, edit
            leaves[place] = edit["leaf"].encode()
    hashes = [form.leaf_hash(leaves[at]) if at in leaves else bytes(32) for at in range(size)]
    text = form.checkpoint(sample_log.ORIGIN, size, form.root(hashes))
    note = form.sign_note(text, sample_log.ORIGIN, sample_log.SEED)
    entries = [(name, note.encode() if name == "checkpoint" else content) for name, content in files.items()
               if not name.startswith("leaves/")]
    for index in sorted(leaves):
        folder = f"leaves/{index:012}"
        proof = run_format.tlog_proof(index, form.inclusion(index, hashes), note)
        entries += [(f"{folder}/leaf", leaves[index]), (f"{folder}/proof", proof)]
        entries += [(name, content) for name, content in files.items() if name.startswith(f"{folder}/")
                    and name not in (f"{folder}/leaf", f"{folder}/proof")]
    return run_format.archive(entries)
