// The picture of the explorer: a map and a ruler, drawn as SVG from a scene that Python computed (hncse/visual/explorer.py).
// Used twice: by the notebook's widget (anywidget calls `render`) and by the page that needs no kernel (`page`).
const NS = "http://www.w3.org/2000/svg";
const SIDE = 340, GAP = 128, TOP = 28, LEFT = 6, WIDE = 960, HIGH = 410; // the map is SIDE × SIDE, the ruler beside it
const RULER = LEFT + SIDE + GAP, RULER_WIDE = WIDE - RULER - 14;
const STYLE = `
.hncse { position: relative; font: 13px "DejaVu Sans", Verdana, sans-serif; color: #222; background: #fff; max-width: 960px }
.hncse svg { width: 100%; height: auto; display: block }
.hncse .dot { transition: transform .45s ease; cursor: default; outline: none }
.hncse .dot:hover path, .hncse .dot:focus path, .hncse .dot.twin path { stroke: #000; stroke-width: 2 }
.hncse .tie, .hncse .near { transition: transform .45s ease } .hncse .circle { transition: r .45s ease }
.hncse .tip { position: absolute; max-width: 330px; padding: 6px 9px; background: #fff; border: 1px solid #444;
  border-radius: 4px; box-shadow: 0 2px 8px #0003; pointer-events: none; visibility: hidden; z-index: 5; line-height: 1.35 }
.hncse .key { display: flex; flex-wrap: wrap; gap: 2px 16px; padding: 2px 6px 6px }
.hncse .key svg { width: 16px; height: 16px; display: inline-block; vertical-align: -3px; margin-right: 4px }
.hncse .says { padding: 0 6px 6px; min-height: 2.7em; line-height: 1.35 }
@media (prefers-reduced-motion: reduce) { .hncse * { transition: none !important } }`;

function make(parent, name, attributes = {}, text = null) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  parent.appendChild(made);
  return made;
}

function glyph(parent, look, size) {
  return make(parent, "path", {
    d: look.path, transform: `scale(${size * look.size})`, "vector-effect": "non-scaling-stroke",
    fill: look.hollow ? "#fff" : look.colour, stroke: look.hollow ? look.colour : "#fff",
    "stroke-width": look.hollow ? 1.8 : 0.8,
  });
}

export function create(el) {
  el.innerHTML = "";
  const box = document.createElement("div");
  box.className = "hncse";
  box.innerHTML = `<style>${STYLE}</style><div class="says" aria-live="polite"></div><div class="plot"></div>
    <div class="key"></div><div class="tip" role="tooltip"></div>`;
  el.appendChild(box);
  const svg = make(box.querySelector(".plot"), "svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img" });
  const clip = `hncse-clip-${Math.random().toString(36).slice(2)}`;
  make(make(make(svg, "defs"), "clipPath", { id: clip }), "rect", { x: LEFT, y: TOP, width: SIDE, height: SIDE });
  make(svg, "rect", { x: LEFT, y: TOP, width: SIDE, height: SIDE, fill: "#fff", stroke: "#ccc" });
  const layers = {
    near: make(svg, "rect", { class: "near", x: RULER, y: TOP, width: RULER_WIDE, height: SIDE, fill: "#F0E442", opacity: 0.28 }),
    rings: make(svg, "g", { "clip-path": `url(#${clip})` }),
    boundary: make(svg, "circle", { class: "circle", "clip-path": `url(#${clip})`, cx: LEFT + SIDE / 2, cy: TOP + SIDE / 2,
      fill: "#F0E442", "fill-opacity": 0.28, stroke: "#222", "stroke-width": 1.8 }),
    axis: make(svg, "g"), map: make(svg, "g", { "clip-path": `url(#${clip})` }), ruler: make(svg, "g"),
    tie: make(svg, "line", { class: "tie", x1: 0, x2: 0, y1: TOP, y2: TOP + SIDE, stroke: "#222", "stroke-width": 1.8 }),
    p: make(svg, "text", { class: "tie", y: TOP + 14 }),
  };
  layers.near.style.transformOrigin = `${RULER}px 0`;
  svg.insertBefore(layers.tie, layers.axis);
  make(svg, "text", { x: LEFT, y: 18, "font-weight": "bold" }, "Round the anchor: distance is the exact angle");
  make(svg, "text", { x: RULER - GAP + 22, y: 18, "font-weight": "bold" }, "The same, kind by kind");
  return { box, svg, layers, dots: new Map(), anchor: null };
}

