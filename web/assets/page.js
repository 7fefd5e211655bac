// What every page does with JavaScript: it stays up to date, and shows times in the zone of the viewer's choice.
"use strict";

const main = () => document.querySelector("main");

// What the viewer has opened, typed, ticked or zoomed is theirs; what only the page sets is the page's.
const isTheirs = (name, node) =>
  name === "open" || name === "style"
  || (["checked", "value"].includes(name) && node.matches("input:not([type=hidden]), textarea, select"));

// Fetches what is at the address and morphs what is shown into it. Whether it is up to date now.
const update = async () => {
  const answer = await fetch(location.href, { headers: { "x-live": "1" } }).catch(() => null);
  const next = answer && !answer.redirected
    ? new DOMParser().parseFromString(await answer.text().catch(() => ""), "text/html").querySelector("main")
    : null;
  say(next ? "" : answer?.redirected
    ? "You are not signed in any more: load the page again."
    : "The server does not answer: what is here may be old.");
  if (!next) return false;
  localise(next);
  shownAt = performance.now();
  Idiomorph.morph(main(), next, {
    ignoreActiveValue: true,
    callbacks: { beforeAttributeUpdated: (name, node) => !isTheirs(name, node) },
  });
  document.dispatchEvent(new Event("morphed"));
  return true;
};

// That what is shown may not be true any more.
const say = (text) => {
  const stale = document.querySelector("#stale");
  stale.textContent = text;
  stale.hidden = !text;
};

// A stream says that the page has changed.
let stream = null;

const listen = () => {
  stream?.close();
  stream = null;
  if (document.hidden || main()?.dataset.live !== "true") return;
  stream = new EventSource("/live?page=" + encodeURIComponent(location.pathname + location.search));
  stream.addEventListener("open", () => say(""));
  stream.addEventListener("error", ({ target }) => {
    if (target === stream && navigator.onLine === false) say("There is no network: what is here may be old.");
  });
  stream.addEventListener("changed", async () => {
    await update();
    if (main().dataset.live !== "true") listen();
  });
};

// A form that only shows does so at once, and the viewer stays where they are.
const follow = async (form) => {
  const said = [...new FormData(form)].filter(([, value]) => value !== "");
  const address = new URL(form.action.split("?")[0] || location.pathname, location.href);
  address.search = new URLSearchParams(said).toString();
  history.replaceState(null, "", address);
  main().setAttribute("aria-busy", "true");
  const isShown = await update();
  main().removeAttribute("aria-busy");
  if (isShown) listen();
  else location.assign(address);
};
document.addEventListener("change", ({ target }) => {
  const form = target.closest("form[data-now]");
  if (form && !target.disabled) follow(form);
});
document.addEventListener("submit", (event) => {
  if (!event.target.matches("form[data-now]")) return;
  event.preventDefault();
  follow(event.target);
});

// Times are in UTC as they come; the viewer may want them as in another place.
const zone = () => localStorage.getItem("zone") ?? "UTC";

const localise = (root) => {
  const timeZone = zone() === "local" ? undefined : zone();
  const whole = new Intl.DateTimeFormat("sv-SE", { timeZone, dateStyle: "short", timeStyle: "medium" });
  for (const time of root.querySelectorAll("time[datetime]:not([data-ticks])")) {
    const at = new Date(time.dateTime);
    const [day, clock] = whole.format(at).split(" ");
    time.title = `${words(at - Date.now(), "away")}, ${at.toISOString()}`;
    if (time.dataset.form === "line") {
      time.firstChild.textContent = day;
      time.lastChild.textContent = ` ${clock}.${String(at.getUTCMilliseconds()).padStart(3, "0")}`;
    } else if (time.dataset.form === "day") {
      time.textContent = day.slice(5);
    } else {
      time.textContent = `${day} ${clock}`;
    }
  }
};

const choice = document.querySelector("#zone");
const places = document.createElement("optgroup");
places.label = "As in";
places.append(...Intl.supportedValuesOf("timeZone").map((name) => new Option(name)));
choice.append(places);
choice.value = zone();
if (!choice.value) choice.value = "UTC";
choice.addEventListener("change", () => {
  localStorage.setItem("zone", choice.value);
  localise(document);
});

// What is another text with every second goes on by itself.
let shownAt = performance.now();

const words = (ms, what) => {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  let left = Math.floor(Math.abs(ms) / 1000);
  const at = parts.findIndex(([length]) => left >= length);
  const told = parts.slice(at < 0 ? 3 : at).slice(0, 2).map(([length, unit]) => {
    const whole = Math.floor(left / length);
    left -= whole * length;
    return `${whole} ${unit}`;
  }).join(" ");
  if (what === "since") return told;
  return ms >= 0 ? `in ${told}` : `${told} ago`;
};
setInterval(() => {
  if (document.hidden) return;
  const passed = performance.now() - shownAt;
  for (const time of document.querySelectorAll("time[data-ticks]")) {
    const what = time.dataset.ticks;
    const text = words(Number(time.dataset.ms) + (what === "since" ? passed : -passed), what);
    if (time.textContent !== text) time.textContent = text;
  }
}, 1000);

// One box ticks all of a name.
const boxes = (all) => document.querySelectorAll(`input[type=checkbox][name="${all.dataset.all}"]`);
document.addEventListener("change", ({ target }) => {
  if (target.dataset.all) for (const box of boxes(target)) box.checked = target.checked;
});

// What is of use only with this script has its place already, and is seen from now on.
const unhide = () => { for (const one of document.querySelectorAll("[data-script]")) one.hidden = false; };
unhide();
document.addEventListener("morphed", unhide);

// Ctrl K finds a DAG from wherever one is; `/` goes to the search field of the page.
document.addEventListener("keydown", (event) => {
  const find = document.querySelector("main form[action='/dags'] input[type=search]") ?? document.querySelector("#find");
  if (event.key === "k" && (event.ctrlKey || event.metaKey) && find) {
    event.preventDefault();
    find.focus();
    find.select();
    return;
  }
  if (event.key !== "/" || event.target.closest("input, textarea, select")) return;
  const search = document.querySelector("main input[type=search]") ?? find;
  if (search) {
    event.preventDefault();
    search.focus();
  }
});

// On a narrow screen the navigation and the tabs scroll: to where the viewer is.
for (const here of document.querySelectorAll("nav [aria-current=page], nav.tabs [aria-current=true]")) {
  here.parentElement.scrollLeft = here.offsetLeft - here.parentElement.offsetLeft - 40;
}

localise(document);
listen();
document.addEventListener("visibilitychange", async () => {
  if (!document.hidden && main()?.dataset.live === "true") await update();
  listen();
});
