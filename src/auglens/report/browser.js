// The image browser: a test image with the maps of all models. Data: the JSON in #browser-data (browser.py).
(() => {
  "use strict";
  const holder = document.getElementById("browser-data");
  if (!holder) return;
  const data = JSON.parse(holder.textContent);
  const SIDE = 192; // pixels of a canvas
  const EPSILON = 1e-7; // as in saliency/finishing.py

  // Finishing, step by step as saliency/finishing.py does it: scale, resize, scale.
  function scale(values) {
    let low = Infinity;
    let high = -Infinity;
    for (const value of values) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    return Float64Array.from(values, (value) => (value - low) / (high - low + EPSILON));
  }
  function interpolation(source, target) {
    return Array.from({ length: target }, (_, at) => {
      const position = Math.min(Math.max(((at + 0.5) * source) / target - 0.5, 0), source - 1);
      const left = Math.floor(position);
      return [left, Math.min(left + 1, source - 1), position - left];
    });
  }
  function finish(grid, height, width, side) {
    const values = scale(grid);
    const rows = interpolation(height, side);
    const columns = interpolation(width, side);
    const resized = new Float64Array(side * side);
    for (const [y, [top, bottom, down]] of rows.entries()) {
      for (const [x, [left, right, along]] of columns.entries()) {
        const upper = values[top * width + left] * (1 - along) + values[top * width + right] * along;
        const lower = values[bottom * width + left] * (1 - along) + values[bottom * width + right] * along;
        resized[y * side + x] = upper * (1 - down) + lower * down;
      }
    }
    return scale(resized);
  }
  window.auglens = Object.freeze({ finish });

  const bytes = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const grids = bytes(data.grids);
  const values = new Float32Array(bytes(data.values).buffer);
  const missing = new Set(data.missing.map(([image, model]) => `${image} ${model}`));
  const colours = Array.from({ length: 256 }, (_, at) =>
    [0, 2, 4].map((byte) => parseInt(data.colours.slice(6 * at + byte, 6 * at + byte + 2), 16)));
  const [height, width] = data.grid;
  const models = data.models.length;
  const augs = models - 1;
  const metrics = data.metrics.length;
  const label = (name) => name.replaceAll("_", " ").replaceAll("+", " + ");
  const value = (at, aug, metric) => values[(at * augs + aug) * metrics + metric];
  const right = (at, model) => data.predicted[model][at] === data.labels[at];
  const className = (at) => data.classes[at] ?? String(at);

  const $ = (id) => document.getElementById(id);
  function element(tag, properties = {}, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }
  function show(number) {
    if (Number.isNaN(number)) return "–";
    const size = Math.abs(number);
    const text = size && size < 0.001 ? number.toExponential(1) : number.toFixed(size < 100 ? 3 : 0);
    return text.replace("-", "−");
  }

  // The images that a choice gives, as positions among those held.
  const MODES = {
    high: () => ranked(-1),
    low: () => ranked(1),
    lost: () => held().filter((at) => right(at, 0) && !right(at, aug() + 1)),
    gained: () => held().filter((at) => !right(at, 0) && right(at, aug() + 1)),
    wrong: () => held().filter((at) => !right(at, 0) && !right(at, aug() + 1)),
    class: () => held().filter((at) => data.labels[at] === Number($("b-class").value)),
    all: () => held(),
  };
  const held = () => [...data.images.keys()];
  const aug = () => Number($("b-aug").value);
  const isRanking = () => ["high", "low"].includes($("b-mode").value);
  const metric = () => Number($("b-metric").value);
  function ranked(sign) {
    const chosen = held().filter((at) => !Number.isNaN(value(at, aug(), metric())));
    return chosen.sort((a, b) => sign * (value(a, aug(), metric()) - value(b, aug(), metric())) || a - b);
  }

  let list = [];
  let place = 0;
  let sheets = [];

  function choose() {
    const mode = $("b-mode").value;
    for (const box of document.querySelectorAll("[data-for]")) box.hidden = !box.dataset.for.split(" ").includes(mode);
    list = MODES[mode]();
    place = 0;
    update();
  }
  function step(by) {
    if (list.length) place = (place + by + list.length) % list.length;
    update();
  }
  function find() {
    const wanted = $("b-number").valueAsNumber;
    if (!Number.isInteger(wanted)) return;
    let nearest = 0;
    for (const [at, image] of data.images.entries()) {
      if (Math.abs(image - wanted) < Math.abs(data.images[nearest] - wanted)) nearest = at;
    }
    $("b-mode").value = "all";
    choose();
    place = nearest;
    const there = data.images[nearest] === wanted;
    update(there ? "" : `Test image ${wanted} is not held here; the nearest that is: `);
  }

  function picture(at) {
    const [tileHeight, tileWidth] = data.tile;
    const within = at % data.perSheet;
    const canvas = element("canvas", { width: SIDE, height: SIDE });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingEnabled = tileWidth > SIDE / 3; // few pixels are better seen as such
    const left = (within % data.columns) * data.step[1];
    const top = Math.floor(within / data.columns) * data.step[0];
    const sheet = sheets[Math.floor(at / data.perSheet)];
    context.drawImage(sheet, left, top, tileWidth, tileHeight, 0, 0, SIDE, SIDE);
    return canvas;
  }
  function overlay(canvas, pixels, finished, opacity) {
    const context = canvas.getContext("2d");
    const made = context.createImageData(SIDE, SIDE);
    for (let at = 0; at < SIDE * SIDE; at++) {
      const grey = (pixels[4 * at] + pixels[4 * at + 1] + pixels[4 * at + 2]) / 3;
      const colour = finished && colours[Math.round(255 * finished[at])];
      for (let band = 0; band < 3; band++) {
        made.data[4 * at + band] = colour ? grey * (1 - opacity) + colour[band] * opacity : grey;
      }
      made.data[4 * at + 3] = 255;
    }
    context.putImageData(made, 0, 0);
  }
  function gridOf(at, model) {
    const start = (at * models + model) * height * width;
    return grids.subarray(start, start + height * width);
  }

  function card(at, model, pixels, opacity) {
    const { name, control } = data.models[model];
    const canvas = element("canvas", { width: SIDE, height: SIDE });
    const grid = gridOf(at, model);
    const absent = missing.has(`${at} ${model}`);
    const constant = !absent && grid.every((sign) => sign === grid[0]);
    overlay(canvas, pixels, absent ? null : finish(grid, height, width, SIDE), opacity);
    const found = right(at, model);
    const confidence = data.confidence ? `, ${data.confidence[model][at]}\u00a0%` : "";
    const verdict = `${className(data.predicted[model][at])}${confidence}`;
    const flag = absent ? "no map: not finite" : constant ? "constant map" : "";
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Map of ${label(name)}${flag && `, ${flag}`}`);
    const title = element("p", { className: "name" }, label(name));
    if (control) title.append(" ", element("small", {}, "control"));
    const told = element("p", { className: found ? "right" : "wrong" }, `${found ? "✓ right" : "✗ wrong"}: ${verdict}`);
    const box = element("li", { className: control ? "control" : "" }, canvas, title, told);
    box.dataset.model = name;
    if (model === aug() + 1 && $("b-aug").offsetParent) box.classList.add("chosen");
    if (model && isRanking()) {
      const reached = `${data.metrics[metric()].label} ${show(value(at, model - 1, metric()))}`;
      box.append(element("p", { className: "soft" }, reached));
    }
    if (flag) box.append(element("p", { className: "soft" }, flag));
    return box;
  }

  function update(before = "") {
    const at = list[place];
    $("b-maps").replaceChildren();
    $("b-table").tBodies[0].replaceChildren();
    for (const id of ["b-previous", "b-next", "b-random"]) $(id).disabled = list.length < 2;
    if (at === undefined) {
      say("No image held here is of this kind.");
      return;
    }
    const opacity = $("b-opacity").value / 100;
    const shown = picture(at);
    const pixels = shown.getContext("2d").getImageData(0, 0, SIDE, SIDE).data;
    shown.setAttribute("role", "img");
    shown.setAttribute("aria-label", `Test image ${data.images[at]}, ${className(data.labels[at])}`);
    const first = element("li", {}, shown, element("p", { className: "name" }, "test image"),
      element("p", { className: "soft" }, className(data.labels[at])));
    $("b-maps").append(first, ...data.models.map((_, model) => card(at, model, pixels, opacity)));

    const ranking = isRanking();
    for (let row = 0; row < augs; row++) {
      const { name, control } = data.models[row + 1];
      const line = $("b-table").tBodies[0].insertRow();
      line.className = control ? "control" : "";
      line.append(element("th", { scope: "row", className: control ? "c" : "" }, label(name)));
      for (let column = 0; column < metrics; column++) {
        const cell = element("td", { className: "n" }, show(value(at, row, column)));
        if (ranking && row === aug() && column === metric()) cell.classList.add("chosen");
        line.append(cell);
      }
    }
    if (document.activeElement !== $("b-number")) $("b-number").value = data.images[at];
    const wrong = data.models.filter((_, model) => model && !right(at, model)).length;
    const reached = ranking ? `${data.metrics[metric()].label} of ${label(data.models[aug() + 1].name)}: ${show(value(at, aug(), metric()))}. ` : "";
    const verdict = augs ? `, ${wrong} of ${augs} augs and controls wrong` : "";
    say(
      `${before}Test image ${data.images[at]}, ${className(data.labels[at])} (${place + 1} of ${list.length}). ` +
      `${reached}Reference ${right(at, 0) ? "right" : "wrong"}${verdict}.`,
    );
  }

  function say(text) {
    if ($("b-status").textContent !== text) $("b-status").textContent = text; // announced once
  }
  function fill(select, names) {
    select.append(...names.map((name, at) => element("option", { value: String(at) }, name)));
  }
  fill($("b-aug"), data.models.slice(1).map(({ name, control }) => label(name) + (control ? " (control)" : "")));
  fill($("b-metric"), data.metrics.map((one) => one.label));
  fill($("b-class"), data.classes);
  const head = $("b-table").tHead.insertRow();
  head.append(element("th", { scope: "col" }, "aug"),
    ...data.metrics.map((one) => element("th", { scope: "col", className: "n" }, one.label)));
  if (!augs) $("b-table").parentNode.hidden = true;
  const bar = $("b-scale").getContext("2d");
  for (const [at, colour] of colours.entries()) {
    bar.fillStyle = `rgb(${colour.join()})`;
    bar.fillRect(at, 0, 1, 1);
  }

  for (const id of ["b-mode", "b-aug", "b-metric", "b-class"]) $(id).addEventListener("change", choose);
  $("b-opacity").addEventListener("input", () => update());
  $("b-previous").addEventListener("click", () => step(-1));
  $("b-next").addEventListener("click", () => step(1));
  $("b-random").addEventListener("click", () => {
    // Another one than this, each equally likely.
    step(1 + Math.floor(Math.random() * (list.length - 1)));
  });
  document.querySelector(".picker").addEventListener("submit", (event) => {
    event.preventDefault();
    find();
  });
  $("browser-app").addEventListener("keydown", (event) => {
    if (event.target.closest("input, select, .scroll") || event.altKey || event.ctrlKey || event.metaKey) return;
    const moves = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), Home: () => step(-place),
      End: () => step(list.length - 1 - place) };
    if (!moves[event.key]) return;
    event.preventDefault();
    moves[event.key]();
  });

  Promise.all(data.sheets.map(async (sheet) => {
    const image = new Image();
    image.src = `data:image/jpeg;base64,${sheet}`;
    await image.decode();
    return image;
  })).then((loaded) => {
    sheets = loaded;
    $("browser-app").hidden = false;
    choose();
  });
})();
