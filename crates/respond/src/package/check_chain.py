"""Checks records.ndjson and the files of evidence. Needs Python 3 and nothing else."""
import hashlib
import json
import sys


def part(value):
    if value is None:
        return b"-"
    value = value.encode("utf-8")
    return b"%d:%s," % (len(value), value)


bad = []
previous = "0" * 64
files = {f["sequence"]: f for f in json.load(open("manifest.json", encoding="utf-8"))["files"] if "sequence" in f}
number = 0
for line in open("records.ndjson", encoding="utf-8", newline="\n"):
    number += 1
    record = json.loads(line)
    claimed = record.pop("record_hash")
    data = b"".join(part(name) + part(value) for name, value in record.items())
    if hashlib.sha256(data).hexdigest() != claimed:
        bad.append("record %d was changed" % number)
    if record["sequence"] != str(number) or record["previous_hash"] != previous:
        bad.append("record %d does not follow the one before it" % number)
    previous = claimed
    if record["record"] != "item" or record["hash_sha256"] is None:
        continue
    digest = hashlib.sha256()
    try:
        with open(files[number]["name"], "rb") as file:
            for block in iter(lambda: file.read(1 << 20), b""):
                digest.update(block)
        if digest.hexdigest() != record["hash_sha256"]:
            bad.append("the file of record %d was changed: %s" % (number, files[number]["name"]))
    except (KeyError, OSError):
        bad.append("the file of record %d is missing" % number)

print("\n".join(bad) if bad else "%d records hold; the last is %s" % (number, previous))
sys.exit(1 if bad else 0)