export function update(view, scene) {
  if (!scene || !scene.points) return;
  const { layers, box } = view;
  if (view.anchor !== scene.anchor) { // other sentences: nothing to glide from
    for (const pair of view.dots.values()) pair.forEach((dot) => dot.remove());
    view.dots.clear();
    view.anchor = scene.anchor;
    axis(layers, scene);
    key(box.querySelector(".key"), scene);
  }
  box.querySelector(".says").textContent = scene.says;
  view.svg.setAttribute("aria-label", scene.says);
  const scale = SIDE / 2 / scene.reach, x = (value) => LEFT + SIDE / 2 + scale * value, y = (value) => TOP + SIDE / 2 - scale * value;
  const along = (angle) => RULER + (RULER_WIDE * angle) / scene.widest;
  layers.boundary.setAttribute("r", scale * scene.tie);
  layers.tie.style.transform = `translate(${along(scene.tie)}px, 0)`;
  layers.p.style.transform = `translate(${along(scene.tie) + 5}px, 0)`;
  layers.p.textContent = `p = ${scene.p}`;
  layers.near.style.transform = `scaleX(${(along(scene.tie) - RULER) / RULER_WIDE})`;
  const seen = new Set();
  for (const point of scene.points) {
    seen.add(point.id);
    if (!view.dots.has(point.id)) view.dots.set(point.id, [dot(view, layers.map, scene, point), dot(view, layers.ruler, scene, point)]);
    const [flat, exact] = view.dots.get(point.id);
    for (const one of [flat, exact]) {
      one.hncse = point;
      one.setAttribute("aria-label", point.tip.join(", "));
    }
    flat.style.visibility = point.onmap ? "" : "hidden";
    flat.style.transform = `translate(${x(point.x)}px, ${y(point.y)}px)`;
    exact.style.transform = `translate(${along(point.angle)}px, ${TOP + SIDE * point.row}px)`;
  }
  for (const [id, pair] of view.dots) if (!seen.has(id)) { pair.forEach((one) => one.remove()); view.dots.delete(id); }
}

function dot(view, layer, scene, point) {
  const made = make(layer, "g", { class: "dot", role: "img", tabindex: layer === view.layers.map ? 0 : -1, "data-id": point.id });
  glyph(made, scene.looks[point.look], 1);
  const show = () => tell(view, made, true), hide = () => tell(view, made, false);
  made.addEventListener("pointerenter", show);
  made.addEventListener("pointerleave", hide);
  made.addEventListener("focus", show);
  made.addEventListener("blur", hide);
  return made;
}

function tell(view, one, on) {
  const tip = view.box.querySelector(".tip"), point = one.hncse;
  view.dots.get(point.id)?.forEach((twin) => twin.classList.toggle("twin", on));
  tip.style.visibility = on ? "visible" : "hidden";
  if (!on) return;
  tip.replaceChildren(...point.tip.map((line, i) => {
    const row = document.createElement(i ? "div" : "b");
    row.textContent = line;
    return row;
  }));
  const at = one.getBoundingClientRect(), home = view.box.getBoundingClientRect();
  tip.style.left = `${Math.max(0, Math.min(at.right - home.left + 6, home.width - tip.offsetWidth - 4))}px`;
  const below = at.bottom - home.top + 6;
  tip.style.top = `${below + tip.offsetHeight > home.height ? at.top - home.top - tip.offsetHeight - 6 : below}px`;
}

