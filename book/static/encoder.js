// The embedded encoder in the page: WordPiece as tokenizer.json has it, one BERT layer, the mean over tokens.
// Weights are written by book/weights.py; vectors equal Python's (tests/browser/test_book.py, 1,000 sentences, 1e-3).
const ADDED = /(\[(?:PAD|UNK|CLS|SEP|MASK)\])/; // found in a text before it is normalised, as tokenizers does
const CJK = /[\u3400-\u4DBF\u4E00-\u9FFF\uF900-\uFAFF\u{20000}-\u{2A6DF}\u{2A700}-\u{2B81F}\u{2B920}-\u{2CEAF}\u{2F800}-\u{2FA1F}]/gu;
const PUNCTUATION = /([!-/:-@[-`{-~\p{P}])/u;
const LONGEST_WORD = 100;

// BertNormalizer: control characters out, CJK apart, accents off (NFD without Mn), lower case letter by letter.
export function normalise(text) {
  const clean = text.replace(/(?![\t\n\r])[\p{Cc}\p{Cf}\p{Co}\uFFFD]/gu, "").replace(/\p{White_Space}/gu, " ");
  return Array.from(clean.replace(CJK, " $& ").normalize("NFD").replace(/\p{Mn}/gu, ""), (c) => c.toLowerCase()).join("");
}

export class Tokenizer {
  constructor(vocabulary, maxLength) {
    this.ids = new Map(vocabulary.map((piece, i) => [piece, i]));
    this.maxLength = maxLength;
  }

  pieces(word) { // greedy, the longest piece first; a word that cannot be cut whole is [UNK]
    const letters = Array.from(word), ids = [], unknown = [this.ids.get("[UNK]")];
    if (letters.length > LONGEST_WORD) return unknown;
    for (let start = 0, end; start < letters.length; start = end) {
      for (end = letters.length; end > start; end--) {
        const id = this.ids.get((start ? "##" : "") + letters.slice(start, end).join(""));
        if (id !== undefined) { ids.push(id); break; }
      }
      if (end === start) return unknown;
    }
    return ids;
  }

  encode(text) { // → token ids, [CLS] and [SEP] included, cut to maxLength
    const body = text.split(ADDED).flatMap((part, i) => i % 2 ? [this.ids.get(part)] : normalise(part).split(" ")
      .flatMap((word) => word.split(PUNCTUATION)).filter(Boolean).flatMap((word) => this.pieces(word)));
    return [this.ids.get("[CLS]"), ...body.slice(0, this.maxLength - 2), this.ids.get("[SEP]")];
  }
}

function half(bits) { // float16 → number
  const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  if (!exponent) return sign * fraction * 2 ** -24;
  return exponent === 31 ? sign * (fraction ? NaN : Infinity) : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

async function bytes(url) { // a gzip file under a name that no server unpacks by itself
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status}`);
  return new Response(answer.body.pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

// All tensors of a model: the untrained one's as float16, a trained one's as what training added to them: for each
// tensor the rows that moved (count, then numbers, uint16), a float32 scale each, and int16 for each of their values.
function untrained(buffer, tensors) {
  const table = new Float32Array(65536).map((_, bits) => half(bits)), all = new Uint16Array(buffer), weights = {};
  let at = 0;
  for (const { name, rows, columns } of tensors) {
    const values = weights[name] = new Float32Array(rows * columns);
    for (let i = 0; i < values.length; i++) values[i] = table[all[at++]];
  }
  return weights;
}

function trained(buffer, tensors, start) {
  const view = new DataView(buffer), weights = {};
  let at = 0;
  for (const { name, columns } of tensors) {
    const values = weights[name] = start[name].slice(), count = view.getUint16(at, true);
    const numbers = at + 2, scales = numbers + 2 * count, deltas = scales + 4 * count;
    for (let r = 0; r < count; r++) {
      const row = view.getUint16(numbers + 2 * r, true) * columns, scale = view.getFloat32(scales + 4 * r, true);
      for (let c = 0; c < columns; c++) values[row + c] += scale * view.getInt16(deltas + 2 * (r * columns + c), true);
    }
    at = deltas + 2 * count * columns;
  }
  return weights;
}

// (tokens, into) · (out, into)ᵀ + (out,): four tokens and two outputs at a time, in float64, which engines do fastest.
function linear(x, weight, bias, tokens, into, out) {
  const y = new Float64Array(tokens * out), at = (t) => Math.min(t, tokens - 1) * into;
  for (let t = 0; t < tokens; t += 4) {
    const a = at(t), b = at(t + 1), c = at(t + 2), d = at(t + 3);
    for (let o = 0; o < out; o += 2) {
      let p = 0, q = 0, r = 0, s = 0, k = 0, l = 0, m = 0, n = 0;
      for (let i = 0, v = o * into, w = v + into; i < into; i++, v++, w++) {
        const f = weight[v], g = weight[w], e = x[a + i], h = x[b + i], j = x[c + i], z = x[d + i];
        p += f * e; q += f * h; r += f * j; s += f * z;
        k += g * e; l += g * h; m += g * j; n += g * z;
      }
      const sums = [p, k, q, l, r, m, s, n];
      for (let u = 0; u < 4 && t + u < tokens; u++) {
        y[(t + u) * out + o] = sums[2 * u] + bias[o];
        y[(t + u) * out + o + 1] = sums[2 * u + 1] + bias[o + 1];
      }
    }
  }
  return y;
}

function layerNorm(x, weight, bias, epsilon) { // in place, rows as wide as the weight
  const wide = weight.length;
  for (let at = 0; at < x.length; at += wide) {
    let mean = 0, square = 0;
    for (let i = 0; i < wide; i++) mean += x[at + i] / wide;
    for (let i = 0; i < wide; i++) square += (x[at + i] - mean) ** 2 / wide;
    const scale = 1 / Math.sqrt(square + epsilon);
    for (let i = 0; i < wide; i++) x[at + i] = (x[at + i] - mean) * scale * weight[i] + bias[i];
  }
  return x;
}

function erf(x) { // Abramowitz and Stegun 7.1.26, error below 1.5e-7
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const tail = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return Math.sign(x) * (1 - tail * Math.exp(-x * x));
}

function attend(query, key, value, tokens, wide, heads) { // (tokens, wide): each head's weighted mean of values
  const size = wide / heads, out = new Float64Array(tokens * wide), weight = new Float64Array(tokens);
  for (let from = 0; from < wide; from += size) {
    for (let t = 0; t < tokens; t++) {
      let most = -Infinity, total = 0;
      for (let u = 0; u < tokens; u++) {
        let score = 0;
        for (let i = from; i < from + size; i++) score += query[t * wide + i] * key[u * wide + i];
        weight[u] = score / Math.sqrt(size);
        most = Math.max(most, weight[u]);
      }
      for (let u = 0; u < tokens; u++) total += weight[u] = Math.exp(weight[u] - most);
      for (let u = 0; u < tokens; u++)
        for (let i = from; i < from + size; i++) out[t * wide + i] += (weight[u] / total) * value[u * wide + i];
    }
  }
  return out;
}

const add = (x, y) => { for (let i = 0; i < x.length; i++) x[i] += y[i]; return x; };

export class Encoder {
  constructor(weights, shape) {
    const wide = ([name, values]) => [name, name === "words" ? values : new Float64Array(values)];
    Object.assign(this, { weights: Object.fromEntries(Object.entries(weights).map(wide)), shape });
  }

  encode(ids) { // → Float64Array(wide), the mean over all tokens, not normalised
    const w = this.weights, { wide, heads, epsilon } = this.shape, tokens = ids.length;
    let x = new Float64Array(tokens * wide);
    ids.forEach((id, t) => {
      for (let i = 0; i < wide; i++) x[t * wide + i] = w.words[id * wide + i] + w.positions[t * wide + i] + w.types[i];
    });
    const dense = (from, name) => linear(from, w[`${name}.weight`], w[`${name}.bias`], tokens, from.length / tokens,
      w[`${name}.bias`].length);
    const norm = (from, name) => layerNorm(from, w[`${name}.weight`], w[`${name}.bias`], epsilon);
    norm(x, "norm");
    const context = attend(dense(x, "query"), dense(x, "key"), dense(x, "value"), tokens, wide, heads);
    x = norm(add(dense(context, "attention"), x), "attention.norm");
    const inner = dense(x, "inner").map((v) => 0.5 * v * (1 + erf(v / Math.SQRT2)));
    x = norm(add(dense(inner, "outer"), x), "outer.norm");
    const mean = new Float64Array(wide);
    for (let i = 0; i < x.length; i++) mean[i % wide] += x[i] / tokens;
    return mean;
  }
}

// Load everything once: {tokenizer, encoders: {name: Encoder}}; after this nothing is asked of the network.
export async function load(folder) {
  const { shape, tensors, vocabulary, models } = JSON.parse(new TextDecoder().decode(await bytes(`${folder}/encoder.bin`)));
  const files = await Promise.all(["untrained", ...Object.keys(models)].map((name) => bytes(`${folder}/${name}.bin`)));
  const start = untrained(files[0], tensors), encoders = { untrained: new Encoder(start, shape) };
  Object.keys(models).forEach((name, i) => { encoders[name] = new Encoder(trained(files[i + 1], tensors, start), shape); });
  return { models, tokenizer: new Tokenizer(vocabulary, shape.maxLength), encoders };
}

export function cosine(x, y) {
  let xy = 0, xx = 0, yy = 0;
  for (let i = 0; i < x.length; i++) { xy += x[i] * y[i]; xx += x[i] * x[i]; yy += y[i] * y[i]; }
  return xy / Math.sqrt(xx * yy);
}
