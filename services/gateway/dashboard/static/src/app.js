// The page's glue: one websocket whose events refresh fragments (fetched and morphed by htmx), and small comforts.
// Everything here is optional: without it the pages work by links, forms and reloads.

const root = document.documentElement;
const byId = (id) => document.getElementById(id);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// ---- Fragments: at most one fetch per target in 150 ms, never two at once, and none lost ----

const COALESCE_MS = 150;
const pending = new Map();

function refresh(target) {
  const state = pending.get(target) ?? { running: false, again: false };
  pending.set(target, state);
  state.again = true;
  if (!state.running) drain(target, state);
}

async function drain(target, state) {
  state.running = true;
  while (state.again) {
    await sleep(COALESCE_MS);
    state.again = false;
    await fetchFragment(target);
  }
  state.running = false;
}

async function fetchFragment(target) {
  const element = byId(target);
  if (!element) return;
  const path = target === "live" ? element.dataset.fragment : `/stores/table${location.search}`;
  try {
    const response = await fetch(path, { headers: { "HX-Request": "true" }, signal: AbortSignal.timeout(10_000) });
    if (response.status === 401 || response.redirected) return signIn();
    if (!response.ok) return;
    const known = new Set(rows().map((row) => row.id));
    await htmx.swap({ sourceElement: element, target: element, text: await response.text(), swap: "outerMorph" });
    if (target === "stores-table") {
      for (const row of rows()) if (!known.has(row.id)) row.classList.add("animate-fresh");
    }
  } catch {
    // The server is away; the next event or reconnect asks again.
  }
}

const rows = () => [...document.querySelectorAll("#stores-table [data-store-id]")];

// ---- The websocket: replay from the number that the page was drawn at, then live ----

const RETRY_MS = [500, 5000];
const BANNER_MS = 2000;
let lastSeq = root.dataset.seq ? Number(root.dataset.seq) : null;
let socket = null;
let attempts = 0;
let bannerTimer = 0;
let leaving = false;

function connect() {
  const [port, path] = document.querySelector('meta[name="storefleet-live"]').content.split(" ");
  const host = port ? `${location.hostname}:${port}` : location.host;
  const after = lastSeq === null ? "" : `?after=${lastSeq}`;
  mark("connecting");
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${host}${path}${after}`);
  socket.addEventListener("open", opened);
  socket.addEventListener("message", (message) => receive(JSON.parse(message.data)));
  socket.addEventListener("close", closed);
}

function opened() {
  mark("open");
  // What was drawn before the cut may be older than the replay knows: one look at the truth.
  if (attempts > 0) refreshAll();
  attempts = 0;
}

async function closed(event) {
  mark("closed");
  if (leaving) return;
  if (event.code === 4401) return signIn();
  const [least, most] = RETRY_MS;
  const delay = Math.min(most, least * 2 ** attempts) * (0.5 + Math.random() / 2);
  attempts += 1;
  await sleep(Math.max(least, delay));
  // The gateway may well answer while the event service is away.
  if (attempts > 2 && !document.hidden) refreshAll();
  if (!leaving) connect();
}

function receive(frame) {
  if (typeof frame.seq !== "number") return;
  if (frame.type === "reset") {
    lastSeq = frame.seq;
    refreshAll();
  } else if (lastSeq !== null && frame.seq <= lastSeq) {
    return;
  } else {
    lastSeq = frame.seq;
    apply(frame);
  }
  root.dataset.lastSeq = lastSeq;
  document.dispatchEvent(new CustomEvent("storefleet:event", { detail: frame }));
}

function apply(frame) {
  const store = { ...frame.data?.store, id: frame.store_id };
  if (byId("live")?.dataset.storeId === store.id) refresh("live");
  if (byId("stores-table")) applyToList(frame, store);
  const { kind, error } = frame.data?.operation ?? {};
  if (frame.type === "store.ready" && kind === "create") toast("ready", store, "is ready");
  if (frame.type === "store.ready" && error) toast("failed", store, "was not changed");
  if (frame.type === "store.failed") toast("failed", store, "failed");
  if (frame.type === "store.upgraded") toast("ready", store, `is on ${store.engine_version}`);
  if (frame.type === "store.rolled_back") {
    toast(error ? "failed" : "ready", store, error ? `could not be upgraded and is back on ${store.engine_version}` : `is back on ${store.engine_version}`);
  }
}

function applyToList(frame, store) {
  const { firstPage, q, state } = byId("stores-table").dataset;
  const shown = byId(`row-${store.id}`) !== null;
  if (shown || (firstPage === "true" && !q && !state)) return refresh("stores-table");
  const matches = (!q || store.name?.includes(q)) && (!state || store.state === state);
  if (matches && (state || frame.type === "store.requested")) announce(store.id);
}

const announced = new Set();

function announce(id) {
  announced.add(id);
  const note = byId("new-stores");
  note.dataset.count = announced.size;
  const link = Object.assign(document.createElement("a"), { className: "btn btn-plain btn-sm" });
  const here = new URL(location.href);
  here.searchParams.delete("starting_after");
  link.href = here.pathname + here.search;
  link.textContent = `${announced.size} new – show`;
  note.replaceChildren(link);
}

function refreshAll() {
  refresh("live");
  refresh("stores-table");
}

function mark(state) {
  root.dataset.live = state;
  if (state === "open") {
    clearTimeout(bannerTimer);
    bannerTimer = 0;
    byId("conn")?.replaceChildren();
  } else if (state === "closed" && !bannerTimer) {
    bannerTimer = setTimeout(showBanner, BANNER_MS);
  }
}

function showBanner() {
  const note = document.createElement("p");
  note.className =
    "absolute mt-2 inline-flex animate-pop items-center gap-2 rounded-full border border-base-300 bg-base-100 px-3.5 py-1.5 text-sm shadow-md";
  note.append(icon("loader-circle", "size-4 animate-spin text-warning"), "Reconnecting…");
  byId("conn")?.replaceChildren(note);
}

function signIn() {
  leaving = true;
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

// ---- Toasts ----

function icon(name, classes) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `${document.body.dataset.icons}#${name}`);
  const line = { fill: "none", stroke: "currentColor", "stroke-width": 2, "stroke-linecap": "round", "stroke-linejoin": "round" };
  for (const [key, value] of Object.entries({ ...line, class: `${classes} shrink-0`, "aria-hidden": "true" })) svg.setAttribute(key, value);
  svg.append(use);
  return svg;
}

