// Filters of the index: rows whose label contains the text, and whose cells begin with the choices.
{
  const form = document.querySelector("form.filters");
  const table = document.querySelector("table.index");
  const shown = document.getElementById("shown");
  const heads = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
  const columns = { response: heads.indexOf("RANO-BM"), quality: heads.indexOf("Quality"), rating: heads.indexOf("Rating") };
  const first = (cell) => (cell.querySelector(".badge") || cell.firstChild || cell).textContent.trim();
  const rows = [...table.tBodies[0].rows].map((row) => ({
    row,
    label: row.cells[0].textContent.toLowerCase(),
    values: Object.fromEntries(Object.entries(columns).filter(([, at]) => at >= 0).map(([name, at]) => [name, first(row.cells[at])])),
  }));
  const filter = () => {
    const text = form.elements.text.value.trim().toLowerCase();
    const wanted = Object.keys(columns).filter((name) => form.elements[name] && form.elements[name].value);
    let count = 0;
    for (const { row, label, values } of rows) {
      const fits = label.includes(text) && wanted.every((name) => values[name] === form.elements[name].value);
      row.hidden = !fits;
      count += fits;
    }
    shown.textContent = `${count} of ${rows.length} shown`;
  };
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  form.hidden = false;
  filter(); // a browser may keep what was entered when the page is loaded again
}
