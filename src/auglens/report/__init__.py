"""The study as one self-contained page: no network, no foreign script, every text escaped."""

from auglens.report.browser import BrowserData, browser_data, budget_left, first_seeds
from auglens.report.findings import Study, findings
from auglens.report.page import Finding, Picture, Section, render
from auglens.report.selection import Selection, select_images
from auglens.report.tables import Table, table

__all__ = [
    "BrowserData",
    "Finding",
    "Picture",
    "Section",
    "Selection",
    "Study",
    "Table",
    "browser_data",
    "budget_left",
    "findings",
    "first_seeds",
    "render",
    "select_images",
    "table",
]
