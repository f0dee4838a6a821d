// Live updates and small conveniences: events from one websocket refresh fragments, which htmx fetches and morphs.
// All of it is optional: without scripts the pages work with links, forms and reloads.

const root = document.documentElement;
const byId = (id) => document.getElementById(id);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Fragments: at most one fetch per target in 150 ms, never two at once. A request during a fetch causes one more.

const COALESCE_MS = 150;
const refreshes = new Map();

function refreshFragment(target) {
  const state = refreshes.get(target) ?? { isRunning: false, isRequested: false };
  refreshes.set(target, state);
  state.isRequested = true;
  if (!state.isRunning) runRefreshes(target, state);
}

async function runRefreshes(target, state) {
  state.isRunning = true;
  while (state.isRequested) {
    await sleep(COALESCE_MS);
    state.isRequested = false;
    await fetchFragment(target);
  }
  state.isRunning = false;
}

async function fetchFragment(target) {
  const element = byId(target);
  if (!element) return;
  const path = target === "live" ? element.dataset.fragment : `/stores/table${location.search}`;
  try {
    const response = await fetch(path, { headers: { "HX-Request": "true" }, signal: AbortSignal.timeout(10_000) });
    if (response.status === 401 || response.redirected) return redirectToSignIn();
    if (!response.ok) return;
    const knownIds = new Set(listRows().map((row) => row.id));
    await htmx.swap({ sourceElement: element, target: element, text: await response.text(), swap: "outerMorph" });
    if (target === "stores-table") {
      for (const row of listRows()) if (!knownIds.has(row.id)) row.classList.add("animate-fresh");
    }
  } catch {
    // The server is unreachable. The next event or reconnect requests the fragment again.
  }
}

const listRows = () => [...document.querySelectorAll("#stores-table [data-store-id]")];

// The websocket: a replay of the events after the sequence number in the page, then live events.

const MIN_RETRY_MS = 500;
const MAX_RETRY_MS = 5000;
const BANNER_DELAY_MS = 2000;
let lastSeq = root.dataset.seq ? Number(root.dataset.seq) : null;
let socket = null;
let attempts = 0;
let bannerTimer = 0;
let isLeaving = false;

