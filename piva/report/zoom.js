"use strict";
// One edit large: before, after and truth in one frame, zoomed and moved together; the settings and the edits beside it.
const dialog = document.getElementById("zoom");
const [stage, frame] = [".stage", ".frame"].map((name) => dialog.querySelector(name));
const view = { tile: null, x: 0, y: 0, scale: 1, flicker: 0 };

const pictured = (card, selector) => [...card.querySelectorAll(`figure${selector}`)].filter((figure) => !figure.hidden && figure.querySelector("img"));
const shownRole = () => frame.querySelector(".on")?.dataset.role;

function large(role, figure) {
  const small = figure.querySelector("img");
  const picture = Object.assign(new Image(), { alt: small.alt, draggable: false, src: figure.querySelector("a").href });
  picture.dataset.role = role;
  picture.addEventListener("error", () => (picture.src = small.src), { once: true }); // the page was moved without its runs
  return picture;
}

function open(tile, role) {
  const card = tile.closest(".card");
  view.tile = tile;
  const figures = { before: pictured(card, "[data-role=before]")[0], after: tile, truth: pictured(card, "[data-role=truth]")[0] };
  const known = Object.entries(figures).filter(([, figure]) => figure);
  frame.replaceChildren(...known.map(([name, figure]) => large(name, figure)));
  dialog.querySelector("h3").textContent = tile.dataset.label;
  dialog.querySelector("p").textContent = card.querySelector("p").textContent;
  for (const button of dialog.querySelectorAll("[value=before], [value=after], [value=truth]")) button.disabled = !figures[button.value];
  show(figures[role] ? role : "after");
  if (!dialog.open) dialog.showModal();
}

function show(role) {
  if (!frame.querySelector(`[data-role=${role}]`)) return;
  for (const picture of frame.children) picture.classList.toggle("on", picture.dataset.role === role);
  for (const button of dialog.querySelectorAll("button[value]")) button.setAttribute("aria-pressed", button.value === "flicker" ? view.flicker > 0 : button.value === role);
}

function next() {
  const roles = [...frame.children].map((picture) => picture.dataset.role);
  show(roles[(roles.indexOf(shownRole()) + 1) % roles.length]);
}

function flicker() {
  clearInterval(view.flicker);
  view.flicker = view.flicker ? 0 : setInterval(next, 600); // milliseconds: less than three a second is safe for all eyes
  show(shownRole());
}

// Zoom by a factor around a point of the stage, in pixels; the frame keeps covering the stage.
function zoom(factor, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
  const scale = Math.min(Math.max(view.scale * factor, 1), 40);
  move(x - view.x - ((x - view.x) * scale) / view.scale, y - view.y - ((y - view.y) * scale) / view.scale, scale);
}

function move(dx, dy, scale = view.scale) {
  const within = (place, length) => Math.min(0, Math.max(length * (1 - scale), place));
  Object.assign(view, { scale, x: within(view.x + dx, stage.clientWidth), y: within(view.y + dy, stage.clientHeight) });
  frame.style.transform = `translate(${view.x}px, ${view.y}px) scale(${scale})`;
  frame.classList.toggle("pixels", scale > 4);
}

function toSetting(by) {
  const tiles = pictured(view.tile.closest(".card"), "[data-tags]");
  open(tiles[(tiles.indexOf(view.tile) + by + tiles.length) % tiles.length], shownRole());
}

function toEdit(by) {
  const card = view.tile.closest(".card");
  const cards = [...card.parentElement.children].filter((other) => !other.hidden && pictured(other, "[data-tags]").length);
  const tiles = pictured(cards[(cards.indexOf(card) + by + cards.length) % cards.length], "[data-tags]");
  open(tiles.find((tile) => tile.dataset.label === view.tile.dataset.label) ?? tiles[0], shownRole());
}

const ACTS = {
  b: () => show("before"), a: () => show("after"), t: () => show("truth"), " ": next, f: flicker,
  "+": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: () => zoom(0),
  ArrowLeft: () => toSetting(-1), ArrowRight: () => toSetting(1), ArrowUp: () => toEdit(-1), ArrowDown: () => toEdit(1),
};
dialog.addEventListener("keydown", (event) => {
  const act = ACTS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  const isPress = event.key === " " && event.target.matches("button");
  if (!act || isPress || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act();
});
dialog.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (button?.value === "close") dialog.close();
  else if (button) ACTS[button.dataset.key]();
});
dialog.addEventListener("close", () => {
  if (view.flicker) flicker();
  frame.replaceChildren();
  zoom(0);
  view.tile.querySelector("a").focus();
});

stage.addEventListener("wheel", (event) => {
  event.preventDefault();
  const { left, top } = stage.getBoundingClientRect();
  zoom(Math.exp(-event.deltaY / 400), event.clientX - left, event.clientY - top);
}, { passive: false });
let dragged = 0; // pixels since the pointer went down; a click that moved nothing shows the next picture
stage.addEventListener("pointerdown", (event) => {
  dragged = 0;
  stage.setPointerCapture(event.pointerId);
});
stage.addEventListener("pointermove", (event) => {
  if (!stage.hasPointerCapture(event.pointerId)) return;
  dragged += Math.abs(event.movementX) + Math.abs(event.movementY);
  move(event.movementX, event.movementY);
});
stage.addEventListener("click", () => dragged < 5 && next());

// Without this script, or with a modifier key, a picture's link opens the file.
document.querySelector("main").addEventListener("click", (event) => {
  const figure = event.target.closest(".card figure:has(img)");
  if (!figure || !event.target.closest("a") || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const tile = figure.dataset.tags ? figure : pictured(figure.closest(".card"), "[data-tags]")[0] ?? figure;
  const shown = new FormData(figure.closest("section").querySelector(".filters")).get("shown");
  open(tile, figure.dataset.tags ? shown : figure.dataset.role);
});
