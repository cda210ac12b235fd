// The explorer without a kernel: a list of anchors, and the film of the one that is chosen, fetched then.
import { page } from "./explorer.js";

// Scenes as explorer.js draws them, from the columns that book/films.py writes.
export function scenes({ runs, tips, points }) {
  const all = Object.values(runs).flat(), turn = Math.PI / 180;
  for (const scene of all) scene.points = [];
  for (const [id, look, angles, bearings, rows, numbers] of points)
    angles.forEach((angle, i) => {
      if (angle === null) return;
      const bearing = (bearings[i] ?? 0) * turn, cosine = Math.cos(angle * turn), values = [cosine, Math.abs(cosine - Math.cos(all[i].tie * turn))];
      const tip = [...tips[numbers[i]]], last = tip.pop().replaceAll("~", () => values.shift().toFixed(3));
      all[i].points.push({ id, look, tip: [...tip, last], angle, row: rows[i], onmap: bearings[i] !== null, x: angle * Math.cos(bearing), y: angle * Math.sin(bearing) });
    });
  return runs;
}

export async function start(box, folder) {
  const [find, list, count, stage] = ["input", "select", "[role=status]", ".stage"].map((q) => box.querySelector(q));
  const anchors = await (await fetch(`${folder}/anchors.json`)).json();
  const show = async () => {
    if (!list.value) return;
    const answer = await fetch(`${folder}/${list.value}.bin`);
    const film = await new Response(answer.body.pipeThrough(new DecompressionStream("gzip"))).json();
    stage.replaceChildren();
    page(stage, { choice: "run", scenes: scenes(film) });
    stage.querySelector("select").setAttribute("aria-label", "run");
  };
  const fill = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const found = anchors.filter(([id, text]) => words.every((word) => `${text} ${id}`.toLowerCase().includes(word)));
    list.replaceChildren(...found.map(([id, text]) => new Option(`${text} (${id})`, id)));
    count.textContent = `${found.length} of ${anchors.length} anchors`;
  };
  fill();
  await show();
  find.addEventListener("input", () => { fill(); show(); });
  list.addEventListener("change", show);
}
