// What pages do better with JavaScript: nothing depends on it.
"use strict";

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
const show = (root) => root.querySelectorAll("button[data-copies][hidden]").forEach((button) => { button.hidden = false; });
document.addEventListener("DOMContentLoaded", () => show(document));
document.addEventListener("htmx:afterSwap", (event) => show(event.target));

// A page that can't be renewed says so, and why, instead of looking alive.
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
document.addEventListener("htmx:afterSwap", () => { tell("[data-lost]", false); tell("[data-ended]", false); });
