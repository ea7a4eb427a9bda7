#!/usr/bin/env python3
"""Recomputes the DoD score from the sheet that `blueteam compliance export` writes, knowing nothing of the program.

The rules are those of the DoD Assessment Methodology v1.2.1 and 32 CFR 170.24. Prints a number, or `no score`.
  blueteam compliance export | scripts/score.py
"""
import csv
import sys
from collections import defaultdict

FIVE = """3.1.1 3.1.2 3.1.12 3.1.13 3.1.16 3.1.17 3.1.18 3.2.1 3.2.2 3.3.1 3.3.5 3.4.1 3.4.2 3.4.5 3.4.6 3.4.7 3.4.8 3.5.1 3.5.2
3.5.3 3.5.10 3.6.1 3.6.2 3.7.2 3.7.5 3.8.3 3.8.7 3.9.2 3.10.1 3.10.2 3.11.2 3.12.1 3.12.3 3.13.1 3.13.2 3.13.5 3.13.6 3.13.11
3.13.15 3.14.1 3.14.2 3.14.3 3.14.4 3.14.6""".split()
THREE = "3.1.5 3.1.19 3.3.2 3.7.1 3.7.4 3.8.1 3.8.2 3.8.8 3.9.1 3.11.1 3.12.2 3.13.8 3.14.5 3.14.7".split()


def main() -> None:
    objectives, planned, partial = defaultdict(list), {}, {}
    for row in csv.DictReader(sys.stdin):
        control = row["control_id"]
        objectives[control].append(row["status"])
        planned[control] = row["planned"] == "true"
        partial[control] = row["partial_credit"] == "true"
    assert len(objectives) == 110 and sum(map(len, objectives.values())) == 320, "the sheet is not complete"
    held = {c: all(o in ("met", "not_applicable") for o in found) for c, found in objectives.items()}
    failed = {c for c, found in objectives.items() if "not_met" in found}
    if any(not planned[c] for c in failed if c != "3.12.4"):
        held["3.12.2"] = False
    plan = objectives["3.12.4"]
    if not held["3.12.4"] or "met" not in plan:
        print("no score")
        return
    score = 110
    for control, good in held.items():
        if good or control == "3.12.4":
            continue
        points = 5 if control in FIVE else 3 if control in THREE else 1
        if control in ("3.5.3", "3.13.11") and partial[control] and control in failed:
            points = 3
        score -= points
    print(score)


main()
