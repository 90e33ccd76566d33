// Makes tables sortable and opens the gallery's maps. Everything comes from this site, and as scripts rather than
// by fetch(): a page opened from a disk may load scripts but may not fetch files.
(() => {
  "use strict";

  const ready = (start) =>
    document.readyState === "loading" ? document.addEventListener("DOMContentLoaded", start) : start();

  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  // ---- tables

  function sortable(table) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = element("button", { type: "button", textContent: head.textContent });
      button.addEventListener("click", () => sortBy(table, heads, column));
      head.replaceChildren(button);
    });
  }

  function sortBy(table, heads, column) {
    const head = heads[column];
    const first = head.dataset.better === "higher" ? "descending" : "ascending";
    const other = first === "descending" ? "ascending" : "descending";
    const order = head.getAttribute("aria-sort") === first ? other : first;
    heads.forEach((each) => each.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    for (const body of table.tBodies) {
      // the group's own heading stays on top, and entries without a number at the bottom, in either order
      const rows = [...body.rows].filter((row) => !row.classList.contains("course-group"));
      rows.sort((a, b) => compare(a.cells[column], b.cells[column], head.dataset.better === "text", sign));
      body.append(...rows);
    }
  }

  function compare(one, other, text, sign) {
    if (text) return sign * one.textContent.localeCompare(other.textContent);
    const missing = ("value" in one.dataset ? 0 : 1) - ("value" in other.dataset ? 0 : 1);
    return missing || sign * (one.dataset.value - other.dataset.value) || 0;
  }

  // ---- loading

  const loading = new Map();

  function script(address) {
    if (!loading.has(address)) {
      loading.set(address, new Promise((resolve, reject) => {
        const tag = element("script", { src: address, onload: resolve });
        tag.onerror = () => {
          loading.delete(address); // so that another click tries again
          reject(new Error(`${address} could not be loaded.`));
        };
        document.head.append(tag);
      }));
    }
    return loading.get(address);
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

  // ---- the explorer of one scene

  const MOVE = 700; // milliseconds that points take from one map to the next
  const STRIP = 30; // thumbnails of selected images that are shown

  class Explorer {
    constructor(section, scene) {
      this.section = section;
      this.scene = scene;
      this.labels = words(scene.labels);
      this.clusters = scene.methods.map((method) => words(method.clusters));
      this.sheet = `--${section.dataset.scene}-sprites`;
      this.method = 0;
    }

    part(selector) {
      return this.section.querySelector(selector);
    }

    control(name) {
      return this.part(`.gallery-live [name="${name}"]`);
    }

    async open() {
      const address = new URL(`${this.section.dataset.assets}/${this.scene.sprites.file}`, document.baseURI);
      // on the root, because Bokeh's tooltips stand outside of this section
      document.documentElement.style.setProperty(this.sheet, `url("${address}")`);
      this.part(".gallery-live").hidden = false;
      const { document: panels, roots } = this.scene.bokeh;
      const places = roots.map((id, place) => [id, `${this.section.dataset.scene}-${place}`]);
      const item = { docid: "maps", roots: Object.fromEntries(places), root_ids: roots };
      await Bokeh.embed.embed_items({ maps: panels }, [item]);
      this.panels = roots.map((id) => Bokeh.index.get_by_id(id).model);
      this.source = this.panels[0].document.get_model_by_name("points");
      this.source.data = this.columns();
      this.describe();
      this.listen();
    }

    listen() {
      this.control("method").addEventListener("change", () => this.show(Number(this.control("method").value)));
      this.control("colour").addEventListener("change", () => this.paint());
      this.control("drag").addEventListener("change", () => this.drag(this.control("drag").value));
      this.control("in").addEventListener("click", () => this.zoom(0.6));
      this.control("out").addEventListener("click", () => this.zoom(1 / 0.6));
      this.control("fit").addEventListener("click", () => this.fit(this.source.selected.indices));
      this.control("reset").addEventListener("click", () => this.reset());
      this.source.selected.properties.indices.change.connect(() => this.selected());
      new MutationObserver(() => this.paint()).observe(document.documentElement, { attributeFilter: ["data-theme"] });
      matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
      // a finger that is drawn over a map scrolls the page, until the reader chooses otherwise
      this.control("drag").value = matchMedia("(pointer: coarse)").matches ? "" : "box";
      this.drag(this.control("drag").value);
    }

    // -- what the points are

    place(number) {
      const maps = this.scene.methods[number].maps;
      const columns = {};
      this.scene.maps.forEach((name, place) => {
        const pairs = name in maps ? words(maps[name]) : null;
        // a row without this map: no points, and the caption says so
        const axis = (offset) =>
          Float32Array.from({ length: this.scene.count }, (_, row) => (pairs ? pairs[2 * row + offset] / 65535 : NaN));
        columns[`x${place}`] = axis(0);
        columns[`y${place}`] = axis(1);
      });
      return columns;
    }

    groups() {
      return this.control("colour").value === "labels" ? this.labels : this.clusters[this.method];
    }

    looks() {
      const styles = Array.from(this.groups(), (group) => this.scene.styles[group]);
      const ink = theme();
      return {
        colour: styles.map((style) => style[ink]),
        marker: styles.map((style) => style.marker),
        angle: styles.map((style) => style.angle),
      };
    }

    columns() {
      const { columns, width, height } = this.scene.sprites;
      const rows = Array.from({ length: this.scene.count }, (_, row) => row);
      return {
        ...this.place(this.method),
        ...this.looks(),
        class: rows.map((row) => this.scene.classes[this.labels[row]]),
        cluster: rows.map((row) => this.cluster(this.clusters[this.method][row])),
        left: rows.map((row) => (row % columns) * width),
        top: rows.map((row) => Math.floor(row / columns) * height),
      };
    }

    cluster(number) {
      const matched = this.scene.classes[number];
      return matched === undefined || matched === String(number) ? `cluster ${number}` : `cluster ${number} (${matched})`;
    }

    // -- what changes

    paint() {
      Object.assign(this.source.data, this.looks());
      this.source.change.emit();
      this.describe();
    }

    show(number) {
      const from = this.place(this.method);
      const to = this.place(number);
      this.method = number;
      Object.assign(this.source.data, this.columns(), this.source.data.x0.length ? from : to);
      this.describe();
      this.reset(false);
      cancelAnimationFrame(this.moving);
      const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
      const start = performance.now();
      const step = (now) => {
        const share = still ? 1 : Math.min(1, Math.max(0, now - start) / MOVE);
        const eased = share * share * (3 - 2 * share);
        for (const name of Object.keys(to)) this.source.data[name] = between(from[name], to[name], eased);
        this.source.change.emit();
        if (share < 1) this.moving = requestAnimationFrame(step);
      };
      this.moving = requestAnimationFrame(step);
    }

    drag(choice) {
      for (const panel of this.panels) {
        for (const tool of panel.toolbar.tools) {
          if (["box", "lasso", "pan"].includes(tool.name)) tool.active = tool.name === choice;
        }
      }
    }

    zoom(factor) {
      for (const { x_range, y_range } of this.panels) {
        for (const range of [x_range, y_range]) {
          const middle = (range.start + range.end) / 2;
          const half = (factor * (range.end - range.start)) / 2;
          range.setv({ start: middle - half, end: middle + half });
        }
      }
    }

    fit(rows) {
      this.panels.forEach(({ x_range, y_range }, place) => {
        const boxes = ["x", "y"].map((axis) => {
          const values = rows.map((row) => this.source.data[axis + place][row]).filter(Number.isFinite);
          return [Math.min(...values), Math.max(...values)];
        });
        if (!boxes.flat().every(Number.isFinite)) return;
        // a square, so that distances keep their proportions; of one point, its neighbourhood
        const half = Math.max(0.04, ...boxes.map(([low, high]) => 0.55 * (high - low)));
        const [across, up] = boxes.map(([low, high]) => (low + high) / 2);
        x_range.setv({ start: across - half, end: across + half });
        y_range.setv({ start: up - half, end: up + half });
      });
    }

    reset(selection = true) {
      for (const { x_range, y_range } of this.panels) {
        for (const range of [x_range, y_range]) range.setv({ start: -0.04, end: 1.04 });
      }
      if (selection) this.select([]);
    }

    select(rows) {
      this.source.selected.indices = rows;
    }

    // -- what is said about it

    describe() {
      const method = this.scene.methods[this.method];
      this.scene.maps.forEach((name, place) => {
        this.part(`[data-quality="${place}"]`).textContent = method.quality[name] ?? "no such map stored";
      });
      this.picks();
      this.medoids(method.medoids);
      this.selected();
    }

    picks() {
      const byClass = this.control("colour").value === "labels";
      const groups = this.groups();
      const names = [...new Set(groups)].sort((a, b) => a - b);
      this.part(".gallery-picks").replaceChildren(...names.map((number) => {
        const name = byClass ? this.scene.classes[number] : this.cluster(number);
        const button = element("button", { type: "button" }, swatch(this.scene.styles[number]), name);
        button.addEventListener("click", () => this.select(rowsOf(groups, number)));
        return button;
      }));
    }

    medoids(rows) {
      const clusters = this.clusters[this.method];
      this.part(".gallery-medoids tbody").replaceChildren(...rows.map((row) => {
        const name = this.cluster(row.cluster);
        const button = element("button", { type: "button", textContent: name });
        button.setAttribute("aria-label", `Select ${name}`);
        button.addEventListener("click", () => this.select(rowsOf(clusters, row.cluster)));
        const main = `${this.scene.classes[row.main]} (${Math.round(100 * row.share)} %)`;
        const head = element("th", { scope: "row" }, button);
        const cells = [this.thumbnail(row.index), this.scene.classes[this.labels[row.index]], row.size, main];
        return element("tr", {}, head, ...cells.map((content) => element("td", {}, content)));
      }));
    }

    thumbnail(row) {
      const { columns, rows, width, height } = this.scene.sprites;
      const box = element("span", { className: "gallery-thumbnail", role: "img" });
      box.setAttribute("aria-label", `image ${row}, class ${this.scene.classes[this.labels[row]]}`);
      Object.assign(box.style, {
        width: `${width}px`,
        height: `${height}px`,
        backgroundImage: `var(${this.sheet})`,
        backgroundSize: `${columns * width}px ${rows * height}px`,
        backgroundPosition: `${-(row % columns) * width}px ${-Math.floor(row / columns) * height}px`,
      });
      return box;
    }

    selected() {
      const rows = this.source.selected.indices;
      const counts = new Map();
      for (const row of rows) counts.set(this.labels[row], (counts.get(this.labels[row]) ?? 0) + 1);
      const parts = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 5)
        .map(([label, count]) => `${count} of class ${this.scene.classes[label]}`);
      const rest = counts.size > 5 ? ` and ${counts.size - 5} more classes` : "";
      this.part(".gallery-status").textContent = rows.length
        ? `${rows.length} of ${this.scene.count} images selected: ${parts.join(", ")}${rest}.`
        : "Nothing is selected.";
      this.control("fit").disabled = !rows.length;
      const shown = rows.slice(0, STRIP).map((row) => element("li", {}, this.thumbnail(row)));
      if (rows.length > STRIP) shown.push(element("li", { textContent: `and ${rows.length - STRIP} more` }));
      this.part(".gallery-selected").replaceChildren(...shown);
    }
  }

  function between(from, to, share) {
    // a point that one of the maps lacks appears at once
    return from.map((value, row) => (Number.isNaN(value) ? to[row] : value + share * (to[row] - value)));
  }

  function rowsOf(groups, number) {
    return Array.from(groups.keys()).filter((row) => groups[row] === number);
  }

  function swatch(style) {
    const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    picture.setAttribute("viewBox", "-.6 -.6 1.2 1.2");
    picture.setAttribute("aria-hidden", "true");
    picture.style.setProperty("--light", style.light);
    picture.style.setProperty("--dark", style.dark);
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", style.path);
    picture.append(path);
    return picture;
  }

  async function explore(section, button) {
    const status = section.querySelector('.gallery-open [role="status"]');
    const { scene, assets } = section.dataset;
    button.disabled = true;
    status.textContent = "Loading the maps …";
    try {
      await script(`${section.closest(".course-gallery").dataset.bokeh}/bokeh.min.js`);
      await script(`${assets}/${scene}/points.js`);
      await new Explorer(section, window.courseGallery[scene]).open();
      button.setAttribute("aria-expanded", "true");
      button.hidden = true;
      status.textContent = "";
      section.querySelector('[name="method"]').focus();
    } catch (error) {
      button.disabled = false;
      status.textContent = `The maps cannot be shown: ${error.message}`;
    }
  }

  ready(() => {
    document.querySelectorAll("table.course-sortable").forEach(sortable);
    for (const section of document.querySelectorAll(".gallery-scene")) {
      const button = section.querySelector(".gallery-explore");
      button.hidden = false;
      button.addEventListener("click", () => explore(section, button));
    }
  });
})();
