"use strict";
// Volumes and curves as stored in the page, and their values at points in mm.
const byId = (id) => document.getElementById(id);

async function unpack(text) {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function openPart(part) {
  const bytes = await unpack(part.data), n = bytes.length / 2;
  const codes = new Uint16Array(n);
  for (let i = 0; i < n; i++) codes[i] = bytes[i] | (bytes[n + i] << 8);
  part.codes = codes;
  delete part.data;
}

async function openCurves(box) {
  for (const name of ["low", "step"]) box[name] = new Float32Array((await unpack(box[name])).buffer);
  box.data = await unpack(box.data);
  box.fit = box.fit && await unpack(box.fit);
}

const times = (m, p) => [0, 1, 2].map((i) => m[i][0] * p[0] + m[i][1] * p[1] + m[i][2] * p[2] + m[i][3]);
const product = (a, b) => a.map((row) => [0, 1, 2, 3].map((j) => row.reduce((sum, x, k) => sum + x * b[k][j], 0)));

// The index of the voxel nearest to a voxel position, or -1 outside the volume.
function indexAt(shape, x, y, z) {
  const i = Math.round(x), j = Math.round(y), k = Math.round(z);
  if (i < 0 || j < 0 || k < 0 || i >= shape[0] || j >= shape[1] || k >= shape[2]) return -1;
  return i + shape[0] * (j + shape[1] * k);
}

// The value at a point of the session; undefined outside all parts, null where there is none.
function valueAt(parts, point) {
  for (const part of parts) {
    const index = indexAt(part.shape, ...times(part.inverse, point));
    if (index >= 0) return part.codes[index] ? part.low + (part.codes[index] - 1) * part.step : null;
  }
  return undefined;
}

// A plane of values: corner and steps in mm of the common space; NaN where there is no value.
function samplePlane(parts, matrix, plane, smooth) {
  const { corner, across, down, width, height } = plane;
  const out = new Float32Array(width * height).fill(NaN);
  for (let p = parts.length - 1; p >= 0; p--) {
    const part = parts[p], m = product(part.inverse, matrix), [sx, sy, sz] = part.shape;
    const start = times(m, corner);
    const turn = (v) => [0, 1, 2].map((i) => m[i][0] * v[0] + m[i][1] * v[1] + m[i][2] * v[2]);
    const du = turn(across), dv = turn(down), codes = part.codes;
    for (let r = 0; r < height; r++) {
      let x = start[0] + r * dv[0], y = start[1] + r * dv[1], z = start[2] + r * dv[2];
      for (let c = 0, o = r * width; c < width; c++, o++, x += du[0], y += du[1], z += du[2]) {
        if (smooth) {
          const i = Math.floor(x), j = Math.floor(y), k = Math.floor(z);
          if (i < 0 || j < 0 || k < 0 || i >= sx - 1 || j >= sy - 1 || k >= sz - 1) continue;
          const a = x - i, b = y - j, d = z - k, q = i + sx * (j + sy * k), s = sx * sy;
          const low = (codes[q] * (1 - a) + codes[q + 1] * a) * (1 - b) + (codes[q + sx] * (1 - a) + codes[q + sx + 1] * a) * b;
          const top = (codes[q + s] * (1 - a) + codes[q + s + 1] * a) * (1 - b) + (codes[q + s + sx] * (1 - a) + codes[q + s + sx + 1] * a) * b;
          out[o] = part.low + (low * (1 - d) + top * d - 1) * part.step;
        } else {
          const i = Math.round(x), j = Math.round(y), k = Math.round(z);
          if (i < 0 || j < 0 || k < 0 || i >= sx || j >= sy || k >= sz) continue;
          const code = codes[i + sx * (j + sy * k)];
          out[o] = code ? part.low + (code - 1) * part.step : NaN;
        }
      }
    }
  }
  return out;
}

// The curve and its fit of the voxel at a point of the session; null where none is kept.
function curveAt(curves, point) {
  for (const box of curves.boxes) {
    const voxel = indexAt(box.shape, ...times(box.inverse, point));
    if (voxel < 0) continue;
    const n = box.shape[0] * box.shape[1] * box.shape[2];
    const read = (bytes) => curves.x.map((_, t) => {
      const code = bytes[voxel + n * t];
      return code ? box.low[voxel] + (code - 1) * box.step[voxel] : null;
    });
    const data = read(box.data);
    if (data.some((v) => v !== null)) return { x: curves.x, data, fit: box.fit ? read(box.fit) : null };
  }
  return null;
}
