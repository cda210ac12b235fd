// "Type a sentence": the embedded encoder before and after training, on the reader's own sentences, without a server.
import { cosine, load } from "./encoder.js";

const NS = "http://www.w3.org/2000/svg", HIGH = 150, LEFT = 14, WIDEST = 110; // degrees at the right end
const BAND = 0.1, HARDEST = 10; // HNCSE's: case A while (p-n)/p is at most BAND; mixes of the HARDEST
const COLOURS = { positive: "#0072B2", candidate: "#D55E00", PM: "#0072B2", HNM: "#E69F00" };
const EXAMPLES = {
  "negation": ["The train to Lyon leaves on time.", "The Lyon train departs punctually.", "The train to Lyon does not leave on time.\nThe train to Lyon leaves at nine.\nThe bus to Lyon leaves on time.\nShe missed her train to Lyon."],
  "swapped roles": ["The nurse calls the doctor.", "The doctor is phoned by the nurse.", "The doctor calls the nurse.\nThe nurse calls the porter.\nThe nurse meets the doctor.\nThe phone of the doctor is broken."],
  "another number": ["Three people live in this house.", "This home has three inhabitants.", "Thirteen people live in this house.\nThree people left this house.\nNobody lives in this house.\nThree people live in this street."],
};
const angle = (cos) => (Math.acos(Math.max(-1, Math.min(1, cos))) * 180) / Math.PI;
const number = (value) => value.toFixed(3).replace("-", "−");

// Case and mixes of one anchor as hncse.miner and hncse.mixing have them; the batch is what was typed.
export function judge(anchor, positive, candidates, { ratio = 0.2, alpha = 0.5 } = {}) {
  const p = cosine(anchor, positive), near = candidates.map((vector, i) => ({ i, cos: cosine(anchor, vector) }));
  const sorted = [...near].sort((a, b) => b.cos - a.cos), n = sorted.length ? sorted[0].cos : -Infinity;
  const state = !sorted.length ? null : !(p > n) ? "C" : (p - n) / p <= BAND ? "A" : "B";
  const blend = (x, y, a, b) => cosine(anchor, x.map((v, i) => a * v + b * y[i]));
  const weights = { A: [1, ratio], B: [1, 0], C: p + n < 0 ? [-p, -n] : [p, n] }[state];
  const pm = state && blend(positive, candidates[sorted[0].i], ...weights), hnm = [];
  for (const [a, first] of sorted.slice(0, HARDEST).entries())
    for (const second of sorted.slice(a + 1, HARDEST))
      hnm.push({ of: [first.i, second.i], cos: blend(candidates[first.i], candidates[second.i], alpha, 1 - alpha) });
  return { p, n, case: state, hardest: sorted[0]?.i, cosines: near.map((c) => c.cos), pm, weights, hnm };
}

