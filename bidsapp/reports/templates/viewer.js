// Two visits side by side: both show the same point of the common space.
const data = JSON.parse(byId("content").textContent);
const SESSIONS = data.sessions, LESIONS = data.lesions;
const PLANES = [[[-1, 0, 0], [0, -1, 0]], [[-1, 0, 0], [0, 0, -1]], [[0, -1, 0], [0, 0, -1]]];
const FIELD = 210;  // mm
const MEDIUM = 60;  // grey level of anatomy below the colour bar
const NORMALS = [[0, 0, 1], [0, 1, 0], [1, 0, 0]];
const fixed = (x, digits) => {
  let text = x.toFixed(digits);
  if (x !== 0 && Number(text) === 0) text = String(Number(x.toPrecision(2)));
  return text.replace("-", "\u2212");
};
const state = { point: [0, 0, 0], centre: [0, 0, 0], zoom: 1, panes: [] };
const status = byId("value");
const layerOf = (session, name) => session.layers.find((layer) => layer.name === name);
const titleOf = (layer) => layer.unit ? `${layer.title} (${layer.unit})` : layer.title;
const local = (session, point) => times(session.matrix, point);
const moved = (p, direction, mm) => p.map((x, i) => x + mm * direction[i]);
const inverse3 = (session) => {  // of the matrix of a session, by Cramer's rule
  const m = session.matrix, [a, b, c] = m;
  const det = a[0] * (b[1] * c[2] - b[2] * c[1]) - a[1] * (b[0] * c[2] - b[2] * c[0]) + a[2] * (b[0] * c[1] - b[1] * c[0]);
  const cof = (r1, c1, r2, c2) => (m[r1][c1] * m[r2][c2] - m[r1][c2] * m[r2][c1]) / det;
  const inv = [[cof(1, 1, 2, 2), -cof(0, 1, 2, 2), cof(0, 1, 1, 2)], [-cof(1, 0, 2, 2), cof(0, 0, 2, 2), -cof(0, 0, 1, 2)], [cof(1, 0, 2, 1), -cof(0, 0, 2, 1), cof(0, 0, 1, 1)]];
  return inv.map((row) => [...row, -row.reduce((s, x, i) => s + x * m[i][3], 0)]);
};

class Pane {
  constructor(element, side) {
    this.side = side;
    this.canvases = [...element.querySelectorAll("canvas")];
    const find = (name) => element.querySelector(`.${name}`);
    [this.visit, this.map, this.low, this.high] = ["visit", "map", "low", "high"].map(find);
    this.windows = {};
    this.visit.append(...SESSIONS.map((session, i) => new Option(session.heading, i)));
    this.visit.addEventListener("input", async () => {
      const chosen = this.visit.value;
      await load(SESSIONS[chosen]);
      if (chosen === this.visit.value) { this.choose(chosen); draw(); }
    });
    this.map.addEventListener("input", () => { this.showWindow(); draw(); });
    for (const box of [this.low, this.high]) box.addEventListener("change", () => {
      const [low, high] = [Number(this.low.value), Number(this.high.value)];
      if (high > low) this.windows[this.focus.name] = [low, high];
      this.showWindow();
      draw();
    });
    this.canvases.forEach((canvas, i) => listen(canvas, i, this));
  }

  get session() { return SESSIONS[this.shown]; }
  get layer() { return layerOf(this.session, this.map.value); }
  get focus() { return this.layer || layerOf(this.session, "T1w"); }
  window(layer) { return this.windows[layer.name] || [layer.low, layer.high]; }

  choose(visit, name) {
    this.visit.value = this.shown = visit;
    this.listMaps(name);
  }

  listMaps(name) {
    const before = name === undefined ? this.map.value : name;
    const maps = this.session.layers.filter((l) => l.name !== "T1w" && l.name !== "lesions");
    this.map.replaceChildren(new Option("none: T1w", ""), ...maps.map((l) => new Option(titleOf(l), l.name)));
    this.map.value = maps.some((l) => l.name === before) ? before : "";
    this.showWindow();
  }

  showWindow() {
    const round = (x) => Number(x.toPrecision(4));
    [this.low.value, this.high.value] = this.window(this.focus).map(round);
  }
}

const scale = (canvas) => FIELD / state.zoom / canvas.width;
const corner = (canvas, plane) => {
  const mm = scale(canvas), [across, down] = PLANES[plane];
  const through = NORMALS[plane].map((n, i) => n ? state.point[i] : state.centre[i]);
  return moved(moved(through, across, -mm * canvas.width / 2), down, -mm * canvas.height / 2);
};

