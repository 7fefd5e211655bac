// The arrow keys move from cell to cell of a grid, as in a table.
"use strict";

document.addEventListener("keydown", (event) => {
  const cell = event.target.closest?.(".grid a");
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
  if (!cell || !step) return;
  event.preventDefault();
  const rows = [...cell.closest("table").rows];
  const here = cell.closest("td, th");
  let [row, column] = [rows.indexOf(here.parentElement), here.cellIndex];
  for (;;) {
    row += step[0];
    column += step[1];
    const there = rows[row]?.cells[column];
    if (!there) return;
    const link = there.querySelector("a");
    if (link) return link.focus();
  }
});
