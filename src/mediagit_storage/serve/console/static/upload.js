// Uploads: dropped or chosen files, two at a time, never over something that is there without asking.

import { $, ask, bearer, forget, problem, say, token } from "./console.js";

const section = $("#uploads");
const list = $("ul", section);
const picker = $("#files");
const waiting = [];
let running = 0;
let stored = 0;
let always = null; // "keep" or "replace" once "for all that follow" was ticked
let asking = Promise.resolve(); // one question at a time

/** A file's name in a URL; null for one that would lead elsewhere, or that no URL can hold. */
function escaped(path) {
  const parts = path.split("/");
  if (parts.some((part) => part === "" || part === "." || part === "..")) return null;
  try {
    return parts.map(encodeURIComponent).join("/");
  } catch {
    return null;
  }
}

function row(path) {
  const item = document.createElement("li");
  const name = document.createElement("bdi");
  const bar = document.createElement("progress");
  const state = document.createElement("span");
  name.textContent = path;
  bar.max = 1;
  bar.value = 0;
  bar.setAttribute("aria-label", path);
  state.className = "state";
  state.textContent = "waiting";
  item.append(name, bar, state);
  list.append(item);
  return {
    progress: (share) => (bar.value = share),
    is(text, kind) {
      state.textContent = text;
      item.className = kind ?? "";
      if (kind) bar.value = 1;
    },
  };
}

/** One PUT; the status, 0 where the gateway was not reached. */
function put(url, file, given, over, shows) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    request.open("PUT", url);
    request.setRequestHeader("Authorization", bearer(given).Authorization);
    if (!over) request.setRequestHeader("If-None-Match", "*");
    if (file.type) request.setRequestHeader("Content-Type", file.type);
    request.upload.onprogress = (event) => event.lengthComputable && shows.progress(event.loaded / event.total);
    request.onloadend = () => resolve(request.status);
    request.send(file);
  });
}

/** Whether to replace what is there. Asked once for all where that was wished. */
function conflict(path) {
  const answer = asking.then(async () => {
    if (always) return always;
    $("#conflict-what").textContent = `“${path}” is stored already. Replace it with the new file?`;
    const all = $("#conflict-all");
    all.checked = false;
    const chosen = (await ask($("#conflict"))) === "replace" ? "replace" : "keep";
    if (all.checked) always = chosen;
    return chosen;
  });
  asking = answer.catch(() => {});
  return answer;
}

async function store({ file, path, shows }) {
  const url = section.dataset.to + escaped(path);
  let over = false;
  for (;;) {
    const given = await token();
    if (!given) return shows.is("not stored: no token was given", "failed");
    // A storage that writes over whatever is there has to be looked at first.
    if (!over && section.dataset.creates === "no") {
      const { status } = await fetch(url, { method: "HEAD", headers: bearer(given) }).catch(() => ({ status: 0 }));
      if (status !== 200 && status !== 404) return shows.is(problem(status), "failed");
      if (status === 200 && (await conflict(path)) === "keep") return shows.is("kept what was there");
      over = true;
    }
    shows.is("storing");
    const status = await put(url, file, given, over, shows);
    if (status === 401) {
      forget();
    } else if (status === 412 && !over) {
      if ((await conflict(path)) === "keep") return shows.is("kept what was there");
      over = true;
    } else if (status >= 200 && status < 300) {
      stored += 1;
      return shows.is("stored", "done");
    } else {
      return shows.is(problem(status), "failed");
    }
  }
}

async function work() {
  running += 1;
  while (waiting.length) await store(waiting.shift());
  running -= 1;
  if (running) return;
  always = null;
  picker.value = "";
  if (!stored) return;
  say(stored === 1 ? "1 file stored." : `${stored} files stored.`);
  stored = 0;
  if (!$(".failed", list)) refresh();
}

/** The listing as it is now, without losing what was told of the uploads. */
async function refresh() {
  const answer = await fetch(location.href).catch(() => null);
  if (!answer?.ok) return;
  const next = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of ["#main > .empty, #entries", ".about"]) {
    const [old, now] = [$(part), $(part, next)];
    if (old && now) old.replaceWith(now);
  }
}

async function add(files) {
  const good = [];
  for (const each of files) {
    const shows = row(each.path);
    if (escaped(each.path)) good.push({ ...each, shows });
    else shows.is("a file cannot have this name here", "failed");
  }
  section.hidden = list.childElementCount === 0;
  waiting.push(...good);
  // Asked for before the first file, so that not every file asks.
  if (!(await token())) for (const each of waiting.splice(0)) each.shows.is("not stored: no token was given", "failed");
  while (running < 2 && waiting.length) work();
}

/** Every file in what was dropped, folders included. */
async function* dropped(entry, before = "") {
  const path = before + entry.name;
  if (entry.isFile) {
    yield { file: await new Promise((resolve, reject) => entry.file(resolve, reject)), path };
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return;
    for (const each of some) yield* dropped(each, `${path}/`);
  }
}

$("#upload").addEventListener("click", () => picker.click());
picker.addEventListener("change", () => add([...picker.files].map((file) => ({ file, path: file.name }))));

let depth = 0;
const over = (on) => document.body.classList.toggle("dropping", on);
const brings = (event) => event.dataTransfer?.types.includes("Files");

document.addEventListener("dragenter", (event) => brings(event) && over(++depth > 0));
document.addEventListener("dragleave", (event) => brings(event) && over(--depth > 0));
document.addEventListener("dragover", (event) => brings(event) && event.preventDefault());
document.addEventListener("drop", async (event) => {
  if (!brings(event)) return;
  event.preventDefault();
  over(false);
  depth = 0;
  // Entries are gone once this handler waits for something.
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const plain = [...event.dataTransfer.files].map((file) => ({ file, path: file.name }));
  if (!entries.length) return add(plain);
  const files = [];
  for (const entry of entries) for await (const each of dropped(entry)) files.push(each);
  add(files);
});
