// Ratings of lesions: kept in the browser until they are saved as JSON, which the group level reads (--ratings).
for (const form of document.querySelectorAll("form.rating")) {
  const rows = [...form.querySelectorAll("fieldset")];
  const rater = form.querySelector("input.rater");
  const status = form.querySelector("[role=status]");
  const key = `metperf-rating:${form.dataset.participant}:${form.dataset.run}`;
  let kept = true;

  const read = () => rows.flatMap((row) => {
    const chosen = row.querySelector("input[type=radio]:checked");
    const note = row.querySelector("input.note").value.trim();
    return chosen ? [{ lesion: Number(row.dataset.lesion), rating: chosen.value, note }] : [];
  });
  const report = (saved) => {
    const count = `${read().length} of ${rows.length} rated`;
    const place = kept ? "kept in this browser" : "not kept: save before the page is closed";
    status.textContent = saved ? `${count}; saved as ${saved}.` : `${count}; ${place}.`;
  };
  const keep = () => {
    const notes = rows.map((row) => [row.dataset.lesion, row.querySelector("input.note").value]);
    try {
      localStorage.setItem(key, JSON.stringify({ rater: rater.value, ratings: read(), notes }));
    } catch { kept = false; }
    report();
  };
  const restore = () => {
    let found = null;
    try { found = JSON.parse(localStorage.getItem(key)); } catch { kept = false; }
    if (found) {
      rater.value = found.rater;
      for (const [lesion, note] of found.notes) {
        const row = rows.find((one) => one.dataset.lesion === lesion);
        if (row) row.querySelector("input.note").value = note;
      }
      for (const { lesion, rating } of found.ratings) {
        const choice = form.querySelector(`fieldset[data-lesion="${lesion}"] input[value="${rating}"]`);
        if (choice) choice.checked = true;
      }
    }
    report();
  };
  const save = () => {
    const ratings = read();
    if (!ratings.length) { status.textContent = "Nothing is rated yet."; rows[0].querySelector("input").focus(); return; }
    if (!rater.value.trim()) { status.textContent = "Enter your initials first."; rater.focus(); return; }
    const initials = rater.value.trim().replace(/[^0-9A-Za-z]/g, "") || "reader";
    const content = {
      participant_id: form.dataset.participant, rater: rater.value.trim(), saved: new Date().toISOString(),
      run_id: form.dataset.run, ratings,
    };
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([`${JSON.stringify(content, null, 2)}\n`], { type: "application/json" }));
    link.download = `${form.dataset.participant}_rater-${initials}_ratings.json`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    report(link.download);
  };

  form.addEventListener("input", keep);
  form.addEventListener("submit", (event) => { event.preventDefault(); save(); });
  form.querySelector("button.clear").addEventListener("click", () => { form.reset(); keep(); });
  form.hidden = false;
  restore();
}
