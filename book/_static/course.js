// Small services to every page; it is read without this script, too.
"use strict";

// A box that scrolls sideways must be reachable by keyboard. Which boxes do so depends on the window's width.
const SCROLLING = ".bd-article .math, .bd-article pre, .bd-article .output, .bd-article .pst-scrollable-table-container";

function markScrolling() {
  for (const box of document.querySelectorAll(SCROLLING)) {
    if (box.scrollWidth > box.clientWidth + 1) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

addEventListener("load", markScrolling);
addEventListener("resize", markScrolling);

// Opened from a disk, a page may not read another one: the search then lists titles without excerpts.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// Paper is white, whatever the screen was.
let screenTheme;
addEventListener("beforeprint", () => {
  screenTheme = document.documentElement.dataset.theme;
  document.documentElement.dataset.theme = "light";
});
addEventListener("afterprint", () => {
  document.documentElement.dataset.theme = screenTheme;
});

// The twin of a chapter's sliders: a window onto a sheet of pictures that were drawn when the page was built.
function make(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function explorer(still) {
  const { sliders, columns, rows, width, height, sheet } = JSON.parse(still.dataset.states);
  const picture = make("img", { loading: "lazy", decoding: "async", src: sheet });
  picture.style.width = `${100 * columns}%`;
  const pane = make("div", { className: "course-pane" }, picture);
  pane.style.aspectRatio = `${width} / ${height}`;
  pane.style.maxWidth = `${width}px`;
  const controls = Object.entries(sliders).map(([name, values]) => {
    const input = make("input", { type: "range", min: 0, max: values.length - 1, step: 1 });
    input.value = Math.floor(values.length / 2);
    const shown = make("output");
    return { name, values, input, shown, label: make("label", {}, `${name} `, input, shown) };
  });

  function show() {
    let place = 0;
    const told = controls.map(({ name, values, input, shown }) => {
      place = place * values.length + Number(input.value);
      const value = String(values[input.value]).replace("-", "−");
      shown.textContent = value;
      input.setAttribute("aria-valuetext", value);
      return `${name} ${value}`;
    });
    picture.style.translate = `${(-100 * (place % columns)) / columns}% ${(-100 * Math.floor(place / columns)) / rows}%`;
    picture.alt = `${still.alt} Now: ${told.join(", ")}.`;
  }

  for (const { input } of controls) input.addEventListener("input", show);
  show();
  const count = controls.reduce((product, { values }) => product * values.length, 1);
  const about = make("p", {}, `These sliders step through ${count} pictures of the same run.`);
  const group = make("div", { className: "course-explorer" }, pane, ...controls.map(({ label }) => label), about);
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", `Sliders: ${Object.keys(sliders).join(", ")}`);
  still.after(group);
}

document.querySelectorAll("img[data-states]").forEach(explorer);