function connectWebsocket() {
  const [port, path] = document.querySelector('meta[name="storefleet-live"]').content.split(" ");
  const host = port ? `${location.hostname}:${port}` : location.host;
  const after = lastSeq === null ? "" : `?after=${lastSeq}`;
  setLiveState("connecting");
  socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${host}${path}${after}`);
  socket.addEventListener("open", handleOpen);
  socket.addEventListener("message", (message) => handleFrame(JSON.parse(message.data)));
  socket.addEventListener("close", handleClose);
}

function handleOpen() {
  setLiveState("open");
  // The page may be older than the replay reaches back, so it is refreshed once after a reconnect.
  if (attempts > 0) refreshAll();
  attempts = 0;
}

async function handleClose(event) {
  setLiveState("closed");
  if (isLeaving) return;
  if (event.code === 4401) return redirectToSignIn();
  const delay = Math.min(MAX_RETRY_MS, MIN_RETRY_MS * 2 ** attempts) * (0.5 + Math.random() / 2);
  attempts += 1;
  await sleep(Math.max(MIN_RETRY_MS, delay));
  // The gateway may be available while the notifier is not.
  if (attempts > 2 && !document.hidden) refreshAll();
  if (!isLeaving) connectWebsocket();
}

function handleFrame(frame) {
  if (typeof frame.seq !== "number") return;
  if (frame.type === "reset") {
    lastSeq = frame.seq;
    refreshAll();
  } else if (lastSeq !== null && frame.seq <= lastSeq) {
    return;
  } else {
    lastSeq = frame.seq;
    applyEvent(frame);
  }
  root.dataset.lastSeq = lastSeq;
  document.dispatchEvent(new CustomEvent("storefleet:event", { detail: frame }));
}

function applyEvent(frame) {
  const store = { ...frame.data?.store, id: frame.store_id };
  if (byId("live")?.dataset.storeId === store.id) refreshFragment("live");
  if (byId("stores-table")) updateList(frame, store);
  const { kind, error } = frame.data?.operation ?? {};
  if (frame.type === "store.ready" && kind === "create") showToast("ready", store, "is ready");
  if (frame.type === "store.ready" && error) showToast("failed", store, "was not changed");
  if (frame.type === "store.failed") {
    if (store.failure?.code === "cancelled") showToast("cancelled", store, "was cancelled");
    else showToast("failed", store, "failed");
  }
  if (frame.type === "store.upgraded") showToast("ready", store, `was upgraded to ${store.engine_version}`);
  if (frame.type === "store.rolled_back") {
    showToast(error ? "failed" : "ready", store, error ? `could not be upgraded. It was rolled back to ${store.engine_version}` : `was rolled back to ${store.engine_version}`);
  }
}

function updateList(frame, store) {
  const { firstPage, q, state } = byId("stores-table").dataset;
  const isShown = byId(`row-${store.id}`) !== null;
  if (isShown || (firstPage === "true" && !q && !state)) return refreshFragment("stores-table");
  if (frame.type === "store.observed") return; // the store was on this list before, on another page
  const matches = (!q || store.name?.includes(q)) && (!state || store.state === state);
  if (matches && (state || frame.type === "store.requested")) showNewStore(store.id);
}

const newStoreIds = new Set();

function showNewStore(id) {
  newStoreIds.add(id);
  const note = byId("new-stores");
  note.dataset.count = newStoreIds.size;
  const link = Object.assign(document.createElement("a"), { className: "btn btn-plain btn-sm" });
  const here = new URL(location.href);
  here.searchParams.delete("starting_after");
  link.href = here.pathname + here.search;
  link.textContent = `Show ${newStoreIds.size} new`;
  note.replaceChildren(link);
}

function refreshAll() {
  refreshFragment("live");
  refreshFragment("stores-table");
}

function setLiveState(state) {
  root.dataset.live = state;
  if (state === "open") {
    clearTimeout(bannerTimer);
    bannerTimer = 0;
    byId("conn")?.replaceChildren();
  } else if (state === "closed" && !bannerTimer) {
    bannerTimer = setTimeout(showBanner, BANNER_DELAY_MS);
  }
}

function showBanner() {
  const note = document.createElement("p");
  note.className =
    "absolute mt-2 inline-flex animate-pop items-center gap-2 rounded-full border border-base-300 bg-base-100 px-3.5 py-1.5 text-sm shadow-md";
  note.append(createIcon("loader-circle", "size-4 animate-spin text-warning"), "Reconnecting…");
  byId("conn")?.replaceChildren(note);
}

function redirectToSignIn() {
  isLeaving = true;
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

function createIcon(name, classes) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `${document.body.dataset.icons}#${name}`);
  const line = { fill: "none", stroke: "currentColor", "stroke-width": 2, "stroke-linecap": "round", "stroke-linejoin": "round" };
  for (const [key, value] of Object.entries({ ...line, class: `${classes} shrink-0`, "aria-hidden": "true" })) svg.setAttribute(key, value);
  svg.append(use);
  return svg;
}

const TOAST_ICONS = {
  ready: ["circle-check", "text-success"],
  cancelled: ["ban", "text-muted"],
  failed: ["circle-alert", "text-error"],
};

function showToast(kind, store, message) {
  const box = byId("toasts");
  const item = document.createElement("div");
  item.className =
    "panel flex w-full animate-pop items-center gap-3 py-3 pr-2 pl-4 text-sm shadow-lg sm:w-auto sm:min-w-72 sm:max-w-96";
  item.dataset.toast = kind;
  const text = document.createElement("p");
  text.className = "min-w-0 flex-1 break-words";
  text.textContent = store ? `${store.name} ${message} ` : message;
  if (store && byId("live")?.dataset.storeId !== store.id) {
    const link = Object.assign(document.createElement("a"), { className: "link-text", textContent: "Show" });
    link.href = `/stores/${encodeURIComponent(store.id)}`;
    text.append(link);
  }
  const close = document.createElement("button");
  close.className = "btn btn-ghost btn-square btn-xs text-muted";
  close.type = "button";
  close.setAttribute("aria-label", "Dismiss");
  close.append(createIcon("x", "size-4"));
  close.addEventListener("click", () => item.remove());
  const [name, color] = TOAST_ICONS[kind];
  item.append(createIcon(name, `size-5 ${color}`), text, close);
  box.append(item);
  while (box.children.length > 3) box.firstElementChild.remove();
  const expire = () => (item.matches(":hover, :focus-within") ? setTimeout(expire, 2000) : item.remove());
  setTimeout(expire, 7000);
}

const relativeFormat = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];

function formatRelativeTime(time) {
  const seconds = (Date.parse(time) - Date.now()) / 1000;
  for (const [unit, size] of UNITS) {
    if (Math.abs(seconds) >= size) return relativeFormat.format(Math.trunc(seconds / size), unit);
  }
  return "just now";
}

