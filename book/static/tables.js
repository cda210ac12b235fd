// Tables of results: a click on a column's name sorts by it, a word in the field above keeps the rows that hold it.
// Rows stay in their block: ours, untrained, published. Without JavaScript the tables read as they stand.
const value = (row, column) => row.children[column]?.textContent.trim() ?? "";
const number = (text) => parseFloat(text.replaceAll(",", "").replace("−", "-"));

function sort(table, column, button) {
  const down = button.parentElement.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  table.querySelectorAll("th[aria-sort]").forEach((head) => head.removeAttribute("aria-sort"));
  button.parentElement.setAttribute("aria-sort", down > 0 ? "ascending" : "descending");
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => row.cells.length > 1);
    rows.sort((x, y) => {
      const [a, b] = [value(x, column), value(y, column)], [m, n] = [number(a), number(b)];
      if (isNaN(m) !== isNaN(n)) return isNaN(m) ? 1 : -1; // what has no number stands last, both ways
      return down * (isNaN(m) ? a.localeCompare(b) : m - n);
    });
    body.append(...rows);
  }
}

function filter(table, words, count) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of [...table.tBodies].flatMap((body) => [...body.rows]).filter((row) => row.cells.length > 1)) {
    row.hidden = !wanted.every((word) => row.textContent.toLowerCase().includes(word));
    shown += !row.hidden;
  }
  count.textContent = `${shown} rows`;
}

for (const box of document.querySelectorAll(".scores")) {
  const table = box.querySelector("table");
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => sort(table, column, button));
  });
  const bar = document.createElement("p"), label = document.createElement("label"), count = document.createElement("span");
  const field = Object.assign(document.createElement("input"), { type: "search", placeholder: "method, backbone, verdict …" });
  count.setAttribute("role", "status");
  label.append("Rows with ", field);
  bar.append(label, " ", count);
  bar.className = "filter";
  box.before(bar);
  field.addEventListener("input", () => filter(table, field.value, count));
  filter(table, "", count);
}
