"""Searches: a file in conf/search says what is tried, Optuna keeps the record. See docs/search.md.

Pure but for the journal: running a trial is the command's.
"""

from auglens.search.definition import Point, Search, load, names
from auglens.search.driving import Outcome, Proposal, Record, means, propose

__all__ = ["Outcome", "Point", "Proposal", "Record", "Search", "load", "means", "names", "propose"]
