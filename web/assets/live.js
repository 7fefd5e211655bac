// While something runs the page brings itself up to date: it fetches itself and swaps its main part. Without
// JavaScript the browser reloads it (see the refresh in the layout).
"use strict";
const EVERY_MS = 1500;
const refresh = async () => {
  const main = document.querySelector("main");
  if (main.dataset.live === "true" && !document.hidden && !main.contains(document.activeElement?.closest("form"))) {
    try {
      const answer = await fetch(location.href, { headers: { "x-live": "1" } });
      if (answer.ok) {
        const next = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
        const sideways = [...main.querySelectorAll(".sheet")].map((sheet) => sheet.scrollLeft);
        main.replaceWith(next);
        next.querySelectorAll(".sheet").forEach((sheet, at) => { sheet.scrollLeft = sideways[at] ?? 0; });
      }
    } catch { /* the server is away; the next look tells */ }
  }
  setTimeout(refresh, EVERY_MS);
};
setTimeout(refresh, EVERY_MS);
