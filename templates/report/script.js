"use strict";
(() => {
  const table = document.getElementById("layer-table");
  const rows = [...table.querySelectorAll("tr[data-figure]")];
  let chosen = null;

  /* Marks the row of the layer whose field is shown, and names that layer over the picture. */
  const mark = (row) => {
    chosen?.classList.remove("selected");
    chosen = row;
    if (!row) return;
    row.classList.add("selected");
    const figure = document.getElementById(row.dataset.figure);
    figure.querySelector(".chosen").textContent = row.dataset.name;
    figure.querySelector(".what").textContent = `${row.cells[1].textContent}, output ${row.cells[2].textContent}`;
  };

  table.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-figure]");
    if (!row || getSelection().toString()) return;
    mark(row);
    location.hash = row.dataset.figure;
  });

  /* A drawing starts as large as its place allows, and two buttons change that. */
  for (const place of document.querySelectorAll(".drawing")) {
    const svg = place.querySelector("svg");
    const width = svg.width.baseVal.value, height = svg.height.baseVal.value;
    let zoom = 1;
    const show = (factor) => {
      zoom = Math.min(Math.max(zoom * factor, 0.1), 4);
      svg.setAttribute("width", width * zoom);
      svg.setAttribute("height", height * zoom);
    };
    const bar = document.createElement("div");
    bar.className = "zoom";
    for (const [text, name, act] of [
      ["−", "Smaller", () => show(1 / 1.25)],
      ["+", "Larger", () => show(1.25)],
      ["fit", "Fit the width", () => show((place.clientWidth - 4) / (width * zoom))],
    ]) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.title = name;
      button.addEventListener("click", act);
      bar.append(button);
    }
    place.before(bar);
  }

  const follow = () => {
    const target = document.getElementById(location.hash.slice(1));
    if (!target) return;
    for (let outer = target.closest("details"); outer; outer = outer.parentElement.closest("details")) outer.open = true;
    if (target.matches("figure.field") && chosen?.dataset.figure !== target.id) {
      mark(rows.find((row) => row.dataset.figure === target.id));
    }
    target.scrollIntoView({ block: "nearest" });
  };
  addEventListener("hashchange", follow);

  const shown = location.hash ? null : document.querySelector("figure.field.default");
  if (shown) mark(rows.findLast((row) => row.dataset.figure === shown.id && /^(conv2d|depthwise)/.test(row.cells[1].textContent)) ??
    rows.find((row) => row.dataset.figure === shown.id));
  else follow();
})();
