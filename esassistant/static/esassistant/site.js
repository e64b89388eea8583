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

// A page that can't be renewed says so, instead of looking alive.
const lost = (isLost) => document.querySelectorAll("[data-lost]").forEach((note) => { note.hidden = !isLost; });
document.addEventListener("htmx:sendError", () => lost(true));
document.addEventListener("htmx:responseError", () => lost(true));
document.addEventListener("htmx:afterSwap", () => lost(false));