function axis({ axis: layer, rings }, scene) {
  layer.innerHTML = "";
  rings.innerHTML = "";
  for (const tick of scene.ticks.slice(1)) {
    const r = (SIDE / 2 / scene.reach) * tick.angle, x = LEFT + SIDE / 2, y = TOP + SIDE / 2;
    if (tick.angle >= scene.reach) continue;
    make(rings, "circle", { cx: x, cy: y, r, fill: "none", stroke: "#ccc" });
    make(rings, "text", { x, y: y + r + 4, "text-anchor": "middle", "font-size": 11, fill: "#6b6b6b" }, tick.name);
  }
  for (const row of scene.rows)
    make(layer, "text", { x: RULER - 12, y: TOP + SIDE * row.place + 4, "text-anchor": "end" }, row.name);
  make(layer, "line", { x1: RULER, x2: RULER + RULER_WIDE, y1: TOP + SIDE, y2: TOP + SIDE, stroke: "#666" });
  for (const tick of scene.ticks) {
    const x = RULER + (RULER_WIDE * tick.angle) / scene.widest;
    make(layer, "line", { x1: x, x2: x, y1: TOP + SIDE, y2: TOP + SIDE + 5, stroke: "#666" });
    make(layer, "text", { x, y: TOP + SIDE + 19, "text-anchor": "middle", "font-size": 12 }, tick.name);
  }
  make(layer, "text", { x: RULER + RULER_WIDE / 2, y: TOP + SIDE + 36, "text-anchor": "middle", "font-size": 12 },
    "cosine to the anchor (scale: angle)");
}

function key(place, scene) {
  place.replaceChildren();
  for (const [name, text] of scene.key) {
    const entry = document.createElement("span"), svg = make(entry, "svg", { viewBox: "-8 -8 16 16" });
    if (name === "boundary") make(svg, "line", { x1: -8, x2: 8, y1: 0, y2: 0, stroke: "#222", "stroke-width": 2 });
    else glyph(svg, scene.looks[name], Math.min(1, 13 / scene.looks[name].size));
    entry.append(text);
    place.appendChild(entry);
  }
}

// The page without a kernel: every scene is in it; a choice of runs or anchors, and where there are steps a slider.
export function page(el, { choice: label, scenes: film }) {
  const bar = document.createElement("div"), stage = document.createElement("div");
  bar.style.cssText = "display:flex;gap:10px;align-items:center;flex-wrap:wrap;padding:6px;font:14px Verdana,sans-serif";
  bar.innerHTML = `<label><span></span> <select style="max-width:40em"></select></label><button type="button">play</button>
    <label class="steps" style="flex:1;display:flex;gap:8px;align-items:center;min-width:260px"><span style="min-width:5em"></span>
    <input type="range" min="0" style="flex:1" aria-label="training step"></label>`;
  el.append(bar, stage);
  const [name, choice, button, steps, slider, shown] = ["span", "select", "button", ".steps", "input", ".steps span"].map((q) => bar.querySelector(q));
  name.textContent = label;
  for (const name of Object.keys(film)) choice.add(new Option(name, name));
  if (Object.values(film).every((scenes) => scenes.length < 2)) button.style.display = steps.style.display = "none";
  const view = create(stage);
  const go = () => {
    const scenes = film[choice.value];
    slider.max = scenes.length - 1;
    shown.textContent = `step ${scenes[slider.value].step}`;
    update(view, scenes[slider.value]);
  };
  let timer = null;
  const stop = () => { clearInterval(timer); timer = null; button.textContent = "play"; };
  button.onclick = () => {
    if (timer) return stop();
    if (+slider.value === +slider.max) slider.value = 0;
    button.textContent = "stop";
    timer = setInterval(() => { if (+slider.value >= +slider.max) return stop(); slider.value = +slider.value + 1; go(); }, 700);
    go();
  };
  choice.onchange = slider.oninput = go;
  slider.value = 0;
  go();
}

export default {
  render({ model, el }) {
    const view = create(el), draw = () => update(view, model.get("scene"));
    model.on("change:scene", draw);
    draw();
    return () => model.off("change:scene", draw);
  },
};
