"use strict";
document.documentElement.classList.add("script");

// Sorts the table of scores by a column, and hides the rows of other systems and stems.
(() => {
  const table = document.getElementById("score-table");
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const rows = [...body.rows];
  const systemFilter = document.getElementById("filter-system");
  const stemFilter = document.getElementById("filter-stem");

  function compare(first, second, column, direction) {
    const a = first.cells[column], b = second.cells[column];
    if (a.dataset.value === undefined) return direction * a.textContent.localeCompare(b.textContent, "en", { numeric: true });
    // Rows without a number come last in either direction.
    if (a.dataset.value === "" || b.dataset.value === "") return (a.dataset.value === "") - (b.dataset.value === "");
    return direction * (Number(a.dataset.value) - Number(b.dataset.value));
  }

  heads.forEach((head, column) => {
    head.setAttribute("aria-sort", "none");
    head.querySelector("button").addEventListener("click", () => {
      const before = head.getAttribute("aria-sort");
      const numeric = head.classList.contains("number");
      const next = before === "none" ? (numeric ? "descending" : "ascending") : before === "ascending" ? "descending" : "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", other === head ? next : "none"));
      rows.sort((a, b) => compare(a, b, column, next === "ascending" ? 1 : -1));
      body.append(...rows);
    });
  });

  function filter() {
    let shown = 0;
    for (const row of rows) {
      const fits = (select, cell) => select.value === "" || select.value === cell.textContent;
      row.hidden = !(fits(systemFilter, row.cells[1]) && fits(stemFilter, row.cells[2]));
      shown += row.hidden ? 0 : 1;
    }
    document.getElementById("filter-count").textContent = `${shown} row${shown === 1 ? "" : "s"}`;
  }
  systemFilter.addEventListener("change", filter);
  stemFilter.addEventListener("change", filter);
})();
