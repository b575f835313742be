"""Searches: a file in conf/search says what is tried, Optuna keeps the record. Definitions: docs/search.md.

Pure but for the journal: what a trial does is given as a function.
"""

from auglens.search.definition import Point, Search, load, names
from auglens.search.driving import Outcome, Record, propose

__all__ = ["Outcome", "Point", "Record", "Search", "load", "names", "propose"]
