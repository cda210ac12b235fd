// A circle to drag: an anchor, its positive and negatives are directions, moved by hand; all else follows from them.
// Loss and gradients are those of hncse.losses (tests/test_circle.py compares them). It reads plain JSON and needs no kernel.
const NS = "http://www.w3.org/2000/svg", RADIUS = 150, OUT = 178, RAD = Math.PI / 180;
const DEFAULTS = { anchor: 90, positive: 50, negatives: [140, 20, 215, 300], tau: 0.1, k: 3, band: 0.1, alpha: 0.5, ratio: 0.2,
  loss: "HNM" };
const LOSSES = ["SimCSE", "PM", "HNM", "PM + HNM"], MOST = 8;
const BLUE = "#0072B2", RED = "#D55E00", ORANGE = "#B87A00", CASE = { A: ORANGE, B: BLUE, C: RED };

// ---- The mathematics: z¹ and z² are unit vectors at `first` and `second` degrees; row i is anchor i.

const unit = (degrees) => [Math.cos(degrees * RAD), Math.sin(degrees * RAD)];
const blend = (a, u, b, v) => [a * u[0] + b * v[0], a * u[1] + b * v[1]];
const cosine = (u, v) => (u[0] * v[0] + u[1] * v[1]) / Math.max(Math.hypot(...v), 1e-8); // u has length 1

// What is chosen and carries no gradient: every anchor's hardest negative, its case, and the pairs that HNM mixes.
export function choose(first, second, o) {
  const z = second.map(unit);
  return first.map((degrees, i) => {
    const c = z.map((v) => cosine(unit(degrees), v));
    const order = z.map((_, j) => j).filter((j) => j !== i).sort((a, b) => c[b] - c[a]);
    const p = c[i], n = c[order[0]], hard = order.slice(0, o.k), pairs = [];
    for (let a = 0; a < hard.length; a++) for (let b = a + 1; b < hard.length; b++) pairs.push([hard[a], hard[b]]);
    return { star: order[0], kind: !(p > n) ? "C" : (p - n) / (p + 0) <= o.band ? "A" : "B", p, n, pairs };
  });
}

// z³ of every row: the positive, mixed with the row's hardest negative in cases A and C.
export function mixedPositives(first, second, o, choice) {
  const z = second.map(unit);
  return choice.map(({ star, kind }, i) => {
    if (kind === "B") return z[i];
    if (kind === "A") return blend(1, z[i], o.ratio, z[star]);
    const p = cosine(unit(first[i]), z[i]), n = cosine(unit(first[i]), z[star]), sign = p + n < 0 ? -1 : 1;
    return blend(sign * p, z[i], sign * n, z[star]);
  });
}

export const mixes = (second, o, { pairs }) =>
  pairs.map(([a, b]) => blend(o.alpha, unit(second[a]), 1 - o.alpha, unit(second[b])));

// Cosines of row i: N columns, of z² or with PM of z³, then HNM's mixes.
export function columns(i, first, second, o, choice) {
  const z = o.loss.includes("PM") ? mixedPositives(first, second, o, choice) : second.map(unit);
  const all = o.loss.includes("HNM") ? [...z, ...mixes(second, o, choice[i])] : z;
  return all.map((v) => cosine(unit(first[i]), v));
}

const softmax = (row, tau) => {
  const most = Math.max(...row), e = row.map((c) => Math.exp((c - most) / tau)), sum = e.reduce((a, b) => a + b);
  return { shares: e.map((x) => x / sum), log: most / tau + Math.log(sum) };
};

export function loss(i, first, second, o, choice) {
  const row = columns(i, first, second, o, choice);
  return softmax(row, o.tau).log - row[i] / o.tau;
}

// Derivatives by the angles (per radian) of `first` and `second`; five points, h = 3e-5 rad: good to 1e-8 at τ ≥ 0.02.
export function gradient(i, first, second, o, choice) {
  const h = 3e-5 / RAD;
  return [first, second].map((angles) => angles.map((at, j) => {
    const value = (step) => { angles[j] = at + step * h; return loss(i, first, second, o, choice); };
    const slope = (8 * (value(1) - value(-1)) - value(2) + value(-2)) / (12 * 3e-5);
    angles[j] = at;
    return slope;
  }));
}

