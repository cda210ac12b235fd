// Render the equations of pages that Sphinx wrote: node book/equations.mjs PAGE.html … (readers need no script for them).
import fs from "node:fs";
import katex from "katex";

const plain = (text) => text.replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&quot;/g, '"').replace(/&amp;/g, "&");
let broken = 0;
for (const path of process.argv.slice(2)) {
  const before = fs.readFileSync(path, "utf8");
  const after = before.replace(/<(span|div) data-latex>([^]*?)<\/\1>/g, (_, kind, text) => {
    try {
      const shown = katex.renderToString(plain(text), { displayMode: kind === "div", throwOnError: true, strict: "ignore" });
      return `<${kind} class="equation"${kind === "div" ? ' tabindex="0"' : ""}>${shown}</${kind}>`;
    } catch (error) {
      broken += 1;
      console.error(`${path}: ${error.message}`);
      return _;
    }
  });
  if (after !== before) fs.writeFileSync(path, after);
}
process.exit(broken ? 1 : 0);
