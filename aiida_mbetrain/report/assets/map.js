"use strict";
/* The map of clusters and the viewer beside it. All texts of the data enter the page as text, never as markup. */
(() => {
  const ARRAYS = { f4: Float32Array, i4: Int32Array, i2: Int16Array, u1: Uint8Array, u2: Uint16Array };
  const unpack = ({ type, data }) => {
    const text = atob(data);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    return new ARRAYS[type](bytes.buffer);
  };
  const data = JSON.parse(document.getElementById("map-data").textContent);
  const [xs, ys, energies, forces, rows, offsets, coordinates] = ["x", "y", "energy", "force", "row", "offset", "coordinates"].map(
    (name) => unpack(data[name]),
  );
  const n = xs.length;
  const setOf = new Uint32Array(n);
  data.sets.forEach((set, i) => setOf.fill(i, set.first, set.first + set.count));
  const at = (identifier) => document.getElementById(identifier);
  const canvas = at("map-canvas");
  const context = canvas.getContext("2d");
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const sources = [...new Set(data.sets.map((set) => set.source))];
  const sizes = [...new Set(data.sets.map((set) => set.size))].sort((a, b) => a - b);
  const orbits = [...new Set(data.sets.map((set) => set.orbit).filter((orbit) => orbit !== null))].sort();
  const temperatures = [...new Set(data.sets.map((set) => set.temperature))].sort((a, b) => a - b);
  const short = (value, digits = 5) => (Number.isFinite(value) ? String(Number(value.toPrecision(digits))).replace("-", "\u2212") : "unknown");

  /* Controls */
  const checkboxes = (fieldset, values) =>
    values.map((value) => {
      const label = document.createElement("label");
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = true;
      box.value = String(value);
      label.append(box, String(value));
      fieldset.append(label);
      return box;
    });
  const sourceBoxes = checkboxes(at("map-sources"), sources);
  const sizeBoxes = checkboxes(at("map-sizes"), sizes);
  for (const orbit of orbits) at("map-orbit").append(new Option(orbit, orbit));
  at("map-orbit").closest("label").hidden = orbits.length === 0;
  for (const option of at("map-colour").options) {
    if (option.value === "energy" && !energies.some(Number.isFinite)) option.disabled = true;
    if (option.value === "largest force" && !forces.some(Number.isFinite)) option.disabled = true;
    if (option.value === "orbit" && orbits.length === 0) option.disabled = true;
  }
  if (at("map-colour").selectedOptions[0]?.disabled) at("map-colour").value = "source";

  let shownSets = data.sets.map(() => true);
  const shown = (i) => shownSets[setOf[i]];
  const filter = () => {
    const kept = (boxes) => new Set(boxes.filter((box) => box.checked).map((box) => box.value));
    const [keptSources, keptSizes, orbit] = [kept(sourceBoxes), kept(sizeBoxes), at("map-orbit").value];
    shownSets = data.sets.map((set) => keptSources.has(set.source) && keptSizes.has(String(set.size)) && (!orbit || set.orbit === orbit));
    const count = data.sets.reduce((sum, set, i) => sum + (shownSets[i] ? set.count : 0), 0);
    at("map-count").textContent = `${count.toLocaleString("en")} of ${n.toLocaleString("en")} clusters`;
    draw();
  };

  /* Colours: viridis, without its ends that vanish on white or black. */
  const STOPS = [[68, 1, 84], [71, 44, 122], [59, 81, 139], [44, 113, 142], [33, 144, 141], [39, 173, 129], [92, 200, 99], [170, 220, 50], [253, 231, 37]];
  const ramp = (part) => {
    const dark = css("color-scheme") === "dark" || getComputedStyle(document.documentElement).colorScheme === "dark";
    const t = (dark ? 0.22 + 0.78 * part : 0.9 * part) * (STOPS.length - 1);
    const i = Math.min(Math.floor(t), STOPS.length - 2);
    return `rgb(${STOPS[i].map((low, k) => Math.round(low + (STOPS[i + 1][k] - low) * (t - i))).join(" ")})`;
  };
  const NAMED = ["--blue", "--orange", "--green", "--purple", "--red", "--ramp2", "--ramp5", "--muted"];
  const quantile = (values, part) => {
    const sorted = Float32Array.from(values.filter(Number.isFinite)).sort();
    return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] : 0;
  };
  const range = (values) => [quantile(values, 0.01), quantile(values, 0.99)];
  const ranges = { energy: range(energies), "largest force": range(forces) };
  const UNIT = { energy: "meV/atom above the lowest", "largest force": "eV/Å" };
  const scheme = () => {
    const choice = at("map-colour").value;
    if (choice === "energy" || choice === "largest force") {
      const values = choice === "energy" ? energies : forces;
      const [low, high] = ranges[choice];
      const table = Array.from({ length: 65 }, (_, i) => ramp(i / 64));
      const missing = css("--muted");
      const colour = (i) =>
        Number.isFinite(values[i]) ? table[Math.round(64 * Math.min(1, Math.max(0, (values[i] - low) / (high - low || 1))))] : missing;
      return { colour, low, high, unit: UNIT[choice] };
    }
    const of = { source: (set) => set.source, size: (set) => set.size, orbit: (set) => set.orbit ?? "none", temperature: (set) => set.temperature }[choice];
    const values = { source: sources, size: sizes, orbit: orbits.length ? orbits : ["none"], temperature: temperatures }[choice];
    const ordered = choice === "size" || choice === "temperature";
    const colours = new Map(values.map((value, i) => [value, ordered ? ramp(values.length < 2 ? 0.5 : i / (values.length - 1)) : css(NAMED[i % NAMED.length])]));
    const bySet = data.sets.map((set) => colours.get(of(set)) ?? css("--muted"));
    const suffix = choice === "temperature" ? " K" : choice === "size" ? (value) => (value === 1 ? " molecule" : " molecules") : "";
    return { colour: (i) => bySet[setOf[i]], named: [...colours].map(([value, colour]) => [`${value}${typeof suffix === "function" ? suffix(value) : suffix}`, colour]) };
  };
  const legend = (colours) => {
    const box = at("map-legend");
    box.replaceChildren();
    const entry = (text, colour, shape) => {
      const item = document.createElement("span");
      const mark = document.createElement("i");
      mark.style.background = colour;
      if (shape) mark.className = shape;
      item.append(mark, text);
      box.append(item);
    };
    if (colours.named) colours.named.slice(0, 12).forEach(([name, colour]) => entry(name, colour));
    if (colours.named?.length > 12) box.append(`and ${colours.named.length - 12} more`);
    if (!colours.named) {
      const bar = document.createElement("span");
      bar.className = "bar";
      bar.style.background = `linear-gradient(to right, ${Array.from({ length: 9 }, (_, i) => ramp(i / 8)).join(", ")})`;
      const item = document.createElement("span");
      item.append(short(Math.abs(colours.low) < 1e-3 * colours.high ? 0 : colours.low, 3), bar, `${short(colours.high, 3)} ${colours.unit}`);
      box.append(item);
    }
    if (sources.length > 1) sources.forEach((source) => entry(source, css("--muted"), isTriangle(source) ? "triangle" : ""));
  };
  const isTriangle = (source) => source === "phonons";

  /* Drawing */
  const extent = (values) => {
    let [low, high] = [Infinity, -Infinity];
    for (const value of values) [low, high] = [Math.min(low, value), Math.max(high, value)];
    const margin = 0.06 * (high - low || 1);
    return [low - margin, high + margin];
  };
  const [xRange, yRange] = [extent(xs), extent(ys)];
  const frame = { left: 26, right: 10, top: 10, bottom: 26 };
  let [width, height] = [0, 0];
  const u = (i) => frame.left + ((xs[i] - xRange[0]) / (xRange[1] - xRange[0])) * (width - frame.left - frame.right);
  const v = (i) => height - frame.bottom - ((ys[i] - yRange[0]) / (yRange[1] - yRange[0])) * (height - frame.top - frame.bottom);
  const radius = () => (n > 20000 ? 1.6 : n > 4000 ? 2.4 : n > 800 ? 3.4 : 4.6);
  let selected = -1;
  const mark = (x, y, r, triangle) => {
    context.beginPath();
    if (triangle) {
      context.moveTo(x, y - 1.25 * r);
      context.lineTo(x + 1.15 * r, y + 0.85 * r);
      context.lineTo(x - 1.15 * r, y + 0.85 * r);
      context.closePath();
    } else context.arc(x, y, r, 0, 2 * Math.PI);
  };
  let order = null;
  const drawingOrder = () => {
    /* Drawn by chance in one fixed order, so that no source hides the other. */
    if (order === null) {
      order = Uint32Array.from({ length: n }, (_, i) => i);
      let state = 42;
      for (let i = n - 1; i > 0; i--) {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        const j = state % (i + 1);
        [order[i], order[j]] = [order[j], order[i]];
      }
    }
    return order;
  };
  let current = null;
  const draw = () => {
    const ratio = window.devicePixelRatio || 1;
    [width, height] = [canvas.clientWidth, canvas.clientHeight];
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.strokeStyle = css("--grid");
    context.lineWidth = 1;
    for (let i = 0; i <= 6; i++) {
      const [x, y] = [frame.left + (i / 6) * (width - frame.left - frame.right), frame.top + (i / 6) * (height - frame.top - frame.bottom)];
      context.beginPath();
      context.moveTo(x, frame.top);
      context.lineTo(x, height - frame.bottom);
      context.moveTo(frame.left, y);
      context.lineTo(width - frame.right, y);
      context.stroke();
    }
    context.fillStyle = css("--muted");
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "right";
    context.fillText("first principal component \u2192", width - frame.right, height - 8);
    context.save();
    context.rotate(-Math.PI / 2);
    context.fillText("second principal component \u2192", -frame.top, 16);
    context.restore();
    current = scheme();
    const r = radius();
    context.globalAlpha = n > 4000 ? 0.75 : 0.88;
    context.lineWidth = 0.7;
    context.strokeStyle = css("--card");
    for (const i of drawingOrder()) {
      if (!shown(i)) continue;
      context.fillStyle = current.colour(i);
      mark(u(i), v(i), r, isTriangle(data.sets[setOf[i]].source));
      context.fill();
      if (n <= 4000) context.stroke();
    }
    context.globalAlpha = 1;
    if (selected >= 0) {
      context.lineWidth = 2.2;
      context.strokeStyle = css("--ink");
      context.fillStyle = current.colour(selected);
      mark(u(selected), v(selected), r + 3, isTriangle(data.sets[setOf[selected]].source));
      context.fill();
      context.stroke();
    }
    legend(current);
  };

  /* Choosing */
  const nearest = (x, y) => {
    let [best, distance] = [-1, 20 * 20];
    for (let i = 0; i < n; i++) {
      if (!shown(i)) continue;
      const d = (u(i) - x) ** 2 + (v(i) - y) ** 2;
      if (d < distance) [best, distance] = [i, d];
    }
    return best;
  };
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    const found = nearest(event.clientX - box.left, event.clientY - box.top);
    if (found >= 0) choose(found);
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    if (!step) return;
    event.preventDefault();
    let next = Math.max(selected, 0) + step[0];
    if (step[1]) {
      const kept = data.sets.map((_, i) => i).filter((i) => shownSets[i]);
      if (kept.length === 0) return;
      const place = kept.indexOf(setOf[Math.max(selected, 0)]);
      const set = data.sets[kept[(place + step[1] + kept.length) % kept.length]];
      const within = Math.max(selected, 0) - data.sets[setOf[Math.max(selected, 0)]].first;
      next = set.first + Math.min(within, set.count - 1);
    }
    while (next >= 0 && next < n && !shown(next)) next += step[0] || 1;
    if (next >= 0 && next < n) choose(next);
  });
  const originOf = (i) => {
    const set = data.sets[setOf[i]];
    const k = i - set.first;
    return set.origin.map((column) => {
      if (column.texts) return [column.name, column.texts[k]];
      column.array ??= unpack(column.values);
      const values = [...column.array.slice(k * column.width, (k + 1) * column.width)].map((value) => (column.flag ? (value ? "yes" : "no") : short(value, 6)));
      return [column.name, column.width > 1 ? `(${values.join(", ")})` : values[0]];
    });
  };
  const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\"'\"'")}'`);
  const describe = (i) => {
    const set = data.sets[setOf[i]];
    const list = document.createElement("dl");
    const fact = (name, value) => {
      const row = document.createElement("div");
      const [term, detail] = [document.createElement("dt"), document.createElement("dd")];
      term.textContent = name;
      detail.textContent = value;
      row.append(term, detail);
      list.append(row);
    };
    fact("cluster", `${set.key}, ${set.size} ${set.size === 1 ? "molecule" : "molecules"}, from ${set.source} at ${short(set.temperature)} K`);
    if (set.orbit !== null) fact("orbit", `${set.orbit}, multiplicity ${set.multiplicity}`);
    fact("molecules", set.molecules.map((molecule, k) => (set.translations[k].some((t) => t !== 0) ? `${molecule} (${set.translations[k].join(", ")})` : `${molecule}`)).join(" · "));
    if (set.repeated > 0) fact("repeated molecules", String(set.repeated));
    if (Number.isFinite(energies[i])) fact("energy", `${(set.base + energies[i] / 1000).toFixed(5)} eV/atom, ${short(energies[i], 3)} meV/atom above the lowest`);
    if (Number.isFinite(forces[i])) fact("largest force", `${short(forces[i], 3)} eV/Å`);
    fact("frame of the set", String(rows[i]));
    for (const [name, value] of originOf(i)) fact(name === "frame" ? "frame of the source" : name, value);
    for (const [name, value] of Object.entries(set.said)) fact(name.replaceAll("_", " "), name.endsWith("sha256") ? `${value.slice(0, 16)}…` : value);
    at("map-description").replaceChildren(list);
    at("map-trace").textContent = `aiida-mbetrain trace ${quoted(data.file)} ${quoted(set.path)} ${rows[i]}`;
  };
  at("map-copy").addEventListener("click", async () => {
    const text = at("map-trace").textContent;
    try {
      await navigator.clipboard.writeText(text);
      at("map-copy").textContent = "Copied";
    } catch {
      /* Pages opened from a file may be refused the clipboard: mark the text for the reader instead. */
      getSelection().selectAllChildren(at("map-trace"));
      at("map-copy").textContent = "Press Ctrl-C";
    }
    setTimeout(() => (at("map-copy").textContent = "Copy"), 2000);
  });

  /* Viewer */
  let viewer = null;
  try {
    viewer = $3Dmol.createViewer(at("viewer"), { backgroundAlpha: 0, antialias: true });
  } catch {
    viewer = null;
  }
  const note = document.createElement("div");
  note.className = "viewer-note";
  const say = (text) => {
    note.textContent = text;
    if (text) at("viewer").append(note);
    else note.remove();
  };
  const atomsOf = (numbers, positions, start, quantum, bonds) => {
    const atoms = Array.from(numbers, (number, k) => ({
      elem: data.symbols[number],
      x: positions[3 * (start + k)] * quantum,
      y: positions[3 * (start + k) + 1] * quantum,
      z: positions[3 * (start + k) + 2] * quantum,
      serial: k,
      bonds: [],
      bondOrder: [],
    }));
    for (let b = 0; b < bonds.length; b += 2) {
      for (const [one, two] of [[bonds[b], bonds[b + 1]], [bonds[b + 1], bonds[b]]]) {
        if (!atoms[one] || !atoms[two]) continue;
        atoms[one].bonds.push(two);
        atoms[one].bondOrder.push(1);
      }
    }
    return atoms;
  };
  const clusterAtoms = (i) => {
    const set = data.sets[setOf[i]];
    set.atoms ??= unpack(set.numbers);
    set.pairs ??= unpack(set.bonds);
    return atomsOf(set.atoms, coordinates, offsets[i], set.quantum, set.pairs);
  };
  const crystalAtoms = (section) => {
    section.atoms ??= unpack(section.numbers);
    section.steps ??= unpack(section.positions);
    section.pairs ??= unpack(section.bonds);
    section.owner ??= unpack(section.molecule);
    return atomsOf(section.atoms, section.steps, 0, section.quantum, section.pairs);
  };
  const drawCell = (cell) => {
    const corner = (i, j, k) => ({ x: i * cell[0][0] + j * cell[1][0] + k * cell[2][0], y: i * cell[0][1] + j * cell[1][1] + k * cell[2][1], z: i * cell[0][2] + j * cell[1][2] + k * cell[2][2] });
    const colour = css("--muted");
    for (const a of [0, 1]) {
      for (const b of [0, 1]) {
        for (const [start, end] of [[corner(0, a, b), corner(1, a, b)], [corner(a, 0, b), corner(a, 1, b)], [corner(a, b, 0), corner(a, b, 1)]]) {
          viewer.addCylinder({ start, end, radius: 0.05, color: colour, fromCap: 1, toCap: 1 });
        }
      }
    }
  };
  /* Grey of carbon and white of hydrogen are seen on both grounds. */
  const ELEMENTS = { H: "#c9ced6", C: "#6f7a86", N: "#3f73d1", O: "#d64541", F: "#5aa469", S: "#d9b11e", P: "#d9822b", Cl: "#3fa34d" };
  const colourscheme = { prop: "elem", map: ELEMENTS };
  const balls = { stick: { radius: 0.13, colorscheme: colourscheme }, sphere: { scale: 0.24, colorscheme: colourscheme } };
  let lastView = "";
  const show = (i, keepView) => {
    if (viewer === null) {
      say("The browser gives no WebGL, so molecules cannot be drawn.");
      return;
    }
    const mode = at("viewer-mode").value;
    const set = data.sets[setOf[i]];
    const section = mode === "unit" ? data.unit : data.sections[set.section];
    viewer.removeAllModels();
    viewer.removeAllShapes();
    say("");
    const cell = mode !== "cluster" && section.cell;
    if (mode !== "cluster" && !section.cell) say("The crystal is too large to be drawn here.");
    if (cell) {
      const atoms = crystalAtoms(section);
      const home = new Set(mode === "unit" ? [] : set.molecules.filter((_, k) => set.translations[k].every((t) => t === 0)));
      const around = viewer.addModel();
      around.addAtoms(atoms);
      around.setStyle({}, mode !== "crystal" ? balls : { stick: { radius: 0.07, color: css("--muted"), opacity: 0.55 } });
      if (mode === "crystal") around.setStyle({ predicate: (atom) => home.has(section.owner[atom.serial]) }, {});
      drawCell(section.cell);
    }
    if (mode === "cluster" || mode === "crystal") {
      if (offsets[i] < 0) say("The coordinates of this cluster are not in the page: see the note above the map, or trace it.");
      else {
        const model = viewer.addModel();
        model.addAtoms(clusterAtoms(i));
        model.setStyle({}, balls);
        /* the central molecule stands out by thicker sticks */
        model.setStyle({ predicate: (atom) => atom.serial < set.central }, { stick: { radius: 0.22, colorscheme: colourscheme }, sphere: { scale: 0.3, colorscheme: colourscheme } });
      }
    }
    const view = `${mode} ${setOf[i]}`;
    if (!keepView || view !== lastView) viewer.zoomTo();
    lastView = view;
    viewer.render();
    at("viewer").setAttribute("aria-label", `Molecules of ${set.key}, frame ${rows[i]}, ${at("viewer-mode").selectedOptions[0].text}`);
  };

  /* The wheel scrolls the page; with Ctrl it zooms. Arrow keys turn, + and - zoom. */
  at("viewer").addEventListener("wheel", (event) => event.ctrlKey || event.stopImmediatePropagation(), { capture: true });
  at("viewer").addEventListener("keydown", (event) => {
    const turn = { ArrowLeft: [-12, "y"], ArrowRight: [12, "y"], ArrowUp: [-12, "x"], ArrowDown: [12, "x"] }[event.key];
    const zoom = { "+": 1.15, "=": 1.15, "-": 1 / 1.15 }[event.key];
    if (viewer === null || (!turn && !zoom)) return;
    event.preventDefault();
    if (turn) viewer.rotate(...turn);
    else viewer.zoom(zoom);
    viewer.render();
  });

  const slider = at("viewer-frame");
  const choose = (i, keepView = false) => {
    selected = i;
    const set = data.sets[setOf[i]];
    slider.max = String(set.count - 1);
    slider.value = String(i - set.first);
    slider.setAttribute("aria-valuetext", `frame ${rows[i]} of ${set.key}`);
    describe(i);
    draw();
    show(i, keepView);
  };
  const moveTo = (k) => {
    const set = data.sets[setOf[Math.max(selected, 0)]];
    choose(set.first + (((k % set.count) + set.count) % set.count), true);
  };
  slider.addEventListener("input", () => moveTo(Number(slider.value)));
  let timer = null;
  const play = at("viewer-play");
  play.addEventListener("click", () => {
    if (timer === null) timer = setInterval(() => moveTo(Number(slider.value) + 1), 160);
    else {
      clearInterval(timer);
      timer = null;
    }
    play.textContent = timer === null ? "Play" : "Pause";
    play.setAttribute("aria-pressed", String(timer !== null));
  });
  at("viewer-reset").addEventListener("click", () => {
    lastView = "";
    show(Math.max(selected, 0), false);
  });
  at("viewer-mode").addEventListener("change", () => show(Math.max(selected, 0), false));
  at("map-colour").addEventListener("change", draw);
  at("map-controls").addEventListener("submit", (event) => event.preventDefault());
  for (const control of [at("map-sources"), at("map-sizes"), at("map-orbit")]) control.addEventListener("change", filter);
  window.addEventListener("themechange", () => {
    draw();
    if (selected >= 0) show(selected, true);
  });
  new ResizeObserver(() => {
    draw();
    viewer?.resize();
  }).observe(canvas);
  filter();
  /* A cluster to begin with: the first one with coordinates and more than one molecule. */
  const start = offsets.findIndex((offset, i) => offset >= 0 && data.sets[setOf[i]].size > 1);
  choose(Math.max(start, 0));
})();
