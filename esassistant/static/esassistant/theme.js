// Light, dark, or as the system has it: kept under the name that Django's admin uses, so that both are one. Loaded before
// anything is drawn; the switch is shown only where this ran.
"use strict";

{
  const kept = () => { try { return localStorage.getItem("theme") || "auto"; } catch { return "auto"; } };
  const set = (theme) => {
    document.documentElement.dataset.theme = theme;
    try { localStorage.setItem("theme", theme); } catch { /* it holds for this page */ }
  };
  document.documentElement.dataset.theme = kept();
  document.addEventListener("click", (event) => {
    if (!event.target.closest(".theme-toggle")) return;
    const isDark = matchMedia("(prefers-color-scheme: dark)").matches;
    const order = isDark ? ["auto", "light", "dark"] : ["auto", "dark", "light"];
    set(order[(order.indexOf(document.documentElement.dataset.theme) + 1) % order.length]);
  });
}