function drawPlane(canvas, plane, pane) {
  const { width, height } = canvas, mm = scale(canvas), session = pane.session;
  const frame = { corner: corner(canvas, plane), width, height, across: PLANES[plane][0].map((x) => x * mm), down: PLANES[plane][1].map((x) => x * mm) };
  const g = canvas.getContext("2d"), image = g.createImageData(width, height), out = image.data;
  const anatomy = layerOf(session, "T1w"), [black, white] = pane.window(anatomy), layer = pane.layer;
  const grey = samplePlane(anatomy.parts, session.matrix, frame, true);
  const values = layer && samplePlane(layer.parts, session.matrix, frame, false);
  const table = layer && data.colours[layer.colormap], [low, high] = layer ? pane.window(layer) : [0, 1];
  const opacity = Number(byId("opacity").value), dim = layer ? 0.7 : 1;
  for (let i = 0; i < grey.length; i++) {
    const level = Number.isNaN(grey[i]) ? 0 : Math.max(0, Math.min(255, 255 * (grey[i] - black) / (white - black))) * dim;
    let red = level, green = level, blue = level;
    if (values && !Number.isNaN(values[i])) {
      const c = 3 * Math.max(0, Math.min(255, Math.round(255 * (values[i] - low) / (high - low))));
      red += opacity * (table[c] - level); green += opacity * (table[c + 1] - level); blue += opacity * (table[c + 2] - level);
    }
    out[4 * i] = red; out[4 * i + 1] = green; out[4 * i + 2] = blue; out[4 * i + 3] = 255;
  }
  const lesions = byId("outline").checked && layerOf(session, "lesions");
  if (lesions) {
    const labels = samplePlane(lesions.parts, session.matrix, frame, false);
    const at = (i) => labels[i] || 0;
    for (let r = 0; r < height - 1; r++) for (let c = 0, i = r * width; c < width - 1; c++, i++)
      if (at(i) !== at(i + 1) || at(i) !== at(i + width)) { out[4 * i] = 255; out[4 * i + 1] = 255; out[4 * i + 2] = 255; }
  }
  g.putImageData(image, 0, 0);
  decorate(g, canvas, plane, pane);
}

// Cross-hair with a gap at the point, sides, and the colour bar.
function decorate(g, canvas, plane, pane) {
  const { width, height } = canvas, [x, y] = toPixel(canvas, plane, state.point).map((v) => Math.round(v) + 0.5);
  g.strokeStyle = "rgba(255, 200, 60, 0.75)";
  g.lineWidth = 1;
  g.beginPath();
  for (const [a, b, c, d] of [[0, y, x - 6, y], [x + 6, y, width, y], [x, 0, x, y - 6], [x, y + 6, x, height]]) { g.moveTo(a, b); g.lineTo(c, d); }
  g.stroke();
  g.font = "12px system-ui, sans-serif";
  g.fillStyle = "#eef1f4";
  g.fillText(["R", "R", "A"][plane], 4, height / 2);
  if (plane || !pane.layer) return;
  const opacity = Number(byId("opacity").value);
  const [low, high] = pane.window(pane.layer), table = data.colours[pane.layer.colormap], top = 24, tall = height - 60;
  for (let i = 0; i < tall; i++) {
    const c = 3 * Math.round(255 * (1 - i / (tall - 1)));
    const mixed = [0, 1, 2].map((k) => opacity * table[c + k] + (1 - opacity) * MEDIUM);
    g.fillStyle = `rgb(${mixed.join(", ")})`;
    g.fillRect(width - 14, top + i, 8, 1);
  }
  g.fillStyle = "#eef1f4";
  g.textAlign = "right";
  g.fillText(fixed(high, pane.layer.digits), width - 4, top - 6);
  g.fillText(fixed(low, pane.layer.digits), width - 4, top + tall + 14);
  g.fillText(titleOf(pane.layer), width - 4, height - 6);
  g.textAlign = "left";
}

function toPixel(canvas, plane, point) {
  const start = corner(canvas, plane), mm = scale(canvas);
  return PLANES[plane].map((v) => v.reduce((sum, a, i) => sum + a * (point[i] - start[i]), 0) / mm);
}

function fromPixel(canvas, plane, x, y) {
  const mm = scale(canvas), [across, down] = PLANES[plane];
  return moved(moved(corner(canvas, plane), across, x * mm), down, y * mm);
}

