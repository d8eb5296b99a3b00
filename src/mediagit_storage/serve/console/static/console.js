// What a page can do besides being read: keys, colours, copying, more rows, deleting. Everything else works without.

export const $ = (selector, root = document) => root.querySelector(selector);

/** Say something to the one who looks and to the one who listens. */
let saying;
export function say(text) {
  const place = $("#said");
  place.textContent = text;
  place.classList.add("shown");
  clearTimeout(saying);
  saying = setTimeout(() => place.classList.remove("shown"), 4000);
}

/** Open a dialog; the value of the button that closed it, "" for Escape. */
export function ask(dialog) {
  return new Promise((resolve) => {
    dialog.returnValue = "";
    dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true });
    dialog.showModal();
  });
}

const TOKEN = "mgs-token";
export const bearer = (given) => ({ Authorization: `Bearer ${given}` });
export const forget = () => sessionStorage.removeItem(TOKEN);

/** The token: asked for once in the life of this tab, until it is a good one; null when nobody gives it. */
let pending = null;
export const token = () => (pending ??= wanted().finally(() => (pending = null)));

async function wanted() {
  const field = $("#token-field");
  while (!sessionStorage.getItem(TOKEN)) {
    const chosen = await ask($("#token"));
    const tried = field.value;
    field.value = $("#token-problem").textContent = "";
    if (chosen !== "yes") return null;
    const asked = { method: "POST", credentials: "omit", headers: bearer(tried) };
    const answer = await (async () => (await fetch("/-/api/token", asked)).json())().catch(() => null);
    if (answer?.accepted) sessionStorage.setItem(TOKEN, tried);
    else $("#token-problem").textContent = answer ? "That token is not accepted." : problem(0);
  }
  return sessionStorage.getItem(TOKEN);
}

/** What to tell of an answer that is no success; 0 is none at all. */
export function problem(status) {
  const known = {
    0: "The gateway cannot be reached.",
    403: "This is not allowed.",
    404: "It is not there any more.",
    412: "Somebody else has changed it meanwhile. Reload the page to see it.",
    413: "It is larger than what is taken here.",
    503: "The storage cannot be reached. Try again in a moment.",
    504: "The storage takes too long to answer.",
    507: "The storage is full.",
  };
  return known[status] ?? `It did not work (error ${status}).`;
}

// ---- colours

$("#theme-button").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("mgs-theme", root.dataset.theme);
});

// ---- keys

$("#help-button").addEventListener("click", () => ask($("#help")));

// Who speaks to the browser may not want single letters to do anything.
const letters = $("#letters");
letters.checked = localStorage.getItem("mgs-keys") !== "off";
letters.addEventListener("change", () => localStorage.setItem("mgs-keys", letters.checked ? "on" : "off"));

/** Focus the entry so many places on, and no further than the ends of the list. */
function move(step) {
  const all = [...document.querySelectorAll("a.entry, #more")];
  const next = all.indexOf(document.activeElement) + step;
  all[Math.max(0, Math.min(all.length - 1, next))]?.focus();
}

const up = () => [...document.querySelectorAll(".crumbs a")].pop()?.click();
const ON_LISTS = {
  ArrowDown: () => move(1),
  j: () => move(1),
  ArrowUp: () => move(-1),
  k: () => move(-1),
  Home: () => move(-Infinity),
  End: () => move(Infinity),
};
const EVERYWHERE = {
  ArrowLeft: up,
  u: up,
  "/": () => $("#search")?.focus(),
  "?": () => ask($("#help")),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || $("dialog[open]")) return;
  if (event.target.matches("input, textarea, select, video, audio, pre")) {
    if (event.key === "Escape" && event.target.id === "search") event.target.blur();
    return;
  }
  if (event.key.length === 1 && localStorage.getItem("mgs-keys") === "off") return;
  const action = EVERYWHERE[event.key] ?? ($("#entries") && ON_LISTS[event.key]);
  if (!action) return;
  event.preventDefault();
  action();
});

// ---- copying

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    say(`${what} copied.`);
  } catch {
    // Pages that came over plain http may not do that.
    prompt(`${what}:`, text);
  }
}

async function sign(key) {
  const answer = await fetch("/-/api/link", { method: "POST", body: new URLSearchParams({ key }) }).catch(() => null);
  if (!answer?.ok) return say(problem(answer?.status ?? 0));
  copy(new URL((await answer.json()).url, location.href).href, "Link");
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const { close, copy: key, copyUrl, sign: signed } = button.dataset;
  if (close !== undefined) button.closest("dialog").close();
  else if (key !== undefined) copy(key, "Key");
  else if (copyUrl !== undefined) copy(new URL(copyUrl, location.href).href, "Link");
  else if (signed !== undefined) sign(signed);
});

// ---- more rows, below those that are there

async function more(link) {
  link.setAttribute("aria-busy", "true");
  const answer = await fetch(link.href).catch(() => null);
  if (!answer?.ok) return location.assign(link.href);
  const next = new DOMParser().parseFromString(await answer.text(), "text/html");
  const rows = [...next.querySelectorAll("#entries tbody tr")];
  $("#entries tbody").append(...rows);
  const place = link.closest(".more");
  const following = $(".more", next);
  if ($("#more", next)) place.replaceWith(following);
  else place.remove();
  $("a.entry", rows[0])?.focus();
  say(`${rows.length} more`);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("#more");
  if (!link || !$("#entries") || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  more(link);
});

// ---- deleting

async function remove({ url, etag, back }) {
  if ((await ask($("#deletion"))) !== "yes") return;
  const given = await token();
  if (!given) return;
  const headers = { ...bearer(given), ...(etag ? { "If-Match": etag } : {}) };
  const { ok, status } = await fetch(url, { method: "DELETE", credentials: "omit", headers }).catch(() => ({ status: 0 }));
  if (status === 401) forget();
  if (!ok) return say(problem(status));
  sessionStorage.setItem("mgs-said", "Deleted.");
  location.replace(back);
}

$("#delete")?.addEventListener("click", (event) => remove(event.currentTarget.dataset));

const said = sessionStorage.getItem("mgs-said");
if (said) {
  sessionStorage.removeItem("mgs-said");
  say(said);
}
