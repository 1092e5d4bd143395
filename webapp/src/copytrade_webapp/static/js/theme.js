// Runs before the first paint, so that a dark page never flashes light. The rest is in prefs.js.
try {
  const theme = localStorage.getItem("copytrade.theme") ?? "auto";
  const dark = theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.bsTheme = dark ? "dark" : "light";
  document.documentElement.dataset.colours = localStorage.getItem("copytrade.colours") ?? "green-rises";
} catch {
  document.documentElement.dataset.bsTheme = "light";
}