function listen(canvas, plane, pane) {
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * canvas.width / box.width, (event.clientY - box.top) * canvas.height / box.height];
  };
  let drag = null;
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    canvas.focus();
    const windowing = event.button === 2 || event.shiftKey;
    drag = { windowing, x: event.clientX, y: event.clientY, from: pane.window(pane.focus) };
    if (!windowing) go(fromPixel(canvas, plane, ...place(event)));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) return;
    if (!drag.windowing) { go(fromPixel(canvas, plane, ...place(event))); return; }
    const [low, high] = drag.from, width = Math.max((high - low) * 2 ** ((event.clientX - drag.x) / 150), 1e-9);
    const level = (low + high) / 2 + (drag.y - event.clientY) / 200 * (high - low);
    pane.windows[pane.focus.name] = [level - width / 2, level + width / 2];
    pane.showWindow();
    draw();
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => { drag = null; });
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); go(moved(state.point, NORMALS[plane], -Math.sign(event.deltaY) * 1.5)); }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const [across, down] = PLANES[plane];
    const keys = { ArrowLeft: [across, -1], ArrowRight: [across, 1], ArrowUp: [down, -1], ArrowDown: [down, 1], PageUp: [NORMALS[plane], 1.5], PageDown: [NORMALS[plane], -1.5] };
    if (keys[event.key]) go(moved(state.point, ...keys[event.key]));
    else if (event.key === "+" || event.key === "=") zoom(state.zoom * 1.4);
    else if (event.key === "-") zoom(state.zoom / 1.4);
    else if (event.key === "0") zoom(1);
    else return;
    event.preventDefault();
  });
}

function zoom(factor) {
  state.zoom = Math.max(1, Math.min(8, factor));
  state.centre = state.zoom === 1 ? data.centre : [...state.point];
  draw();
}

function go(point) {
  state.point = point;
  draw();
}

function textOf(pane, layer) {
  const point = local(pane.session, state.point), value = valueAt(layer.parts, point);
  if (value === undefined) return "outside";
  if (value === null) return "no value";
  const error = valueAt(layer.errors, point);
  if (error === undefined) return fixed(value, layer.digits);
  return `${fixed(value, layer.digits)} ± ${error === null ? "unknown" : fixed(error, layer.digits + 1)}`;
}

function showValues() {
  const names = [...new Set(state.panes.flatMap((pane) => pane.session.layers.map((l) => l.name)))].filter((n) => n !== "lesions" && n !== "T1w");
  const heads = byId("values").tHead.rows[0].cells;
  state.panes.forEach((pane, i) => { heads[i + 1].textContent = pane.session.heading; });
  byId("values").tBodies[0].replaceChildren(...names.map((name) => {
    const row = document.createElement("tr"), layers = state.panes.map((pane) => layerOf(pane.session, name));
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = titleOf(layers.find(Boolean));
    row.append(head, ...layers.map((layer, i) => {
      const cell = document.createElement("td");
      cell.textContent = layer ? textOf(state.panes[i], layer) : "no map";
      return cell;
    }));
    return row;
  }));
  const [x, y, z] = state.point, side = (v, low, high) => `${fixed(Math.abs(v), 1)} mm ${v < 0 ? low : high}`;
  const inside = state.panes.map((pane) => {
    const layer = layerOf(pane.session, "lesions");
    const number = layer && valueAt(layer.parts, local(pane.session, state.point));
    return number ? `lesion ${number} in ${pane.session.heading}` : "";
  }).filter(Boolean);
  status.textContent = [`${side(x, "left", "right")}, ${side(y, "back", "front")}, ${side(z, "down", "up")}`, ...new Set(inside)].join(" · ");
}

function curvesOf(kind) {
  return state.panes.map((pane) => {
    const found = pane.session.curves.find((c) => c.kind === kind);
    return found ? curveAt(found, local(pane.session, state.point)) : null;
  });
}

function showCurves() {
  const all = state.panes.flatMap((pane) => pane.session.curves), notes = all.map((c) => c.note);
  const found = ["perf", "dwi"].map((kind) => {
    const pair = curvesOf(kind);
    byId(kind).hidden = !all.some((c) => c.kind === kind);
    plotCurves(byId(kind), kind, pair);
    return pair.some(Boolean);
  });
  if (!all.length) notes.push("There are no curves of these visits.");
  else if (!found.some(Boolean)) notes.push(`Curves are kept within ${data.keptMm} mm of lesions.`);
  notes.push(...[...new Set(all.map((c) => c.model))].filter(Boolean).map((model) => `Fit: ${model}.`));
  byId("curvenote").textContent = [...new Set(notes)].filter(Boolean).join(" ");
}

