"use strict";
// Filters hide cards by type and words, and pictures by score and lambda; a card none of whose edits is left goes too.
for (const form of document.querySelectorAll(".filters")) {
  const cards = [...document.getElementById(form.dataset.gallery).children];
  const choose = () => {
    const wanted = Object.fromEntries(new FormData(form));
    const fits = (key, value) => !wanted[key] || wanted[key] === value;
    let left = 0;
    for (const card of cards) {
      const edits = [...card.querySelectorAll("figure[data-score]")];
      for (const edit of edits) edit.hidden = !(fits("score", edit.dataset.score) && fits("lambda", edit.dataset.lambda));
      const said = card.dataset.words.includes((wanted.words || "").toLowerCase());
      card.hidden = !(fits("type", card.dataset.type) && said && edits.some((edit) => !edit.hidden));
      left += !card.hidden;
    }
    form.querySelector("output").textContent = left === cards.length ? `${left} edits` : `${left} of ${cards.length} edits`;
  };
  form.addEventListener("input", choose);
  form.addEventListener("submit", (event) => event.preventDefault());
  choose(); // a reloaded page keeps what was chosen
}
// A film is opened when it is asked for: hundreds of players would choke a browser.
document.addEventListener("click", (event) => {
  const button = event.target.closest(".play");
  if (!button) return;
  const figure = button.closest("figure");
  const open = figure.querySelector("video");
  if (open) {
    open.remove();
    figure.querySelector("a").hidden = false;
    button.textContent = "▶ turntable";
    return;
  }
  const film = Object.assign(document.createElement("video"), { src: button.dataset.film, loop: true, muted: true, controls: true, playsInline: true });
  figure.prepend(film);
  figure.querySelector("a").hidden = true;
  button.textContent = "◼ picture";
  film.play();
});
