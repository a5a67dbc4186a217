"use strict";
// The galleries: filters, order, what all pictures show (before, after, truth), turntables.
for (const form of document.querySelectorAll(".filters")) {
  const gallery = document.getElementById(form.dataset.gallery);
  const cards = [...gallery.children];
  const byId = [...cards].sort((a, b) => (a.dataset.words < b.dataset.words ? -1 : 1));
  const edits = (card) => [...card.querySelectorAll("figure[data-tags]")];
  const inSight = new Set();
  let order = "spread", shown = "after";

  function choose() {
    const wanted = new FormData(form);
    const said = (wanted.get("words") || "").toLowerCase();
    const fits = (tags) => [...wanted].every(([name, value]) => !name.startsWith("tag:") || !value || value === (tags[name.slice(4)] ?? "none"));
    for (const card of cards) {
      for (const edit of edits(card)) edit.hidden = !fits({ type: card.dataset.type, ...JSON.parse(edit.dataset.tags) });
      card.hidden = !card.dataset.words.includes(said) || edits(card).every((edit) => edit.hidden);
    }
    const left = cards.filter((card) => !card.hidden).length;
    form.querySelector("output").textContent = left === cards.length ? `${left} edits` : `${left} of ${cards.length} edits`;
    if (order !== (order = wanted.get("order"))) gallery.append(...(order === "id" ? byId : cards));
  }

  // What is shown lies over each edit: a copy of the card's own picture, which is decoded once.
  function dress(card) {
    const over = shown !== "after" && card.querySelector(`figure[data-role=${shown}] img`);
    for (const edit of edits(card)) {
      edit.querySelector(".over")?.remove();
      if (over) edit.querySelector("a")?.append(Object.assign(over.cloneNode(), { className: "over" }));
    }
  }
  const observer = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      inSight[isIntersecting ? "add" : "delete"](target);
      if (isIntersecting) dress(target);
    }
  });
  for (const card of cards) observer.observe(card);

  function look() {
    shown = new FormData(form).get("shown");
    inSight.forEach(dress);
  }
  form.addEventListener("input", (event) => (event.target.name === "shown" ? look() : choose()));
  form.addEventListener("submit", (event) => event.preventDefault());
  choose(); // a reloaded page keeps what was chosen
  look();
}

// B, A and T flicker all pictures of the page at once.
const ROLES = { b: "before", a: "after", t: "truth" };
const isTyping = (event) => event.ctrlKey || event.metaKey || event.altKey || event.target.matches("[type=search], select");
document.addEventListener("keydown", (event) => {
  const role = ROLES[event.key.toLowerCase()];
  if (!role || isTyping(event) || document.querySelector("dialog[open]")) return;
  for (const choice of document.querySelectorAll(`.filters [value=${role}]`)) choice.click();
});

// A film is opened when it is asked for: hundreds of players would choke a browser.
document.addEventListener("click", (event) => {
  const button = event.target.closest(".play");
  if (!button) return;
  const figure = button.closest("figure");
  const open = figure.querySelector("video");
  const picture = figure.querySelector("a, .missing");
  picture.hidden = !open;
  button.textContent = open ? "▶ turntable" : "◼ picture";
  if (open) return open.remove();
  const film = Object.assign(document.createElement("video"), { src: button.dataset.film, loop: true, muted: true, controls: true, playsInline: true });
  figure.prepend(film);
  film.play();
});
