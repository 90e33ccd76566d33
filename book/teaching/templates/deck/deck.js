// What is written for a page may be too much for a slide: its text shrinks until it fits, before the first is shown.
const LEAST = 0.5;

function overflows(slide) {
  const { paddingBottom, paddingRight } = getComputedStyle(slide);
  const bottom = slide.clientHeight - parseFloat(paddingBottom), right = slide.clientWidth - parseFloat(paddingRight);
  return [...slide.querySelectorAll(":scope > *, pre")].some(
    (part) =>
      part.offsetTop + part.offsetHeight > bottom + 1 ||
      part.offsetLeft + part.offsetWidth > right + 1 ||
      part.scrollWidth > part.clientWidth,
  );
}

function fit(slide) {
  slide.style.display = "flex";
  for (let scale = 1; scale > LEAST && overflows(slide); ) {
    scale -= 0.025;
    slide.style.setProperty("--scale", scale.toFixed(3));
  }
  slide.style.display = "";
}

Promise.all([...document.fonts].map((font) => font.load()))
  .then(() => document.querySelectorAll(".slides > section").forEach(fit))
  .then(() =>
    Reveal.initialize({
      width: 1280,
      height: 720,
      margin: 0,
      center: false,
      display: "flex",
      hash: true,
      transition: "none",
      slideNumber: "c/t",
      pdfMaxPagesPerSlide: 1,
      pdfSeparateFragments: false,
      plugins: [RevealNotes],
    }),
  );