function element(parent, name, attributes = {}, text = null, space = null) {
  const made = space ? document.createElementNS(space, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  parent.append(made);
  return made;
}

function words(found, sentences) {
  if (!found.case) return `p = ${number(found.p)}. Type a candidate to see the boundary at work.`;
  const nearer = found.cosines.filter((c) => c > found.p).length, of = found.cosines.length;
  const what = { A: "near the boundary", B: "safe", C: "on the wrong side" }[found.case];
  return `Case ${found.case}, ${what}: p = ${number(found.p)}, n = ${number(found.n)} (“${sentences[found.hardest]}”). ` +
    `${nearer} of ${of} candidates ${nearer === 1 ? "is" : "are"} nearer than the paraphrase.`;
}

function ruler(parent, found, label) {
  const wide = Math.min(640, Math.max(320, parent.clientWidth)); // one unit is one pixel, on a phone too
  const place = (cos) => LEFT + ((wide - 2 * LEFT) * Math.min(angle(cos), WIDEST)) / WIDEST;
  const svg = element(parent, "svg", { viewBox: `0 0 ${wide} ${HIGH}`, role: "img", "aria-label": label }, null, NS);
  const draw = (name, attributes, text = null) => element(svg, name, attributes, text, NS), base = HIGH - 34;
  draw("rect", { x: LEFT, y: 18, width: Math.max(0, place(found.p) - LEFT), height: base - 18, class: "near" });
  draw("line", { x1: LEFT, x2: wide - LEFT, y1: base, y2: base, class: "ink" });
  for (const tick of wide < 500 ? [1, 0.9, 0.7, 0.5, 0.2, -0.2] : [1, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.2, 0, -0.2]) {
    draw("line", { x1: place(tick), x2: place(tick), y1: base, y2: base + 5, class: "ink" });
    draw("text", { x: place(tick), y: base + 18, "text-anchor": "middle" }, String(tick).replace("-", "−"));
  }
  draw("text", { x: wide / 2, y: HIGH - 2, "text-anchor": "middle" }, "cosine to the anchor (scale: angle)");
  draw("line", { x1: place(found.p), x2: place(found.p), y1: 18, y2: base, class: "ink boundary" });
  draw("text", { x: place(found.p), y: 12, "text-anchor": "middle" }, `p = ${number(found.p)}`);
  const cross = (x, y, r, colour, turned) => draw("path", { stroke: colour, "stroke-width": 2,
    d: turned ? `M${x - r} ${y - r}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}` : `M${x - r} ${y}h${2 * r}m${-r} ${-r}v${2 * r}` });
  for (const mix of found.hnm) cross(place(mix.cos), base - 12, 3.5, COLOURS.HNM, true);
  if (found.pm !== null) cross(place(found.pm), base - 30, 6, COLOURS.PM, false);
  found.cosines.forEach((cos, i) => {
    const y = base - 50 - 16 * (i % 2);
    draw("circle", { cx: place(cos), cy: y, r: 8, fill: COLOURS.candidate });
    draw("text", { x: place(cos), y: y + 4, "text-anchor": "middle", class: "inside" }, String(i + 1));
  });
  draw("path", { fill: COLOURS.positive, d: `M${place(found.p)} ${base - 37}l7 7l-7 7l-7 -7z` });
}

function table(parent, names, verdicts, sentences) {
  const head = element(element(element(parent, "table"), "thead"), "tr");
  element(head, "th", { scope: "col" }, "cosine to the anchor");
  names.forEach((name) => element(head, "th", { scope: "col" }, name));
  const body = element(head.closest("table"), "tbody");
  const row = (title, cells) => {
    const line = element(body, "tr");
    element(line, "th", { scope: "row" }, title);
    cells.forEach(([text, inside]) => element(line, "td", inside ? { class: "nearer" } : {}, text + (inside ? " ◂" : "")));
  };
  row("◆ paraphrase, p", verdicts.map((v) => [number(v.p)]));
  sentences.forEach((text, i) => row(`${i + 1} ${text}`, verdicts.map((v) => [number(v.cosines[i]), v.cosines[i] > v.p])));
  if (sentences.length) {
    row("+ PM’s mixed positive", verdicts.map((v) => [`${number(v.pm)} (case ${v.case})`]));
    for (const i of verdicts[0].hnm.keys()) {
      const of = ({ of: [a, b] }) => `${a + 1} and ${b + 1}`;
      row(`× HNM’s mix of the ${i + 1}${["st", "nd", "rd"][i] ?? "th"} pair`, verdicts.map((v) => [`${number(v.hnm[i].cos)} (${of(v.hnm[i])})`, v.hnm[i].cos > v.p]));
    }
  }
}

export async function start(box, folder) {
  const field = (name) => box.querySelector(`[name=${name}]`), out = box.querySelector(".answer");
  const status = box.querySelector(".status"), began = performance.now(), vectors = new Map();
  let tools, first = null;
  for (const name of Object.keys(EXAMPLES)) field("example").add(new Option(name));
  const choose = () => ["anchor", "paraphrase", "candidates"].forEach((name, i) => { field(name).value = EXAMPLES[field("example").value][i]; });
  const vector = (name, text) => {
    const key = `${name}\n${text}`;
    if (!vectors.has(key)) vectors.set(key, tools.encoders[name].encode(tools.tokenizer.encode(text)));
    return vectors.get(key);
  };
  const answer = () => {
    const sentences = field("candidates").value.split("\n").map((s) => s.trim()).filter(Boolean).slice(0, 30);
    const [anchor, paraphrase] = [field("anchor").value.trim(), field("paraphrase").value.trim()];
    if (!anchor || !paraphrase) { status.textContent = "Type an anchor and a paraphrase."; return; }
    for (const name of ["ratio", "alpha"]) field(name).nextElementSibling.value = field(name).value;
    const options = { ratio: +field("ratio").value, alpha: +field("alpha").value }, before = vectors.size, clock = performance.now();
    const names = Object.keys(tools.encoders);
    const verdicts = names.map((name) => judge(vector(name, anchor), vector(name, paraphrase), sentences.map((s) => vector(name, s)), options));
    const each = ((performance.now() - clock) * names.length) / Math.max(1, vectors.size - before), titles = names.map((n) => box.getAttribute(`data-${n}`) ?? n);
    out.replaceChildren();
    const panels = element(out, "div", { class: "panels" });
    verdicts.forEach((found, i) => {
      const panel = element(panels, "section");
      element(panel, "h3", {}, titles[i]);
      ruler(panel, found, `${titles[i]}. ${words(found, sentences)}`);
      element(panel, "p", {}, words(found, sentences));
    });
    table(element(out, "div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "All cosines" }), titles, verdicts, sentences);
    first ??= performance.now() - began;
    const ids = [anchor, paraphrase, ...sentences].flatMap((s) => tools.tokenizer.encode(s).slice(1, -1));
    const unknown = ids.filter((id) => id === tools.tokenizer.ids.get("[UNK]")).length / Math.max(1, ids.length);
    box.dataset.first = first.toFixed(0);
    if (vectors.size > before) box.dataset.each = each.toFixed(1);
    status.textContent = `First answer after ${(first / 1000).toFixed(1)} s; ${box.dataset.each} ms a sentence, by all ${names.length} encoders.` +
      (unknown > 0.2 ? ` ${Math.round(100 * unknown)} % of the word pieces are unknown to this encoder: its answer means little.` : "");
  };
  let timer = null;
  const soon = () => { clearTimeout(timer); timer = setTimeout(answer, 120); };
  choose();
  try {
    tools = await load(folder);
  } catch (error) {
    status.textContent = `The encoder could not be loaded (${error.message}). This page needs to be read from a web server, and a browser of 2023 or later.`;
    return;
  }
  answer();
  field("example").addEventListener("change", () => { choose(); answer(); });
  for (const name of ["anchor", "paraphrase", "candidates", "ratio", "alpha"]) field(name).addEventListener("input", soon);
  box.tools = tools; // for tests
}