function formatElapsed(time) {
  const seconds = Math.max(0, Math.floor((Date.now() - Date.parse(time)) / 1000));
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function updateTimes() {
  for (const time of document.querySelectorAll("time[data-relative]")) setText(time, formatRelativeTime(time.dateTime));
  for (const span of document.querySelectorAll("[data-since]")) setText(span, formatElapsed(span.dataset.since));
}

// State of the page around a swap of htmx.
let isLogAtEnd = true;
let swapSource = null;
// The last submitted form. An event may refresh the page, and remove the form, before its response arrives.
let submittedForm = null;

function updatePage() {
  updateTimes();
  const live = byId("live");
  if (live) document.title = live.dataset.title;
  const logs = byId("log-lines");
  if (logs && isLogAtEnd) logs.scrollTop = logs.scrollHeight;
}

document.addEventListener("htmx:before:swap", (event) => {
  swapSource = event.detail.ctx.sourceElement;
  // htmx focuses every [autofocus] after each swap; only elements that the swap brings in may take the focus.
  for (const element of document.querySelectorAll("[autofocus]")) element.removeAttribute("autofocus");
  const logs = byId("log-lines");
  isLogAtEnd = !logs || logs.scrollHeight - logs.scrollTop - logs.clientHeight < 24;
});
document.addEventListener("htmx:after:swap", () => {
  updatePage();
  // What the user activated is replaced and loses the focus; move it to the title.
  const isReplaced = (element) => element && !element.isConnected;
  if (!isReplaced(swapSource) && !isReplaced(submittedForm)) return;
  submittedForm = null;
  if (document.activeElement === document.body) byId("title")?.focus();
});

// Pages answer 422 with the form and its errors; any other error response must not replace the content.
document.addEventListener("htmx:before:response", (event) => {
  const { raw, status } = event.detail.ctx.response;
  if (status === 401 || new URL(raw.url).pathname === "/login") redirectToSignIn();
  else if (status < 400 || status === 422) return;
  else showProblem(raw);
  event.preventDefault();
});

// What happened, why, and what to do; the problem document (RFC 9457) has the first two. The page may be stale.
async function showProblem(response) {
  const { detail = "The request failed.", code } = await response.json().catch(() => ({}));
  const next = { 409: "", 429: "Try again later." }[response.status] ?? (response.status < 500 ? "Reload the page and try again." : "Your data is safe. Try again in a few seconds.");
  showToast("failed", null, [detail, next, code && `(${code})`].filter(Boolean).join(" "));
  refreshFragment("live");
}
document.addEventListener("htmx:error", (event) => {
  if (event.detail.ctx) showToast("failed", null, "Can't reach the server. Try again in a moment.");
});
document.addEventListener("htmx:config:request", (event) => {
  const { method, body } = event.detail.ctx.request;
  if (method !== "GET") submittedForm = event.detail.ctx.sourceElement;
  if (method !== "GET" || !body) return;
  for (const [key, value] of [...body.entries()]) if (value === "") body.delete(key);
});

// The listeners below are on the document, so that swapped content needs no listeners of its own.

async function copyText(button) {
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
  } catch {
    return showToast("failed", null, "The browser blocked copying.");
  }
  const use = button.querySelector("use");
  const iconBefore = use.getAttribute("href");
  if (iconBefore.endsWith("#check")) return;
  use.setAttribute("href", iconBefore.replace("#copy", "#check"));
  byId("copied").textContent = "Copied";
  await sleep(1500);
  use.setAttribute("href", iconBefore);
  byId("copied").textContent = "";
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.("[data-copy], [data-reveal], [data-open]");
  if (button?.dataset.copy) copyText(button);
  if (button?.dataset.reveal) {
    const isVisible = button.getAttribute("aria-pressed") !== "true";
    byId(button.dataset.reveal).type = isVisible ? "text" : "password";
    button.setAttribute("aria-pressed", String(isVisible));
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
  isLeaving = true;
  socket?.close();
});

document.addEventListener("input", ({ target }) => {
  if (!target.matches("[data-name-field]")) return;
  const name = target.value.toLowerCase().replace(/[\s_]/g, "-");
  if (name !== target.value) {
    const position = target.selectionStart;
    target.value = name;
    target.setSelectionRange(position, position);
  }
  const preview = document.querySelector("[data-name-preview]");
  setText(preview, `${preview.dataset.before}${name || target.placeholder}${preview.dataset.after}`);
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
  const update = () => {
    const left = Math.ceil((until - Date.now()) / 1000);
    button.disabled = left > 0;
    setText(countdown, left > 0 ? `${left} s` : "a moment");
    if (left > 0) setTimeout(update, 250);
    else setText(countdown.closest("p"), "You can try again now.");
  };
  update();
}

updatePage();
setInterval(updateTimes, 1000);
if (document.querySelector('meta[name="storefleet-live"]')) connectWebsocket();
