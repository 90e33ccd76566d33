// Lets the reader sort and filter the table of all rows. Without this script it is a plain table.
(() => {
  "use strict";

  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  // ---- order

  function sortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = element("button", { type: "button", textContent: head.textContent });
      button.addEventListener("click", () => sortBy(table, heads, column));
      head.replaceChildren(button);
    });
  }

  function sortBy(table, heads, column) {
    const head = heads[column];
    const first = head.dataset.better === "higher" ? "descending" : "ascending";
    const other = first === "descending" ? "ascending" : "descending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    heads.forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    for (const body of table.tBodies) {
      // the group's own heading stays on top, and entries without a number at the bottom, in either order
      const rows = dataRows(body);
      rows.sort((a, b) => compare(a.cells[column], b.cells[column], head.dataset.better === "text", sign));
      body.append(...rows);
    }
  }

  function compare(one, other, text, sign) {
    if (text) return sign * one.textContent.localeCompare(other.textContent);
    const missing = ("value" in one.dataset ? 0 : 1) - ("value" in other.dataset ? 0 : 1);
    return missing || sign * (one.dataset.value - other.dataset.value) || 0;
  }

  const dataRows = (body) => [...body.rows].filter((row) => !row.classList.contains("course-group"));

  // ---- filter

  function filterable(table) {
    const region = table.parentElement;
    const input = element("input", { type: "search", autocomplete: "off" });
    const told = element("output", { className: "course-filter-told" });
    input.addEventListener("input", () => (told.textContent = filter(table, input.value)));
    const label = element("label", {}, "Show rows with ", input);
    region.before(element("div", { className: "course-filter" }, label, told));
  }

  function filter(table, wanted) {
    const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    let all = 0;
    for (const body of table.tBodies) {
      const group = body.querySelector(".course-group").textContent;
      for (const row of dataRows(body)) {
        const text = [group, ...[...row.cells].slice(0, 3).map((cell) => cell.textContent)].join(" ").toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        shown += row.hidden ? 0 : 1;
        all += 1;
      }
      body.hidden = dataRows(body).every((row) => row.hidden);
    }
    return words.length ? `${shown} of ${all} rows` : "";
  }

  // deferred: the page is there
  for (const table of document.querySelectorAll("table.course-sortable")) {
    sortable(table);
    filterable(table);
  }
})();
