// A graph can be zoomed (buttons, + - 0, Ctrl and the wheel) and dragged; its frame scrolls by itself, without this, too.
"use strict";

const [SMALLEST, LARGEST, STEP] = [0.1, 4, 1.25];
const PADDING = 16;

let scale = 1;
const frame = () => document.querySelector(".zoomable");
const drawing = () => frame()?.querySelector("svg");

const show = () => {
  const svg = drawing();
  if (!svg) return;
  const { width, height } = svg.viewBox.baseVal;
  svg.style.width = `${width * scale}px`;
  svg.style.height = `${height * scale}px`;
};

// What lies under this point of the frame stays there.
const zoom = (to, x = frame().clientWidth / 2, y = frame().clientHeight / 2) => {
  const before = scale;
  scale = Math.min(LARGEST, Math.max(SMALLEST, to));
  const [left, top] = [frame().scrollLeft + x, frame().scrollTop + y].map((at) => (at * scale) / before);
  show();
  frame().scrollTo(left - x, top - y);
};

const fitting = () => {
  const { width, height } = drawing().viewBox.baseVal;
  const room = { width: frame().clientWidth - PADDING, height: parseFloat(getComputedStyle(frame()).maxHeight) - PADDING };
  return Math.min(room.width / width, room.height / height);
};
const fit = () => zoom(fitting());

const deeds = { in: () => zoom(scale * STEP), out: () => zoom(scale / STEP), fit, whole: () => zoom(1) };
const keys = { "+": "in", "=": "in", "-": "out", 0: "whole", f: "fit" };

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-zoom]");
  if (button && drawing()) deeds[button.dataset.zoom]();
});
document.addEventListener("keydown", (event) => {
  const deed = keys[event.key];
  if (!deed || event.ctrlKey || event.metaKey || event.altKey || !event.target.closest?.(".zoomable")) return;
  event.preventDefault();
  deeds[deed]();
});
document.addEventListener("wheel", (event) => {
  if (!event.ctrlKey || !event.target.closest?.(".zoomable") || !drawing()) return;
  event.preventDefault();
  const edge = frame().getBoundingClientRect();
  zoom(scale * Math.exp(-event.deltaY / 500), event.clientX - edge.left, event.clientY - edge.top);
}, { passive: false });

// A finger scrolls the frame anyhow.
document.addEventListener("pointerdown", (event) => {
  if (event.pointerType !== "mouse" || event.button !== 0 || event.target.closest("a") || !event.target.closest(".zoomable svg")) return;
  const held = frame();
  held.setPointerCapture(event.pointerId);
  held.classList.add("dragged");
  const move = ({ movementX, movementY }) => held.scrollBy(-movementX, -movementY);
  held.addEventListener("pointermove", move);
  held.addEventListener("lostpointercapture", () => {
    held.removeEventListener("pointermove", move);
    held.classList.remove("dragged");
  }, { once: true });
});

document.addEventListener("morphed", show);
// At first it fills its frame, as far as its names can be read and are not huge.
if (drawing()) scale = Math.min(1.5, Math.max(0.7, fitting()));
show();
