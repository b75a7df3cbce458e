// Plots of the curves at the cross-hair: points are the data, the line is the fit of the model.
const COLOURS = ["#6cb6ff", "#ffb454"];
const AXES = {
  perf: { title: "Concentration", x: "time (min)", y: "concentration (mM)" },
  dwi: { title: "Diffusion decay", x: "b (s/mm²)", y: "S(b) / S(lowest b)" },
};

// Round steps between a low and a high value.
function steps(low, high, count) {
  const raw = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + 1e-9 * step; v += step) found.push(Math.abs(v) < 1e-9 * step ? 0 : v);
  return { found, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

function plotCurves(canvas, kind, pair) {
  const g = canvas.getContext("2d"), axes = AXES[kind];
  const width = canvas.width / 2, height = canvas.height / 2;  // two pixels a unit, for sharp text
  g.setTransform(2, 0, 0, 2, 0, 0);
  g.fillStyle = "#10151b";
  g.fillRect(0, 0, width, height);
  g.font = "12px system-ui, sans-serif";
  g.fillStyle = "#eef1f4";
  g.fillText(axes.title, 8, 15);
  const seen = pair.filter(Boolean);
  if (!seen.length) return;
  const finite = (list) => list.filter((v) => v !== null);
  const xs = seen.flatMap((c) => c.x), ys = seen.flatMap((c) => finite(c.data).concat(finite(c.fit || [])));
  const box = { left: 58, right: width - 18, top: 26, bottom: height - 36 };
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)], [y0, y1] = [Math.min(0, ...ys), Math.max(...ys)];
  const px = (x) => box.left + (x - x0) / (x1 - x0 || 1) * (box.right - box.left);
  const py = (y) => box.bottom - (y - y0) / (y1 - y0 || 1) * (box.bottom - box.top);
  g.strokeStyle = "#33404d";
  g.fillStyle = "#c3ccd5";
  g.lineWidth = 1;
  const xt = steps(x0, x1, 5), yt = steps(y0, y1, 4);
  g.textAlign = "center";
  for (const v of xt.found) g.fillText(v.toFixed(xt.digits), px(v), box.bottom + 15);
  g.fillText(axes.x, (box.left + box.right) / 2, height - 5);
  g.textAlign = "right";
  for (const v of yt.found) {
    g.fillText(v.toFixed(yt.digits).replace("-", "\u2212"), box.left - 6, py(v) + 4);
    g.beginPath(); g.moveTo(box.left, py(v)); g.lineTo(box.right, py(v)); g.stroke();
  }
  g.textAlign = "left";
  g.save(); g.translate(12, (box.top + box.bottom) / 2); g.rotate(-Math.PI / 2); g.textAlign = "center"; g.fillText(axes.y, 0, 0); g.restore();
  pair.forEach((curve, side) => {
    if (!curve) return;
    g.fillStyle = g.strokeStyle = COLOURS[side];
    curve.data.forEach((v, i) => { if (v !== null) { g.beginPath(); g.arc(px(curve.x[i]), py(v), 2.3, 0, 7); g.fill(); } });
    if (!curve.fit) return;
    g.lineWidth = 1.5;
    g.beginPath();
    let pen = false;
    curve.fit.forEach((v, i) => {
      if (v === null) pen = false;
      else if (pen) g.lineTo(px(curve.x[i]), py(v));
      else { g.moveTo(px(curve.x[i]), py(v)); pen = true; }
    });
    g.stroke();
  });
}
