// All of this is comfort: without it the page shows the same.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") === "descending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const order = (a, b) => key(a).localeCompare(key(b), "en", { numeric: true });
      const numeric = (a, b) => Number(key(a)) - Number(key(b));
      const rows = [...table.tBodies[0].rows].sort(head.classList.contains("n") ? numeric : order);
      table.tBodies[0].append(...(ascending ? rows : rows.reverse()));
    });
  });
}
const off = new Set();
for (const item of document.querySelectorAll(".kinds li")) {
  const kind = item.dataset.kind, button = document.createElement("button");
  button.type = "button";
  button.title = "Show or hide these layers";
  button.append(...item.childNodes);
  item.append(button);
  button.addEventListener("click", () => {
    off.has(kind) ? off.delete(kind) : off.add(kind);
    for (const other of document.querySelectorAll(".kinds li")) {
      const gone = off.has(other.dataset.kind);
      other.classList.toggle("off", gone);
      other.firstChild.setAttribute("aria-pressed", !gone);
    }
    for (const mark of document.querySelectorAll("svg .mark")) mark.classList.toggle("gone", off.has(mark.dataset.kind));
    for (const row of document.querySelectorAll("tr[data-kind]")) row.hidden = off.has(row.dataset.kind);
  });
}
