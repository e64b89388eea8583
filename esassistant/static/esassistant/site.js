// What pages do better with JavaScript: nothing depends on it.
"use strict";

// Copying

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copies]");
  if (!button) return;
  const text = document.getElementById(button.dataset.copies).textContent.trim();
  const said = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select and copy it";
  }
  setTimeout(() => { button.textContent = said; }, 2000);
});

// Shown only where they can work.
const showCopies = (root) => root.querySelectorAll("button[data-copies][hidden]").forEach((button) => { button.hidden = false; });

// The keyboard: / leads to the search, Escape out of it.

const isTyping = (element) => element.closest("input, textarea, select, [contenteditable]") !== null;
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !isTyping(event.target)) {
    const search = document.getElementById("site-search");
    if (!search) return;
    event.preventDefault();
    search.focus();
    search.select();
  } else if (event.key === "Escape" && event.target.id === "site-search") {
    event.target.blur();
  }
});

// Moments: counted on in the server's words (units.py), and told in local time beside UTC.

const UNITS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
const ago = (seconds) => {
  const rest = Math.abs(Math.trunc(seconds));
  if (rest < 2) return "just now";
  const [unit, length] = UNITS.find((one) => rest >= one[1]);
  const text = `${Math.floor(rest / length)} ${unit}`;
  return seconds > 0 ? `${text} ago` : `in ${text}`;
};
const two = (number) => String(number).padStart(2, "0");
const localClock = (at, withDay) => {
  const day = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} `;
  return `${withDay ? day : ""}${two(at.getHours())}:${two(at.getMinutes())}${withDay ? "" : `:${two(at.getSeconds())}`}`;
};
const tellMoment = (time) => {
  const at = new Date(time.dateTime);
  time.querySelector(".ago").textContent = ago((Date.now() - at) / 1000);
  const clock = time.querySelector(".clock");
  if (at.getTimezoneOffset() === 0 || clock.dataset.utc) return;
  clock.dataset.utc = clock.textContent;
  const withDay = clock.textContent.includes("-");
  clock.textContent = `${localClock(at, withDay)} (${clock.dataset.utc})`;
  time.title = `${localClock(at, true)} here, ${time.title}`;
};
const tellMoments = (root) => root.querySelectorAll("time.moment").forEach(tellMoment);
setInterval(() => tellMoments(document), 5000);

// Charts: what the pointer or the arrow keys are at is said below them.

const say = (chart, slot) => {
  chart.querySelectorAll(".slot.is-at").forEach((one) => one.classList.remove("is-at"));
  slot?.classList.add("is-at");
  chart.querySelector(".at").textContent = slot ? slot.querySelector("title").textContent : "";
};
document.addEventListener("pointerover", (event) => {
  const slot = event.target.closest?.(".chart .slot");
  const chart = event.target.closest?.(".chart");
  if (chart) say(chart, slot);
});
document.addEventListener("pointerout", (event) => {
  const chart = event.target.closest?.(".chart");
  if (chart && !chart.contains(event.relatedTarget)) say(chart, null);
});
document.addEventListener("keydown", (event) => {
  const chart = event.target.closest?.(".chart");
  if (!chart || !["ArrowLeft", "ArrowRight", "Escape"].includes(event.key)) return;
  event.preventDefault();
  const slots = [...chart.querySelectorAll(".slot")];
  const at = slots.findIndex((slot) => slot.classList.contains("is-at"));
  const step = event.key === "ArrowLeft" ? -1 : 1;
  const next = at === -1 ? slots.length - 1 : Math.min(slots.length - 1, Math.max(0, at + step));
  say(chart, event.key === "Escape" ? null : slots[next]);
});

// What is renewed stays as its reader left it: folded or not, and the chart at the minute that was pointed at.

const left = { folded: new Map(), minutes: new Map() };
document.addEventListener("htmx:beforeSwap", (event) => {
  event.detail.target.querySelectorAll("details[id]").forEach((one) => left.folded.set(one.id, one.open));
  left.minutes.clear();
  event.detail.target.querySelectorAll(".chart[id] .slot.is-at").forEach((slot) => left.minutes.set(slot.closest(".chart").id, slot.dataset.at));
});
const restore = () => {
  left.folded.forEach((open, id) => { const one = document.getElementById(id); if (one) one.open = open; });
  left.minutes.forEach((at, id) => {
    const chart = document.getElementById(id);
    if (chart) say(chart, chart.querySelector(`.slot[data-at="${at}"]`));
  });
};

// A page that can't be renewed says so, and why, instead of looking alive.

// The notes stand at the end of the page, so that browsers without CSS and scripts don't begin with them.

const raiseNotes = () => document.getElementById("main").prepend(...document.querySelectorAll("[data-lost], [data-ended]"));
const tell = (selector, isSo) => document.querySelectorAll(selector).forEach((note) => { note.hidden = !isSo; });
const explain = (text) => document.querySelectorAll("[data-why]").forEach((note) => {
  const said = text || note.dataset.why;
  if (note.textContent !== said) note.textContent = said;
});
const detailOf = (xhr) => {
  try {
    return JSON.parse(xhr.responseText).detail;
  } catch {
    return "";
  }
};
const lost = (isEnded, why) => { explain(why); tell("[data-lost]", !isEnded); tell("[data-ended]", isEnded); };
document.addEventListener("htmx:sendError", () => lost(false, ""));
document.addEventListener("htmx:timeout", () => lost(false, ""));
document.addEventListener("htmx:responseError", (event) => {
  const xhr = event.detail.xhr;
  lost(xhr.status === 401, detailOf(xhr));
});
document.addEventListener("htmx:afterSwap", (event) => {
  tell("[data-lost]", false);
  tell("[data-ended]", false);
  restore();
  showCopies(event.target);
  tellMoments(event.target);
});
document.addEventListener("DOMContentLoaded", () => { raiseNotes(); showCopies(document); tellMoments(document); });
