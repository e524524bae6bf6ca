"use strict";
const main = document.querySelector("main");
const items = [...document.querySelectorAll("article")];
const end = document.querySelector("#end");
const buttons = [...document.querySelectorAll("[data-answer]")];
const words = { r: "real", f: "fake", u: "" };
const key = "clipfake-review-" + main.dataset.page;
let answers = stored(); // path -> "real", "fake", or "" for what cannot be told
let kept = true; // whether the browser holds the answers
let at = next(-1);

function stored() {
  const found = new Map();
  try {
    const paths = new Set(items.map((item) => item.dataset.path));
    for (const [path, word] of JSON.parse(localStorage.getItem(key) || "[]")) {
      if (paths.has(path) && Object.values(words).includes(word)) found.set(path, word);
    }
  } catch { /* none are kept, or they cannot be read */ }
  return found;
}

function keep() {
  try {
    localStorage.setItem(key, JSON.stringify([...answers]));
    kept = true;
  } catch { kept = false; }
}

// The first without an answer after `from`, else the first of all; the end where all have one.
function next(from) {
  const open = items.map((item, i) => i).filter((i) => !answers.has(items[i].dataset.path));
  return open.find((i) => i > from) ?? open[0] ?? items.length;
}

function show(to) {
  at = Math.max(0, Math.min(to, items.length));
  items.forEach((item, i) => {
    item.hidden = i !== at;
    item.querySelector(".told").hidden = !answers.has(item.dataset.path);
  });
  end.hidden = at < items.length;
  end.querySelector("h2").textContent = answers.size === items.length ? "All are answered" : "The end";
  const given = [...answers.values()];
  const n = (word) => given.filter((one) => one === word).length;
  document.querySelector("#tally").textContent =
    `${n("real")} real, ${n("fake")} generated, ${n("")} that cannot be told, of ${items.length}. Save labels.csv, then:`;
  document.querySelector("#count").textContent = `${answers.size} of ${items.length}`;
  document.querySelector("progress").value = answers.size;
  document.querySelector("#save").disabled = !answers.size;
  document.querySelector("#back").disabled = at === 0;
  document.querySelector("#next").disabled = at === items.length;
  const mine = at < items.length ? answers.get(items[at].dataset.path) : undefined;
  for (const button of buttons) {
    button.disabled = at === items.length;
    button.setAttribute("aria-pressed", String(button.dataset.answer === mine));
  }
}

function answer(word) {
  if (at === items.length) return;
  answers.set(items[at].dataset.path, word);
  keep();
  show(next(at));
}

const field = (text) => '"' + String(text).replaceAll('"', '""') + '"';

function csv() {
  const rows = items.filter((item) => answers.has(item.dataset.path)).map((item) => [
    item.dataset.path, answers.get(item.dataset.path), item.dataset.sample, main.dataset.population,
    item.dataset.verdict, main.dataset.detector,
  ]);
  return [main.dataset.columns, ...rows.map((row) => row.map(field).join(","))].join("\r\n") + "\r\n";
}

function save() {
  if (!answers.size) return;
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  link.download = "labels.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const pressed = event.key.toLowerCase();
  if (pressed in words) answer(words[pressed]);
  else if (pressed === "s") save();
  else if (pressed === "arrowleft") show(at - 1);
  else if (pressed === "arrowright") show(at + 1);
  else return;
  event.preventDefault();
});
addEventListener("beforeunload", (event) => { if (!kept) event.preventDefault(); });
for (const button of buttons) button.addEventListener("click", () => answer(button.dataset.answer));
document.querySelector("#save").addEventListener("click", save);
document.querySelector("#back").addEventListener("click", () => show(at - 1));
document.querySelector("#next").addEventListener("click", () => show(at + 1));
show(at);
