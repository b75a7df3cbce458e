"use strict";
const data = (id) => JSON.parse(document.getElementById(id).textContent);
const LAYERS = data("layers");
const LESIONS = data("lesions");
const line = document.getElementById("value");
const byId = (id) => document.getElementById(id);
const fixed = (x, digits) => x.toFixed(digits).replace("-", "\u2212");

function bytes(text) {
  const raw = atob(text), out = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
  return out.buffer;
}

function showLocation(location) {
  const [x, y, z] = location.mm;
  const parts = [`${fixed(Math.abs(x), 1)} mm ${x < 0 ? "left" : "right"}, ${fixed(Math.abs(y), 1)} ${y < 0 ? "back" : "front"}, ${fixed(Math.abs(z), 1)} ${z < 0 ? "down" : "up"}`];
  location.values.forEach((entry, i) => {
    const layer = LAYERS[i];
    if (layer.name === "lesions" || entry.value === undefined) return;
    if (i > 0 && byId("map").value !== layer.name) return;
    parts.push(`${layer.title}: ${entry.value < -130 * layer.high ? "no value" : fixed(entry.value, layer.decimals)}`);
  });
  line.textContent = parts.join("   ·   ");
}

async function start() {
  const view = new niivue.Niivue({
    backColor: [0.06, 0.08, 0.11, 1], crosshairColor: [0.95, 0.66, 0, 0.8], isRadiologicalConvention: true,
    isColorbar: true, show3Dcrosshair: false, dragAndDropEnabled: false, loadingText: "", logLevel: "error", onLocationChange: showLocation,
  });
  await view.attachToCanvas(byId("view"));
  for (const layer of LAYERS) {
    const image = await niivue.NVImage.new(bytes(layer.data), `${layer.name}.nii.gz`, layer.colormap, 0, null, layer.low, layer.high, true, 0.02, false, false, "", 0, undefined, NaN, NaN, layer.name !== "lesions" && layer.name !== "T1w", null, 0, null);
    view.addVolume(image);
  }
  view.setSliceType(view.sliceTypeMultiplanar);
  view.setInterpolation(true);
  const paint = () => {
    LAYERS.forEach((layer, i) => {
      let opacity = 0;
      if (layer.name === "T1w") opacity = 1;
      else if (layer.name === "lesions") opacity = byId("outline").checked ? 0.5 : 0;
      else if (layer.name === byId("map").value) opacity = Number(byId("opacity").value);
      view.volumes[i].colorbarVisible = opacity > 0 && i > 0 && layer.name !== "lesions";
      view.setOpacity(i, opacity);
    });
    view.createOnLocationChange();
  };
  const maps = LAYERS.filter((layer) => layer.name !== "T1w" && layer.name !== "lesions");
  byId("map").append(...maps.map((layer) => new Option(layer.title, layer.name)), new Option("none", ""));
  byId("lesion").append(new Option("…", ""), ...LESIONS.map((lesion, i) => new Option(lesion.title, i)));
  for (const id of ["map", "opacity", "outline"]) byId(id).addEventListener("input", paint);
  const go = (mm) => {
    view.scene.crosshairPos = view.mm2frac(mm);
    view.createOnLocationChange();
    view.drawScene();
  };
  byId("lesion").addEventListener("input", (event) => { if (event.target.value) go(LESIONS[event.target.value].mm); });
  if (LESIONS.length) go(LESIONS[0].mm);
  paint();
  window.viewer = view;
}
start().catch((error) => { line.textContent = `The viewer cannot be shown: ${error.message}. It needs WebGL 2.`; });