function toast(kind, store, words) {
  const box = byId("toasts");
  const item = document.createElement("div");
  item.className =
    "panel flex w-full animate-pop items-center gap-3 py-3 pr-2 pl-4 text-sm shadow-lg sm:w-auto sm:min-w-72 sm:max-w-96";
  item.dataset.toast = kind;
  const text = document.createElement("p");
  text.className = "min-w-0 flex-1 break-words";
  text.textContent = store ? `${store.name} ${words} ` : words;
  if (store && byId("live")?.dataset.storeId !== store.id) {
    const link = Object.assign(document.createElement("a"), { className: "link-text", textContent: "Show" });
    link.href = `/stores/${encodeURIComponent(store.id)}`;
    text.append(link);
  }
  const close = document.createElement("button");
  close.className = "btn btn-ghost btn-square btn-xs text-muted";
  close.type = "button";
  close.setAttribute("aria-label", "Dismiss");
  close.append(icon("x", "size-4"));
  close.addEventListener("click", () => item.remove());
  const good = kind === "ready" || kind === "done";
  item.append(icon(good ? "circle-check" : "circle-alert", `size-5 ${good ? "text-success" : "text-error"}`), text, close);
  box.append(item);
  while (box.children.length > 3) box.firstElementChild.remove();
  const expire = () => (item.matches(":hover, :focus-within") ? setTimeout(expire, 2000) : item.remove());
  setTimeout(expire, 7000);
}

// ---- Times ----

const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];

function ago(time) {
  const seconds = (Date.parse(time) - Date.now()) / 1000;
  for (const [unit, size] of UNITS) {
    if (Math.abs(seconds) >= size) return relative.format(Math.trunc(seconds / size), unit);
  }
  return "just now";
}

