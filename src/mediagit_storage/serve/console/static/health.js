// The numbers of the health page, asked for every few seconds while the page is looked at, and drawn as lines.

import { $ } from "./console.js";

const EVERY = 3000;
const KEPT = 60;
const lines = { requests: [], errors: [], sent: [], received: [], latency: [] };
let before = null;

const size = (count) => {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (count >= 999.5 && unit < units.length - 1) [count, unit] = [count / 1000, unit + 1];
  return `${unit && count < 99.95 ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
};
const count = (rate) => `${rate && rate < 10 ? rate.toFixed(1) : Math.round(rate)}/s`;
const bytes = (rate) => `${size(rate)}/s`;
const SHOWN = {
  requests: count,
  errors: count,
  sent: bytes,
  received: bytes,
  latency: (seconds) => (seconds < 1 ? `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms` : `${seconds.toFixed(1)} s`),
};

function draw(name) {
  const values = lines[name];
  const card = $(`[data-line="${name}"]`);
  if (!card || !values.length) return;
  const most = Math.max(...values, 1e-9) * 1.2;
  const points = values.map((value, index) => `${((KEPT - values.length + index) * 100) / (KEPT - 1)},${(29 - (value / most) * 27).toFixed(2)}`);
  $("polyline", card).setAttribute("points", points.join(" "));
  $("polygon", card).setAttribute("points", [`${points[0].split(",")[0]},30`, ...points, "100,30"].join(" "));
  $(".now", card).textContent = SHOWN[name](values[values.length - 1]);
}

function add(name, value) {
  lines[name].push(Math.max(0, value));
  if (lines[name].length > KEPT) lines[name].shift();
  draw(name);
}

function told(now) {
  for (const [name, text] of Object.entries(now.texts)) {
    const place = $(`[data-text="${name}"]`);
    if (place) place.textContent = text;
  }
  const state = $("#state");
  state.className = `state ${now.ready ? "up" : "down"}`;
  if (state.textContent !== now.state) state.textContent = now.state;
  for (const each of now.backends) {
    const row = [...document.querySelectorAll("[data-backend]")].find((found) => found.dataset.backend === each.name);
    if (!row) continue;
    row.className = each.up ? "up" : "down";
    $(".how", row).textContent = each.text;
  }
  if (before && now.uptime > before.uptime) {
    const time = now.uptime - before.uptime;
    for (const name of ["requests", "errors", "sent", "received"]) add(name, (now[name] - before[name]) / time);
  }
  add("latency", now.latency);
  before = now;
}

async function poll() {
  if (document.visibilityState === "visible") {
    const answer = await fetch("/-/api/status").catch(() => null);
    const now = answer?.ok ? await answer.json().catch(() => null) : null;
    document.body.classList.toggle("stale", !now);
    $("#stale").hidden = Boolean(now);
    if (now) told(now);
  }
  setTimeout(poll, EVERY);
}

poll();
