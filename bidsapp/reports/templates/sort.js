"use strict";
// The headings of a table with the class "sortable" sort it: first in ascending, then in descending order.
for (const table of document.querySelectorAll("table.sortable")) {
  if (table.tBodies.length !== 1 || table.tBodies[0].rows.length < 2 || table.tHead.rows.length !== 1) continue;
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "Sort by this column";
    button.append(...cell.childNodes);
    cell.append(button);
    button.addEventListener("click", () => sort(table, cell, column));
  });
}
function value(row, column) {
  const given = row.cells[column].dataset.sort; // categories have an order other than that of their names
  if (given !== undefined) return [parseFloat(given), given];
  const cell = row.cells[column].cloneNode(true);
  for (const more of cell.querySelectorAll("small")) more.remove();
  const text = cell.textContent.trim();
  const number = parseFloat(text.replace(/\u2212/g, "-").replace(/^[<>] ?/, ""));
  return [Number.isNaN(number) ? Infinity : number, text];
}
function sort(table, cell, column) {
  const down = cell.getAttribute("aria-sort") === "ascending";
  for (const other of cell.parentNode.cells) other.removeAttribute("aria-sort");
  cell.setAttribute("aria-sort", down ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows].map((row) => [value(row, column), row]);
  const numeric = rows.some(([[number]]) => number !== Infinity);
  rows.sort(([a], [b]) => {
    if (numeric && (a[0] === Infinity || b[0] === Infinity)) return (a[0] === Infinity) - (b[0] === Infinity);
    const order = numeric ? a[0] - b[0] : a[1].localeCompare(b[1], undefined, { numeric: true });
    return down ? -order : order;
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
}
// A figure that is wider than its container can also be scrolled with the arrow keys; a table that is wider says so.
function reach() {
  for (const box of document.querySelectorAll(".scroll")) box.classList.toggle("wide", box.scrollWidth > box.clientWidth + 1);
  for (const box of document.querySelectorAll(".pan")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}
window.addEventListener("resize", reach);
window.addEventListener("load", reach);
document.addEventListener("toggle", reach, true);
