"""`/docs`: every route with its schema and an example to try, in one self-contained page.

Draws the OpenAPI document in the browser without a library, so it works where the server
has no way out. Text is set as text, never as markup.
"""

from __future__ import annotations

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Journey optimizer: HTTP</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { margin-top: 2.5rem; text-transform: capitalize; }
details { border: 1px solid #8886; border-radius: 6px; margin: .5rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; } summary code { font-weight: 600; }
.method { display: inline-block; min-width: 4.5rem; font-weight: 600; text-transform: uppercase; }
textarea, pre { width: 100%; box-sizing: border-box; font: 13px/1.45 ui-monospace, monospace; }
textarea { min-height: 9rem; } pre { overflow: auto; background: #8881; padding: .6rem; border-radius: 4px; }
input { font: inherit; margin: 0 .8rem .4rem .3rem; } button { font: inherit; padding: .2rem 1rem; }
</style></head><body>
<h1>Journey optimizer</h1><p id="about">Reading the document…</p><main></main>
<script>
const make = (tag, text, parent) => {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  if (parent) parent.append(node);
  return node;
};
const pretty = (value) => JSON.stringify(value, null, 2);
const show = (api, method, path, operation) => {
  const find = (schema) => !schema ? undefined
    : schema.$ref ? api.components.schemas[schema.$ref.split("/").pop()] : schema;
  const example = (content) => {
    const media = Object.values(content || {})[0];
    if (!media) return undefined;
    if (media.example !== undefined) return media.example;
    const look = (schema) => {
      const found = find(schema);
      if (!found) return undefined;
      if (found.examples) return found.examples[0];
      return [...(found.oneOf || []), ...(found.anyOf || [])].map(look).find((e) => e !== undefined);
    };
    return look(media.schema);
  };
  const box = make("details");
  const head = make("summary", "", box);
  make("span", method, head).className = "method";
  make("code", path, head);
  make("p", operation.description || operation.summary, box);
  const inputs = (operation.parameters || []).filter((p) => p.in !== "header").map((p) => {
    const label = make("label", p.name, box);
    const input = make("input", "", label);
    input.value = (p.schema.examples || [""])[0];
    return [p, input];
  });
  const body = operation.requestBody ? make("textarea", "", box) : null;
  if (body) body.value = pretty(example(operation.requestBody.content));
  const button = make("button", "Send", make("p", "", box));
  make("p", "An answer", box);
  const answer = make("pre", "", box);
  const sample = example(operation.responses["200"].content);
  answer.textContent = typeof sample === "string" ? sample : pretty(sample) || "";
  button.onclick = async () => {
    let url = path;
    const query = new URLSearchParams();
    for (const [p, input] of inputs) {
      if (p.in === "path") url = url.replace(`{${p.name}}`, encodeURIComponent(input.value));
      else if (input.value) query.set(p.name, input.value);
    }
    if ([...query].length) url += `?${query}`;
    const headers = body ? { "Content-Type": "application/json" } : {};
    const got = await fetch(url, { method: method.toUpperCase(), headers, body: body && body.value });
    const text = await got.text();
    try { answer.textContent = `${got.status}\\n${pretty(JSON.parse(text))}`; }
    catch { answer.textContent = `${got.status}\\n${text}`; }
  };
  return box;
};
fetch("/openapi.json").then((got) => got.json()).then((api) => {
  document.getElementById("about").textContent =
    `${api.info.description} Version ${api.info.version}; the machine-readable document is /openapi.json.`;
  const sections = {};
  for (const [path, item] of Object.entries(api.paths))
    for (const [method, operation] of Object.entries(item)) {
      const tag = (operation.tags || ["other"])[0];
      sections[tag] ||= make("section", "", document.querySelector("main"));
      if (!sections[tag].firstChild) make("h2", tag, sections[tag]);
      sections[tag].append(show(api, method, path, operation));
    }
});
</script></body></html>
"""
