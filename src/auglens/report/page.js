// Tables: sort by a column, filter rows. Contents: mark the part that is on the screen. Nothing leaves the page.
(() => {
  "use strict";
  const FILTER_FROM = 12; // rows
  const number = (text) => (text === "–" ? NaN : Number(text.replaceAll("−", "-").replace("∞", "Infinity")));
  const words = new Intl.Collator("en", { numeric: true });

  function sort(head) {
    const table = head.closest("table");
    const body = table.tBodies[0];
    const numeric = head.classList.contains("n");
    const descending = head.getAttribute("aria-sort") === "ascending";
    const rows = [...body.rows].map((row) => {
      const text = row.cells[head.cellIndex].textContent;
      return { row, text, value: numeric ? number(text) : 0, last: numeric ? Number.isNaN(number(text)) : text === "–" };
    });
    rows.sort((a, b) => {
      if (a.last || b.last) return a.last - b.last; // undefined ones last, whichever way
      const order = numeric ? Math.sign(a.value - b.value) || 0 : words.compare(a.text, b.text);
      return descending ? -order : order;
    });
    body.append(...rows.map(({ row }) => row));
    for (const other of head.parentNode.cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  }

  function addFilter(table, index) {
    const rows = [...table.tBodies[0].rows];
    if (rows.length < FILTER_FROM) return;
    const box = table.parentNode;
    const label = document.createElement("label");
    const input = document.createElement("input");
    const told = document.createElement("span");
    label.className = "filter";
    input.type = "search";
    input.id = `filter-${index}`;
    told.className = "soft";
    told.setAttribute("role", "status");
    label.append("Only rows with ", input, " ", told);
    box.before(label);
    input.addEventListener("input", () => {
      const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
        row.hidden = !wanted.every((word) => text.includes(word));
        shown += !row.hidden;
      }
      told.textContent = wanted.length ? `${shown} of ${rows.length}` : "";
    });
  }

  for (const [index, table] of document.querySelectorAll("table.sortable").entries()) {
    table.tHead.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) sort(button.closest("th"));
    });
    addFilter(table, index);
  }

  // A box that does not scroll is no stop for the Tab key.
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const scrolls = target.scrollWidth > target.clientWidth || target.scrollHeight > target.clientHeight;
      if (scrolls) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
    }
  });
  for (const box of document.querySelectorAll(".scroll")) sizes.observe(box);

  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const onScreen = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) onScreen[entry.isIntersecting ? "add" : "delete"](entry.target.id);
    const current = [...links.keys()].find((id) => onScreen.has(id));
    for (const [id, link] of links) {
      if (id === current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }, { rootMargin: "-20% 0px -75% 0px" });
  for (const id of links.keys()) watcher.observe(document.getElementById(id));
})();
