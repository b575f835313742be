"""The only room that knows MLflow: publish cells by key, query them, feed a training live.

Files are the truth and MLflow is their index: whatever is lost there is published again from the files.
Importing this package imports no MLflow; `Tracker.connect` does.
"""

from auglens.tracking.live import LiveFeed
from auglens.tracking.publish import Complete
from auglens.tracking.receipts import Receipt
from auglens.tracking.records import (
    CellIdentity,
    CellRecord,
    DatasetRecord,
    FoundRun,
    Published,
    StoreUnavailable,
    content_digest,
    refuse_foreign,
)
from auglens.tracking.store import store_uri
from auglens.tracking.table import Column, RunTable, read_table, tabulate
from auglens.tracking.tracker import NullTracker, Tracker

__all__ = [
    "CellIdentity",
    "CellRecord",
    "Column",
    "Complete",
    "DatasetRecord",
    "FoundRun",
    "LiveFeed",
    "NullTracker",
    "Published",
    "Receipt",
    "RunTable",
    "StoreUnavailable",
    "Tracker",
    "content_digest",
    "read_table",
    "refuse_foreign",
    "store_uri",
    "tabulate",
]