let waiting = false;
function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    for (const pane of state.panes) pane.canvases.forEach((canvas, plane) => drawPlane(canvas, plane, pane));
    showValues();
    showCurves();
  });
}

// The planes of both visits with a legend, as one picture.
function savePicture() {
  const picture = document.createElement("canvas"), g = picture.getContext("2d");
  const map = (pane) => pane.layer ? `${titleOf(pane.layer)}, ${pane.low.value} to ${pane.high.value}` : "T1w";
  const legend = [...status.textContent.split(" · "), ...state.panes.map((pane) => `${pane.session.heading}: ${map(pane)}`)].map((text) => [text]);
  legend.push(...[...byId("values").rows].map((row) => [...row.cells].map((cell) => cell.textContent)));
  legend.push(["The patient's right is on the left. For research, not for clinical decisions."]);
  picture.width = 1240; picture.height = Math.max(640, 470 + 18 * legend.length);
  g.fillStyle = "#10151b";
  g.fillRect(0, 0, picture.width, picture.height);
  state.panes.forEach((pane, i) => {
    const left = 10 + 620 * i, [axial, coronal, sagittal] = pane.canvases;
    g.drawImage(axial, left, 40, 400, 400);
    g.drawImage(coronal, left + 402, 40, 199, 199);
    g.drawImage(sagittal, left + 402, 241, 199, 199);
    g.fillStyle = COLOURS[i];
    g.font = "bold 15px system-ui, sans-serif";
    g.fillText(`${data.participant}, ${pane.session.heading}`, left, 24);
  });
  [byId("perf"), byId("dwi")].forEach((canvas, i) => { if (!canvas.hidden) g.drawImage(canvas, 620 + 305 * i, 450, 300, 165); });
  g.fillStyle = "#eef1f4";
  g.font = "13px system-ui, sans-serif";
  legend.forEach((cells, i) => cells.forEach((text, j) => g.fillText(text, 10 + 165 * j, 465 + 18 * i)));
  picture.toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${data.participant}_viewer.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}

// Decode a visit when it is shown for the first time.
function load(session) {
  const parts = session.layers.flatMap((layer) => [...layer.parts, ...layer.errors]);
  const boxes = session.curves.flatMap((curves) => curves.boxes);
  session.ready = session.ready || Promise.all([...parts.map(openPart), ...boxes.map(openCurves)]);
  return session.ready;
}

async function start() {
  await Promise.all([SESSIONS[0], SESSIONS[SESSIONS.length - 1]].map(load));
  data.colours = {};
  for (const [name, text] of Object.entries(data.colormaps)) data.colours[name] = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const first = layerOf(SESSIONS[0], "T1w").parts[0], middle = first.shape.map((n) => (n - 1) / 2);
  data.centre = times(inverse3(SESSIONS[0]), centreOf(first, middle));
  state.panes = [...document.querySelectorAll(".pane")].map((element, side) => new Pane(element, side));
  const preferred = ["Ktrans", "vp", "f", "ADC"].find((name) => layerOf(SESSIONS[0], name)) || "";
  state.panes[0].choose(0, preferred);
  state.panes[1].choose(SESSIONS.length - 1, preferred);
  byId("lesion").append(...(LESIONS.length ? [] : [new Option("no ROI", "")]), ...LESIONS.map((lesion, i) => new Option(lesion.title, i)));
  byId("lesion").addEventListener("input", (event) => { if (event.target.value) aim(LESIONS[event.target.value]); });
  for (const id of ["opacity", "outline"]) byId(id).addEventListener("input", draw);
  byId("save").addEventListener("click", savePicture);
  state.point = state.centre = data.centre;
  if (LESIONS.length) aim(LESIONS[0]); else draw();
  window.viewer = { state, curvesOf, textOf, go };
}

function aim(lesion) {
  state.point = lesion.mm;
  if (state.zoom > 1) state.centre = lesion.mm;
  draw();
}

// The point of the T1w at a voxel, by inversion of the matrix from points to voxels.
function centreOf(part, voxel) {
  return times(inverse3({ matrix: part.inverse }), voxel);
}

start().catch((error) => { status.textContent = `The viewer cannot be shown: ${error.message}`; });