function elapsed(time) {
  const seconds = Math.max(0, Math.floor((Date.now() - Date.parse(time)) / 1000));
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function tick() {
  for (const time of document.querySelectorAll("time[data-relative]")) write(time, ago(time.dateTime));
  for (const span of document.querySelectorAll("[data-since]")) write(span, elapsed(span.dataset.since));
}

// ---- What has to be done again after each swap ----

let logsAtEnd = true;
let asker = null;

function settle() {
  tick();
  const live = byId("live");
  if (live) document.title = live.dataset.title;
  const logs = byId("log-lines");
  if (logs && logsAtEnd) logs.scrollTop = logs.scrollHeight;
}

document.addEventListener("htmx:before:swap", (event) => {
  asker = event.detail.ctx.sourceElement;
  // htmx focuses every [autofocus] again after each swap; only what the swap brings may ask for it.
  for (const element of document.querySelectorAll("[autofocus]")) element.removeAttribute("autofocus");
  const logs = byId("log-lines");
  logsAtEnd = !logs || logs.scrollHeight - logs.scrollTop - logs.clientHeight < 24;
});
document.addEventListener("htmx:after:swap", () => {
  settle();
  // A form that did its work is gone, and the focus with it: on to the top of what came instead.
  if (asker && !asker.isConnected && document.activeElement === document.body) byId("title")?.focus();
});

// Our pages answer 422 with the form; any other refusal must not replace what is on the screen.
document.addEventListener("htmx:before:response", (event) => {
  const { raw, status } = event.detail.ctx.response;
  if (status === 401 || new URL(raw.url).pathname === "/login") signIn();
  else if (status < 400 || status === 422) return;
  else refused(raw);
  event.preventDefault();
});

// What was refused, why, and what to do: a problem (RFC 9457) says the first two. What the page shows may be old.
async function refused(response) {
  const { detail = "That did not work.", code } = await response.json().catch(() => ({}));
  const next = { 409: "", 429: "Try again in a while." }[response.status] ?? (response.status < 500 ? "Reload the page and try again." : "Nothing is lost. Try again in a few seconds.");
  toast("failed", null, [detail, next, code && `(${code})`].filter(Boolean).join(" "));
  refresh("live");
}
document.addEventListener("htmx:error", (event) => {
  if (event.detail.ctx) toast("failed", null, "The server cannot be reached. Try again in a moment.");
});
document.addEventListener("htmx:config:request", (event) => {
  const { method, body } = event.detail.ctx.request;
  if (method !== "GET" || !body) return;
  for (const [key, value] of [...body.entries()]) if (value === "") body.delete(key);
});

// ---- Comforts, all by delegation, so that swapped content needs no wiring ----

async function copy(button) {
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
  } catch {
    return toast("failed", null, "The browser does not let this page copy.");
  }
  const use = button.querySelector("use");
  const before = use.getAttribute("href");
  if (before.endsWith("#check")) return;
  use.setAttribute("href", before.replace("#copy", "#check"));
  byId("copied").textContent = "Copied";
  await sleep(1500);
  use.setAttribute("href", before);
  byId("copied").textContent = "";
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-copy], [data-reveal], [data-open]");
  if (button?.dataset.copy) copy(button);
  if (button?.dataset.reveal) {
    const shown = button.getAttribute("aria-pressed") !== "true";
    byId(button.dataset.reveal).type = shown ? "text" : "password";
    button.setAttribute("aria-pressed", String(shown));
  }
  if (button?.dataset.open) {
    event.preventDefault();
    const details = byId(button.dataset.open);
    details.open = true;
    details.querySelector("input:checked, input:not([type=hidden]):not([type=radio])").focus();
  }
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.matches("[data-submit-once]")) return;
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "true";
  form.querySelector("button:not([type=button])").classList.add("btn-disabled");
});
addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});
addEventListener("pagehide", () => {
  leaving = true;
  socket?.close();
});

document.addEventListener("input", ({ target }) => {
  if (!target.matches("[data-name-field]")) return;
  const tidy = target.value.toLowerCase().replace(/[\s_]/g, "-");
  if (tidy !== target.value) {
    const at = target.selectionStart;
    target.value = tidy;
    target.setSelectionRange(at, at);
  }
  const preview = document.querySelector("[data-name-preview]");
  write(preview, `${preview.dataset.before}${tidy || target.placeholder}${preview.dataset.after}`);
});

for (const field of document.querySelectorAll("[data-theme-switch]")) {
  const chosen = root.dataset.theme ?? "system";
  field.querySelector(`[value="${chosen}"]`).checked = true;
  field.addEventListener("change", ({ target }) => {
    if (target.value === "system") delete root.dataset.theme;
    else root.dataset.theme = target.value;
    localStorage.setItem("storefleet-theme", target.value);
  });
}

for (const countdown of document.querySelectorAll("[data-countdown]")) {
  const until = Date.now() + Number(countdown.dataset.countdown) * 1000;
  const button = document.querySelector("[data-countdown-lock]");
  const step = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    button.disabled = left > 0;
    write(countdown, left > 0 ? `${left} s` : "a moment");
    if (left > 0) setTimeout(step, 250);
    else write(countdown.closest("p"), "You can try again now.");
  };
  step();
}

settle();
setInterval(tick, 1000);
if (document.querySelector('meta[name="storefleet-live"]')) connect();
