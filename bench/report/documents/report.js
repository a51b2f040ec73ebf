"use strict";
(() => {
  const MANY = 12; // rows, above which a table has a box to filter it by
  const NOTHING = new Set(["–", "?", "none"]);
  const WORDS = new Intl.Collator("en", { numeric: true });

  // As people type it: 8192x8192x8192 for 8192³, 1x8192 for 1×8192.
  const typed = (text) => text.toLowerCase().replace(/(\d+)³/g, "$1x$1x$1").replace(/[×*]/g, "x");
  const textOf = (row) => [...row.cells].map((cell) => `${cell.textContent} ${typed(cell.textContent)}`).join(" ").toLowerCase();
  const keyOf = (row, column) => {
    const cell = row.cells[column];
    const number = "sort" in cell.dataset ? Number(cell.dataset.sort) : null;
    return { number, word: NOTHING.has(cell.textContent) ? null : cell.textContent };
  };
  // What is not there comes last, whichever way the rest is sorted.
  const compare = (one, other, way, order) => {
    if (one === null || other === null) return (one === null) - (other === null);
    return way * order(one, other);
  };

  function sortable(table) {
    const body = table.tBodies[0];
    const original = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];

    function sort(column, way) {
      const rows = original.map((row) => ({ row, key: keyOf(row, column) }));
      if (way) {
        rows.sort((a, b) =>
          compare(a.key.number, b.key.number, way, (x, y) => x - y) ||
          compare(a.key.word, b.key.word, way, WORDS.compare));
      }
      body.append(...rows.map((one) => one.row));
      for (const head of heads) head.removeAttribute("aria-sort");
      if (way) heads[column].setAttribute("aria-sort", way > 0 ? "ascending" : "descending");
    }

    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      if (head.querySelector("a")) {
        button.setAttribute("aria-label", `sort by ${head.textContent}`);
      } else {
        button.append(...head.childNodes);
      }
      head.append(button);
      const next = { ascending: -1, descending: 0 };
      button.addEventListener("click", () => sort(column, next[head.getAttribute("aria-sort")] ?? 1));
    });
  }

  function filterable(table, box) {
    const rows = [...table.tBodies[0].rows];
    const label = document.createElement("label");
    const input = document.createElement("input");
    const count = document.createElement("output");
    label.className = "filter";
    input.type = "search";
    input.setAttribute("aria-label", `filter ${table.caption.textContent}`);
    label.append("filter ", input);
    const row = document.createElement("div");
    row.className = "filtering";
    row.append(label, count);
    box.before(row);
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      const found = (text) => words.every((word) => text.includes(word) || text.includes(typed(word)));
      for (const one of rows) one.hidden = !found(textOf(one));
      const shown = rows.filter((one) => !one.hidden).length;
      count.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
    });
  }

  const boxes = [...document.querySelectorAll(".scroll")];
  for (const box of boxes) {
    const table = box.querySelector("table");
    if (!table) continue;
    sortable(table);
    if (table.tBodies[0].rows.length > MANY) filterable(table, box);
  }

  // Only what can be scrolled needs to be reached by the keyboard, and to be a place of its own.
  const roles = new Map(boxes.map((box) => [box, box.getAttribute("role")]));
  function reachable() {
    for (const box of boxes) {
      if (box.scrollWidth > box.clientWidth) {
        box.tabIndex = 0;
        box.setAttribute("role", roles.get(box));
      } else {
        box.removeAttribute("tabindex");
        box.setAttribute("role", "presentation");
      }
    }
  }
  reachable();
  addEventListener("resize", reachable);
})();
