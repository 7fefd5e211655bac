// The log of a running try follows its end, for as long as the viewer is at the end; long lines wrap if they like.
"use strict";

const box = () => document.querySelector("#log");
const isAtEnd = () => box() && box().scrollHeight - box().scrollTop - box().clientHeight < 40;

// Whoever comes for a line stays there.
let follows = !location.hash;
// Lines that come into sight may turn out to be longer than they were taken for: it goes to the end until it is there.
let settling = 0;
const toEnd = (frames = 5) => {
  settling = frames;
  box()?.scrollTo(0, box().scrollHeight);
  if (frames > 0) requestAnimationFrame(() => toEnd(isAtEnd() ? 0 : frames - 1));
};

document.addEventListener("scroll", (event) => {
  if (event.target === box() && !settling) follows = isAtEnd();
}, true);
document.addEventListener("morphed", () => {
  if (follows) toEnd();
  wrap();
});

const wrap = () => {
  const isWrapped = localStorage.getItem("wrap") !== "no";
  box()?.classList.toggle("unwrapped", !isWrapped);
  const button = document.querySelector("#wrap");
  if (button) {
    button.setAttribute("aria-pressed", isWrapped);
  }
};
document.addEventListener("click", (event) => {
  if (!event.target.closest("#wrap")) return;
  localStorage.setItem("wrap", localStorage.getItem("wrap") === "no" ? "yes" : "no");
  wrap();
});

wrap();
if (follows) toEnd();