// The picture's batch: every negative is an anchor of its own, with itself as positive.
export function measure(state) {
  const o = { ...DEFAULTS, ...state }, first = [o.anchor, ...o.negatives], second = [o.positive, ...o.negatives];
  const choice = choose(first, second, o), row = columns(0, first, second, o, choice), [own, all] = gradient(0, first, second, o, choice);
  const angle = ([x, y]) => Math.atan2(y, x) / RAD;
  return { p: choice[0].p, n: choice[0].n, case: choice[0].kind, star: choice[0].star, z3: angle(mixedPositives(first, second, o, choice)[0]),
    mixes: mixes(second, o, choice[0]).map(angle), pairs: choice[0].pairs, loss: loss(0, first, second, o, choice),
    shares: softmax(row, o.tau).shares, gradient: [own[0], ...all] }; // by the anchor's, the positive's, the negatives' angle
}

// ---- The picture.

const STYLE = `
.hncse-circle { font: 14px/1.4 system-ui, Verdana, sans-serif; color: var(--jp-content-font-color1, inherit); display: flex;
  flex-wrap: wrap; gap: 4px 20px; max-width: 900px; align-items: flex-start }
.hncse-circle svg { flex: 1 1 400px; min-width: 280px; max-width: 500px; touch-action: none }
.hncse-circle .side { flex: 1 1 260px; min-width: 250px }
.hncse-circle .hand { cursor: grab; outline: none } .hncse-circle .hand:focus-visible circle { stroke: currentColor; stroke-width: 2.5 }
.hncse-circle label { display: grid; grid-template-columns: 9em 1fr 3.4em; gap: 6px; align-items: center }
.hncse-circle output, .hncse-circle td { font-variant-numeric: tabular-nums } .hncse-circle td { padding: 0 10px 0 0 }
.hncse-circle .bar { display: inline-block; height: .7em; min-width: 1px }
.hncse-circle button, .hncse-circle select { font: inherit } .hncse-circle .case { font-weight: bold }
.hncse-circle text { fill: currentColor; font-size: 13px }`;

