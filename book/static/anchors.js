// The explorer without a kernel: a list of anchors, and the film of the one that is chosen, fetched then.
import { page } from "./explorer.js";

export async function start(box, folder) {
  const [find, list, count, stage] = ["input", "select", "[role=status]", ".stage"].map((q) => box.querySelector(q));
  const anchors = await (await fetch(`${folder}/anchors.json`)).json();
  const show = async () => {
    if (!list.value) return;
    const answer = await fetch(`${folder}/${list.value}.bin`);
    const film = await new Response(answer.body.pipeThrough(new DecompressionStream("gzip"))).json();
    stage.replaceChildren();
    page(stage, { choice: "run", scenes: film });
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
