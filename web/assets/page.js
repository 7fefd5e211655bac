// What every page does with JavaScript: it stays up to date, and shows times in the zone of the viewer's choice.
"use strict";

const main = () => document.querySelector("main");

// A stream says that the page has changed; then it is fetched, and what is shown is morphed into it.
let stream = null;

const update = async () => {
  const answer = await fetch(location.href, { headers: { "x-live": "1" } }).catch(() => null);
  if (!answer?.ok || answer.redirected) return;
  const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
  if (!next) return;
  localise(next);
  Idiomorph.morph(main(), next, {
    ignoreActiveValue: true,
    callbacks: {
      // What the viewer has opened, typed, ticked or zoomed is theirs.
      beforeAttributeUpdated: (name) => !["open", "checked", "value", "style"].includes(name),
    },
  });
  document.dispatchEvent(new Event("morphed"));
};

const listen = () => {
  stream?.close();
  stream = null;
  if (document.hidden || main()?.dataset.live !== "true") return;
  stream = new EventSource("/live?page=" + encodeURIComponent(location.pathname + location.search));
  stream.addEventListener("changed", async () => {
    await update();
    if (main().dataset.live !== "true") listen();
  });
};

// Times are in UTC as they come; the viewer may want them as on their own clock.
const zone = () => localStorage.getItem("zone") ?? "UTC";

const localise = (root) => {
  const format = new Intl.DateTimeFormat("sv-SE", {
    timeZone: zone() === "local" ? undefined : "UTC", dateStyle: "short", timeStyle: "medium",
  });
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    time.textContent = format.format(at);
    time.title = at.toISOString();
  }
};

const choice = document.querySelector("#zone");
choice.hidden = false;
choice.value = zone();
choice.addEventListener("change", () => {
  localStorage.setItem("zone", choice.value);
  localise(document);
});

// A form that only shows does so at once.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-now]");
  if (form) form.requestSubmit();
});

// One box ticks all of a name.
const boxes = (all) => document.querySelectorAll(`input[type=checkbox][name="${all.dataset.all}"]`);
document.addEventListener("change", ({ target }) => {
  if (target.dataset.all) for (const box of boxes(target)) box.checked = target.checked;
});
const unhide = () => { for (const all of document.querySelectorAll("[data-all]")) all.hidden = false; };
unhide();
document.addEventListener("morphed", unhide);

// `/` goes to the search field.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.closest("input, textarea, select")) return;
  const search = document.querySelector("input[type=search]");
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