const make = (parent, name, attributes = {}, text = "") => {
  const made = name in { g: 1, svg: 1, path: 1, circle: 1, line: 1, text: 1, title: 1 } ? document.createElementNS(NS, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.textContent = text;
  parent?.appendChild(made);
  return made;
};
const at = (degrees, r = RADIUS) => [r * Math.cos(degrees * RAD), -r * Math.sin(degrees * RAD)];
const turn = (degrees) => ((Math.round(degrees * 10) / 10) % 360 + 360) % 360;
const STAR = "M0-11 2.6-3.6 10.5-3.4 4.2 1.4 6.5 8.9 0 4.4-6.5 8.9-4.2 1.4-10.5-3.4-2.6-3.6Z";
const SHAPES = { anchor: STAR, positive: "M0-8A8 8 0 1 1-.01-8Z", negative: "M0-9 8.5 7-8.5 7Z", pm: "M-2.5-8h5v5.5h5.5v5h-5.5v5.5h-5v-5.5h-5.5v-5h5.5z",
  mix: "M-6-3.5-3.5-6 0-2.5 3.5-6 6-3.5 2.5 0 6 3.5 3.5 6 0 2.5-3.5 6-6 3.5-2.5 0Z" };

function glyph(parent, shape, colour, degrees, hollow) {
  const [x, y] = at(degrees);
  return make(parent, "path", { d: SHAPES[shape], transform: `translate(${x} ${y})`, fill: hollow ? "none" : colour,
    stroke: hollow ? colour : "none", "stroke-width": 2 });
}

// An arc outside the circle, from a point in the direction that descent moves it; its length grows with the derivative.
function arrow(parent, degrees, force, colour) {
  const length = 40 * Math.tanh(2.5 * force);
  if (Math.abs(length) < 3) return;
  const r = RADIUS + 16, end = degrees + length, [x, y] = at(degrees, r), [u, v] = at(end, r), way = Math.sign(length);
  make(parent, "path", { d: `M${x} ${y}A${r} ${r} 0 0 ${way > 0 ? 0 : 1} ${u} ${v}`, fill: "none", stroke: colour, "stroke-width": 3 });
  make(parent, "path", { d: "M0 0-9-5-9 5Z", fill: colour, transform: `translate(${u} ${v}) rotate(${-end - 90 * way})` });
}

function draw(view) {
  const { state, scene } = view, m = measure(state), tie = Math.acos(Math.max(-1, Math.min(1, m.p))) / RAD;
  scene.replaceChildren();
  const [x, y] = at(state.anchor - tie), [u, v] = at(state.anchor + tie);
  make(scene, "path", { d: `M0 0L${x} ${y}A${RADIUS} ${RADIUS} 0 ${tie > 90 ? 1 : 0} 0 ${u} ${v}Z`, fill: "#F0E442", opacity: 0.28 });
  make(scene, "circle", { r: RADIUS, fill: "none", stroke: "currentColor", "stroke-opacity": 0.6 });
  for (const [a, b] of [[x, y], [u, v]]) make(scene, "line", { x2: a, y2: b, stroke: "currentColor", "stroke-width": 1.4 });
  if (state.loss.includes("HNM")) for (const [a, b] of m.pairs) {
    const [p, q] = at(state.negatives[a - 1]), [r, s] = at(state.negatives[b - 1]);
    make(scene, "line", { x1: p, y1: q, x2: r, y2: s, stroke: ORANGE, "stroke-opacity": 0.45, "stroke-dasharray": "4 4" });
  }
  const ends = [["anchor", state.anchor, "currentColor"], ["positive", state.positive, BLUE], ...state.negatives.map((d) => ["negative", d, RED])];
  ends.forEach(([, degrees, colour], i) => arrow(scene, degrees, -m.gradient[i] * state.tau, colour));
  if (state.loss.includes("HNM")) m.mixes.forEach((degrees) => glyph(scene, "mix", ORANGE, degrees, true));
  if (state.loss.includes("PM") && m.case !== "B") glyph(scene, "pm", BLUE, m.z3, true);
  ends.forEach(([kind, degrees, colour], i) => place(view, i, kind, degrees, colour, m));
  tell(view, m);
}

function place(view, i, kind, degrees, colour, m) {
  const hand = view.hands[i], [x, y] = at(degrees), [u, v] = at(degrees, OUT + 14), name = i > 1 ? `negative ${i - 1}` : kind;
  hand.replaceChildren();
  make(hand, "circle", { cx: x, cy: y, r: 18, fill: "transparent" });
  glyph(hand, kind, colour, degrees, false);
  make(hand, "text", { x: u, y: v + 5, "text-anchor": "middle" }, i > 1 ? `${i - 1}${m.star === i - 1 ? "*" : ""}` : kind);
  const cos = Math.cos((degrees - view.state.anchor) * RAD);
  for (const [key, value] of Object.entries({ "aria-label": name, "aria-valuemin": 0, "aria-valuemax": 360, "aria-valuenow": Math.round(degrees),
    "aria-valuetext": `${Math.round(degrees)} degrees${i ? `, cosine ${cos.toFixed(2)}` : ""}` })) hand.setAttribute(key, value);
}

function tell(view, m) {
  const { state, says, table } = view, names = ["p", ...state.negatives.map((_, j) => String(j + 1))];
  const words = { A: "near the boundary", B: "safe", C: "on the wrong side" };
  says.replaceChildren();
  make(says, "div", {}, `p = ${m.p.toFixed(3)}   n = ${m.n.toFixed(3)} (negative ${m.star})   loss = ${m.loss.toFixed(4)}`);
  make(says, "div", { class: "case", style: `color:color-mix(in srgb, ${CASE[m.case]} 75%, currentColor)` }, `case ${m.case}: ${words[m.case]}`);
  const z3 = { A: `z³ = z² + ${state.ratio}·z² of negative ${m.star}`, B: "z³ is the positive", C: `z³ = (p·z² + n·z² of negative ${m.star})/(p + n)` };
  make(says, "div", {}, z3[m.case] + (state.loss.includes("PM") ? ", in every column" : " (only with PM)"));
  if (state.loss.includes("HNM")) names.push(...m.pairs.map(([a, b]) => `mix ${a}, ${b}`));
  table.replaceChildren();
  names.forEach((name, j) => {
    const row = make(table, "tr");
    make(row, "td", {}, name);
    make(row, "td", {}, (100 * m.shares[j]).toFixed(1) + " %");
    make(make(row, "td"), "span", { class: "bar", style: `width:${110 * m.shares[j]}px;background:${j ? (j > state.negatives.length ? ORANGE : RED) : BLUE}` });
  });
}

function slider(view, name, text, from, to, step, write = (x) => x, read = (x) => x) {
  const line = make(view.side, "label", {}, text), input = make(line, "input", { type: "range", min: from, max: to, step }), out = make(line, "output");
  const say = () => { out.textContent = +view.state[name].toPrecision(3); };
  input.value = read(view.state[name]);
  input.oninput = () => { view.set({ [name]: write(+input.value) }); say(); };
  say();
}

function hands(view) {
  view.hands.forEach((hand) => hand.remove());
  view.hands = [0, 1, ...view.state.negatives.map((_, j) => j + 2)].map((i) => {
    const hand = make(view.svg, "g", { class: "hand", tabindex: 0, role: "slider" });
    const now = () => [view.state.anchor, view.state.positive, ...view.state.negatives][i];
    const move = (degrees) => view.set(i > 1 ? { negatives: view.state.negatives.map((old, j) => (j === i - 2 ? turn(degrees) : old)) } : { [["anchor", "positive"][i]]: turn(degrees) });
    hand.onpointerdown = (event) => { hand.setPointerCapture(event.pointerId); hand.focus(); event.preventDefault(); };
    hand.onpointermove = (event) => {
      if (!hand.hasPointerCapture(event.pointerId)) return;
      const box = view.svg.getBoundingClientRect(), x = event.clientX - box.left - box.width / 2, y = event.clientY - box.top - box.height / 2;
      move(Math.atan2(-y, x) / RAD);
    };
    hand.onkeydown = (event) => {
      const way = { ArrowLeft: 1, ArrowUp: 1, ArrowRight: -1, ArrowDown: -1 }[event.key];
      if (way) { move(now() + way * (event.shiftKey ? 10 : 1)); event.preventDefault(); }
    };
    return hand;
  });
}

function render({ model, el }) {
  const given = Object.fromEntries(Object.keys(DEFAULTS).map((key) => [key, model.get(key)]).filter(([, value]) => value != null));
  const box = make(el, "div", { class: "hncse-circle" });
  make(box, "style", {}, STYLE);
  const svg = make(box, "svg", { viewBox: "-220 -215 440 430", role: "group", "aria-label": "A circle: anchor, positive and negatives to drag" });
  const view = { state: { ...DEFAULTS, ...given }, svg, hands: [] };
  view.scene = make(svg, "g", { "aria-hidden": true });
  view.side = make(box, "div", { class: "side" });
  view.says = make(view.side, "div", { "aria-live": "polite", style: "white-space:pre-wrap;min-height:4.3em" });
  view.set = (change) => { Object.assign(view.state, change); draw(view); };
  const line = make(view.side, "label", {}, "loss"), pick = make(line, "select");
  for (const name of LOSSES) make(pick, "option", { value: name }, name);
  pick.value = view.state.loss;
  pick.onchange = () => view.set({ loss: pick.value });
  slider(view, "tau", "temperature τ", -4, 0, 0.01, Math.exp, Math.log);
  slider(view, "k", "HNM: k hardest", 2, MOST, 1);
  slider(view, "band", "case A: band", 0, 1, 0.01);
  slider(view, "ratio", "PM: w₂/w₁ in A", 0, 1, 0.01);
  const count = make(view.side, "div", { style: "margin:4px 0" }, "negatives: ");
  const resize = (list) => { view.state.negatives = list; hands(view); draw(view); };
  make(count, "button", { type: "button", "aria-label": "add a negative" }, "+").onclick = () =>
    view.state.negatives.length < MOST && resize([...view.state.negatives, turn(view.state.anchor + 47 * (view.state.negatives.length + 2))]);
  make(count, "button", { type: "button", "aria-label": "remove the last negative" }, "−").onclick = () =>
    view.state.negatives.length > 2 && resize(view.state.negatives.slice(0, -1));
  make(view.side, "div", { style: "opacity:.8;font-size:90%" }, "Drag a mark, or focus it and use the arrow keys (with Shift: 10°). Arrows: where one step of gradient descent moves it. Shares of the softmax:");
  view.table = make(view.side, "table", { style: "border-collapse:collapse" });
  hands(view);
  draw(view);
}

const widget = { render };
export default widget;
