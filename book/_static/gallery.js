// The explorer on a scene's page: maps side by side with one selection, and the images themselves. Everything comes
// from this site, and as scripts rather than by fetch(): a page opened from a disk may load scripts but may not
// fetch files. Points are drawn as small bitmaps on plain canvases, which keeps thousands of them in motion.
(() => {
  "use strict";

  const MOVE = 700; // milliseconds that points take from one map to the next
  const PAUSE = 1300; // milliseconds from one map to the next while a sequence plays
  const STRIP = 30; // thumbnails of selected images that are shown
  const NEAREST = 5;
  const LATE = 12; // milliseconds: a frame that takes longer is late on a screen of 60 a second
  const FULL = { x: -0.04, y: -0.04, side: 1.08 }; // the unit square and a margin
  const CLOSEST = 0.02; // the side of the smallest view
  const STILL = matchMedia("(prefers-reduced-motion: reduce)");
  const SVG = "http://www.w3.org/2000/svg";

  // ---- small things

  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  function script(address) {
    return new Promise((resolve, reject) => {
      const tag = element("script", { src: address, onload: resolve });
      tag.onerror = () => reject(new Error(`${address} could not be loaded.`));
      document.head.append(tag);
    });
  }

  function words(base64) {
    const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Uint16Array.from({ length: bytes.length / 2 }, (_, place) => view.getUint16(2 * place, true));
  }

  function theme() {
    const chosen = document.documentElement.dataset.theme;
    if (chosen === "dark" || chosen === "light") return chosen;
    return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  }

  function swatch(style) {
    const picture = document.createElementNS(SVG, "svg");
    picture.setAttribute("viewBox", "-.6 -.6 1.2 1.2");
    picture.setAttribute("aria-hidden", "true");
    picture.style.setProperty("--light", style.light);
    picture.style.setProperty("--dark", style.dark);
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", style.path);
    picture.append(path);
    return picture;
  }

  function definitions(pairs) {
    return pairs.map(([title, value]) =>
      element("div", {}, element("dt", { textContent: title }), element("dd", { textContent: value })));
  }

  function isInside(x, y, corners) {
    let inside = false;
    for (let one = 0, other = corners.length - 1; one < corners.length; other = one++) {
      const [ax, ay] = corners[one];
      const [bx, by] = corners[other];
      if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
    }
    return inside;
  }

  // rows as "0-5.9.12": runs keep a link short
  function packRows(rows) {
    const sorted = [...rows].sort((a, b) => a - b);
    const runs = [];
    for (const row of sorted) {
      const last = runs.at(-1);
      if (last && row === last[1] + 1) last[1] = row;
      else runs.push([row, row]);
    }
    return runs.map(([first, last]) => (first === last ? `${first}` : `${first}-${last}`)).join(".");
  }

  function unpackRows(text, count) {
    const rows = [];
    for (const run of text.split(".").filter(Boolean)) {
      const [first, last = first] = run.split("-").map(Number);
      for (let row = first; row <= last && row < count; row++) if (Number.isInteger(row) && row >= 0) rows.push(row);
    }
    return rows;
  }

  // ---- one map

  class Panel {
    constructor(figure, explorer, place) {
      this.figure = figure;
      this.explorer = explorer;
      this.place = place;
      this.canvas = figure.querySelector("canvas");
      this.context = this.canvas.getContext("2d");
      this.view = { ...FULL };
      this.goal = { ...FULL };
      this.fingers = new Map();
      this.seen = true;
      new ResizeObserver(() => {
        this.resize();
        this.draw(); // at once: a canvas of another size is empty
      }).observe(this.canvas);
      // on a telephone the maps stand under each other: what is out of sight is not drawn
      new IntersectionObserver(([entry]) => {
        this.seen = entry.isIntersecting;
        explorer.later();
      }).observe(this.canvas);
      this.resize();
      this.listen();
    }

    resize() {
      const width = Math.max(1, Math.round(this.canvas.clientWidth * this.ratio));
      if (this.canvas.width !== width) this.canvas.width = this.canvas.height = width;
    }

    get ratio() {
      return this.explorer.coarse ? 1 : Math.min(2, devicePixelRatio || 1);
    }

    // -- where things are: data in the unit square, y up; pixels of the window, y down

    toPixels(row) {
      const { x, y, side } = this.view;
      const width = this.canvas.clientWidth;
      const { shown } = this;
      return [((shown[2 * row] - x) / side) * width, width - ((shown[2 * row + 1] - y) / side) * width];
    }

    toData(px, py) {
      const { x, y, side } = this.view;
      const width = this.canvas.clientWidth;
      return [x + (px / width) * side, y + (1 - py / width) * side];
    }

    nearest(x, y, reach) {
      const { shown, explorer } = this;
      let best = null;
      let least = reach * reach;
      for (let row = 0; row < explorer.count; row++) {
        if (explorer.hidden[row]) continue;
        const far = (shown[2 * row] - x) ** 2 + (shown[2 * row + 1] - y) ** 2;
        if (far < least) [best, least] = [row, far];
      }
      return best;
    }

    visible() {
      const { x, y, side } = this.goal;
      const target = this.explorer.target[this.place];
      return this.explorer.rows().filter((row) => {
        const across = target[2 * row] - x;
        const up = target[2 * row + 1] - y;
        return across >= 0 && across <= side && up >= 0 && up <= side;
      });
    }

    // the square that holds the rows; of one row, its neighbourhood
    around(rows) {
      const target = this.explorer.target[this.place];
      const low = [Infinity, Infinity];
      const high = [-Infinity, -Infinity];
      for (const row of rows) {
        for (const axis of [0, 1]) {
          const value = target[2 * row + axis];
          if (value < low[axis]) low[axis] = value;
          if (value > high[axis]) high[axis] = value;
        }
      }
      if (!(high[0] >= low[0])) return { ...FULL };
      const side = Math.min(FULL.side, Math.max(0.08, 1.1 * Math.max(high[0] - low[0], high[1] - low[1])));
      return { x: (low[0] + high[0] - side) / 2, y: (low[1] + high[1] - side) / 2, side };
    }

    aim(view) {
      this.goal = view;
      if (STILL.matches) this.view = { ...view };
      this.explorer.later();
    }

    follow() {
      const gap = Math.max(...["x", "y", "side"].map((key) => Math.abs(this.goal[key] - this.view[key])));
      const share = gap < 0.001 * this.goal.side ? 1 : 0.25;
      for (const key of ["x", "y", "side"]) this.view[key] += share * (this.goal[key] - this.view[key]);
      return share < 1;
    }

    zoom(factor, [x, y]) {
      const { goal } = this;
      const side = Math.min(FULL.side, Math.max(CLOSEST, goal.side * factor));
      if (side === FULL.side) return { ...FULL };
      const share = side / goal.side;
      return { x: x + (goal.x - x) * share, y: y + (goal.y - y) * share, side };
    }

    // -- drawing

    draw() {
      if (!this.seen || !this.shown) return;
      const { context, explorer } = this;
      const growth = Math.min(2, Math.sqrt(FULL.side / this.view.side));
      const { plain, faint, ground } = explorer.stamps(explorer.size * growth, this.ratio);
      const some = explorer.chosen.size > 0;
      const sheet = this.sheet(plain[0].half);
      sheet.pixels.fill(ground);
      this.marks(sheet, some ? faint : plain, 0);
      if (some) this.marks(sheet, plain, 1);
      context.putImageData(sheet.image, -sheet.edge, -sheet.edge);
      this.lines();
      this.rings();
      this.outline();
    }

    // the map's pixels, with an edge that takes what marks at the border leave over
    sheet(edge) {
      const side = this.canvas.width + 2 * edge;
      if (this.drawing?.image.width !== side) {
        const image = new ImageData(side, side);
        this.drawing = { image, edge, side, pixels: new Uint32Array(image.data.buffer) };
      }
      return this.drawing;
    }

    // the marks of selected rows, or of the others; a stamp for each is many times faster than paths or drawImage
    marks({ pixels, side, edge }, stamps, wanted) {
      const { shown, view, canvas } = this;
      const { hidden, marked, groups, count } = this.explorer;
      const width = canvas.width;
      const scale = width / view.side;
      const far = width + edge - 1;
      for (let row = 0; row < count; row++) {
        if (hidden[row] || marked[row] !== wanted) continue;
        const px = (shown[2 * row] - view.x) * scale;
        const py = width - (shown[2 * row + 1] - view.y) * scale;
        // written so that NaN, a point that this map lacks, fails
        if (!(px > -edge && px < far - edge && py > -edge && py < far - edge)) continue;
        print(pixels, stamps[groups[row]], (Math.floor(py) + edge) * side + Math.floor(px) + edge, side);
      }
    }

    lines() {
      const { explorer, context, ratio } = this;
      if (explorer.current === null) return;
      const [x, y] = this.toPixels(explorer.current);
      context.strokeStyle = explorer.ink;
      context.lineWidth = 1.2 * ratio;
      context.beginPath();
      for (const row of explorer.near) {
        const [toX, toY] = this.toPixels(row);
        context.moveTo(x * ratio, y * ratio);
        context.lineTo(toX * ratio, toY * ratio);
      }
      context.stroke();
    }

    rings() {
      const { explorer, context, ratio } = this;
      if (explorer.current === null) return;
      const [x, y] = this.toPixels(explorer.current);
      for (const [width, colour] of [[5, explorer.paper], [2, explorer.ink]]) {
        context.strokeStyle = colour;
        context.lineWidth = width * ratio;
        context.beginPath();
        context.arc(x * ratio, y * ratio, 9 * ratio, 0, 7);
        context.stroke();
      }
    }

    outline() {
      const { gesture, context, ratio } = this;
      if (!gesture || gesture.corners.length < 2) return;
      context.strokeStyle = this.explorer.ink;
      context.lineWidth = ratio;
      context.setLineDash([4 * ratio, 3 * ratio]);
      context.beginPath();
      for (const [x, y] of gesture.corners) context.lineTo(x * ratio, y * ratio);
      context.closePath();
      context.stroke();
      context.setLineDash([]);
    }

    // -- what readers do

    listen() {
      const { canvas } = this;
      canvas.addEventListener("pointerdown", (event) => this.down(event));
      canvas.addEventListener("pointermove", (event) => this.moved(event));
      canvas.addEventListener("pointerup", (event) => this.up(event));
      canvas.addEventListener("pointercancel", (event) => this.forget(event));
      canvas.addEventListener("pointerleave", () => this.explorer.point(null, this));
      canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
      canvas.addEventListener("keydown", (event) => this.key(event));
      canvas.addEventListener("focus", () => this.focused());
    }

    at(event) {
      const box = this.canvas.getBoundingClientRect();
      return [event.clientX - box.x - this.canvas.clientLeft, event.clientY - box.y - this.canvas.clientTop];
    }

    hit(event) {
      const reach = event.pointerType === "touch" ? 24 : 14;
      return this.nearest(...this.toData(...this.at(event)), (reach / this.canvas.clientWidth) * this.view.side);
    }

    down(event) {
      if (event.button) return;
      const start = this.at(event);
      this.fingers.set(event.pointerId, start);
      this.gesture = { start, corners: [], last: start, far: 0 };
      if (this.fingers.size === 2) this.pinch = { apart: this.apart(), view: { ...this.goal } };
      if (this.explorer.drag || this.pinch) this.canvas.setPointerCapture(event.pointerId);
    }

    apart() {
      const [[ax, ay], [bx, by]] = this.fingers.values();
      return Math.max(1, Math.hypot(ax - bx, ay - by));
    }

    moved(event) {
      const here = this.at(event);
      if (this.fingers.has(event.pointerId)) this.fingers.set(event.pointerId, here);
      if (this.pinch && this.fingers.size === 2) return this.pinched();
      if (!this.gesture) return this.explorer.point(event.pointerType === "touch" ? null : this.hit(event), this);
      const { start, last } = this.gesture;
      this.gesture.far = Math.max(this.gesture.far, Math.hypot(here[0] - start[0], here[1] - start[1]));
      this.gesture.last = here;
      if (this.gesture.far > 4) this.dragged(here, start, last);
    }

    dragged(here, start, last) {
      const { drag } = this.explorer;
      if (drag === "pan") {
        const step = this.goal.side / this.canvas.clientWidth;
        const { x, y, side } = this.goal;
        this.explorer.lead(this, { x: x - (here[0] - last[0]) * step, y: y + (here[1] - last[1]) * step, side }, true);
      } else if (drag === "lasso") {
        this.gesture.corners.push(...(this.gesture.corners.length ? [here] : [start, here]));
      } else if (drag === "box") {
        this.gesture.corners = [start, [here[0], start[1]], here, [start[0], here[1]]];
      }
      this.explorer.later();
    }

    pinched() {
      const { apart, view } = this.pinch;
      const places = [...this.fingers.values()];
      const middle = [0, 1].map((axis) => (places[0][axis] + places[1][axis]) / 2);
      this.goal = { ...view };
      this.explorer.lead(this, this.zoom(apart / this.apart(), this.toData(...middle)), true);
    }

    up(event) {
      const { gesture } = this;
      const pinched = this.pinch;
      this.forget(event);
      if (!gesture || pinched) return;
      if (gesture.far <= 4) return this.explorer.tap(this.hit(event), this, event.shiftKey);
      if (gesture.corners.length < 3) return;
      const corners = gesture.corners.map((corner) => this.toData(...corner));
      const { shown } = this;
      this.explorer.select(this.explorer.rows().filter((row) => isInside(shown[2 * row], shown[2 * row + 1], corners)));
    }

    forget(event) {
      this.fingers.delete(event.pointerId);
      this.gesture = null;
      if (!this.fingers.size) this.pinch = null;
      this.explorer.later();
    }

    wheel(event) {
      // the wheel alone scrolls the page: a map must not catch a reader who only passes over it
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      const factor = Math.exp(Math.max(-60, Math.min(60, event.deltaY)) / 250);
      this.explorer.lead(this, this.zoom(factor, this.toData(...this.at(event))));
    }

    focused() {
      this.explorer.active = this;
      if (!this.canvas.matches(":focus-visible") || this.explorer.pinned !== null) return;
      const { x, y, side } = this.goal;
      this.explorer.pin(this.nearest(x + side / 2, y + side / 2, 2), this);
    }

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const { explorer } = this;
      const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
      const other = {
        Enter: () => explorer.toggle(explorer.pinned),
        " ": () => explorer.toggle(explorer.pinned),
        "+": () => explorer.zoom(0.6, this),
        "-": () => explorer.zoom(1 / 0.6, this),
        Escape: () => explorer.clear(),
      };
      const act = event.key in ways ? () => explorer.pin(this.next(ways[event.key]), this) : other[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    }

    // the nearest image in a direction, within 45 degrees of it
    next([right, up]) {
      const { explorer } = this;
      const from = explorer.pinned;
      const target = explorer.target[this.place];
      if (from === null) return explorer.rows()[0] ?? null;
      let [best, least] = [from, Infinity];
      for (const row of explorer.rows()) {
        const x = target[2 * row] - target[2 * from];
        const y = target[2 * row + 1] - target[2 * from + 1];
        const along = x * right + y * up;
        const aside = Math.abs(x * up - y * right);
        if (along > 0 && aside <= along && along + 2 * aside < least) [best, least] = [row, along + 2 * aside];
      }
      return best;
    }
  }

  // ---- a scene

  class Explorer {
    constructor(section, scene) {
      this.section = section;
      this.scene = scene;
      this.count = scene.count;
      this.labels = words(scene.labels);
      this.clusters = scene.rows.map((row) => words(row.clusters));
      this.size = scene.count > 5000 ? 4.5 : scene.count > 1000 ? 6 : 8; // CSS pixels of a mark
      this.maps = []; // decoded when a row is first shown, as are
      this.stored = []; // the neighbours by features
      this.row = 0;
      this.only = null;
      this.hidden = new Uint8Array(this.count);
      this.marked = new Uint8Array(this.count);
      this.chosen = new Set();
      this.pinned = this.hovered = null;
      this.near = [];
      this.leader = null; // the map that is magnified, or "selected"
      this.late = 0; // frames in a row
      this.slow = this.coarse = false;
      this.stamped = new Map();
    }

    part(selector) {
      return this.section.querySelector(`.gallery-live ${selector}`);
    }

    control(name) {
      return this.part(`[name="${name}"]`);
    }

    open() {
      const address = new URL(`${this.section.dataset.assets}/${this.scene.sprites.file}`, document.baseURI);
      this.section.style.setProperty("--gallery-sprites", `url("${address}")`);
      // fetched now, so that the first image that is pointed at is there at once
      this.sprites = element("img", { src: address }).decode().catch(() => this.tell("The images cannot be loaded."));
      this.part("").inert = false;
      this.tip = element("div", { className: "gallery-tip", hidden: true });
      this.tip.setAttribute("aria-hidden", "true"); // the inspector says the same, once a reader stays
      this.part("").append(this.tip);
      this.target = this.mapsOf(0);
      this.group();
      const figures = [...this.section.querySelectorAll(".gallery-panels figure")];
      this.panels = figures.map((figure, place) => new Panel(figure, this, place));
      this.active = this.panels[0];
      this.land();
      this.listen();
      this.restore();
      this.ready = true;
    }

    listen() {
      const on = (name, kind, act) => this.control(name).addEventListener(kind, act);
      on("row", "change", () => this.show(Number(this.control("row").selectedIndex)));
      on("step", "input", () => this.show(this.sequence()[this.control("step").value]));
      on("series", "change", () => this.chooseSeries(this.control("series").value));
      on("play", "click", () => (this.playing ? this.stop() : this.play()));
      on("colour", "change", () => this.colour(this.control("colour").value));
      on("image", "input", () => this.search());
      on("drag", "change", () => this.dragBy(this.control("drag").value));
      on("in", "click", () => this.zoom(0.6, this.active));
      on("out", "click", () => this.zoom(1 / 0.6, this.active));
      on("fit", "click", () => this.fit());
      on("reset", "click", () => this.clear(true));
      on("share", "click", () => this.share());
      on("picture", "click", () => this.save());
      this.part("details").addEventListener("toggle", () => this.medoids());
      for (const link of this.section.querySelectorAll(".gallery-open")) {
        link.hidden = false;
        link.addEventListener("click", (event) => this.openCard(event, link));
      }
      window.addEventListener("hashchange", () => this.restore());
      new MutationObserver(() => this.repaint()).observe(document.documentElement, { attributeFilter: ["data-theme"] });
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.repaint());
      // a finger that is drawn over a map scrolls the page, until the reader chooses otherwise
      this.dragBy(matchMedia("(pointer: coarse)").matches ? "" : "box");
    }

    openCard(event, link) {
      event.preventDefault();
      this.show(this.scene.rows.findIndex((row) => `#${row.slug}` === link.hash));
      this.part("").scrollIntoView();
      this.control("row").focus();
    }

    // -- what the points are

    mapsOf(number) {
      return (this.maps[number] ??= this.scene.maps.map((name) => {
        const packed = this.scene.rows[number].maps[name];
        // a row without this map has no points there, and the panel says so
        return packed ? Float32Array.from(words(packed), (value) => value / 65535) : new Float32Array(2 * this.count).fill(NaN);
      }));
    }

    group() {
      const by = this.control("colour").value;
      const clusters = this.clusters[this.row];
      this.wrong = Uint8Array.from(this.labels, (label, row) => Number(clusters[row] !== label));
      this.groupings = { class: this.labels, cluster: clusters, error: this.wrong };
      this.groups = this.groupings[by];
      this.styles = by === "error" ? this.scene.errors : this.scene.styles;
    }

    groupName(by, number) {
      if (by === "class") return this.scene.classes[number] ?? String(number);
      if (by === "cluster") return this.clusterName(number);
      return number ? "in the cluster of another class" : "in the cluster of its class";
    }

    clusterName(number) {
      const matched = this.scene.classes[number];
      return matched === undefined || matched === String(number) ? `cluster ${number}` : `cluster ${number} (${matched})`;
    }

    rows() {
      return Array.from({ length: this.count }, (_, row) => row).filter((row) => !this.hidden[row]);
    }

    get current() {
      return this.hovered ?? this.pinned;
    }

    stamps(size, ratio) {
      const known = `${theme()} ${this.control("colour").value} ${size.toFixed(1)} ${ratio}`;
      if (!this.stamped.has(known)) {
        const colours = getComputedStyle(this.section);
        this.ink = colours.getPropertyValue("--gallery-text").trim();
        this.paper = colours.getPropertyValue("--gallery-surface").trim();
        const [plain, faint] = [0.9, 0.14].map((alpha) => this.styles.map((style) => stamp(style, size * ratio, alpha)));
        this.stamped.set(known, { plain, faint, ground: groundOf(this.paper) });
      }
      return this.stamped.get(known);
    }

    // -- one frame for all that changes

    later() {
      this.frame ??= requestAnimationFrame((now) => {
        this.frame = null;
        const moves = this.advance(now);
        const follows = this.panels.map((panel) => panel.follow()).some(Boolean);
        this.grain(moves || follows);
        const began = performance.now();
        for (const panel of this.panels) panel.draw();
        if (moves || follows) this.late = performance.now() - began > LATE ? this.late + 1 : 0;
        if (this.tipFor) this.placeTip();
        if (moves || follows) this.later();
      });
    }

    // where frames come late, as on a slow telephone, moving points are drawn with fewer pixels, resting ones are not
    grain(moving) {
      this.slow ||= this.late >= 3;
      const coarse = moving && this.slow;
      if (coarse === this.coarse) return;
      this.coarse = coarse;
      for (const panel of this.panels) panel.resize();
    }

    advance(now) {
      if (!this.motion) return false;
      const { from, start } = this.motion;
      const share = STILL.matches ? 1 : Math.min(1, Math.max(0, now - start) / MOVE);
      if (share === 1) {
        this.land();
        return false;
      }
      const eased = share * share * (3 - 2 * share);
      this.panels.forEach((panel, place) => between(from[place], this.target[place], eased, panel.shown));
      return true;
    }

    land() {
      this.motion = null;
      this.panels.forEach((panel, place) => (panel.shown = this.target[place].slice()));
    }

    show(number) {
      if (!(number >= 0)) return;
      this.row = number;
      this.target = this.mapsOf(number);
      // from wherever the points are: a slider may be drawn on before they have arrived
      this.motion = { from: this.panels.map((panel) => panel.shown.slice()), start: performance.now() };
      this.leader = null;
      for (const panel of this.panels) panel.aim({ ...FULL });
      this.group();
      this.filter();
      this.describe();
      this.changed();
    }

    // -- the sequence

    sequence() {
      return this.scene.series[this.control("series").value] ?? this.scene.rows.map((_, place) => place);
    }

    chooseSeries(name) {
      this.control("series").value = name in this.scene.series ? name : "";
      const rows = this.sequence();
      this.show(rows.includes(this.row) ? this.row : rows[0]);
    }

    play() {
      const rows = this.sequence();
      const step = () => {
        const rows = this.sequence(); // the reader may choose another one meanwhile
        const place = rows.indexOf(this.row) + 1;
        if (place >= rows.length) return this.stop();
        this.show(rows[place]);
        this.playing = setTimeout(step, PAUSE);
      };
      this.playing = setTimeout(step, rows.at(-1) === this.row ? PAUSE : 0);
      if (rows.at(-1) === this.row) this.show(rows[0]);
      this.sayPlaying();
    }

    stop() {
      clearTimeout(this.playing);
      this.playing = null;
      this.sayPlaying();
    }

    sayPlaying() {
      this.control("play").setAttribute("aria-pressed", String(Boolean(this.playing)));
      this.control("play").textContent = this.playing ? "Pause" : "Play";
    }

    // -- colour and filter

    colour(by) {
      this.control("colour").value = ["class", "cluster", "error"].includes(by) ? by : "class";
      this.group();
      this.repaint();
      this.describe();
      this.changed();
    }

    repaint() {
      this.stamped.clear();
      this.later();
    }

    // the first press shows one group alone, further ones add groups, and without any all are shown
    pick(by, number) {
      const groups = new Set(this.only?.by === by ? this.only.groups : []);
      if (!groups.delete(number)) groups.add(number);
      this.showOnly(groups.size ? { by, groups } : null);
    }

    showOnly(only) {
      this.only = only;
      this.filter();
      this.describe();
      this.changed();
    }

    filter() {
      const { only } = this;
      const groups = only && this.groupings[only.by];
      for (let row = 0; row < this.count; row++) this.hidden[row] = Number(Boolean(only) && !only.groups.has(groups[row]));
      // what is hidden is neither selected nor looked at: a row may have put it into another cluster
      if ([...this.chosen].some((row) => this.hidden[row])) this.select([...this.chosen].filter((row) => !this.hidden[row]));
      if (this.pinned !== null && this.hidden[this.pinned]) this.pin(null);
      this.later();
    }

    // -- pointing, searching, selecting

    point(row, panel) {
      if (row === this.hovered) return;
      this.hovered = row;
      this.tipFor = row === null ? null : panel;
      this.findNear(this.tipFor ?? this.active);
      this.tip.hidden = row === null;
      if (row !== null) this.tip.replaceChildren(...this.portrait(row, false));
      this.later();
    }

    findNear(panel) {
      this.near = this.current === null ? [] : this.neighbours(this.current, panel.place);
    }

    // by their features where those are stored, else on one map
    neighbours(from, place) {
      const stored = (this.stored[this.row] ??= words(this.scene.rows[this.row].neighbours));
      const each = stored.length / this.count;
      if (each) return [...stored.slice(from * each, (from + 1) * each)].filter((row) => !this.hidden[row]);
      const target = this.target[place];
      const far = (row) => (target[2 * row] - target[2 * from]) ** 2 + (target[2 * row + 1] - target[2 * from + 1]) ** 2;
      const best = [];
      for (let row = 0; row < this.count; row++) {
        if (row === from || this.hidden[row]) continue;
        const entry = [far(row), row];
        if (Number.isNaN(entry[0])) continue;
        if (best.length === NEAREST && !(entry[0] < best.at(-1)[0])) continue;
        best.push(entry);
        best.sort((a, b) => a[0] - b[0]);
        best.length = Math.min(best.length, NEAREST);
      }
      return best.map(([, row]) => row);
    }

    placeTip() {
      const [x, y] = this.tipFor.toPixels(this.hovered);
      const box = this.tipFor.canvas.getBoundingClientRect();
      const { offsetWidth: width, offsetHeight: height } = this.tip;
      const left = box.x + x + 16 + width > innerWidth ? box.x + x - 16 - width : box.x + x + 16;
      const top = Math.min(innerHeight - height - 4, Math.max(4, box.y + y - height / 2));
      this.tip.style.transform = `translate(${Math.round(Math.max(4, left))}px, ${Math.round(top)}px)`;
    }

    pin(row, panel = this.active) {
      this.active = panel;
      this.pinned = row;
      this.findNear(panel);
      const field = this.control("image");
      if (Number(field.value) !== row || field.value === "") field.value = row ?? "";
      this.inspect();
      this.later();
      this.changed();
    }

    search() {
      const text = this.control("image").value;
      const row = Number(text);
      this.tell("");
      if (text === "") return this.pin(null);
      if (!Number.isInteger(row) || row < 0 || row >= this.count) {
        return this.tell(`There is no image ${text}: type a number from 0 to ${this.count - 1}.`);
      }
      if (this.hidden[row]) this.showOnly(null);
      this.pin(row);
    }

    tap(row, panel, add) {
      this.pin(row, panel);
      if (row === null) this.select([]);
      else if (add) this.toggle(row);
      else this.select([row]);
    }

    toggle(row) {
      if (row === null) return;
      const rows = new Set(this.chosen);
      if (!rows.delete(row)) rows.add(row);
      this.select([...rows]);
    }

    select(rows) {
      this.chosen = new Set(rows);
      this.marked.fill(0);
      for (const row of rows) this.marked[row] = 1;
      this.selected();
      this.later();
      this.changed();
    }

    clear(all = false) {
      this.select([]);
      this.pin(null);
      if (!all) return;
      this.stop();
      this.leader = null;
      for (const panel of this.panels) panel.aim({ ...FULL });
      this.showOnly(null);
    }

    // -- zoom: one map leads, and the others show the same images

    zoom(factor, panel) {
      const { goal, place } = panel;
      const target = this.target[place];
      const centre = this.pinned === null
        ? [goal.x + goal.side / 2, goal.y + goal.side / 2]
        : [target[2 * this.pinned], target[2 * this.pinned + 1]];
      this.lead(panel, panel.zoom(factor, centre.every(Number.isFinite) ? centre : [0.5, 0.5]));
    }

    lead(panel, view, atOnce = false) {
      panel.aim(view);
      if (atOnce) panel.view = { ...view };
      const whole = view.side >= FULL.side;
      this.leader = whole ? null : panel;
      const rows = whole ? [] : panel.visible();
      for (const other of this.panels) {
        if (other !== panel && (whole || rows.length)) other.aim(whole ? { ...FULL } : other.around(rows));
      }
      this.changed();
    }

    fit() {
      const rows = [...this.chosen];
      this.leader = "selected";
      for (const panel of this.panels) panel.aim(panel.around(rows));
      this.changed();
    }

    dragBy(choice) {
      this.drag = choice;
      this.control("drag").value = choice;
      for (const panel of this.panels) panel.canvas.style.touchAction = choice ? "none" : "pan-y";
    }

    // -- the address holds what is shown

    changed() {
      if (!this.ready) return;
      // browsers refuse more than some changes of the address a second
      clearTimeout(this.writing);
      this.writing = setTimeout(() => this.write(), 200);
    }

    write() {
      clearTimeout(this.writing);
      const fragment = this.fragment();
      if (fragment !== location.hash) history.replaceState(null, "", fragment);
    }

    fragment() {
      const parts = new URLSearchParams();
      const note = (name, value) => value && parts.set(name, value);
      note("series", this.control("series").value);
      if (this.control("colour").value !== "class") note("colour", this.control("colour").value);
      if (this.only) note("only", [this.only.by, ...this.only.groups].join("."));
      if (this.pinned !== null) note("image", `${this.pinned}.${this.active.place}`);
      const chosen = packRows(this.chosen);
      if (chosen.length < 1500) note("selected", chosen); // a longer address is not passed on by every program
      if (this.leader === "selected") note("zoom", "selected");
      else if (this.leader) {
        const { x, y, side } = this.leader.goal;
        note("zoom", [this.leader.place, ...[x, y, side].map((value) => value.toFixed(4))].join("_"));
      }
      const rest = parts.toString();
      return `#${this.scene.rows[this.row].slug}${rest ? `&${rest}` : ""}`;
    }

    restore() {
      const [slug, ...rest] = location.hash.slice(1).split("&");
      const number = this.scene.rows.findIndex((row) => row.slug === slug);
      const parts = new URLSearchParams(rest.join("&"));
      const had = this.ready;
      if (had && number < 0) return; // a heading's anchor, not a view
      this.ready = false; // nothing is written while it is read
      this.control("series").value = parts.get("series") in this.scene.series ? parts.get("series") : "";
      this.control("colour").value = ["cluster", "error"].includes(parts.get("colour")) ? parts.get("colour") : "class";
      this.only = this.readOnly(parts.get("only"));
      this.show(Math.max(0, number));
      if (!had) this.land();
      const [row, place = 0] = (parts.get("image") ?? "").split(".").map(Number);
      const held = parts.has("image") && this.hidden[row] === 0 && place < this.panels.length;
      this.pin(held ? row : null, this.panels[held ? place : 0]);
      this.select(unpackRows(parts.get("selected") ?? "", this.count).filter((each) => !this.hidden[each]));
      const [leader, x, y, side] = (parts.get("zoom") ?? "").split("_").map(Number);
      const zoomed = [x, y].every(Number.isFinite) && side >= CLOSEST && side < FULL.side;
      if (zoomed && this.panels[leader]) this.lead(this.panels[leader], { x, y, side });
      if (parts.get("zoom") === "selected") this.fit();
      this.repaint();
      this.ready = had;
      if (number >= 0) this.part("").scrollIntoView();
    }

    readOnly(text) {
      const [by, ...numbers] = (text ?? "").split(".");
      if (!["class", "cluster", "error"].includes(by) || !numbers.length) return null;
      return { by, groups: new Set(numbers.map(Number)) };
    }

    async share() {
      this.write();
      try {
        await navigator.clipboard.writeText(location.href);
        this.tell("The link to this view is copied.");
      } catch {
        this.tell("Copy the link from the address bar: it leads to this view.");
      }
    }

    save() {
      const file = new Blob([this.picture()], { type: "image/svg+xml" });
      const link = element("a", { href: URL.createObjectURL(file), download: `${this.fileName()}.svg` });
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
      this.tell(`The picture is saved as ${link.download}.`);
    }

    fileName() {
      return `${this.section.dataset.scene}-${this.scene.rows[this.row].slug}`;
    }

    // what is shown, as a picture that stands for itself: on white, with titles, legend and numbers
    picture() {
      const [side, gap, edge] = [320, 20, 16];
      const width = 2 * edge + this.panels.length * (side + gap) - gap;
      const row = this.scene.rows[this.row];
      const page = new Paper(width, edge);
      page.text(`${row.name}, ${this.scene.title}`, 17, 600);
      page.text(row.about, 12);
      page.down(6);
      const top = page.y + 18;
      this.panels.forEach((panel, place) => {
        const left = edge + place * (side + gap);
        page.put(`<text x="${left}" y="${top - 4}" font-size="13" font-weight="600">${escaped(this.scene.maps[place])}</text>`);
        page.put(`<svg x="${left}" y="${top}" width="${side}" height="${side}">${this.marksOf(panel, side)}</svg>`);
        page.put(`<rect x="${left}" y="${top}" width="${side}" height="${side}" fill="none" stroke="#d5dbe1"/>`);
        const quality = (row.quality[this.scene.maps[place]] ?? [["no such map stored", ""]]).map((pair) => pair.join(" "));
        page.put(`<text x="${left}" y="${top + side + 16}" font-size="10">${escaped(quality.join(", "))}</text>`);
      });
      page.y = top + side + 26;
      const by = this.control("colour").value;
      page.legend([...this.shownGroups()].map((number) => [this.styles[number], this.groupName(by, number)]));
      page.flow(row.scores.map((pair) => pair.join(" ")), 11);
      return page.toString();
    }

    marksOf(panel, side) {
      const { x, y, side: extent } = panel.goal;
      const target = this.target[panel.place];
      const some = this.chosen.size > 0;
      return this.rows().map((row) => {
        const across = ((target[2 * row] - x) / extent) * side;
        const down = side - ((target[2 * row + 1] - y) / extent) * side;
        if (!(across >= 0 && across <= side && down >= 0 && down <= side)) return "";
        const style = this.styles[this.groups[row]];
        const opacity = some && !this.marked[row] ? 0.14 : 0.9;
        const move = `translate(${across.toFixed(1)} ${down.toFixed(1)}) scale(${this.size})`;
        return `<path transform="${move}" fill="${style.light}" fill-opacity="${opacity}" d="${style.path}"/>`;
      }).join("");
    }

    shownGroups() {
      return [...new Set(this.groups)].sort((a, b) => a - b);
    }

    // -- what is said about it

    tell(text) {
      this.part(".gallery-told").textContent = text;
    }

    describe() {
      const row = this.scene.rows[this.row];
      const sequence = this.sequence();
      if (!sequence.includes(this.row)) {
        this.control("series").value = "";
        return this.describe();
      }
      this.control("row").selectedIndex = this.row;
      const step = this.control("step");
      step.max = sequence.length - 1;
      step.value = sequence.indexOf(this.row);
      step.setAttribute("aria-valuetext", row.name);
      this.part("output").textContent = `${sequence.indexOf(this.row) + 1} of ${sequence.length}`;
      this.panels.forEach(({ figure }, place) => {
        const quality = row.quality[this.scene.maps[place]];
        figure.querySelector(".gallery-quality").replaceChildren(
          ...(quality ? definitions(quality) : definitions([["no such map stored", ""]])));
      });
      this.part(".gallery-scores").replaceChildren(...definitions(row.scores));
      const csv = this.part(".gallery-csv");
      csv.href = `${this.section.dataset.assets}/${this.section.dataset.scene}/${row.slug}.csv`;
      csv.download = `${this.fileName()}.csv`;
      this.picks();
      this.medoids();
      if (this.hovered !== null && this.hidden[this.hovered]) this.point(null);
      this.findNear(this.tipFor ?? this.active);
      if (this.tipFor) this.tip.replaceChildren(...this.portrait(this.hovered, false));
      this.inspect();
      this.selected();
    }

    picks() {
      const by = this.control("colour").value;
      const held = document.activeElement?.dataset.group; // a press must not lose the keyboard's place
      const inside = this.part(".gallery-picks").contains(document.activeElement);
      const all = this.only
        ? [element("button", { type: "button", textContent: "Show all", onclick: () => this.showOnly(null) })]
        : [];
      this.part(".gallery-picks").replaceChildren(...this.shownGroups().map((number) => {
        const button = element("button", { type: "button" }, swatch(this.styles[number]), this.groupName(by, number));
        button.dataset.group = `${by} ${number}`;
        button.setAttribute("aria-pressed", String(this.only?.by === by && this.only.groups.has(number)));
        button.addEventListener("click", () => this.pick(by, number));
        return button;
      }), ...all);
      if (held) this.part(`[data-group="${held}"]`)?.focus();
      else if (inside) this.part(".gallery-picks button")?.focus();
    }

    medoids() {
      if (!this.part("details").open) return;
      const rows = this.scene.rows[this.row].medoids;
      const clusters = this.clusters[this.row];
      this.part(".gallery-medoids tbody").replaceChildren(...rows.map((row) => {
        const name = this.clusterName(row.cluster);
        const button = element("button", { type: "button", textContent: name });
        button.setAttribute("aria-label", `Select ${name}`);
        button.addEventListener("click", () => this.select(this.rows().filter((each) => clusters[each] === row.cluster)));
        const main = `${this.scene.classes[row.main]} (${Math.round(100 * row.share)} %)`;
        const head = element("th", { scope: "row" }, button);
        const cells = [this.thumbnail(row.index), this.scene.classes[this.labels[row.index]], row.size, main];
        return element("tr", {}, head, ...cells.map((content) => element("td", {}, content)));
      }));
    }

    inspect() {
      const box = this.part(".gallery-inspector");
      this.part(".gallery-spoken").textContent = this.pinned === null ? "" : this.inWords(this.pinned);
      const held = box.contains(document.activeElement);
      if (this.pinned === null) {
        box.replaceChildren(element("p", {
          className: "gallery-hint",
          textContent: "Point at a mark to see its image and its nearest neighbours. A click keeps it here.",
        }));
      } else {
        box.replaceChildren(...this.portrait(this.pinned, true));
        if (held) box.querySelector("button")?.focus();
      }
    }

    // for who hears the page: the inspector in one sentence
    inWords(row) {
      const near = this.neighbours(row, this.active.place).map((other) => `${other}, ${this.className(other)}`);
      const about = `Image ${row}: class ${this.className(row)}, ${this.clusterName(this.clusters[this.row][row])}`;
      return `${about}. Nearest ${this.nearBy(this.active.place)}: ${near.join("; ") || "none"}.`;
    }

    className(row) {
      return this.scene.classes[this.labels[row]];
    }

    // an image, what is known of it, and its neighbours on the map at hand
    portrait(row, live) {
      const { place } = live ? this.active : this.tipFor;
      const near = live ? this.neighbours(row, place) : this.near;
      const cluster = this.clusters[this.row][row];
      const facts = definitions([
        ["image", String(row)],
        ["class", this.className(row)],
        ["cluster", this.clusterName(cluster).replace("cluster ", "")],
        ["error", this.wrong[row] ? "in the cluster of another class" : "none"],
      ]);
      const list = element("ul", {}, ...near.map((other) => element("li", {}, this.neighbour(other, live))));
      list.setAttribute("aria-label", "Its nearest images");
      return [
        element("div", { className: "gallery-portrait" }, this.thumbnail(row, live ? 1.8 : 1), element("dl", {}, ...facts)),
        element("p", { className: "gallery-near", textContent: `nearest ${this.nearBy(place)}` }),
        list,
      ];
    }

    nearBy(place) {
      return this.scene.rows[this.row].neighbours ? "by its features" : `on the ${this.scene.maps[place]} map`;
    }

    neighbour(row, live) {
      const picture = this.thumbnail(row, 0.6);
      if (!live) return picture;
      const button = element("button", { type: "button", onclick: () => this.pin(row) }, picture);
      return button;
    }

    thumbnail(row, scale = 1) {
      const { columns, rows, width, height } = this.scene.sprites;
      const box = element("span", { className: "gallery-thumbnail" });
      box.setAttribute("role", "img");
      box.setAttribute("aria-label", `image ${row}, class ${this.className(row)}`);
      const [w, h] = [width * scale, height * scale];
      Object.assign(box.style, {
        width: `${w}px`,
        height: `${h}px`,
        backgroundSize: `${columns * w}px ${rows * h}px`,
        backgroundPosition: `${-(row % columns) * w}px ${-Math.floor(row / columns) * h}px`,
      });
      return box;
    }

    selected() {
      const rows = [...this.chosen];
      const counts = new Map();
      for (const row of rows) counts.set(this.labels[row], (counts.get(this.labels[row]) ?? 0) + 1);
      const parts = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 5)
        .map(([label, count]) => `${count} of class ${this.scene.classes[label]}`);
      const rest = counts.size > 5 ? ` and ${counts.size - 5} more classes` : "";
      const shown = this.only ? `${this.rows().length} of ${this.count} images shown. ` : "";
      this.part(".gallery-status").textContent = shown + (rows.length
        ? `${rows.length} of ${this.count} images selected: ${parts.join(", ")}${rest}.`
        : "Nothing is selected.");
      this.control("fit").disabled = !rows.length;
      const strip = rows.slice(0, STRIP).map((row) => element("li", {}, this.thumbnail(row, 0.8)));
      if (rows.length > STRIP) strip.push(element("li", { textContent: `and ${rows.length - STRIP} more` }));
      this.part(".gallery-selected").replaceChildren(...strip);
    }
  }

  function between(from, to, share, into) {
    for (let place = 0; place < to.length; place++) {
      const start = from[place];
      // a point that one of the maps lacks appears at once
      into[place] = Number.isNaN(start) ? to[place] : start + share * (to[place] - start);
    }
  }

  // ---- stamps: a mark as the pixels that it covers, each with how much of it

  function canvasOf(side) {
    return element("canvas", { width: side, height: side }).getContext("2d", { willReadFrequently: true });
  }

  function groundOf(colour) {
    const context = canvasOf(1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return new Uint32Array(context.getImageData(0, 0, 1, 1).data.buffer)[0];
  }

  function stamp(style, size, alpha) {
    const half = Math.ceil(0.65 * size + 1);
    const side = 2 * half;
    const context = canvasOf(side);
    context.translate(half, half);
    context.scale(size, size);
    context.fill(new Path2D(style.path));
    const cover = context.getImageData(0, 0, side, side).data;
    const inked = Array.from({ length: side * side }, (_, place) => place).filter((place) => cover[4 * place + 3] > 4);
    return {
      half,
      ink: groundOf(style[theme()]),
      across: Int16Array.from(inked, (place) => (place % side) - half),
      down: Int16Array.from(inked, (place) => Math.floor(place / side) - half),
      share: Uint16Array.from(inked, (place) => Math.round((alpha * cover[4 * place + 3] * 256) / 255)),
    };
  }

  function print(pixels, { ink, across, down, share }, middle, side) {
    // two channels at a time: red and blue leave room for each other's carry
    const redBlue = ink & 0xff00ff;
    const green = ink & 0x00ff00;
    for (let place = 0; place < share.length; place++) {
      const at = middle + down[place] * side + across[place];
      const under = pixels[at];
      const rb = under & 0xff00ff;
      const g = under & 0x00ff00;
      pixels[at] =
        0xff000000 |
        ((rb + (Math.imul(redBlue - rb, share[place]) >> 8)) & 0xff00ff) |
        ((g + (Math.imul(green - g, share[place]) >> 8)) & 0x00ff00);
    }
  }

  // ---- a picture to take away

  function escaped(text) {
    return String(text).replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);
  }

  class Paper {
    constructor(width, edge) {
      Object.assign(this, { width, edge, y: edge, parts: [] });
    }

    put(markup) {
      this.parts.push(markup);
    }

    down(pixels) {
      this.y += pixels;
    }

    text(words, size, weight = 400) {
      this.down(size + 4);
      this.put(`<text x="${this.edge}" y="${this.y}" font-size="${size}" font-weight="${weight}">${escaped(words)}</text>`);
    }

    // SVG does not break lines: widths are estimated, half the type's size a letter
    flow(pieces, size) {
      let line = "";
      for (const piece of pieces) {
        if (line && (line.length + piece.length) * size * 0.52 > this.width - 2 * this.edge) {
          this.text(line, size);
          line = "";
        }
        line += (line && " · ") + piece;
      }
      if (line) this.text(line, size);
    }

    legend(entries) {
      let x = this.edge;
      this.down(14);
      for (const [style, name] of entries) {
        const wide = 24 + name.length * 6.5;
        if (x > this.edge && x + wide > this.width - this.edge) {
          x = this.edge;
          this.down(17);
        }
        this.put(`<path transform="translate(${x + 5} ${this.y - 4}) scale(9)" fill="${style.light}" d="${style.path}"/>`);
        this.put(`<text x="${x + 14}" y="${this.y}" font-size="12">${escaped(name)}</text>`);
        x += wide;
      }
      this.down(4);
    }

    toString() {
      const size = `width="${this.width}" height="${this.y + this.edge}"`;
      return `<svg xmlns="${SVG}" ${size} font-family="system-ui, sans-serif" fill="#1f2933">`
        + `<rect width="100%" height="100%" fill="#ffffff"/>${this.parts.join("")}</svg>\n`;
    }
  }

  // ---- begin

  async function begin(section) {
    const { scene, assets } = section.dataset;
    try {
      await script(`${assets}/${scene}/points.js`);
      section.explorer = new Explorer(section, window.courseGallery[scene]);
      section.explorer.open();
    } catch (error) {
      const text = `The maps cannot be explored: ${error.message} The pictures below show them.`;
      section.querySelector(".gallery-live").replaceWith(element("p", { className: "gallery-notes", role: "status", textContent: text }));
      throw error;
    }
  }

  // deferred: the page stands
  for (const section of document.querySelectorAll(".gallery-scene")) begin(section);
})();
